package sorting

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
)

type row struct{ key, at int }

func byKey(a, b row) int { return cmp.Compare(a.key, b.key) }

// TestAsSlices: the results are those of the standard library.
func TestAsSlices(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 300 {
		rows := make([]row, n)
		for i := range rows {
			rows[i] = row{r.IntN(n/3 + 1), i}
		}
		want := slices.Clone(rows)
		slices.SortStableFunc(want, byKey)
		got := slices.Clone(rows)
		Stable(got, byKey)
		if !slices.Equal(got, want) {
			t.Fatalf("Stable of %v: got %v, want %v", rows, got, want)
		}
		Func(rows, byKey)
		if !slices.IsSortedFunc(rows, byKey) {
			t.Fatalf("Func left %v", rows)
		}
	}
}

// TestKeys: all keys, in order.
func TestKeys(t *testing.T) {
	m := map[int]string{3: "c", 1: "a", 2: "b"}
	if got := Keys(m, cmp.Compare[int]); !slices.Equal(got, []int{1, 2, 3}) {
		t.Errorf("got %v", got)
	}
	if got := Keys(map[int]bool(nil), cmp.Compare[int]); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}
