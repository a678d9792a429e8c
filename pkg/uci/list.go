package uci

import (
	"fmt"
	"slices"
)

// AddTo adds a value to a list of a section, at the section's end. What was an
// option becomes the list's first value, as with libuci. A value that is there
// is not added again.
func (t *Text) AddTo(s *Section, list, value string) error {
	if s = t.section(s.Type, s.Index); s == nil {
		return errGone
	}
	e := Edit{Type: s.Type, Section: "x", Option: list, Value: value}
	if err := e.check(); err != nil {
		return fmt.Errorf("add in %s: %w", t.File.Name, err)
	}
	if slices.Contains(s.List(list), value) {
		return nil
	}
	line := "\tlist " + list + " " + quote(value)
	at := afterLine(t.text, s.end)
	if at < 0 { // another statement follows on the same line
		return t.take(splice(t.text, s.end, s.end, "\n"+line))
	}
	return t.take(splice(t.text, at, at, lineBreak(t.text, at)+line+"\n"))
}
