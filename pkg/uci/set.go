package uci

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/netpilot/netpilot/pkg/atomicfile"
)

// Edit is one option to set.
type Edit struct {
	Type    string // of the section, for the case that it must be made
	Section string // its name
	Option  string
	Value   string
}

// Set changes the file at path by all edits, or by none where one fails, and
// leaves every other byte and the file's mode as they are; a power cut leaves
// the old or the new text. A file that does not exist is made, with mode 0600,
// in a directory that must.
func Set(path string, edits ...Edit) error {
	return replace(path, func(text []byte) (_ []byte, err error) {
		for _, e := range edits {
			if text, err = SetText(text, path, e); err != nil {
				break
			}
		}
		return text, err
	})
}

// replace writes what change makes of the file's text, if that is another.
func replace(path string, change func(text []byte) ([]byte, error)) error {
	var text []byte
	mode := fs.FileMode(0o600)
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err // names the path
	default:
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		mode = info.Mode().Perm()
		text = make([]byte, min(info.Size(), MaxFile+1))
		if _, err := f.ReadAt(text, 0); err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
	}
	changed, err := change(text)
	if err != nil || bytes.Equal(text, changed) {
		return err
	}
	return atomicfile.Write(path, changed, mode)
}

// SetText is Set on the text of the file called name. It replaces the value
// where the option stands, adds the option at the end of its section, or adds
// the section at the end of the text.
func SetText(text []byte, name string, e Edit) ([]byte, error) {
	f, err := parse(text, name)
	if err != nil {
		return nil, err
	}
	if err := e.check(); err != nil {
		return nil, fmt.Errorf("set in %s: %w", name, err)
	}
	out, err := f.edit(text, e)
	if err != nil {
		return nil, err
	}
	if _, err := parse(out, name); err != nil { // it may have grown over a limit
		return nil, fmt.Errorf("set %s: %w", e.Option, err)
	}
	return out, nil
}

func (f *File) edit(text []byte, e Edit) ([]byte, error) {
	if s := f.Section(e.Type, e.Section); s != nil {
		return f.setIn(text, s, e)
	}
	gap := ""
	if f.end > 0 {
		gap = lineBreak(text, f.end) + "\n"
	}
	return splice(text, f.end, f.end, gap+"config "+e.Type+" "+quote(e.Section)+"\n"+e.line()+"\n"), nil
}

func (e Edit) line() string { return "\toption " + e.Option + " " + quote(e.Value) }

// setIn sets e's option in section s.
func (f *File) setIn(text []byte, s *Section, e Edit) ([]byte, error) {
	o := s.Option(e.Option)
	line := e.line()
	switch {
	case o == nil:
		at := afterLine(text, s.end)
		if at < 0 { // another statement follows on the same line
			return splice(text, s.end, s.end, "\n"+line), nil
		}
		return splice(text, at, at, lineBreak(text, at)+line+"\n"), nil
	case o.IsList:
		return nil, &Error{f.Name, o.Line, fmt.Sprintf("%s is a list, not an option", e.Option)}
	case o.valueAt == o.end: // `option NAME` and nothing more
		return splice(text, o.end, o.end, " "+quote(e.Value)), nil
	}
	return splice(text, o.valueAt, o.end, quote(e.Value)), nil
}

func (e Edit) check() error {
	switch {
	case !isIdentifier(e.Type, "-"):
		return fmt.Errorf("%q is no section type", e.Type)
	case !isIdentifier(e.Section, ""):
		return fmt.Errorf("%q is no section name", e.Section)
	case !isIdentifier(e.Option, ""):
		return fmt.Errorf("%q is no option name", e.Option)
	case len(e.Value) > MaxLine/8: // quoting can make five bytes of one
		return fmt.Errorf("value of %s is over %d bytes", e.Option, MaxLine/8)
	case strings.IndexByte(e.Value, 0) >= 0:
		return fmt.Errorf("value of %s has a zero byte", e.Option)
	}
	return nil
}

// quote writes a value as libuci does (uci_escape): in single quotes, a
// single quote outside of them.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func splice(text []byte, from, to int, insert string) []byte {
	out := make([]byte, 0, len(text)+len(insert))
	out = append(out, text[:from]...)
	out = append(out, insert...)
	return append(out, text[to:]...)
}

// afterLine is where the line after position i begins, the text's end if that
// was the last one, and -1 if more than blanks and a comment follows i on its
// line.
func afterLine(text []byte, i int) int {
	comment := false
	for ; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\n':
			return i + 1
		case c == '#':
			comment = true
		case !comment && !isSpace(c):
			return -1
		}
	}
	return i
}

// lineBreak is what an insertion at position i needs to begin a line.
func lineBreak(text []byte, i int) string {
	if i == 0 || text[i-1] == '\n' {
		return ""
	}
	return "\n"
}
