package oui

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
)

const excerpt = "testdata/excerpt.oui" // scripts/oui makes it

func open(tb testing.TB, path string) *Table {
	tb.Helper()
	t, err := Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := t.Close(); err != nil {
			tb.Errorf("close: %v", err)
		}
	})
	return t
}

func write(tb testing.TB, b []byte) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "oui")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

func mac(tb testing.TB, s string) usage.MAC {
	tb.Helper()
	m, err := usage.ParseMAC(s)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// expected are the lines of lookups.txt: an address, a tab and its vendor.
func expected(tb testing.TB) map[usage.MAC]string {
	tb.Helper()
	f, err := os.Open("testdata/lookups.txt")
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	want := make(map[usage.MAC]string)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if line := lines.Text(); !strings.HasPrefix(line, "#") {
			address, vendor, _ := strings.Cut(line, "\t")
			want[mac(tb, address)] = vendor
		}
	}
	if len(want) < 20 {
		tb.Fatalf("only %d lookups", len(want))
	}
	return want
}

func TestLookup(t *testing.T) {
	table := open(t, excerpt)
	for m, want := range expected(t) {
		if got, ok := table.Lookup(m); got != want || ok != (want != "") {
			t.Errorf("%s: got %q, %t, want %q", m, got, ok, want)
		}
		if got, ok := table.Append([]byte("by "), m); string(got) != "by "+want || ok != (want != "") {
			t.Errorf("%s: got %q, %t, want %q appended", m, got, ok, want)
		}
	}
}

func TestInfo(t *testing.T) {
	info := open(t, excerpt).Info()
	if info.Entries != info.Large+info.Medium+info.Small || info.Large == 0 || info.Medium == 0 || info.Small == 0 || info.Vendors == 0 {
		t.Errorf("got %+v, want some of each and their sum", info)
	}
	if got, want := info.Date.Format(time.RFC3339), "2022-08-27T20:08:57Z"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestAbsent(t *testing.T) {
	table, err := Open(filepath.Join(t.TempDir(), "oui"))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
	if got, ok := table.Lookup(usage.MAC{0, 0, 0x0c, 1, 2, 3}); got != "" || ok {
		t.Errorf("a nil table: got %q, %t", got, ok)
	}
	if got := table.Info(); got != (Info{}) {
		t.Errorf("a nil table: got %+v", got)
	}
	if err := table.Close(); err != nil {
		t.Error(err)
	}
}

func TestClose(t *testing.T) {
	table, err := Open(excerpt)
	if err != nil {
		t.Fatal(err)
	}
	m := mac(t, "00:00:0c:01:02:03")
	if got, ok := table.Lookup(m); !ok {
		t.Fatalf("%s: got %q, want a vendor", m, got)
	}
	for range 2 {
		if err := table.Close(); err != nil {
			t.Error(err)
		}
		if got, ok := table.Lookup(m); got != "" || ok {
			t.Errorf("closed: got %q, %t", got, ok)
		}
	}
}

func TestConcurrent(t *testing.T) {
	table := open(t, excerpt)
	want := expected(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for m, vendor := range want {
				if got, _ := table.Lookup(m); got != vendor {
					t.Errorf("%s: got %q, want %q", m, got, vendor)
				}
			}
		})
	}
	wg.Wait()
}

// sealed gives b the checksum of its bytes, as an attacker would.
func sealed(b []byte) []byte {
	binary.BigEndian.PutUint32(b[sumAt:], crc32.ChecksumIEEE(b[sumFrom:]))
	return b
}

func TestOpenDamaged(t *testing.T) {
	good, err := os.ReadFile(excerpt)
	if err != nil {
		t.Fatal(err)
	}
	changed := func(at int, with ...byte) []byte {
		b := append([]byte(nil), good...)
		copy(b[at:], with)
		return b
	}
	for _, tt := range []struct {
		name string
		file []byte
		want error
	}{
		{"empty", nil, ErrDamaged},
		{"magic only", good[:8], ErrDamaged},
		{"half a header", good[:40], ErrDamaged},
		{"header only", good[:headSize], ErrDamaged},
		{"short by a page", good[:len(good)-pageSize], ErrDamaged},
		{"short by a byte", good[:len(good)-1], ErrDamaged},
		{"long", append(changed(0), 0), ErrDamaged},
		{"text", []byte("Registry,Assignment,Organization Name"), ErrFormat},
		{"newer", changed(8, 0, 2), ErrVersion},
		{"version 0", changed(8, 0, 0), ErrDamaged},
		{"header size", changed(10, 0, 65), ErrDamaged},
		{"checksum", changed(12, 1, 2, 3, 4), ErrDamaged},
		{"last byte", changed(len(good)-1, good[len(good)-1]+1), ErrDamaged},
		{"pages", sealed(changed(40, 0xff, 0xff)), ErrDamaged},
		{"symbols", sealed(changed(42, 0xff, 0xff)), ErrDamaged},
		{"dictionary", sealed(changed(44, 0xff, 0xff)), ErrDamaged},
		{"blocks", sealed(changed(24, 0xff, 0xff)), ErrDamaged},
		{"code lengths", sealed(changed(headSize, 0, 3)), ErrDamaged},
		{"symbol length", sealed(changed(headSize+32, 0x7f, 0x7f, 0x7f)), ErrDamaged},
	} {
		table, err := Open(write(t, tt.file))
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
		_ = table.Close()
	}
	if _, err := Open(t.TempDir()); !errors.Is(err, ErrFormat) {
		t.Errorf("a folder: got %v, want %v", err, ErrFormat)
	}
}

const shipped = "../../openwrt-package/netpilot-oui/files/oui"

// macOf is an address of which keyOf makes k.
func macOf(k uint64) usage.MAC {
	return usage.MAC{byte(k >> 28 << 2), byte(k >> 20), byte(k >> 12), byte(k >> 4), byte(k << 4), 1}
}

// everyPage answers the first block of each page, in their order.
func everyPage(t *Table) (vendors []string) {
	for n := range t.head.pages {
		vendor, _ := t.Lookup(macOf(keyAt(t.index[n*keySize:])))
		vendors = append(vendors, vendor)
	}
	return vendors
}

func answered(vendors []string) (n int) {
	for _, vendor := range vendors {
		if vendor != "" {
			n++
		}
	}
	return n
}

// copied is the shipped table in a file of the test's own, opened, and what its
// pages answer.
func copied(t *testing.T) (file []byte, path string, table *Table, want []string) {
	t.Helper()
	file, err := os.ReadFile(shipped)
	if err != nil {
		t.Fatal(err)
	}
	path = write(t, file)
	table = open(t, path)
	if want = everyPage(table); len(want) < 100 || slices.Contains(want, "") {
		t.Fatalf("got %d pages, %d with a vendor, want all", len(want), answered(want))
	}
	return file, path, table, want
}

// A file cut short while open, as by a full flash, answers "": beyond its end
// the kernel raises SIGBUS, or the bytes read as zeros.
func TestShrinks(t *testing.T) {
	file, path, table, want := copied(t)
	last := len(bytes.TrimRight(file, "\x00"))
	for _, size := range []int{last - 1, len(file) / 2, headSize, 0} {
		if err := os.Truncate(path, int64(size)); err != nil {
			t.Fatal(err)
		}
		if got := answered(everyPage(table)); got != 0 {
			t.Errorf("cut to %d of %d bytes: got a vendor on %d pages, want none", size, len(file), got)
		}
	}
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := everyPage(table); !slices.Equal(got, want) {
		t.Errorf("whole again: got a vendor on %d of %d pages", answered(got), len(want))
	}
}

// A table written over while open answers "": its index is another's.
func TestWrittenOver(t *testing.T) {
	file, path, table, _ := copied(t)
	binary.BigEndian.PutUint64(file[16:], 1)
	if err := os.WriteFile(path, sealed(file), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := answered(everyPage(table)); got != 0 {
		t.Errorf("got a vendor on %d pages, want none", got)
	}
}

// A table replaced while open, as a package manager does, stays readable.
func TestReplaced(t *testing.T) {
	_, path, table, want := copied(t)
	other, err := Build([]Block{{usage.MAC{0, 0, 12}, 24, "Other"}}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(write(t, other), path); err != nil {
		t.Fatal(err)
	}
	if got := everyPage(table); !slices.Equal(got, want) {
		t.Errorf("got a vendor on %d of %d pages, or another", answered(got), len(want))
	}
	if got, _ := open(t, path).Lookup(usage.MAC{0, 0, 12, 1, 2, 3}); got != "Other" {
		t.Errorf("opened again: got %q, want Other", got)
	}
}

// TestResident logs what looking up 250 devices adds to the process's resident
// memory: pages of the file, which the kernel drops when it needs room, and
// none of its own.
func TestResident(t *testing.T) {
	file, err := os.ReadFile(shipped)
	if err != nil {
		t.Fatal(err)
	}
	path := write(t, file)
	table := open(t, path)
	rng := rand.New(rand.NewPCG(3, 4))
	for range 250 {
		m := macOf(keyAt(table.index[rng.IntN(table.head.pages)*keySize:]))
		if _, ok := table.Lookup(m); !ok {
			t.Fatalf("%s: got no vendor", m)
		}
	}
	maps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Skip("needs the kernel's list of mappings:", err)
	}
	_, mapping, found := bytes.Cut(maps, []byte(path+"\n"))
	if !found {
		t.Fatalf("%s is not mapped", path)
	}
	for line := range bytes.Lines(mapping) {
		if rss, ok := bytes.CutPrefix(line, []byte("Rss:")); ok {
			t.Logf("resident: %s", bytes.TrimSpace(rss))
		}
		if anonymous, ok := bytes.CutPrefix(line, []byte("Anonymous:")); ok {
			if got := string(bytes.TrimSpace(anonymous)); got != "0 kB" {
				t.Errorf("got %s of memory of its own, want 0 kB", got)
			}
			return
		}
	}
	t.Error("no Anonymous line")
}

func TestLookupNoAlloc(t *testing.T) {
	table := open(t, excerpt)
	var macs []usage.MAC
	for m, vendor := range expected(t) {
		// A name beyond ASCII is checked at the price of one.
		if strings.IndexFunc(vendor, func(r rune) bool { return r > 0x7e }) < 0 {
			macs = append(macs, m)
		}
	}
	buf := make([]byte, 0, usage.MaxName)
	if n := testing.AllocsPerRun(100, func() {
		for _, m := range macs {
			_, _ = table.Append(buf, m)
		}
	}); n != 0 {
		t.Errorf("Append: got %v allocations, want none", n)
	}
	var vendor string
	if n := testing.AllocsPerRun(100, func() { vendor, _ = table.Lookup(mac(t, "00:00:0c:01:02:03")) }); n > 1 {
		t.Errorf("Lookup: got %v allocations for %q, want its string", n, vendor)
	}
}

// Whatever the file, nothing panics and no vendor is unsafe to show. The file
// is sealed, or the checksum would hide what lies behind it.
func FuzzOpen(f *testing.F) {
	small, err := Build([]Block{
		{usage.MAC{0, 0, 12}, 24, "Cisco Systems"}, {usage.MAC{0, 0x50, 0xc2, 0x7d, 0x50}, 36, "DEUTA-WERKE"},
		{usage.MAC{0x74, 0x1a, 0xe0, 0x90}, 28, "Ünal"}, {usage.MAC{0xfc}, 24, "Cisco Systems"},
	}, time.Unix(1, 0))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(small, []byte{0, 0, 12, 1, 2, 3})
	f.Add(small, []byte{0x74, 0x1a, 0xe0, 0x90, 0, 0})
	f.Add(small[:headSize], []byte{0, 0x50, 0xc2, 0x7d, 0x5f, 0xff})
	path := filepath.Join(f.TempDir(), "oui")
	f.Fuzz(func(t *testing.T, file, address []byte) {
		if len(file) > sumFrom {
			file = sealed(append([]byte(nil), file...))
		}
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		table, err := Open(path)
		if err != nil {
			if !errors.Is(err, ErrFormat) && !errors.Is(err, ErrVersion) && !errors.Is(err, ErrDamaged) {
				t.Fatalf("got %v, want one of the package's errors", err)
			}
			return
		}
		defer table.Close()
		ask := func(m usage.MAC) {
			got, ok := table.Lookup(m)
			if ok != (got != "") || got != usage.Clean(got, usage.MaxName) {
				t.Fatalf("%s: got %q, %t", m, got, ok)
			}
		}
		var m usage.MAC
		copy(m[:], address)
		ask(m)
		for n := range table.head.pages {
			key := keyAt(table.index[n*keySize:])
			for i := range uint64(64) {
				ask(macOf(key + i*i*256))
			}
		}
	})
}

func BenchmarkLookup(b *testing.B) {
	table := open(b, excerpt)
	for _, s := range []string{"00:00:0c:01:02:03", "fe:00:00:00:00:01"} {
		m := mac(b, s)
		vendor, _ := table.Lookup(m)
		b.Run(fmt.Sprintf("%q", vendor), func(b *testing.B) {
			b.ReportAllocs()
			var buf [usage.MaxName]byte
			for b.Loop() {
				_, _ = table.Append(buf[:0], m)
			}
		})
	}
}

// BenchmarkLookupAnywhere: random MACs with a vendor, of the whole registry as it is shipped,
// each on another page of the file than the one before.
func BenchmarkLookupAnywhere(b *testing.B) {
	table := open(b, shipped)
	rng := rand.New(rand.NewPCG(1, 2))
	macs := make([]usage.MAC, 0, 4096)
	for len(macs) < cap(macs) {
		m := macOf(keyAt(table.index[rng.IntN(table.head.pages)*keySize:]) + rng.Uint64N(1<<16))
		if _, ok := table.Lookup(m); ok {
			macs = append(macs, m)
		}
	}
	b.ReportAllocs()
	var buf [usage.MaxName]byte
	i := 0
	for b.Loop() {
		_, _ = table.Append(buf[:0], macs[i%len(macs)])
		i++
	}
}

func BenchmarkOpen(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		table, err := Open(excerpt)
		if err != nil {
			b.Fatal(err)
		}
		_ = table.Close()
	}
}
