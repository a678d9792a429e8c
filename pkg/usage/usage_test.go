package usage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestClean(t *testing.T) {
	for _, tt := range []struct {
		in    string
		limit int
		want  string
	}{
		{"", 5, ""},
		{"plain", 5, "plain"},
		{"plain", 4, "plai"},
		{"with blank ", 63, "with blank "},
		{"Küche", 63, "Küche"},
		{"Küche", 2, "K"}, // never half a character
		{"日本語", 6, "日本"},
		{"a\x00b\tc\r\nd\x7fe", 63, "abcde"},
		{"\x1b[31mred\x1b[0m", 63, "[31mred[0m"},
		{"\u009b31mC1", 63, "31mC1"},
		{"\u202eevil\u202c\u2066x\u200f", 63, "evilx"},
		{"zero\u200bwidth\ufeff", 63, "zerowidth"},
		{"bad\xff\xc3utf8", 63, "badutf8"},
		{"long\u2028line\u2029", 63, "longline"},
		{"private \ue000", 63, "private "},
		{"x", 0, ""},
	} {
		if got := Clean(tt.in, tt.limit); got != tt.want {
			t.Errorf("Clean(%q, %d): got %q, want %q", tt.in, tt.limit, got, tt.want)
		}
	}
	if n := testing.AllocsPerRun(100, func() { Clean("plain-name", MaxName) }); n != 0 {
		t.Errorf("a clean name costs %v allocations, want none", n)
	}
}

func FuzzClean(f *testing.F) {
	f.Add("\x1b[31mK\u00fcche\u202e\xff", 10)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		if limit < 0 {
			return
		}
		got := Clean(s, limit)
		if len(got) > limit || !utf8.ValidString(got) || Clean(got, limit) != got {
			t.Errorf("Clean(%q, %d): got %q", s, limit, got)
		}
		for _, r := range got {
			if r < 0x20 || r >= 0x7f && r <= 0x9f || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
				t.Errorf("Clean(%q, %d): got %q with %U", s, limit, got, r)
			}
		}
	})
}

func TestKinds(t *testing.T) {
	for i, name := range kindNames {
		k := Kind(i)
		if k.String() != name || ParseKind(name) != k {
			t.Errorf("kind %d: got %q and back %d", i, k, ParseKind(name))
		}
	}
	if got := Kind(200).String(); got != "internal" {
		t.Errorf("unknown number: got %q, want internal", got)
	}
	if got := ParseKind("from the future"); got != Internal {
		t.Errorf("unknown name: got %v, want internal", got)
	}
	busy := Errorf(Busy, "too many: %w", fs.ErrExist)
	if busy.Error() != "too many: file already exists" || !errors.Is(busy, fs.ErrExist) {
		t.Errorf("got %v with cause %v", busy, busy.Err)
	}
	for _, tt := range []struct {
		err  error
		want Kind
	}{
		{nil, Internal},
		{errors.New("x"), Internal},
		{busy, Busy},
		{fmt.Errorf("call: %w", busy), Busy},
		{fmt.Errorf("call: %w", context.DeadlineExceeded), Timeout},
		{Errorf(Unavailable, "nlbwmon: %w", context.DeadlineExceeded), Unavailable},
		{context.Canceled, Internal},
	} {
		if got := KindOf(tt.err); got != tt.want {
			t.Errorf("KindOf(%v): got %v, want %v", tt.err, got, tt.want)
		}
	}
}

func TestMAC(t *testing.T) {
	want := MAC{0x02, 0x77, 0xab, 0xCD, 0x00, 0xff}
	for _, s := range []string{"02:77:ab:cd:00:ff", "02-77-AB-CD-00-FF", " 02:77:Ab:cD:00:ff\n"} {
		if got, err := ParseMAC(s); err != nil || got != want {
			t.Errorf("%q: got %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "02:77:ab:cd:00", "02:77:ab:cd:00:ff:00", "0277abcd00ff", "02:77-ab:cd:00:ff", "02.77.ab.cd.00.ff",
		"02:77:ab:cd:00:fg", "02:77:ab:cd:0:0ff", "2:077:ab:cd:00:ff", "02:77:ab:cd:00:\xff\xff", strings.Repeat("0", 1000)} {
		got, err := ParseMAC(s)
		if err == nil || KindOf(err) != Invalid || !got.IsZero() || len(err.Error()) > 200 {
			t.Errorf("%q: got %v, %v, want invalid", s, got, err)
		}
	}
	if got := want.String(); got != "02:77:ab:cd:00:ff" {
		t.Errorf("got %s", got)
	}
	if !want.Randomized() || (MAC{0x00, 0x77}).Randomized() || !(MAC{}).IsZero() || want.IsZero() {
		t.Error("Randomized or IsZero is wrong")
	}
	text, err := json.Marshal(map[MAC]MAC{want: want})
	if err != nil || string(text) != `{"02:77:ab:cd:00:ff":"02:77:ab:cd:00:ff"}` {
		t.Errorf("got %s, %v", text, err)
	}
	var back map[MAC]MAC
	if err := json.Unmarshal(text, &back); err != nil || back[want] != want {
		t.Errorf("got %v, %v", back, err)
	}
	if err := json.Unmarshal([]byte(`{"x":"y"}`), &back); err == nil {
		t.Error("a bad MAC was taken")
	}
}

func TestRouterID(t *testing.T) {
	good := strings.Repeat("0123456789abcdef", 4)
	id, err := ParseRouterID(good)
	if err != nil || string(id) != good || id.Short() != "0123456789ab…" {
		t.Errorf("got %q, %v, %s", id, err, id.Short())
	}
	for _, s := range []string{"", good[1:], good + "0", strings.ToUpper(good), "g" + good[1:], " " + good[1:], "\x1b" + good[1:]} {
		if id, err := ParseRouterID(s); err == nil || id != "" || KindOf(err) != Invalid {
			t.Errorf("%q: got %q, %v, want invalid", s, id, err)
		}
	}
	if got := RouterID("abc").Short(); got != "abc" {
		t.Errorf("got %s, want abc", got)
	}
}

func TestRecordIP(t *testing.T) {
	for _, s := range []string{"192.168.1.5", "fd00::5", "::ffff:192.168.1.5", "0.0.0.0", "::"} {
		addr := netip.MustParseAddr(s)
		r := Record{Addr: [16]byte{15: 0xff}}
		r.SetIP(addr)
		if got := r.IP(); got != addr {
			t.Errorf("%s: got %v of family %d", s, got, r.Family)
		}
	}
	r := Record{Family: 7, Addr: [16]byte{1}}
	if r.IP().IsValid() {
		t.Errorf("family 7: got %v, want none", r.IP())
	}
}
