package truth

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/netpilot/netpilot/pkg/uci"
)

// Root is the directory under which the router's files lie.
type Root string

// maxRead bounds a file: /proc/net/route of a router with a thousand routes
// has 128 KiB.
const maxRead = 256 << 10

// Path is the router's path below the root.
func (r Root) Path(path string) string { return filepath.Join(string(r), path) }

// Read reads a file of at most maxRead bytes; more is cut off. A pipe or a
// device that has nothing to say is not waited for.
func (r Root) Read(path string) (string, error) {
	f, err := os.OpenFile(r.Path(path), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", err // names the path
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("read %s: not a file", f.Name())
	}
	text, err := io.ReadAll(io.LimitReader(f, maxRead))
	if err != nil {
		return "", fmt.Errorf("read %s: %w", f.Name(), err)
	}
	return string(text), nil
}

// Optional is Read of a file that need not be there.
func (r Root) Optional(path string) (text string, there bool, err error) {
	text, err = r.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	return text, err == nil, err
}

// Number reads a file that holds one number.
func (r Root) Number(path string) (n int64, there bool, err error) {
	text, there, err := r.Optional(path)
	if !there {
		return 0, false, err
	}
	n, err = strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil {
		return 0, false, fmt.Errorf("read %s: %w", r.Path(path), err)
	}
	return n, true, nil
}

// Exists tells whether something is there.
func (r Root) Exists(path string) bool {
	_, err := os.Stat(r.Path(path))
	return err == nil
}

// UCI reads a configuration file; one that is absent is empty.
func (r Root) UCI(path string) (*uci.File, error) {
	text, there, err := r.Optional(path)
	if !there {
		return &uci.File{Name: path}, err
	}
	return uci.Parse(strings.NewReader(text), r.Path(path))
}

// PIDs are the processes of that name.
func (r Root) PIDs(name string) ([]int, error) {
	entries, err := os.ReadDir(r.Path("/proc"))
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		comm, err := r.Read("/proc/" + e.Name() + "/comm")
		if err == nil && strings.TrimSpace(comm) == name {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// unsigned is Number for a counter.
func (r Root) unsigned(path string) (n uint64, there bool, err error) {
	text, there, err := r.Optional(path)
	if !there {
		return 0, false, err
	}
	n, err = strconv.ParseUint(strings.TrimSpace(text), 10, 64)
	if err != nil {
		return 0, false, fmt.Errorf("read %s: %w", r.Path(path), err)
	}
	return n, true, nil
}

// bridges tells whether all of the devices are bridges.
func (r Root) bridges(devices []string) bool {
	for _, dev := range devices {
		if !r.Exists("/sys/class/net/" + dev + "/bridge") {
			return false
		}
	}
	return true
}
