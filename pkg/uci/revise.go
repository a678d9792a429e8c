package uci

import (
	"errors"
	"fmt"
)

// Text is a file while it is revised: each change leaves every other byte as
// it is, and shows at once in File.
type Text struct {
	File *File
	text []byte
}

// Revise has revise change the file at path, and writes it if it became
// another; a power cut leaves the old or the new text. A file that does not
// exist is made, with mode 0600, in a directory that must.
func Revise(path string, revise func(*Text) error) error {
	return replace(path, func(text []byte) ([]byte, error) { return ReviseText(text, path, revise) })
}

// ReviseText is Revise on the text of the file called name.
func ReviseText(text []byte, name string, revise func(*Text) error) ([]byte, error) {
	f, err := parse(text, name)
	if err != nil {
		return nil, err
	}
	t := &Text{File: f, text: text}
	if err := revise(t); err != nil {
		return nil, err
	}
	return t.text, nil
}

// take makes text the text, if it is a file.
func (t *Text) take(text []byte) error {
	f, err := parse(text, t.File.Name)
	if err != nil { // it may have grown over a limit
		return fmt.Errorf("change %s: %w", t.File.Name, err)
	}
	t.File, t.text = f, text
	return nil
}

// section finds a section again after a change: the nth of its type.
func (t *Text) section(typ string, index int) *Section {
	for _, s := range t.File.Sections {
		if s.Type == typ && s.Index == index {
			return s
		}
	}
	return nil
}

var errGone = errors.New("the section is no longer in the file")

// Add adds an empty section at the end. The name must be free.
func (t *Text) Add(typ, name string) (*Section, error) {
	if err := (Edit{Type: typ, Section: name, Option: "x"}).check(); err != nil {
		return nil, fmt.Errorf("add to %s: %w", t.File.Name, err)
	}
	gap := ""
	if end := len(t.text); end > 0 {
		gap = lineBreak(t.text, end) + "\n"
	}
	n := len(t.File.Sections)
	before := *t
	if err := t.take(splice(t.text, len(t.text), len(t.text), gap+"config "+typ+" "+quote(name)+"\n")); err != nil {
		return nil, err
	}
	if len(t.File.Sections) != n+1 {
		*t = before
		return nil, fmt.Errorf("add to %s: there is a section %q", t.File.Name, name)
	}
	return t.File.Sections[n], nil
}

// Set sets an option of a section, which may have no name. The value "" is
// no value to UCI: it removes the option.
func (t *Text) Set(s *Section, option, value string) error {
	if s = t.section(s.Type, s.Index); s == nil {
		return errGone
	}
	if value == "" {
		return t.unset(s, option)
	}
	e := Edit{Type: s.Type, Section: "x", Option: option, Value: value}
	if err := e.check(); err != nil {
		return fmt.Errorf("set in %s: %w", t.File.Name, err)
	}
	text, err := t.File.setIn(t.text, s, e)
	if err != nil {
		return err
	}
	return t.take(text)
}

func (t *Text) unset(s *Section, option string) error {
	for {
		if s = t.section(s.Type, s.Index); s == nil {
			return errGone
		}
		o := s.Option(option)
		if o == nil {
			return nil
		}
		// The last of its lines; others may stand before it.
		if err := t.take(cut(t.text, o.at, o.end)); err != nil {
			return err
		}
	}
}

// Remove removes a section with all its options; comments stay.
func (t *Text) Remove(s *Section) error {
	for {
		if s = t.section(s.Type, s.Index); s == nil {
			return errGone
		}
		if len(s.Options) == 0 {
			break
		}
		if err := t.unset(s, s.Options[0].Name); err != nil {
			return err
		}
	}
	text := t.text
	for i := len(s.heads) - 1; i >= 0; i-- {
		at := s.heads[i][0]
		text = cut(text, at, s.heads[i][1])
		// The empty line that set it off goes too.
		for at > 0 && at <= len(text) && (text[at-1] == ' ' || text[at-1] == '\t') {
			at--
		}
		if at > 1 && text[at-1] == '\n' && text[at-2] == '\n' && (at >= len(text) || text[at] == '\n') {
			text = splice(text, at-1, at, "")
		}
	}
	return t.take(text)
}

// cut removes a statement, and its line where nothing else stands on it.
func cut(text []byte, from, to int) []byte {
	start := from
	for start > 0 && text[start-1] != '\n' && isSpace(text[start-1]) {
		start--
	}
	if next := afterLine(text, to); next >= 0 && (start == 0 || text[start-1] == '\n') {
		return splice(text, start, next, "")
	}
	return splice(text, from, to, "")
}
