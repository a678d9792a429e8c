package nlbw

import (
	"fmt"
	"io"
	"strings"
)

// getopt reads short options as musl's getopt does: it stops at the first
// word that is no option, an optional argument must be glued to its letter,
// and a letter it does not know costs a line on stderr and nothing else.
type getopt struct {
	args   []string // without the program's name
	spec   string   // as for getopt(3): "c:s::n"
	stderr io.Writer

	index int // word being read
	pos   int // byte in it; 0 is its start
}

// option is one letter; arg is nil when it has none.
type option struct {
	letter byte // '?' for one that is unknown or lacks its argument
	arg    *string
}

// next returns the next option, and false when there is none left.
func (g *getopt) next() (option, bool) {
	if g.pos == 0 {
		if g.index >= len(g.args) {
			return option{}, false
		}
		word := g.args[g.index]
		if len(word) < 2 || word[0] != '-' || word == "--" {
			return option{}, false
		}
		g.pos = 1
	}
	word := g.args[g.index]
	letter := word[g.pos]
	g.pos++
	if g.pos == len(word) {
		g.index, g.pos = g.index+1, 0
	}
	at := strings.IndexByte(g.spec, letter)
	if letter == ':' || at < 0 {
		fmt.Fprintf(g.stderr, "nlbw: unrecognized option: %s\n", []byte{letter}) // a byte, whatever it is a part of
		return option{letter: '?'}, true
	}
	takes := len(g.spec[at+1:]) - len(strings.TrimLeft(g.spec[at+1:], ":"))
	if takes == 0 || takes == 2 && g.pos == 0 {
		return option{letter: letter}, true
	}
	if g.index >= len(g.args) {
		fmt.Fprintf(g.stderr, "nlbw: option requires an argument: %c\n", letter)
		return option{letter: '?'}, true
	}
	arg := g.args[g.index][g.pos:]
	g.index, g.pos = g.index+1, 0
	return option{letter: letter, arg: &arg}, true
}
