// Package uci reads OpenWrt's configuration files (/etc/config/*) by the rules
// of libuci's file.c, and changes one option of them without touching the rest
// of the text. It is stricter than libuci where that silently drops text: a
// file it accepts means the same to both.
package uci

import (
	"fmt"
	"io"
	"os"
)

// Limits of a file, in bytes. The largest configuration OpenWrt ships is
// some 10 KiB.
const (
	MaxFile = 256 << 10
	MaxLine = 8 << 10
)

// Error is what is wrong with a file, and where.
type Error struct {
	File string
	Line int // from 1
	Msg  string
}

// Error reads "FILE:LINE: what".
func (e *Error) Error() string { return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Msg) }

// File is one parsed configuration file.
type File struct {
	Name     string     // for messages: the path it came from
	Sections []*Section // in the file's order; a reopened named section appears once

	end int // of the text
}

// Section is one `config` block.
type Section struct {
	Type    string
	Name    string    // "" for an anonymous section
	Index   int       // among the sections of its type, from 0, as in @TYPE[INDEX]
	Line    int       // of its first `config`
	Options []*Option // in the file's order, each name once

	end   int      // of its last statement in the text
	heads [][2]int // where its `config` statements begin and end
}

// Option is one `option`, or all `list` lines of one name.
type Option struct {
	Name   string
	Values []string // exactly one for an option
	IsList bool
	Line   int // of the line that set it, the last one of a list

	at, valueAt, end int // where the statement, its value and its end stand in the text
}

// Load reads the file at path. A missing file is an error that matches
// fs.ErrNotExist.
func Load(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err // names the path
	}
	defer f.Close()
	return Parse(f, path)
}

// Parse reads one file of at most MaxFile bytes; name stands in messages. A
// syntax error is an *Error.
func Parse(r io.Reader, name string) (*File, error) {
	text, err := io.ReadAll(io.LimitReader(r, MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return parse(text, name)
}

// Section finds a section by type and name; the name "" means the first
// section of that type, named or not. It returns nil if there is none, and a
// nil Section has no options.
func (f *File) Section(typ, name string) *Section {
	for _, s := range f.Sections {
		if s.Type == typ && (name == "" || s.Name == name) {
			return s
		}
	}
	return nil
}

// Option finds an option or list by name, nil if the section has none.
func (s *Section) Option(name string) *Option {
	if s == nil {
		return nil
	}
	for _, o := range s.Options {
		if o.Name == name {
			return o
		}
	}
	return nil
}

// Get is the value of an option. An option that is absent, a list or empty is
// not set: to libuci an empty value means the option does not exist.
func (s *Section) Get(name string) (string, bool) {
	o := s.Option(name)
	if o == nil || o.IsList || o.Values[0] == "" {
		return "", false
	}
	return o.Values[0], true
}

// List is the values of a list; a plain option is a list of one.
func (s *Section) List(name string) []string {
	o := s.Option(name)
	if o == nil || !o.IsList && o.Values[0] == "" {
		return nil
	}
	return o.Values
}

// ParseBool reads a boolean as OpenWrt's get_bool does (functions.sh).
func ParseBool(s string) (value, ok bool) {
	switch s {
	case "1", "on", "true", "yes", "enabled":
		return true, true
	case "0", "off", "false", "no", "disabled":
		return false, true
	}
	return false, false
}
