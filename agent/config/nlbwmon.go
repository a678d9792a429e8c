package config

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"time"

	"github.com/netpilot/netpilot/pkg/uci"
	"github.com/netpilot/netpilot/pkg/usage"
)

// NlbwmonPath is nlbwmon's configuration below the root.
const NlbwmonPath = "/etc/config/nlbwmon"

// Nlbwmon is how nlbwmon is set up. The defaults are those of its init script,
// net/nlbwmon/files/nlbwmon.init in OpenWrt's packages feed.
type Nlbwmon struct {
	DatabaseDirectory   string
	DatabaseInterval    string // accounting period: day of the month, or YYYY-MM-DD/DAYS
	DatabaseLimit       int    // entries, 0: no limit
	DatabaseGenerations int    // periods kept, 0: all
	DatabaseCompress    bool   // closed periods are gzipped
	RefreshInterval     time.Duration
	CommitInterval      time.Duration
	ProtocolDatabase    string
	LocalNetworks       []string // subnets and names of UCI networks
}

// ReadNlbwmon reads ROOT/etc/config/nlbwmon. Without the file all is default.
// The result can be used also when there is an error: what could not be read
// has its default.
func ReadNlbwmon(root string) (Nlbwmon, error) {
	n := Nlbwmon{
		DatabaseDirectory:   "/var/lib/nlbwmon",
		DatabaseInterval:    "1",
		DatabaseLimit:       10000,
		DatabaseGenerations: 10,
		DatabaseCompress:    true,
		RefreshInterval:     30 * time.Second,
		CommitInterval:      24 * time.Hour,
		ProtocolDatabase:    "/usr/share/nlbwmon/protocols",
	}
	file, err := uci.Load(filepath.Join(root, NlbwmonPath))
	if errors.Is(err, fs.ErrNotExist) {
		return n, nil
	}
	if err != nil {
		return n, err
	}
	s := file.Section("nlbwmon", "")
	var errs []error
	bad := func(name, accepts string) {
		o := s.Option(name)
		errs = append(errs, &uci.Error{File: file.Name, Line: o.Line,
			Msg: fmt.Sprintf("option %s is %q; nlbwmon takes %s", name, usage.Clean(o.Values[0], 80), accepts)})
	}
	path := func(dst *string, name string) {
		if v, ok := s.Get(name); ok && isPath(v) {
			*dst = v
		} else if ok {
			bad(name, "an absolute path")
		}
	}
	number := func(dst *int, name string) {
		v, ok := s.Get(name)
		if !ok {
			return
		}
		n, err := strconv.ParseUint(v, 10, 31)
		if err != nil {
			bad(name, "a whole number from 0 up")
			return
		}
		*dst = int(n)
	}
	interval := func(dst *time.Duration, name string) {
		v, ok := s.Get(name)
		if !ok {
			return
		}
		d, ok := parseInterval(v)
		if !ok {
			bad(name, "a time like 30s, 10m, 24h, 7d or 1w, up to 24 days")
			return
		}
		*dst = d
	}
	path(&n.DatabaseDirectory, "database_directory")
	path(&n.ProtocolDatabase, "protocol_database")
	number(&n.DatabaseLimit, "database_limit")
	number(&n.DatabaseGenerations, "database_generations")
	interval(&n.RefreshInterval, "refresh_interval")
	interval(&n.CommitInterval, "commit_interval")
	if v, ok := s.Get("database_interval"); ok {
		n.DatabaseInterval = usage.Clean(v, 32)
	}
	if v, ok := s.Get("database_compress"); ok {
		// OpenWrt's config_get_bool takes the default for anything else too.
		if b, ok := uci.ParseBool(v); ok {
			n.DatabaseCompress = b
		}
	}
	n.LocalNetworks = s.List("local_network")
	return n, errors.Join(errs...)
}

// parseInterval reads a time as nlbwmon's parse_timearg does (nlbwmon.c): a
// number and at most one letter that counts. Zero would stop or spin its
// timer, so it is refused.
func parseInterval(s string) (time.Duration, bool) {
	unit := time.Second
	digits := s
	if s == "" {
		return 0, false
	}
	switch s[len(s)-1] {
	case 'w':
		unit = 7 * 24 * time.Hour
	case 'd':
		unit = 24 * time.Hour
	case 'h':
		unit = time.Hour
	case 'm':
		unit = time.Minute
	case 's':
	default:
		digits += "s"
	}
	n, err := strconv.ParseUint(digits[:len(digits)-1], 10, 31)
	const limit = 0x7fffffff * time.Millisecond // its timers count in 32 bits
	if err != nil || n == 0 || time.Duration(n) > limit/unit {
		return 0, false
	}
	return time.Duration(n) * unit, true
}
