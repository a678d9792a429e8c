package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/netpilot/netpilot/pkg/atomicfile"
)

// LastGoodPath is where the last good time lies below the root, in RFC 3339.
const LastGoodPath = "/etc/netpilot/last-good-time"

// LoadLastGood reads the time that SaveLastGood stored. A file that is absent
// or damaged gives the zero time: certificates are then checked at the build
// date at least.
func LoadLastGood(root string) time.Time {
	text, err := readSmall(root, LastGoodPath)
	if err != nil {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, strings.TrimSpace(text))
	if err != nil {
		return time.Time{}
	}
	return t
}

// SaveLastGood stores a time that is known to have come. It writes to flash.
func SaveLastGood(root string, t time.Time) error {
	path := filepath.Join(root, LastGoodPath)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("save last good time: %w", err)
	}
	return atomicfile.Write(path, []byte(t.UTC().Format(time.RFC3339)+"\n"), 0o600)
}
