package ipk

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Entry is a package in the index of a feed.
type Entry struct {
	Control
	Filename  string // below the feed's address
	Size      int64  // bytes of the ipk
	SHA256Sum string // of the ipk, hex
}

// NewEntry describes an ipk that the feed has under the given name.
func NewEntry(filename string, ipk []byte) (Entry, error) {
	p, err := Parse(bytes.NewReader(ipk))
	if err != nil {
		return Entry{}, fmt.Errorf("%s: %w", filename, err)
	}
	sum := sha256.Sum256(ipk)
	return Entry{Control: p.Control, Filename: filename, Size: int64(len(ipk)), SHA256Sum: hex.EncodeToString(sum[:])}, nil
}

// Packages returns the file of that name: a paragraph for each package, sorted
// by file name. It is what usign signs.
func Packages(entries []Entry) ([]byte, error) {
	entries = slices.SortedFunc(slices.Values(entries), func(a, b Entry) int { return cmp.Compare(a.Filename, b.Filename) })
	var b strings.Builder
	for i, e := range entries {
		switch {
		case e.Filename == "" || strings.ContainsFunc(e.Filename, func(r rune) bool { return r <= ' ' || r == 0x7f }):
			return nil, fmt.Errorf("ipk: bad file name %q", e.Filename)
		case i > 0 && e.Filename == entries[i-1].Filename:
			return nil, fmt.Errorf("ipk: %s is there twice", e.Filename)
		case e.Size <= 0 || !isSHA256(e.SHA256Sum):
			return nil, errors.New("ipk: " + e.Filename + " has no size or hash")
		}
		text, err := e.text(fmt.Sprintf("Filename: %s\nSize: %d\nSHA256sum: %s\n", e.Filename, e.Size, e.SHA256Sum))
		if err != nil {
			return nil, err
		}
		b.WriteString(text + "\n")
	}
	return []byte(b.String()), nil
}

// PackagesGz is Packages.gz, the file opkg fetches.
func PackagesGz(packages []byte) ([]byte, error) { return pack(packages) }

// ParsePackages reads a Packages file, uncompressed.
func ParsePackages(text []byte) ([]Entry, error) {
	if len(text) > MaxSize {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrFormat, MaxSize)
	}
	var entries []Entry
	for part := range strings.SplitSeq(string(text), "\n\n") {
		if part == "" {
			continue
		}
		fields, err := parseFields(part)
		if err != nil {
			return nil, err
		}
		e := Entry{Filename: fields["Filename"], SHA256Sum: fields["SHA256sum"]}
		if e.Control, err = parseControl(fields); err != nil {
			return nil, err
		}
		if e.Size, err = parseSize(fields["Size"]); err != nil {
			return nil, err
		}
		if e.Filename == "" || e.Size == 0 || !isSHA256(e.SHA256Sum) {
			return nil, fmt.Errorf("%w: %s has no file name, size or hash", ErrFormat, e.Package)
		}
		entries = append(entries, e)
	}
	return entries, nil
}

func isSHA256(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == sha256.Size && s == strings.ToLower(s)
}
