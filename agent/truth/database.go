package truth

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/netpilot/netpilot/agent/config"
	"github.com/netpilot/netpilot/pkg/nlbwmon"
)

// snapshotHeader is the head of nlbwmon's live table, false if there is none
// to read; sources say why.
func (r *Router) snapshotHeader() (nlbwmon.Header, bool) {
	f, err := nlbwmon.OpenFile(r.Source.SnapshotPath, nlbwmon.OrderGuess)
	if err != nil {
		return nlbwmon.Header{}, false
	}
	defer f.Close()
	return f.Header(), true
}

// maxLimit is as far as --fix raises database_limit: 40,000 rows are 3 MB of
// nlbwmon's memory.
const maxLimit = 40_000

// checkTable compares nlbwmon's table with its limit.
func checkTable(_ context.Context, r *Router) ([]Finding, error) {
	set, err := config.ReadNlbwmon(string(r.Root))
	if err != nil {
		return nil, err
	}
	h, ok := r.snapshotHeader()
	if !ok || set.DatabaseLimit == 0 || int(h.Entries) < set.DatabaseLimit {
		return nil, nil
	}
	f := Finding{ID: "table-full", Severity: Error, skews: true,
		Text:     "nlbwmon's table is full: it overwrites its oldest rows, and totals of devices go down",
		Evidence: sprintf("%d rows in %s, database_limit %d", h.Entries, r.Source.SnapshotPath, set.DatabaseLimit),
		Cure:     sprintf("option database_limit '%d' in /etc/config/nlbwmon (72 bytes of memory a row); service nlbwmon restart", 2*set.DatabaseLimit)}
	if larger := min(2*set.DatabaseLimit, maxLimit); larger > set.DatabaseLimit {
		f.fix = &fix{Services: []serviceRun{{"nlbwmon", "restart", "restart"}}}
		f.fix.set(r, nlbwmonConfig, "nlbwmon", "database_limit", strconv.Itoa(larger))
	}
	return []Finding{f}, nil
}

// checkInterval compares the accounting period as configured with the one
// nlbwmon runs by.
func checkInterval(_ context.Context, r *Router) ([]Finding, error) {
	set, err := config.ReadNlbwmon(string(r.Root))
	if err != nil {
		return nil, err
	}
	want, err := nlbwmon.ParseInterval(set.DatabaseInterval, r.Source.Location)
	if err != nil {
		f := Finding{ID: "period-interval", Severity: Error, Text: "nlbwmon cannot read its accounting period and does not start with it",
			Evidence: sprintf("database_interval %q: %v", set.DatabaseInterval, err),
			Cure:     "option database_interval '1' in /etc/config/nlbwmon, or the day on which a month begins; service nlbwmon restart",
			fix:      &fix{Services: []serviceRun{{"nlbwmon", "restart", "restart"}}}}
		f.fix.set(r, nlbwmonConfig, "nlbwmon", "database_interval", "1")
		return []Finding{f}, nil
	}
	if h, ok := r.snapshotHeader(); ok && r.Root.Exists(nlbwmonConfig) && h.Interval != want {
		return []Finding{{ID: "period-interval", Severity: Warning, Text: "nlbwmon counts by another period than it is configured for: it was not restarted since",
			Evidence: sprintf("interval %s in %s, database_interval %q", h.Interval, r.Source.SnapshotPath, set.DatabaseInterval),
			Cure:     "service nlbwmon restart (the running period's counters go on in the file of the new one)", Undo: "nothing to undo",
			fix: &fix{Services: []serviceRun{{"nlbwmon", "restart", ""}}}}}, nil
	}
	if want.Type == nlbwmon.IntervalMonthly && want.Value > 28 {
		return []Finding{{ID: "period-interval", Severity: Note, Text: "not every month has that day: nlbwmon then names periods by dates that do not exist",
			Evidence: sprintf("database_interval %q", set.DatabaseInterval), Cure: "a day from 1 to 28, or -1 for the month's end"}}, nil
	}
	return nil, nil
}

// mount is a file system the kernel has mounted.
type mount struct{ at, kind string }

// mountOf is the mount a path lies on, by the table alone: the path's links
// are resolved below the root.
func (r *Router) mountOf(path string) (mount, error) {
	text, err := r.Root.Read("/proc/mounts")
	if err != nil {
		return mount{}, err
	}
	path = r.Root.resolve(path)
	var best mount
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 3 {
			continue
		}
		at := strings.ReplaceAll(f[1], `\040`, " ")
		if (path == at || at == "/" || strings.HasPrefix(path, at+"/")) && len(at) >= len(best.at) {
			best = mount{at, f[2]}
		}
	}
	return best, nil
}

// resolve follows links below the root, as far as the path exists: /var is
// one to /tmp on OpenWrt.
func (r Root) resolve(path string) string {
	path = filepath.Clean("/" + path)
	for range 16 {
		prefix, changed := "", false
		parts := strings.Split(path, "/")
		for i := 1; i < len(parts); i++ {
			prefix += "/" + parts[i]
			to, err := os.Readlink(r.Path(prefix))
			if err != nil {
				continue
			}
			if !filepath.IsAbs(to) {
				to = filepath.Join(filepath.Dir(prefix), to)
			}
			path, changed = filepath.Join(append([]string{to}, parts[i+1:]...)...), true
			break
		}
		if !changed {
			return path
		}
	}
	return path
}

// checkDatabase looks at the directory nlbwmon saves in.
func checkDatabase(_ context.Context, r *Router) ([]Finding, error) {
	set, err := config.ReadNlbwmon(string(r.Root))
	if err != nil {
		return nil, err
	}
	var found []Finding
	stale, err := r.staleFiles(set.DatabaseDirectory)
	if err != nil {
		return nil, err
	}
	if len(stale) > 0 {
		fix := &fix{Services: []serviceRun{{"nlbwmon", "restart", "restart"}}}
		for _, path := range stale {
			fix.rename(path, path+".stale")
		}
		found = append(found, Finding{ID: "stale-gz", Severity: Error, skews: true, fix: fix,
			Text:     "an old compressed file lies beside the current one of the same period: nlbwmon reads the old one at its next start",
			Evidence: sprintf("%s is older than the same without .gz", strings.Join(stale, ", ")),
			Cure:     sprintf("mv %s %s.stale; service nlbwmon restart", stale[0], stale[0])})
	}
	on, err := r.mountOf(set.DatabaseDirectory)
	if err == nil && (on.kind == "tmpfs" || on.kind == "ramfs") {
		found = append(found, Finding{ID: "database-ram", Severity: Note,
			Text:     "nlbwmon saves in memory: a reboot takes its counters of this period with it (netpilot's own history stays)",
			Evidence: sprintf("%s is on %s at %s", set.DatabaseDirectory, on.kind, on.at),
			Cure:     "option database_directory in /etc/config/nlbwmon to a disk (not automated: flash wears out; a USB disk is best)"})
	}
	return found, err
}

// maxFiles bounds the files looked at in a directory.
const maxFiles = 1000

// staleFiles are the compressed files beside a newer plain one.
func (r *Router) staleFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(r.Root.Path(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // nlbwmon makes it when it first saves
	}
	if err != nil {
		return nil, err
	}
	written := make(map[string]time.Time)
	for _, e := range entries[:min(len(entries), maxFiles)] {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			written[e.Name()] = info.ModTime()
		}
	}
	var stale []string
	for name, at := range written {
		plain, isGz := strings.CutSuffix(name, ".gz")
		if _, err := strconv.ParseUint(strings.TrimSuffix(plain, ".db"), 10, 32); !isGz || err != nil || !strings.HasSuffix(plain, ".db") {
			continue
		}
		if newer, ok := written[plain]; ok && newer.After(at) {
			stale = append(stale, filepath.Join(dir, name))
		}
	}
	slices.Sort(stale)
	return stale, nil
}

// leastFree is the room below which a file system is full: nlbwmon's table at
// its default limit has 720 kB, and an interrupted save takes its file with it.
const leastFree = 1 << 20

// checkDisk looks for file systems without room for what is written to them.
func checkDisk(_ context.Context, r *Router) ([]Finding, error) {
	if r.Kernel == nil {
		return nil, nil
	}
	set, _ := config.ReadNlbwmon(string(r.Root))
	var found []Finding
	var errs []error
	for _, place := range []struct{ path, what string }{
		{set.DatabaseDirectory, "nlbwmon's database"}, {"/tmp", "nlbwmon's live table and netpilot's history"}, {"/etc", "the configuration and netpilot's copy of the history"},
	} {
		path := place.path
		for !r.Root.Exists(path) && path != "/" {
			path = filepath.Dir(path)
		}
		free, size, err := r.Kernel.Space(r.Root.Path(path))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		// A read-only image has no room by nature.
		if free >= leastFree || size == 0 {
			continue
		}
		text := fmt.Sprintf("no room for %s: what is counted cannot be saved", place.what)
		if len(found) > 0 {
			found[0].Evidence += sprintf("; %d of %d bytes free at %s", free, size, place.path)
			continue
		}
		found = append(found, Finding{ID: "disk-full", Severity: Error, Text: text,
			Evidence: sprintf("%d of %d bytes free at %s", free, size, place.path),
			Cure:     "df -h; delete what is not needed (not automated: only you know what that is)"})
	}
	return found, errors.Join(errs...)
}
