package usage

import (
	"io"
	"strconv"
	"strings"
)

// Counting says whether the numbers beside it can be trusted.
type Counting struct {
	OK       bool     `json:"ok"`       // nothing is known that makes them wrong
	Accuracy *float64 `json:"accuracy"` // bytes attributed to devices over those the WAN moved in the same time; nil: not known
	Reasons  []Reason `json:"reasons"`  // why they are wrong, or what about them is not known
}

// Reason is one thing to know about how the numbers were counted.
type Reason struct {
	ID   string `json:"id"` // of doctor's check where one finds it
	Text string `json:"text"`
	Cure string `json:"cure"` // what to do, "" where there is nothing to do
}

// Add adds a reason, once; wrong says that it makes the numbers wrong.
func (c *Counting) Add(wrong bool, r Reason) {
	c.OK = c.OK && !wrong
	for _, have := range c.Reasons {
		if have.ID == r.ID {
			return
		}
	}
	c.Reasons = append(c.Reasons, r)
}

// AppendJSON appends it as one JSON object; a nil one is null.
func (c *Counting) AppendJSON(dst []byte) []byte {
	if c == nil {
		return append(dst, "null"...)
	}
	dst = strconv.AppendBool(append(dst, `{"ok":`...), c.OK)
	dst = append(dst, `,"accuracy":`...)
	if c.Accuracy == nil {
		dst = append(dst, "null"...)
	} else {
		dst = strconv.AppendFloat(dst, *c.Accuracy, 'f', 4, 64)
	}
	dst = append(dst, `,"reasons":[`...)
	for i, r := range c.Reasons {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendQuoted(append(dst, `{"id":`...), r.ID)
		dst = AppendQuoted(append(dst, `,"text":`...), r.Text)
		dst = append(AppendQuoted(append(dst, `,"cure":`...), r.Cure), '}')
	}
	return append(dst, "]}"...)
}

// lines are it for a person: whether the numbers are right, then the reasons.
// There are none of a nil one.
func (c *Counting) lines() []string {
	if c == nil {
		return nil
	}
	head := "counting: no fault known"
	if !c.OK {
		head = "counting: NOT RIGHT"
	}
	if c.Accuracy != nil {
		head += ", " + strconv.FormatFloat(100**c.Accuracy, 'f', 1, 64) + " % of what the WAN moved"
	}
	lines := []string{head}
	for _, r := range c.Reasons {
		line := Clean(r.Text, 512)
		if r.Cure != "" {
			line += "; try: " + Clean(r.Cure, 256)
		}
		lines = append(lines, line)
	}
	return lines
}

// WriteText writes it for a person: a line, and one for each reason.
func (c *Counting) WriteText(w io.Writer) error {
	if c == nil {
		return nil
	}
	_, err := io.WriteString(w, strings.Join(c.lines(), "\n  ")+"\n")
	return err
}

// counting writes member counting where it is known.
func (o *objectWriter) counting(c *Counting) {
	if c == nil {
		return
	}
	o.key("counting")
	o.buf = c.AppendJSON(o.buf)
}
