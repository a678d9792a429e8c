package oui

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
)

func TestBuildNested(t *testing.T) {
	blocks := []Block{
		{usage.MAC{0x00, 0x10, 0x20}, 24, "Outer"},
		{usage.MAC{0x00, 0x10, 0x20, 0x30}, 28, "Middle"},
		{usage.MAC{0x00, 0x10, 0x20, 0x32, 0x50}, 36, "Inner"},
		{usage.MAC{0x00, 0x10, 0x20, 0x32, 0x60}, 36, ""},
		{usage.MAC{0x00, 0x10, 0x20, 0x00, 0x00}, 36, "First"},
		{usage.MAC{0x00, 0x10, 0x20, 0xf0}, 28, ""},
	}
	file, err := Build(blocks, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(blocks)
	if again, err := Build(append(blocks, blocks[0]), time.Time{}); err != nil || !bytes.Equal(file, again) {
		t.Errorf("another order: got other bytes, %v", err)
	}
	table := open(t, write(t, file))
	if date := table.Info().Date; !date.IsZero() {
		t.Errorf("got date %v, want none", date)
	}
	for address, want := range map[string]string{
		"00:10:1f:ff:ff:ff": "", "00:10:20:00:00:00": "First", "00:10:20:00:0f:ff": "First",
		"00:10:20:00:10:00": "Outer", "00:10:20:2f:ff:ff": "Outer", "00:10:20:30:00:00": "Middle",
		"00:10:20:32:4f:ff": "Middle", "00:10:20:32:50:00": "Inner", "00:10:20:32:5f:ff": "Inner",
		"00:10:20:32:60:00": "", "00:10:20:32:6f:ff": "", "00:10:20:32:70:00": "Middle",
		"00:10:20:3f:ff:ff": "Middle", "00:10:20:40:00:00": "Outer", "00:10:20:ef:ff:ff": "Outer",
		"00:10:20:f0:00:00": "", "00:10:20:ff:ff:ff": "", "00:10:21:00:00:00": "",
	} {
		if got, _ := table.Lookup(mac(t, address)); got != want {
			t.Errorf("%s: got %q, want %q", address, got, want)
		}
	}
}

func TestBuildRefuses(t *testing.T) {
	for name, blocks := range map[string][]Block{
		"bits":       {{usage.MAC{0, 0, 1}, 25, "A"}},
		"host bits":  {{usage.MAC{0, 0, 1, 1}, 24, "A"}},
		"low nibble": {{usage.MAC{0, 0, 1, 1, 1}, 36, "A"}},
		"group":      {{usage.MAC{1, 0, 1}, 24, "A"}},
		"local":      {{usage.MAC{2, 0, 1}, 24, "A"}},
		"escape":     {{usage.MAC{0, 0, 1}, 24, "A\x1b[2J"}},
		"long":       {{usage.MAC{0, 0, 1}, 24, strings.Repeat("A", usage.MaxName+1)}},
		"twice":      {{usage.MAC{0, 0, 1}, 24, "A"}, {usage.MAC{0, 0, 1}, 24, "B"}},
	} {
		if b, err := Build(blocks, time.Time{}); err == nil {
			t.Errorf("%s: got %d bytes, want an error", name, len(b))
		}
	}
}

func TestBuildEmpty(t *testing.T) {
	for _, blocks := range [][]Block{nil, {{usage.MAC{0, 0, 1}, 24, ""}}} {
		file, err := Build(blocks, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := open(t, write(t, file)).Lookup(usage.MAC{0, 0, 1}); got != "" || ok {
			t.Errorf("got %q, %t", got, ok)
		}
	}
}

// Random blocks far apart and side by side, with names of every shape, are
// found again.
func TestBuildRandom(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	letters := []rune("abcdefgXYZ  -.&/(1ßé技")
	want := make(map[usage.MAC]string)
	var blocks []Block
	for range 3000 {
		bits := []int{24, 28, 36}[rnd.IntN(3)]
		m := usage.MAC{byte(rnd.IntN(64) << 2), byte(rnd.IntN(3)), byte(rnd.IntN(256))}
		switch bits {
		case 28:
			m[3] = byte(rnd.IntN(16) << 4)
		case 36:
			m[3], m[4] = byte(rnd.IntN(256)), byte(rnd.IntN(16)<<4)
		}
		name := make([]rune, 1+rnd.IntN(20))
		for i := range name {
			name[i] = letters[rnd.IntN(len(letters))]
		}
		vendor := string(name)
		// Keys by first address: skip what lies in or around another.
		m36 := m
		m36[5] = 0
		clash := false
		for _, b := range blocks {
			short := min(b.Bits, bits)
			if keyOf(b.Prefix)>>(36-short) == keyOf(m36)>>(36-short) {
				clash = true
				break
			}
		}
		if clash || m.IsZero() {
			continue
		}
		blocks = append(blocks, Block{m, bits, vendor})
		want[m] = vendor
	}
	file, err := Build(blocks, time.Unix(1_700_000_000, 0))
	if err != nil {
		t.Fatal(err)
	}
	table := open(t, write(t, file))
	if got := table.Info(); got.Entries != len(blocks) {
		t.Errorf("got %d entries, want %d", got.Entries, len(blocks))
	}
	for m, vendor := range want {
		if got, ok := table.Lookup(m); got != vendor || !ok {
			t.Errorf("%s: got %q, %t, want %q", m, got, ok, vendor)
		}
	}
}

func TestCasing(t *testing.T) {
	for _, name := range []string{
		"Apple", "apple", "TP-Link", "TP-LINK", "tp-link", "HUAWEI TECHNOLOGIES", "IBM Deutschland", "ZyXEL ZyXEL", "eFFER (uk)",
		"NEC of A", "A", "a b C D", "ABC d EF", "3COM", "É", "éa Éa", "R&D", "AT&T bell LABS x", "  Two  blanks  ",
	} {
		low, err := lower(name)
		if err != nil {
			t.Fatal(err)
		}
		var s casing
		var got []byte
		for _, c := range []byte(low) {
			got = s.put(got, c)
		}
		if string(got) != name || strings.ToLower(low) != low && !strings.ContainsAny(name, "É") {
			t.Errorf("got %q by %q, want %q", got, low, name)
		}
	}
}
