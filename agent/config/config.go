// Package config is what the router's files say about the agent: its own UCI
// options, those of nlbwmon, the facts of the router and the identity it got
// at enrolment. Every path is below a root, "/" but for tests.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"

	"github.com/netpilot/netpilot/pkg/uci"
	"github.com/netpilot/netpilot/pkg/usage"
)

// Path is the agent's configuration below the root.
const Path = "/etc/config/netpilot"

// SectionType and SectionName are those of the one section of that file.
const (
	SectionType = "agent"
	SectionName = "agent"
)

// Access is what the relay may ask for: the owner's word.
type Access string

// The values of option remote_access.
const (
	AccessOff  Access = "off"  // the link is up, every call is refused
	AccessRead Access = "read" // only calls that change nothing
	AccessFull Access = "full"
)

// Config is the checked content of /etc/config/netpilot. Paths in it are not
// yet below the root.
type Config struct {
	Enabled       bool       // the service starts at boot
	RemoteAccess  Access     // what the relay may ask for
	CAFile        string     // PEM file of a private CA, "" for the system's alone
	ClientCert    string     // PEM file of the certificate to show the relay, "" for none
	ClientKey     string     // PEM file of its key
	LogLevel      slog.Level // what is logged
	NlbwmonSocket string
	Snapshot      string // nlbwmon's live database
	Protocols     string // protocol names, "" for the file nlbwmon itself reads

	// These two are for the init script, which gives them to Go's runtime.
	MemoryLimit int // MiB, 0 for a share of the router's RAM
	GOGC        int // percent, 0 for what the init script thinks best

	History History
}

// History is where the router's own history is kept, and for how long.
type History struct {
	Days     int    // hours are kept so long; whole days 400
	Flash    bool   // a copy is kept on flash; else a reboot ends it
	Dir      string // in RAM
	FlashDir string // a directory that survives a reboot and sysupgrade
	KiB      int    // of all its files, in Dir and again in FlashDir
}

// The bounds of the history's options.
const (
	MaxHistoryDays = 400
	MinHistoryKiB  = 128
	MaxHistoryKiB  = 1 << 20
)

// Default is the configuration of a router without a configuration file.
func Default() Config {
	return Config{
		RemoteAccess:  AccessFull,
		LogLevel:      slog.LevelInfo,
		NlbwmonSocket: "/var/run/nlbwmon.sock",
		Snapshot:      "/tmp/0.db",
		History: History{
			Days: 35, Flash: true, Dir: "/tmp/netpilot", FlashDir: "/etc/netpilot/history", KiB: 1500,
		},
	}
}

// Warning is something in the configuration that the agent does not use. It
// is no error: after a downgrade the options of the newer version are still
// there.
type Warning struct {
	File string
	Line int
	What string
}

// String reads "FILE:LINE: what".
func (w Warning) String() string { return fmt.Sprintf("%s:%d: %s", w.File, w.Line, w.What) }

// option is one option of the section: how its text gets into a Config.
type option struct {
	name    string
	accepts string // what is taken, for the error
	set     func(c *Config, value string) bool
}

// options lists every option there is; the sample file documents the same.
func options() []option {
	return []option{
		{"enabled", "0 or 1", func(c *Config, v string) (ok bool) {
			c.Enabled, ok = uci.ParseBool(v)
			return ok
		}},
		{"remote_access", "off, read or full", func(c *Config, v string) bool {
			c.RemoteAccess = Access(v)
			return v == string(AccessOff) || v == string(AccessRead) || v == string(AccessFull)
		}},
		{"ca_file", "an absolute path", func(c *Config, v string) bool {
			c.CAFile = v
			return isPath(v)
		}},
		{"client_cert", "an absolute path", func(c *Config, v string) bool {
			c.ClientCert = v
			return isPath(v)
		}},
		{"client_key", "an absolute path", func(c *Config, v string) bool {
			c.ClientKey = v
			return isPath(v)
		}},
		{"log_level", "debug, info, warn or error", func(c *Config, v string) (ok bool) {
			c.LogLevel, ok = parseLevel(v)
			return ok
		}},
		{"nlbwmon_socket", "an absolute path", func(c *Config, v string) bool {
			c.NlbwmonSocket = v
			return isPath(v)
		}},
		{"snapshot", "an absolute path", func(c *Config, v string) bool {
			c.Snapshot = v
			return isPath(v)
		}},
		{"protocols", "an absolute path", func(c *Config, v string) bool {
			c.Protocols = v
			return isPath(v)
		}},
		{"memory_limit", "MiB from 4 to 1024, or 0", func(c *Config, v string) (ok bool) {
			c.MemoryLimit, ok = parseNumber(v, 4, 1024)
			return ok
		}},
		{"gogc", "percent from 10 to 400, or 0", func(c *Config, v string) (ok bool) {
			c.GOGC, ok = parseNumber(v, 10, 400)
			return ok
		}},
		{"history_days", fmt.Sprintf("a number of days from 2 to %d", MaxHistoryDays), func(c *Config, v string) (ok bool) {
			c.History.Days, ok = parseWhole(v, 2, MaxHistoryDays)
			return ok
		}},
		{"history_kib", fmt.Sprintf("a number of KiB from %d to %d", MinHistoryKiB, MaxHistoryKiB), func(c *Config, v string) (ok bool) {
			c.History.KiB, ok = parseWhole(v, MinHistoryKiB, MaxHistoryKiB)
			return ok
		}},
		{"history_flash", "0 or 1", func(c *Config, v string) (ok bool) {
			c.History.Flash, ok = uci.ParseBool(v)
			return ok
		}},
		{"history_dir", "an absolute path", func(c *Config, v string) bool {
			c.History.Dir = v
			return isPath(v)
		}},
		{"history_flash_dir", "an absolute path", func(c *Config, v string) bool {
			c.History.FlashDir = v
			return isPath(v)
		}},
	}
}

// Load reads ROOT/etc/config/netpilot. Without the file all is default. A
// value that makes no sense is an error that names file, line, option and what
// is accepted; a section or option that is not known is only a Warning.
func Load(root string) (Config, []Warning, error) {
	c := Default()
	file, err := uci.Load(filepath.Join(root, Path))
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil, nil
	}
	if err != nil {
		return c, nil, err
	}
	var warnings []Warning
	warn := func(line int, format string, args ...any) {
		warnings = append(warnings, Warning{file.Name, line, fmt.Sprintf(format, args...)})
	}
	known := options()
	_, deviceWarnings, err := readDevices(file)
	if err != nil {
		return c, nil, err
	}
	for _, s := range file.Sections {
		if s.Type == DeviceType {
			continue
		}
		if s.Type != SectionType || s.Name != SectionName {
			warn(s.Line, "section %s %q is not used; this version reads only config %s '%s' and config %s",
				s.Type, s.Name, SectionType, SectionName, DeviceType)
			continue
		}
		for _, o := range s.Options {
			k := find(known, o.Name)
			if k == nil {
				warn(o.Line, "option %s is unknown to this version", o.Name)
				continue
			}
			if o.IsList {
				return c, warnings, &uci.Error{File: file.Name, Line: o.Line,
					Msg: fmt.Sprintf("%s is a list; it takes one option of %s", o.Name, k.accepts)}
			}
			// To UCI an empty value is no value.
			if v := o.Values[0]; v != "" && !k.set(&c, v) {
				return c, warnings, &uci.Error{File: file.Name, Line: o.Line,
					Msg: fmt.Sprintf("option %s is %q; it takes %s", o.Name, usage.Clean(v, 80), k.accepts)}
			}
		}
	}
	return c, append(warnings, deviceWarnings...), nil
}

// Enable writes option enabled into ROOT/etc/config/netpilot and keeps the
// rest of the file.
func Enable(root string, enabled bool) error {
	value := "0"
	if enabled {
		value = "1"
	}
	path := filepath.Join(root, Path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return uci.Set(path, uci.Edit{
		Type: SectionType, Section: SectionName, Option: "enabled", Value: value,
	})
}

func find(options []option, name string) *option {
	for i := range options {
		if options[i].name == name {
			return &options[i]
		}
	}
	return nil
}

func parseLevel(s string) (slog.Level, bool) {
	switch s {
	case "debug":
		return slog.LevelDebug, true
	case "info":
		return slog.LevelInfo, true
	case "warn":
		return slog.LevelWarn, true
	case "error":
		return slog.LevelError, true
	}
	return slog.LevelInfo, false
}

// parseNumber takes 0 and what lies between lowest and highest.
func parseNumber(s string, lowest, highest int) (int, bool) {
	n, err := strconv.Atoi(s)
	return n, err == nil && (n == 0 || n >= lowest && n <= highest)
}

// parseWhole takes what lies between lowest and highest.
func parseWhole(s string, lowest, highest int) (int, bool) {
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= lowest && n <= highest
}

func isPath(s string) bool {
	return strings.HasPrefix(s, "/") && strings.IndexFunc(s, unicode.IsControl) < 0
}
