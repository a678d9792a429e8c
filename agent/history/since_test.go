package history_test

import (
	"context"
	"testing"
	"time"

	"github.com/netpilot/netpilot/agent/history"
	"github.com/netpilot/netpilot/agent/history/faultfs"
	"github.com/netpilot/netpilot/pkg/usage"
)

// TestFollowerReadsNewFilesOnly: who is up to date and asks each minute costs
// the router no walk through all its files.
func TestFollowerReadsNewFilesOnly(t *testing.T) {
	disk := faultfs.New("/ram")
	s := open(t, history.Options{Dir: "/ram", FS: disk})
	now := epoch
	for range 3 * 24 * 12 { // three days of five minutes
		next := now.Add(5 * time.Minute)
		must(t, s.Add(usage.Range{From: now, To: next}, oneRow(1000)))
		must(t, s.Advance(next))
		now = next
	}
	must(t, s.Add(usage.Range{From: now, To: now.Add(time.Minute)}, oneRow(5)))
	must(t, s.Advance(now.Add(time.Minute)))
	newest, changes := history.Cursor(0), 0
	must(t, s.Since(context.Background(), 0, func(c *history.Change) error {
		newest = c.Cursor
		changes++
		return nil
	}))
	files := len(disk.Files("/ram"))
	if changes < 100 || files < 8 {
		t.Fatalf("%d changes in %d files: too few to tell", changes, files)
	}
	opened := map[string]bool{}
	disk.Fault(func(op faultfs.Op) (int, error) {
		if op.Kind == "open" || op.Kind == "read" {
			opened[op.Name] = true
		}
		return 0, nil
	})
	must(t, s.Since(context.Background(), newest, func(c *history.Change) error {
		t.Errorf("got %+v, want nothing new", c)
		return nil
	}))
	pending := 0
	_, err := s.Pending(context.Background(), newest, func(b *usage.Bucket) error {
		pending++
		return nil
	})
	must(t, err)
	if pending != 1 || len(opened) > 1 {
		t.Errorf("%d open buckets, want 1; opened %d of %d files, want at most the newest: %v", pending, len(opened), files, opened)
	}
}
