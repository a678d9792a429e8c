package adb

import (
	"fmt"
	"strings"
)

// yaml writes the text form of apk-tools (src/serialize_yaml.c), which looks
// like YAML and is not always.
type yaml struct {
	out    strings.Builder
	indent int
	arrays []bool // what encloses the next line, inside last: is it an array?

	inLine   bool // something was written on this line
	afterKey bool // and the last of it was a key
}

func (y *yaml) inArray() bool { return len(y.arrays) > 0 && y.arrays[len(y.arrays)-1] }

// begin prepares for writing: indentation at a line's start, with a dash for an
// array's item; after a key a blank, if the value stays on the line.
func (y *yaml) begin(item, sameLine bool) {
	if !y.inLine {
		y.out.WriteString(strings.Repeat("  ", y.indent))
		if item && y.inArray() {
			y.out.WriteString("- ")
		}
	} else if y.afterKey && sameLine {
		y.out.WriteByte(' ')
	}
	y.inLine = true
}

func (y *yaml) newline() {
	y.out.WriteByte('\n')
	y.inLine, y.afterKey = false, false
}

func (y *yaml) line(s string) {
	y.out.WriteString(s)
	y.newline()
}

func (y *yaml) open(array bool) {
	y.indent++
	y.arrays = append(y.arrays, array)
}

func (y *yaml) startObject() {
	y.begin(true, false)
	y.open(false)
}

func (y *yaml) startArray(n int) {
	y.begin(true, true)
	y.line(fmt.Sprintf("# %d items", n))
	y.open(true)
}

func (y *yaml) end() {
	if y.inLine {
		y.begin(false, true)
		y.line("# empty object")
	}
	y.indent--
	y.arrays = y.arrays[:len(y.arrays)-1]
}

func (y *yaml) comment(s string) {
	y.begin(false, true)
	y.line("# " + s)
}

func (y *yaml) key(s string) {
	if y.afterKey {
		y.newline()
	}
	y.begin(true, true)
	y.out.WriteString(s + ":")
	y.afterKey = true
}

func (y *yaml) plain(s string) {
	y.begin(true, true)
	y.line(s)
}

// text writes a string: in a block of lines if block is set or it would be
// mistaken for something else otherwise. Empty lines of a block are dropped.
func (y *yaml) text(s string, block bool) {
	y.begin(true, true)
	switch quote(s, block) {
	case quoteNone:
		y.line(s)
	case quoteSingle:
		y.line("'" + s + "'")
	default:
		y.line("|")
		y.indent++
		for l := range strings.SplitSeq(s, "\n") {
			if l != "" {
				y.begin(false, true)
				y.line(l)
			}
		}
		y.indent--
	}
}

type quoting int

const (
	quoteNone quoting = iota
	quoteSingle
	quoteBlock
)

// longLine is the length from which a string is always a block.
const longLine = 80

func quote(s string, block bool) quoting {
	switch {
	case s == "":
		return quoteNone
	case block, len(s) >= longLine, strings.ContainsAny(s, "\r\n'"), strings.Contains(s, " #"):
		return quoteBlock
	case strings.ContainsRune("-?:,[]{}#&*!|>'\"%@`", rune(s[0])), strings.Contains(s, ": "), strings.Contains(s, "#"):
		return quoteSingle
	}
	return quoteNone
}
