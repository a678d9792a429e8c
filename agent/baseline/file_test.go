package baseline

import (
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/netpilot/netpilot/agent/checksum"
	"github.com/netpilot/netpilot/pkg/usage"
)

// home is the baseline of a network with so many rows, 10 for each of its
// hosts.
func home(rows int) *state {
	rnd := rand.New(rand.NewPCG(1, 2))
	at := time.UnixMilli(1_795_000_000_123)
	s := &state{period: 20261101, boot: "5c1ad9a8-7f65-4a02-9a8d-5d6b6c9f5d11", at: at,
		devices: []deviceReset{{usage.MAC{2, 0, 0, 0, 0, 1}, at.Add(time.Hour)}, {usage.MAC{2, 0, 0, 0, 0, 2}, time.Time{}}},
		done:    []done{{"a", at}, {"b", at.Add(time.Hour)}}}
	for i := range rows {
		r := usage.Record{Family: usage.FamilyIPv4, Proto: 6, Port: uint16(i%10*1000 + 80), MAC: usage.MAC{2, 0, 0, 0, byte(i / 2560), byte(i / 10)},
			Conns: rnd.Uint64N(1000), RxBytes: rnd.Uint64N(1 << 32), RxPackets: rnd.Uint64N(1 << 22), TxBytes: rnd.Uint64N(1 << 28), TxPackets: rnd.Uint64N(1 << 20)}
		copy(r.Addr[:], []byte{192, 168, byte(i / 2560), byte(i / 10)})
		if i%20 >= 10 {
			r.Family = usage.FamilyIPv6
			r.Addr = [16]byte{0xfd, 15: byte(i / 10)}
		}
		s.rows = append(s.rows, r)
	}
	slices.SortFunc(s.rows, compare)
	return s
}

func TestFile(t *testing.T) {
	for _, s := range []*state{{}, home(1), home(1000), {rows: []usage.Record{{Family: 77, RxBytes: math.MaxUint64}}}} {
		text := s.encode()
		got, err := decode(text)
		if err != nil || !reflect.DeepEqual(got, s) {
			t.Errorf("got %+v, %v, want %+v", got, err, s)
		}
	}
	if n := len(home(1000).encode()); n > 25_000 {
		t.Errorf("1,000 rows take %d bytes", n)
	}
	if n := len(home(maxRows).encode()); n > maxFile {
		t.Errorf("%d rows take %d bytes, over what is read", maxRows, n)
	}
}

// A file that lost or changed a byte is damaged, never another baseline.
func TestDamagedFile(t *testing.T) {
	text := home(20).encode()
	for i := range text {
		if _, err := decode(text[:i]); !errors.Is(err, errDamaged) {
			t.Fatalf("cut at %d: got %v", i, err)
		}
		b := slices.Clone(text)
		b[i] ^= 0x40
		if _, err := decode(b); !errors.Is(err, errDamaged) {
			t.Fatalf("byte %d changed: got %v", i, err)
		}
	}
	path := filepath.Join(t.TempDir(), "reset")
	if err := os.WriteFile(path, text[:40], 0o600); err != nil {
		t.Fatal(err)
	}
	s := &Store{Path: path}
	if err := s.Load(); !errors.Is(err, errDamaged) || !s.At(nil).IsZero() {
		t.Errorf("got %v, reset at %s", err, s.At(nil))
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(home(3).encode())
	f.Add(new(state).encode())
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 4 { // reach behind the checksum
			body := slices.Clone(text[:len(text)-4])
			text = binary.BigEndian.AppendUint32(body, checksum.Of(body))
		}
		s, err := decode(text)
		if err != nil {
			return
		}
		if got, err := decode(s.encode()); err != nil || !reflect.DeepEqual(got, s) {
			t.Fatalf("got %+v, %v, want %+v", got, err, s)
		}
	})
}
