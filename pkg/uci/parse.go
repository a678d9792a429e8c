package uci

import (
	"bytes"
	"fmt"
	"strings"
)

// parser walks over the text of one file. The first error sticks and moves it
// to the end of the text, where every loop stops; parse then drops the file.
type parser struct {
	file    *File
	text    []byte
	pos     int
	line    int // of pos
	section *Section
	err     *Error
}

func parse(text []byte, name string) (*File, error) {
	p := &parser{file: &File{Name: name, end: len(text)}, text: text, line: 1}
	p.checkBounds()
	for p.nextStatement() {
		p.statement()
	}
	if p.err != nil {
		return nil, p.err
	}
	return p.file, nil
}

func (p *parser) failf(format string, args ...any) {
	if p.err == nil {
		p.err = &Error{p.file.Name, p.line, fmt.Sprintf(format, args...)}
	}
	p.pos = len(p.text)
}

func (p *parser) checkBounds() {
	if len(p.text) > MaxFile {
		p.failf("file is over %d bytes", MaxFile)
		return
	}
	for line := range bytes.Lines(p.text) {
		if len(line) > MaxLine {
			p.failf("line is over %d bytes", MaxLine)
		}
		if bytes.IndexByte(line, 0) >= 0 {
			p.failf("line has a zero byte; is this a text file?")
		}
		p.line++
	}
	p.line = 1
}

// peek is the next byte, 0 at the end.
func (p *parser) peek() byte {
	if p.pos < len(p.text) {
		return p.text[p.pos]
	}
	return 0
}

func (p *parser) advance() {
	if p.peek() == '\n' {
		p.line++
	}
	p.pos++
}

// isSpace is C's isspace, which libuci uses.
func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

// skipContinuation steps over a backslash that ends a line, with the line's
// end, and tells whether there was one.
func (p *parser) skipContinuation() bool {
	rest := p.text[p.pos:]
	n := 0
	switch {
	case bytes.HasPrefix(rest, []byte("\\\n")):
		n = 2
	case bytes.HasPrefix(rest, []byte("\\\r\n")):
		n = 3
	case string(rest) == `\` || string(rest) == "\\\r":
		p.failf("backslash at the end of the file")
	default:
		return false
	}
	p.pos += n
	p.line++
	return true
}

// nextStatement steps over blanks, empty lines, comments and semicolons, and
// tells whether something follows.
func (p *parser) nextStatement() bool {
	for p.pos < len(p.text) {
		switch c := p.peek(); {
		case c == '#':
			for p.pos < len(p.text) && p.peek() != '\n' {
				p.pos++
			}
		case isSpace(c) || c == ';':
			p.advance()
		default:
			return true
		}
	}
	return false
}

// skipBlanks steps to the next word of the statement and tells whether there
// is one.
func (p *parser) skipBlanks() bool {
	for {
		switch c := p.peek(); {
		case c == 0 || c == '\n' || c == '#' || c == ';':
			return false
		case isSpace(c):
			p.pos++
		case c == '\\':
			if !p.skipContinuation() {
				return p.err == nil
			}
		default:
			return true
		}
	}
}

// word reads one argument: unquoted text, '...' where every byte stands for
// itself, and "..." where a backslash makes the next byte plain, in any mix
// without blanks between them. Quoted text may go over several lines.
func (p *parser) word() string {
	var b strings.Builder
	for {
		switch c := p.peek(); {
		case c == 0 || isSpace(c) || c == '#' || c == ';':
			return b.String()
		case c == '\'' || c == '"':
			p.quoted(&b, c)
		case c == '\\':
			p.escaped(&b)
		default:
			b.WriteByte(c)
			p.pos++
		}
	}
}

func (p *parser) quoted(b *strings.Builder, quote byte) {
	opened := p.line
	p.pos++
	for {
		switch c := p.peek(); {
		case c == 0:
			p.line = opened
			p.failf("%c is never closed", quote)
			return
		case c == quote:
			p.pos++
			return
		case c == '\\' && quote == '"':
			p.escaped(b)
		default:
			b.WriteByte(c)
			p.advance()
		}
	}
}

// escaped reads a backslash and what it escapes. libuci decodes no letters:
// "\n" is an n.
func (p *parser) escaped(b *strings.Builder) {
	if p.skipContinuation() || p.err != nil {
		return
	}
	p.pos++
	b.WriteByte(p.peek())
	p.advance()
}

// argument reads the next argument; what names it in the message when it is
// missing.
func (p *parser) argument(what string) string {
	if !p.skipBlanks() {
		p.failf("%s is missing", what)
	}
	w := p.word()
	if w == "" {
		p.failf("%s is empty", what)
	}
	return w
}

// identifier reads an argument that is a name: letters, digits and
// underscores (libuci's uci_validate_str), for a package also hyphens.
func (p *parser) identifier(what, alsoAllowed string) string {
	name := p.argument(what)
	if !isIdentifier(name, alsoAllowed) {
		p.failf("%s %q may hold only letters, digits and _%s", what, name, alsoAllowed)
	}
	return name
}

func isIdentifier(s, alsoAllowed string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || c == '_' || strings.IndexByte(alsoAllowed, c) >= 0 {
			continue
		}
		return false
	}
	return s != ""
}

func isType(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return s != ""
}

// endStatement insists that nothing but a comment or a semicolon follows.
func (p *parser) endStatement() {
	if p.skipBlanks() {
		p.failf("too many words; is a value with blanks missing its quotes?")
	}
}

func (p *parser) statement() {
	start := p.pos
	for c := p.peek(); c != 0 && !isSpace(c) && c != '#' && c != ';'; c = p.peek() {
		p.pos++
	}
	// libuci takes each keyword's first letter too.
	switch keyword := string(p.text[start:p.pos]); keyword {
	case "package", "p":
		p.identifier("package name", "-")
		p.endStatement()
	case "config", "c":
		p.config(start)
	case "option", "o":
		p.option(start, false)
	case "list", "l":
		p.option(start, true)
	default:
		p.failf("%q is none of package, config, option, list", keyword)
	}
}

func (p *parser) config(at int) {
	line := p.line
	typ := p.argument("section type")
	if !isType(typ) {
		p.failf("section type %q may hold only printable characters", typ)
	}
	end := p.pos
	name := ""
	if p.skipBlanks() {
		if name = p.word(); name != "" && !isIdentifier(name, "") {
			p.failf("section name %q may hold only letters, digits and _", name)
		}
		end = p.pos
	}
	p.endStatement()
	p.section = nil
	index := 0
	for _, s := range p.file.Sections {
		if name != "" && s.Name == name {
			if s.Type != typ { // an error to libuci too, unless it is told to be lax
				p.failf("section %q is of type %q here and of type %q in line %d", name, typ, s.Type, s.Line)
			}
			p.section = s // opened again: its options add up
		}
		if s.Type == typ {
			index++
		}
	}
	if p.section == nil {
		p.section = &Section{Type: typ, Name: name, Index: index, Line: line}
		p.file.Sections = append(p.file.Sections, p.section)
	}
	p.section.end = end
	p.section.heads = append(p.section.heads, [2]int{at, end})
}

func (p *parser) option(at int, isList bool) {
	if p.section == nil {
		p.failf("option before the first config")
		return
	}
	line := p.line
	name := p.identifier("option name", "")
	o := &Option{Name: name, IsList: isList, Line: line, at: at, valueAt: p.pos, end: p.pos}
	value := ""
	if p.skipBlanks() {
		o.valueAt = p.pos
		value = p.word()
		o.end = p.pos
	}
	p.endStatement()
	o.Values = []string{value}
	p.section.end = o.end
	for i, old := range p.section.Options {
		if old.Name == name {
			if isList { // a list goes on, and makes an option its first value
				o.Values = append(old.Values, value)
			}
			p.section.Options[i] = o
			return
		}
	}
	p.section.Options = append(p.section.Options, o)
}
