package ledger_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/netpilot/netpilot/agent/checksum"
	"github.com/netpilot/netpilot/agent/ledger"
	"github.com/netpilot/netpilot/pkg/nlbwmon/nlbwmontest"
)

func someState(t testing.TB, rows int) []byte {
	t.Helper()
	l := ledger.New(ledger.Options{})
	fill(l, nlbwmontest.Generate(rows, 1))
	if _, err := l.Observe(at(100, oct), dir{nov: nil, dec: nil}); err != nil {
		t.Fatal(err)
	}
	return l.State(nil)
}

// sealed is a state with its checksum made right.
func sealed(b []byte) []byte {
	if len(b) < 4 {
		return b
	}
	b = bytes.Clone(b)
	binary.BigEndian.PutUint32(b[len(b)-4:], checksum.Of(b[:len(b)-4]))
	return b
}

func TestStateRoundTrip(t *testing.T) {
	for _, rows := range []int{0, 1, 300} {
		state := someState(t, rows)
		l, err := ledger.Restore(state, ledger.Options{})
		if err != nil {
			t.Fatalf("%d rows: %v", rows, err)
		}
		if again := l.State(nil); !bytes.Equal(again, state) {
			t.Errorf("%d rows: the state changed by being restored", rows)
		}
	}
	if _, err := ledger.Restore(ledger.New(ledger.Options{}).State(nil), ledger.Options{}); err != nil {
		t.Errorf("the state of a new ledger: %v", err)
	}
}

func TestStateDamaged(t *testing.T) {
	state := someState(t, 5)
	for n := range state {
		if _, err := ledger.Restore(state[:n], ledger.Options{}); !errors.Is(err, ledger.ErrState) {
			t.Fatalf("cut to %d bytes: got %v, want ErrState", n, err)
		}
		for bit := range 8 {
			b := bytes.Clone(state)
			b[n] ^= 1 << bit
			if _, err := ledger.Restore(b, ledger.Options{}); !errors.Is(err, ledger.ErrState) {
				t.Fatalf("bit %d of byte %d flipped: got %v, want ErrState", bit, n, err)
			}
		}
	}
	twice := bytes.Clone(state)
	copy(twice[len(twice)-4-66:], twice[len(twice)-4-2*66:len(twice)-4-66])
	if _, err := ledger.Restore(sealed(twice), ledger.Options{}); !errors.Is(err, ledger.ErrState) {
		t.Errorf("a row twice: got %v, want ErrState", err)
	}
	if _, err := ledger.Restore(state, ledger.Options{MaxRows: 4}); !errors.Is(err, ledger.ErrState) {
		t.Errorf("more rows than accepted: got %v, want ErrState", err)
	}
}

// FuzzRestore: what is accepted is kept to the byte, and a look works on it.
func FuzzRestore(f *testing.F) {
	f.Add(someState(f, 0))
	f.Add(someState(f, 3))
	f.Add(ledger.New(ledger.Options{}).State(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		b = sealed(b)
		l, err := ledger.Restore(b, ledger.Options{MaxRows: 1000})
		if err != nil {
			if !errors.Is(err, ledger.ErrState) {
				t.Fatalf("got %v, want ErrState", err)
			}
			return
		}
		if again := l.State(nil); !bytes.Equal(again, b) {
			t.Fatalf("restored %x, kept %x", b, again)
		}
		fill(l, nlbwmontest.Generate(3, 1))
		_, _ = l.Observe(at(1000, nov), dir{oct: nlbwmontest.Generate(2, 1)})
	})
}
