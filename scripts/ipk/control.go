package ipk

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrFormat is wrapped by every error about bytes that are not what the format
// allows.
var ErrFormat = errors.New("malformed ipk")

// Control describes a package. Package, Version and Architecture are needed.
type Control struct {
	Package       string
	Version       string   // 1.2.3-r1; a prerelease is 1.2.3~rc1-r1
	Depends       []string // "libc", "foo (>= 1.2)"
	Conflicts     []string
	Provides      []string
	Section       string
	RequireUser   string // "netpilot=ID:netpilot=ID": OpenWrt creates it
	License       string // SPDX
	URL           string
	Maintainer    string
	Architecture  string // such as mipsel_24kc, or all
	InstalledSize int64  // read: bytes
	Description   string // may have several lines, none of them empty
}

type controlField struct {
	name  string
	value string
}

// fields returns all but the description in the order of the file.
func (c *Control) fields() []controlField {
	return []controlField{
		{"Package", c.Package},
		{"Version", c.Version},
		{"Depends", strings.Join(c.Depends, ", ")},
		{"Conflicts", strings.Join(c.Conflicts, ", ")},
		{"Provides", strings.Join(c.Provides, ", ")},
		{"Section", c.Section},
		{"Require-User", c.RequireUser},
		{"License", c.License},
		{"URL", c.URL},
		{"Maintainer", c.Maintainer},
		{"Architecture", c.Architecture},
		{"Installed-Size", strconv.FormatInt(c.InstalledSize, 10)},
	}
}

// onlyFrom reports whether s is letters, digits and extra, and not empty.
func onlyFrom(s, extra string) bool {
	const letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	return s != "" && strings.TrimLeft(s, letters+extra) == ""
}

// text is the control file; before goes between the other fields and the
// description, which is last.
func (c *Control) text(before string) (string, error) {
	switch {
	case !onlyFrom(c.Package, "+-._"):
		return "", fmt.Errorf("ipk: bad package name %q", c.Package)
	case !onlyFrom(c.Version, "+-.~:"):
		return "", fmt.Errorf("ipk: bad version %q", c.Version)
	case !onlyFrom(c.Architecture, "+-._"):
		return "", fmt.Errorf("ipk: bad architecture %q", c.Architecture)
	}
	var b strings.Builder
	for _, f := range c.fields() {
		if hasControl(f.value) || f.value != strings.TrimSpace(f.value) {
			return "", fmt.Errorf("ipk: bad value %q of %s", f.value, f.name)
		}
		if f.value != "" {
			b.WriteString(f.name + ": " + f.value + "\n")
		}
	}
	for _, list := range [][]string{c.Depends, c.Conflicts, c.Provides} {
		for _, s := range list {
			if s == "" || strings.Contains(s, ",") || s != strings.TrimSpace(s) {
				return "", fmt.Errorf("ipk: bad relation %q", s)
			}
		}
	}
	b.WriteString(before)
	if c.Description != "" {
		lines := strings.Split(c.Description, "\n")
		for _, l := range lines {
			if strings.TrimSpace(l) == "" || hasControl(l) || l != strings.TrimSpace(l) {
				return "", fmt.Errorf("ipk: bad line %q in the description", l)
			}
		}
		b.WriteString("Description: " + strings.Join(lines, "\n ") + "\n")
	}
	return b.String(), nil
}

// maxControl is more than the longest in OpenWrt's feeds has, in bytes.
const maxControl = 64 << 10

// parseFields takes a paragraph apart; a line that begins with a blank goes on
// with the field before.
func parseFields(text string) (map[string]string, error) {
	if len(text) > maxControl {
		return nil, fmt.Errorf("%w: description of %d bytes", ErrFormat, len(text))
	}
	fields := map[string]string{}
	last := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if more, ok := strings.CutPrefix(line, " "); ok && last != "" {
			fields[last] += "\n" + strings.TrimSpace(more)
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if _, twice := fields[name]; !ok || twice || !onlyFrom(name, "-") || hasControl(value) {
			return nil, fmt.Errorf("%w: control line %q", ErrFormat, line)
		}
		fields[name] = strings.TrimSpace(value)
		last = name
	}
	return fields, nil
}

func parseControl(fields map[string]string) (Control, error) {
	relations := func(s string) []string {
		if s == "" {
			return nil
		}
		list := strings.Split(s, ",")
		for i := range list {
			list[i] = strings.TrimSpace(list[i])
		}
		return list
	}
	c := Control{
		Package: fields["Package"], Version: fields["Version"], Depends: relations(fields["Depends"]),
		Conflicts: relations(fields["Conflicts"]), Provides: relations(fields["Provides"]), Section: fields["Section"],
		RequireUser: fields["Require-User"], License: fields["License"], URL: fields["URL"], Maintainer: fields["Maintainer"],
		Architecture: fields["Architecture"], Description: fields["Description"],
	}
	if c.Package == "" || c.Version == "" || c.Architecture == "" {
		return c, fmt.Errorf("%w: no Package, Version or Architecture", ErrFormat)
	}
	var err error
	if c.InstalledSize, err = parseSize(fields["Installed-Size"]); err != nil {
		return c, err
	}
	return c, nil
}

// parseSize takes a number of bytes; an absent field is 0.
func parseSize(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%w: size %q", ErrFormat, s)
	}
	return n, nil
}
