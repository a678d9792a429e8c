package nlbwmon_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/nlbwmon/nlbwmontest"
	"github.com/netpilot/netpilot/pkg/usage"
)

var sizes = []int{10, 1_000, 10_000, 100_000}

func generated(b *testing.B, n int) []byte {
	b.Helper()
	var out bytes.Buffer
	if err := nlbwmon.Encode(&out, nlbwmontest.MonthlyHeader(20261101), nlbwmon.OrderGuess, nlbwmontest.Generate(n, 1)); err != nil {
		b.Fatal(err)
	}
	return out.Bytes()
}

func compressed(b *testing.B, data []byte) []byte {
	b.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(data); err != nil {
		b.Fatal(err)
	}
	if err := z.Close(); err != nil {
		b.Fatal(err)
	}
	return out.Bytes()
}

func BenchmarkDecode(b *testing.B) {
	for _, n := range sizes {
		plain := generated(b, n)
		for name, data := range map[string][]byte{"plain": plain, "gz": compressed(b, plain)} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(len(plain)))
				var r bytes.Reader
				for b.Loop() {
					r.Reset(data)
					d, err := nlbwmon.NewDecoder(&r, nlbwmon.OrderGuess)
					if err != nil {
						b.Fatal(err)
					}
					if err := readAll(d); err != io.EOF {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkSnapshot(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "0.db")
			if err := os.WriteFile(path, generated(b, n), 0o600); err != nil {
				b.Fatal(err)
			}
			// Written long enough ago, so that no pause is made.
			old := time.Now().Add(-time.Minute)
			if err := os.Chtimes(path, old, old); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := nlbwmon.ReadSnapshot(path, nlbwmon.OrderGuess, nil, func(*usage.Record) {}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkDump includes the simulated daemon's side: one write per row.
func BenchmarkDump(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c, _ := start(b, nlbwmontest.Options{}, nlbwmontest.Generate(n, 1))
			c.Timeout = time.Minute
			b.ReportAllocs()
			for b.Loop() {
				if h, err := c.Dump(b.Context(), 0, nil, func(*usage.Record) {}); err != nil || int(h.Entries) != n {
					b.Fatal(h, err)
				}
			}
		})
	}
}

func BenchmarkText(b *testing.B) {
	for _, name := range []string{"json", "csv"} {
		data := load(b, recordings+"/records-10000/nlbw-musl/"+name+".out")
		b.Run(name+"/10000", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				src, err := openText(b, name, data)
				if err != nil {
					b.Fatal(err)
				}
				if err := readAll(src); err != io.EOF {
					b.Fatal(err)
				}
			}
		})
	}
}
