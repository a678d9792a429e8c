package limit

import (
	"sync"
	"testing"
	"time"
)

var start = time.Unix(1_795_000_000, 0)

func TestTake(t *testing.T) {
	table := New[string](2, 3, 10)
	for i := range 3 {
		if wait := table.Take("a", start); wait != 0 {
			t.Errorf("take %d: got wait %v, want none", i, wait)
		}
	}
	for range 2 { // a refusal costs nothing
		if wait := table.Take("a", start); wait != 500*time.Millisecond {
			t.Errorf("got wait %v, want 500ms", wait)
		}
	}
	if wait := table.Wait("a", start.Add(100*time.Millisecond)); wait.Round(time.Millisecond) != 400*time.Millisecond {
		t.Errorf("got wait %v, want 400ms", wait)
	}
	if wait := table.Take("b", start); wait != 0 {
		t.Errorf("another party waits %v", wait)
	}
	if wait := table.Take("a", start.Add(500*time.Millisecond)); wait != 0 {
		t.Errorf("after the wait: got %v more", wait)
	}
}

func TestBounded(t *testing.T) {
	table := New[int](1, 2, 100)
	for range 2 { // keeps its place, as long as others need none
		table.Take(0, start)
	}
	for i := range 99 {
		table.Take(i+1, start.Add(-time.Hour)) // full again at the start
	}
	table.Take(100, start)
	if len(table.buckets) != 2 || table.Wait(0, start) == 0 {
		t.Errorf("got %d buckets, want the party that has to wait and the new one", len(table.buckets))
	}
	for i := range 10_000 {
		table.Take(1000+i, start)
	}
	if len(table.buckets) > 100 {
		t.Errorf("got %d buckets, want at most 100", len(table.buckets))
	}
}

func TestNoLimit(t *testing.T) {
	table := New[int](0, 0, 1)
	for i := range 1000 {
		if wait := table.Take(i, start); wait != 0 {
			t.Fatalf("got wait %v, want none", wait)
		}
	}
}

func TestConcurrent(t *testing.T) {
	table := New[int](1, 50, 4)
	var wg sync.WaitGroup
	var mu sync.Mutex
	taken := 0
	for range 100 {
		wg.Go(func() {
			if table.Take(7, start) == 0 {
				mu.Lock()
				defer mu.Unlock()
				taken++
			}
		})
	}
	wg.Wait()
	if taken != 50 {
		t.Errorf("got %d tokens, want 50", taken)
	}
}

func TestNetwork(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:80":               "192.0.2.1/32",
		"[::ffff:192.0.2.1]:80":      "192.0.2.1/32",
		"[2001:db8::1]:80":           "2001:db8::/64",
		"[2001:db8::ffff:0:0:0]:443": "2001:db8::/64",
		"[fe80::1%eth0]:80":          "fe80::/64",
		"pipe":                       "invalid Prefix",
		"":                           "invalid Prefix",
	} {
		if got := Network(remote).String(); got != want {
			t.Errorf("Network(%q): got %s, want %s", remote, got, want)
		}
	}
}
