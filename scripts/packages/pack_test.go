package main

import (
	"bytes"
	"compress/gzip"
	"io"
	"sync"
	"testing"
)

// TestPackerPacksOnce asks for two contents from many sides at once.
func TestPackerPacksOnce(t *testing.T) {
	p := newPacker()
	contents := [][]byte{bytes.Repeat([]byte("one"), 30_000), bytes.Repeat([]byte("other"), 30_000)}
	got := make([][]byte, 8)
	var wait sync.WaitGroup
	for i := range got {
		wait.Go(func() { got[i] = p.gzip(bytes.Clone(contents[i%2])) })
	}
	wait.Wait()
	for i, b := range got {
		if &b[0] != &got[i%2][0] {
			t.Errorf("%d was packed again", i)
		}
		r, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(r); err != nil || !bytes.Equal(text, contents[i%2]) {
			t.Errorf("%d: %d bytes, %v", i, len(text), err)
		}
	}
	if len(p.made) != 2 {
		t.Errorf("%d were packed, want 2", len(p.made))
	}
}
