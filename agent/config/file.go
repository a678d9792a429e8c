package config

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// maxSmall bounds the small files read here; /etc/openwrt_release, the longest,
// has some 300 bytes.
const maxSmall = 4 << 10

// readSmall reads at most maxSmall bytes of ROOT/path; what is longer is cut.
func readSmall(root, path string) (string, error) {
	f, err := os.Open(filepath.Join(root, path))
	if err != nil {
		return "", err // names the path
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSmall))
	if err != nil {
		return "", fmt.Errorf("read %s: %w", f.Name(), err)
	}
	return string(b), nil
}

// readFirst is the trimmed text of the first of paths that has any, "" if none
// does. Device tree strings end in NUL.
func readFirst(root string, paths ...string) string {
	for _, path := range paths {
		s, err := readSmall(root, path)
		if s = strings.Trim(s, "\x00 \t\r\n"); err == nil && s != "" {
			return s
		}
	}
	return ""
}
