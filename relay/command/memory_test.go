package command

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestAtRest(t *testing.T) {
	const mb = 1 << 20
	for _, test := range []struct {
		name        string
		before, now memory
		want        bool
	}{
		{"after a storm", memory{allocated: 1000 * mb}, memory{allocated: 1010 * mb, held: 150 * mb, live: 100 * mb}, true},
		{"still busy", memory{allocated: 1000 * mb}, memory{allocated: 1200 * mb, held: 150 * mb, live: 100 * mb}, false},
		{"nothing to give", memory{allocated: 1000 * mb}, memory{allocated: 1001 * mb, held: 15 * mb, live: 100 * mb}, false},
		{"a small relay", memory{allocated: 10 * mb}, memory{allocated: 10 * mb, held: 4 * mb, live: 8 * mb}, false},
	} {
		if got := test.now.atRest(test.before); got != test.want {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
	}
}

// The runtime still has the figures by these names.
func TestReadMemory(t *testing.T) {
	// The runtime gives no memory back by itself meanwhile, however long that is.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	runtime.GC()
	before := readMemory()
	kept := make([][]byte, 64)
	for i := range kept {
		kept[i] = make([]byte, 1<<20)
	}
	runtime.GC()
	now := readMemory()
	if now.allocated < before.allocated+64<<20 || now.live < before.live+60<<20 {
		t.Errorf("64 MB made %+v of %+v", now, before)
	}
	runtime.KeepAlive(kept)
	runtime.GC()
	if freed := readMemory(); freed.held < now.held+32<<20 {
		t.Errorf("free memory of 64 MB made %+v of %+v", freed, now)
	}
}
