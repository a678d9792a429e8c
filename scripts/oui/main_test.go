package main

import (
	"bytes"
	"errors"
	"html"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/netpilot/netpilot/pkg/oui"
	"github.com/netpilot/netpilot/pkg/usage"
)

const (
	debian  = "/usr/share/ieee-data"
	maxSize = 400_000 // bytes of the whole table
)

func TestShorten(t *testing.T) {
	for in, want := range map[string]string{
		"Apple, Inc.":                                  "Apple",
		"HUAWEI TECHNOLOGIES CO.,LTD":                  "HUAWEI TECHNOLOGIES",
		"Shenzhen YOUHUA Technology Co., Ltd\t":        "Shenzhen YOUHUA Technology",
		"JTEC Card &amp; Communication Co., Ltd":       "JTEC Card & Communication",
		"WAGO Kontakttechnik GmbH & Co. KG":            "WAGO Kontakttechnik",
		"Murrelektronik GmbH&Co.KG":                    "Murrelektronik",
		"Cambridge Industries(Group) Co.,Ltd.":         "Cambridge Industries(Group)",
		"Best IT World (India) Pvt Ltd":                "Best IT World (India)",
		"Unifiedgateways India Private Limited":        "Unifiedgateways India",
		"ELVACO Sp. z o.o.":                            "ELVACO",
		"Techno spol. s r.o.":                          "Techno",
		"Integrated Device (Malaysia) Sdn. Bhd.":       "Integrated Device (Malaysia)",
		"IOG Products LLC":                             "IOG Products",
		"Ford Motor Company":                           "Ford Motor Company",
		"Acme Mfg. Co .Ltd":                            "Acme Mfg.",
		"Vincotech":                                    "Vincotech",
		"Inc.":                                         "Inc.",
		"AB Corporation":                               "AB",
		"OLIVETTI TELECOMM SPA (OLTECO)":               "OLIVETTI TELECOMM SPA (OLTECO)",
		"Foo\x1b[31m\u202e Bar":                        "Foo[31m Bar",
		strings.Repeat("Long ", 20) + "Name Co., Ltd.": strings.TrimSpace(strings.Repeat("Long ", 20)[:63]),
	} {
		if got := shorten(in); got != want {
			t.Errorf("shorten(%q): got %q, want %q", in, got, want)
		}
	}
}

func TestReadCSV(t *testing.T) {
	f := readCSV([]byte("\ufeffRegistry,Assignment,Organization Name,Organization Address\r\n"+
		"MA-L,00000C,\"Cisco Systems, Inc\",x\r\n"+
		"MA-L,70B3D5,IEEE Registration Authority,x\r\n"+
		"MA-L,00000G,Bad digits,x\r\n"+
		"MA-L,0000,Short,x\r\n"+
		"MA-M,0000001,Other registry,x\r\n"+
		"\r\n"+
		"MA-L,00000E,Says \"this\" aloud,x\r\n"+
		"MA-L,00000F,Private\r\n"+
		"MA-L\r\n"), "MA-L", 24)
	if len(f.rows) != 4 || f.private != 2 || f.bad != 4 {
		t.Fatalf("got %d rows, %d private, %d bad; want 4, 2, 4", len(f.rows), f.private, f.bad)
	}
	if got, want := f.rows[2].owner, `Says "this" aloud`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestMissing(t *testing.T) {
	err := run([]string{"--in", t.TempDir(), "--out", filepath.Join(t.TempDir(), "oui")}, &bytes.Buffer{})
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "apt-get install ieee-data") {
		t.Errorf("got %v, want fs.ErrNotExist and how to install it", err)
	}
}

// The excerpt is a few hundred registrations; pkg/oui tests with the table made
// of it, which must be what this program makes of it.
func TestExcerpt(t *testing.T) {
	out := filepath.Join(t.TempDir(), "dist", "oui")
	var said bytes.Buffer
	if err := run([]string{"--in", "testdata/excerpt", "--out", out}, &said); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	golden := "../../pkg/oui/testdata/excerpt.oui"
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the table differs from %s; UPDATE=1 go test ./scripts/oui writes it anew", golden)
	}
	if !strings.Contains(said.String(), "0 lines not understood") {
		t.Errorf("got %q", said.String())
	}
	compare(t, "testdata/excerpt", out)
}

func TestWhole(t *testing.T) {
	if race {
		t.Skip("one goroutine works for minutes under the race detector, which has nothing to find in it; TestExcerpt does the same on less")
	}
	path := whole(t)
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if st.Size() > maxSize {
		t.Errorf("got a table of %d bytes, want at most %d", st.Size(), maxSize)
	}
	compare(t, debian, path)
}

// whole builds the table of the whole registry.
func whole(tb testing.TB) string {
	if _, err := os.Stat(debian); err != nil {
		tb.Skip("Debian's package ieee-data is not installed")
	}
	path := filepath.Join(tb.TempDir(), "oui")
	if err := run([]string{"--in", debian, "--out", path}, &bytes.Buffer{}); err != nil {
		tb.Fatal(err)
	}
	return path
}

// compare asks the table at path for the first and the last address of every
// registration in dir, and for the addresses beside it.
func compare(t *testing.T, dir, path string) {
	t.Helper()
	reg, err := readRegistry(dir)
	if err != nil {
		t.Fatal(err)
	}
	table, err := oui.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	// The source, looked up the plain way: owners by prefix, the longest first.
	owners := map[int]map[uint64][]string{24: {}, 28: {}, 36: {}}
	for _, f := range reg.files {
		for _, r := range f.rows {
			n := number(r.prefix) >> (48 - r.bits)
			owners[r.bits][n] = append(owners[r.bits][n], r.owner)
		}
	}
	type expected struct{ whole, short string }
	expect := make(map[string]expected)
	bad := 0
	check := func(n uint64) {
		mac := address(n)
		var want []string
		for _, bits := range []int{36, 28, 24} {
			if want = owners[bits][n>>(48-bits)]; want != nil {
				break
			}
		}
		got, ok := table.Lookup(mac)
		good := ok == (got != "") && got == usage.Clean(got, usage.MaxName)
		if len(want) == 0 || !named(want[0]) || mac[0]&0x03 != 0 || mac.IsZero() {
			good = good && got == ""
		} else {
			e, ok := expect[want[0]]
			if !ok {
				e = expected{fold(tidy(html.UnescapeString(want[0]), 1000)), fold(shorten(want[0]))}
				expect[want[0]] = e
			}
			// Shortening takes away from the end only.
			good = good && strings.HasPrefix(e.whole, fold(got)) && fold(got) == e.short
		}
		if !good {
			if bad++; bad < 20 {
				t.Errorf("%s: got %q, %t; the registry says %q", mac, got, ok, want)
			}
		}
	}
	start := time.Now()
	for _, f := range reg.files {
		if f.bad > 0 {
			t.Errorf("%s: %d lines not understood", f.name, f.bad)
		}
		for _, r := range f.rows {
			first := number(r.prefix)
			last := first + 1<<(48-r.bits) - 1
			check(first)
			check(last)
			check((first - 1) & (1<<48 - 1))
			check((last + 1) & (1<<48 - 1))
		}
	}
	if bad > 0 {
		t.Errorf("%d addresses differ", bad)
	}
	t.Logf("%s: compared in %v", dir, time.Since(start).Round(time.Millisecond))
}

func number(m usage.MAC) uint64 {
	var n uint64
	for _, b := range m {
		n = n<<8 | uint64(b)
	}
	return n
}

func address(n uint64) usage.MAC {
	var m usage.MAC
	for i := range m {
		m[i] = byte(n >> (40 - 8*i))
	}
	return m
}

// Each lookup but the last is of another page than the one before, the worst
// case: 7919 is prime, and neighbours in the list lie far apart in the table.
func BenchmarkLookup(b *testing.B) {
	path := whole(b)
	reg, err := readRegistry(debian)
	if err != nil {
		b.Fatal(err)
	}
	table, err := oui.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer table.Close()
	asked := map[string][]usage.MAC{}
	for _, blk := range reg.blocks() {
		if blk.Vendor != "" {
			key := map[int]string{24: "hit24", 28: "hit28", 36: "hit36"}[blk.Bits]
			asked[key] = append(asked[key], blk.Prefix)
		}
	}
	for i := range 5000 {
		mac := usage.MAC{byte(i*7) &^ 3, byte(i * 13), byte(i * 101)}
		if _, ok := table.Lookup(mac); !ok {
			asked["miss"] = append(asked["miss"], mac)
		}
	}
	for _, name := range []string{"hit24", "hit28", "hit36", "miss"} {
		macs := asked[name]
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var buf [usage.MaxName]byte
			for i := 0; b.Loop(); i++ {
				_, _ = table.Append(buf[:0], macs[i*7919%len(macs)])
			}
		})
	}
	// What the kernel takes of each: a page read and nothing else.
	b.Run("read", func(b *testing.B) {
		f, err := os.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		page := make([]byte, 512)
		for i := 0; b.Loop(); i++ {
			if _, err := f.ReadAt(page, int64(i*7919%500)*512); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("string", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			_, _ = table.Lookup(asked["hit24"][i*7919%len(asked["hit24"])])
		}
	})
	b.Run("same", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = table.Lookup(asked["hit24"][0])
		}
	})
}
