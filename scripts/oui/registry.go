package main

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/netpilot/netpilot/pkg/oui"
	"github.com/netpilot/netpilot/pkg/usage"
)

// row is one registration as the IEEE publishes it.
type row struct {
	prefix usage.MAC
	bits   int
	owner  string // as written
}

// file is one of the registry's files.
type file struct {
	name    string
	rows    []row
	private int // registrations whose owner is not told
	bad     int // lines that are no registration
}

type registry struct{ files []file }

// readRegistry reads the files of Debian's ieee-data in dir. Only iab.csv may
// be absent: its registry is closed since 2014, and Debian may drop it.
func readRegistry(dir string) (*registry, error) {
	var reg registry
	for _, part := range []struct {
		name, registry string
		bits           int
	}{{"oui.csv", "MA-L", 24}, {"mam.csv", "MA-M", 28}, {"oui36.csv", "MA-S", 36}, {"iab.csv", "IAB", 36}} {
		text, err := os.ReadFile(filepath.Join(dir, part.name))
		if errors.Is(err, fs.ErrNotExist) && part.registry == "IAB" {
			continue
		} else if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w; try: apt-get install ieee-data", err)
		} else if err != nil {
			return nil, err
		}
		f := readCSV(text, part.registry, part.bits)
		if f.name = part.name; len(f.rows) == 0 {
			return nil, fmt.Errorf("%s holds no %s registration; try: apt-get install --reinstall ieee-data", filepath.Join(dir, part.name), part.registry)
		}
		reg.files = append(reg.files, f)
	}
	return &reg, nil
}

// readCSV takes registrations of four columns: registry, assignment in
// hexadecimal, organization, address (RFC 4180, quoted where needed).
func readCSV(text []byte, registry string, bits int) file {
	var f file
	r := csv.NewReader(bytes.NewReader(text))
	r.FieldsPerRecord, r.LazyQuotes, r.ReuseRecord = -1, true, true
	for first := true; ; first = false {
		rec, err := r.Read()
		if errors.Is(err, io.EOF) {
			return f
		}
		if first && err == nil && len(rec) > 0 && strings.HasSuffix(rec[0], "Registry") {
			continue
		}
		if err != nil || len(rec) < 3 || rec[0] != registry || len(rec[1]) != bits/4 {
			f.bad++
			continue
		}
		one := row{bits: bits, owner: strings.Clone(rec[2])}
		digits := rec[1] + strings.Repeat("0", 12-len(rec[1]))
		if _, err := hex.Decode(one.prefix[:], []byte(digits)); err != nil {
			f.bad++
			continue
		}
		if !named(one.owner) {
			f.private++
		}
		f.rows = append(f.rows, one)
	}
}

// named tells whether owner is a vendor: neither hidden nor the IEEE itself,
// which holds the large blocks it hands out in smaller ones.
func named(owner string) bool {
	owner = strings.TrimSpace(owner)
	return owner != "" && !strings.EqualFold(owner, "Private") && owner != "IEEE Registration Authority"
}

// blocks makes the registrations a table's blocks: of several for one block the
// first counts, and spellings of one name that differ in case and punctuation
// become the most used of them.
func (reg *registry) blocks() []oui.Block {
	var out []oui.Block
	seen := make(map[oui.Block]bool)
	count := make(map[string]int)
	for _, f := range reg.files {
		for _, r := range f.rows {
			b := oui.Block{Prefix: r.prefix, Bits: r.bits}
			// Group and locally administered prefixes of before the standard
			// are not told apart from random addresses.
			if seen[b] || r.prefix[0]&0x03 != 0 {
				continue
			}
			seen[b] = true
			if named(r.owner) {
				b.Vendor = shorten(r.owner)
				count[b.Vendor]++
			}
			out = append(out, b)
		}
	}
	best := make(map[string]string)
	spellings := slices.SortedFunc(maps.Keys(count), func(a, b string) int {
		// Of equally used ones, lower case sorts last and reads best.
		return cmp.Or(cmp.Compare(count[b], count[a]), strings.Compare(b, a))
	})
	for _, name := range spellings {
		if _, ok := best[fold(name)]; !ok {
			best[fold(name)] = name
		}
	}
	for i, b := range out {
		if b.Vendor != "" {
			out[i].Vendor = best[fold(b.Vendor)]
		}
	}
	return out
}
