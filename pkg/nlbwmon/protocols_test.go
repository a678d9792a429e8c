package nlbwmon_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/netpilot/netpilot/pkg/nlbwmon"
)

type service struct {
	proto uint8
	port  uint16
}

// Each case is what fscanf makes of the file.
func TestParseProtocols(t *testing.T) {
	long := strings.Repeat("n", 32)
	for _, tt := range []struct {
		in   string
		want map[service]string
	}{
		{"", nil},
		{"6 443 HTTPS\n17 53 DNS\n", map[service]string{{6, 443}: "HTTPS", {17, 53}: "DNS"}},
		{"6 443 HTTPS", map[service]string{{6, 443}: "HTTPS"}},
		{"\n\n\t6\n443\n\n  HTTPS \n\n", map[service]string{{6, 443}: "HTTPS "}},
		{"6 443HTTPS\n", map[service]string{{6, 443}: "HTTPS"}},
		{"# comment\n6 443 HTTPS\n", nil},
		{"6 443 HTTPS\n# comment\n17 53 DNS\n", map[service]string{{6, 443}: "HTTPS"}},
		{"6 443 \n17 53 DNS\n", map[service]string{{6, 443}: "17 53 DNS"}},
		{"6 443\n", nil},
		{"6\n", nil},
		{"6 443 HTTPS\n6 443 other\n", map[service]string{{6, 443}: "HTTPS"}},
		{"262 65979 wrap\n", map[service]string{{6, 443}: "wrap"}},
		{"-1 -1 minus\n+6 +80 plus\n", map[service]string{{255, 65535}: "minus", {6, 80}: "plus"}},
		{"99999999999999999999999 6 huge\n", map[service]string{{255, 6}: "huge"}},
		{"6 443 " + long + "\n17 53 DNS\n", map[service]string{{6, 443}: long, {17, 53}: "DNS"}},
		{"6 443 " + long + "17 53 DNS\n1 0 ICMP\n", map[service]string{{6, 443}: long, {17, 53}: "DNS", {1, 0}: "ICMP"}},
		{"6 443 " + long + "x\n17 53 DNS\n", map[service]string{{6, 443}: long}},
		{"6 443 a\x00b\n17 53 \x00\n1 0 ICMP\n", map[service]string{{6, 443}: "a", {1, 0}: "ICMP"}},
		{"6 443 \xff\x1b[31m\r\n", map[service]string{{6, 443}: "\xff\x1b[31m\r"}},
		{"0x6 443 hex\n", nil},
		{"6,443,HTTPS\n", nil},
	} {
		p, err := nlbwmon.ParseProtocols(strings.NewReader(tt.in))
		if err != nil {
			t.Fatal(err)
		}
		if p.Len() != len(tt.want) {
			t.Errorf("%q: got %d entries, want %d", tt.in, p.Len(), len(tt.want))
		}
		for s, want := range tt.want {
			if got, ok := p.Lookup(s.proto, s.port); got != want || !ok {
				t.Errorf("%q: got %q for %v, want %q", tt.in, got, s, want)
			}
		}
	}
}

func TestParseProtocolsReadError(t *testing.T) {
	if _, err := nlbwmon.ParseProtocols(iotest.ErrReader(os.ErrClosed)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestLoadProtocols(t *testing.T) {
	p, err := nlbwmon.LoadProtocols(recordings + "/protocols")
	if err != nil {
		t.Fatal(err)
	}
	// Stock's file parses to its last line.
	lines := strings.Split(strings.TrimSpace(string(load(t, recordings+"/protocols"))), "\n")
	f := strings.SplitN(lines[len(lines)-1], " ", 3)
	proto, _ := strconv.Atoi(f[0])
	port, _ := strconv.Atoi(f[1])
	if got, ok := p.Lookup(uint8(proto), uint16(port)); !ok || p.Len() != len(lines) {
		t.Errorf("got %q, %t for %v; %d entries of %d lines", got, ok, f, p.Len(), len(lines))
	}
	if name, ok := p.Lookup(6, 64999); ok {
		t.Errorf("got %q for an unknown port", name)
	}
	if _, ok := (*nlbwmon.Protocols)(nil).Lookup(6, 443); ok {
		t.Error("got a name from no table")
	}
	if n := testing.AllocsPerRun(100, func() { p.Lookup(6, 443) }); n != 0 {
		t.Errorf("got %v allocations per lookup, want 0", n)
	}
	if _, err := nlbwmon.LoadProtocols(filepath.Join(t.TempDir(), "no")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// The names of all recorded protocols are printed as OpenWrt's nlbw does.
func TestProtoNameAgreesWithNlbw(t *testing.T) {
	_, recs := decode(t, load(t, recordings+"/all-protocols/raw/dump0.bin"), nlbwmon.OrderLittle)
	printed := make(map[string]bool)
	for _, m := range regexp.MustCompile(`\["([^"]+)",\d+`).FindAllStringSubmatch(string(load(t, recordings+"/all-protocols/nlbw-musl/json-g-proto-port.out")), -1) {
		printed[m[1]] = true
	}
	names := make(map[string]bool)
	for _, r := range recs {
		names[nlbwmon.ProtoName(r.Proto)] = true
		if !printed[nlbwmon.ProtoName(r.Proto)] {
			t.Errorf("got %q for %d, which nlbw did not print", nlbwmon.ProtoName(r.Proto), r.Proto)
		}
	}
	if len(names) != len(printed) || len(printed) < 15 {
		t.Errorf("got %d names, nlbw printed %d", len(names), len(printed))
	}
}

func TestParseProtoName(t *testing.T) {
	for i := range 256 {
		name := nlbwmon.ProtoName(uint8(i))
		if got, ok := nlbwmon.ParseProtoName(name); !ok || int(got) != i || len(name) > 10 {
			t.Errorf("%q: got %d, %t, want %d", name, got, ok, i)
		}
	}
	for name, want := range map[string]uint8{
		"   unspec.": 0, "tcp": 6, "IP-ENCAP": 4, "IPSEC-ESP": 50, "OSPFIGP": 89, "UDPLITE": 136,
		"MOBILITY-H": 135, "MOBILITY-HEADER": 135, "254": 254,
	} {
		if got, ok := nlbwmon.ParseProtoName(name); !ok || got != want {
			t.Errorf("%q: got %d, %t, want %d", name, got, ok, want)
		}
	}
	for _, name := range []string{"", "256", "-1", "bogus", "MOBILITY"} {
		if got, ok := nlbwmon.ParseProtoName(name); ok {
			t.Errorf("%q: got %d, want none", name, got)
		}
	}
}
