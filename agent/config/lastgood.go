package config

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/netpilot/netpilot/pkg/atomicfile"
)

// lastGoodPath holds the newest time that the clock and the relay agreed on.
// It lies on flash and is written at most once a day.
const lastGoodPath = "/etc/netpilot/last-good-time"

// LastGood is a time known to have passed, the zero time where none is
// stored. A file that cannot be read only costs that knowledge.
func LastGood(root string) time.Time {
	text, err := readSmall(root, lastGoodPath)
	if err != nil {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, strings.TrimSpace(text))
	if err != nil {
		return time.Time{}
	}
	return t
}

// SaveLastGood stores t.
func SaveLastGood(root string, t time.Time) error {
	path := filepath.Join(root, lastGoodPath)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err // names the path
	}
	return atomicfile.Write(path, []byte(t.UTC().Format(time.RFC3339)+"\n"), 0o600)
}
