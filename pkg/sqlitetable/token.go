package sqlitetable

import "strings"

type tokenKind uint8

const (
	tokenEnd    tokenKind = iota
	tokenWord             // a name or keyword without quotes
	tokenQuoted           // a name or text in quotes; text is without them
	tokenNumber
	tokenBlob // text is the hexadecimal digits
	tokenSign // a single byte
)

// token is a piece of a CREATE statement, at sql[start:end].
type token struct {
	kind       tokenKind
	text       string
	start, end int
}

// word reports whether t is this keyword. In quotes it would be a name.
func (t token) word(keyword string) bool {
	return t.kind == tokenWord && strings.EqualFold(t.text, keyword)
}

func (t token) sign(c byte) bool { return t.kind == tokenSign && t.text[0] == c }

// name reports whether t can be a name: SQLite takes all four kinds of quotes.
func (t token) name() bool { return t.kind == tokenWord || t.kind == tokenQuoted }

// scanner cuts SQL into tokens. It knows no errors: what is not closed ends
// with the text.
type scanner struct {
	sql string
	pos int
}

func (s *scanner) next() token {
	s.skipSpace()
	start := s.pos
	if start >= len(s.sql) {
		return token{kind: tokenEnd, start: start, end: start}
	}
	t := token{start: start}
	switch c := s.sql[start]; {
	case c == '"' || c == '\'' || c == '`':
		t.kind, t.text = tokenQuoted, s.quoted(c)
	case c == '[': // no way to write a ] inside
		t.kind, t.text = tokenQuoted, s.until(start+1, "]")
	case (c == 'x' || c == 'X') && strings.HasPrefix(s.sql[start+1:], "'"):
		t.kind, t.text = tokenBlob, s.until(start+2, "'")
	case isDigit(c) || c == '.' && start+1 < len(s.sql) && isDigit(s.sql[start+1]):
		t.kind = tokenNumber
		s.number()
		t.text = s.sql[start:s.pos]
	case isWord(c):
		t.kind = tokenWord
		for s.pos < len(s.sql) && isWord(s.sql[s.pos]) {
			s.pos++
		}
		t.text = s.sql[start:s.pos]
	default:
		t.kind = tokenSign
		s.pos++
		t.text = s.sql[start:s.pos]
	}
	t.end = s.pos
	return t
}

// skipSpace passes white space and both kinds of comments.
func (s *scanner) skipSpace() {
	for s.pos < len(s.sql) {
		switch rest := s.sql[s.pos:]; {
		case strings.IndexByte(" \t\n\f\r", rest[0]) >= 0:
			s.pos++
		case strings.HasPrefix(rest, "--"):
			s.until(s.pos, "\n")
		case strings.HasPrefix(rest, "/*"):
			s.until(s.pos+2, "*/")
		default:
			return
		}
	}
}

// until moves behind the next stop and returns what is between from and it.
func (s *scanner) until(from int, stop string) string {
	text, _, found := strings.Cut(s.sql[from:], stop)
	s.pos = from + len(text)
	if found {
		s.pos += len(stop)
	}
	return text
}

// quoted reads up to the closing quote; a double one stands for itself.
func (s *scanner) quoted(quote byte) string {
	q := string(quote)
	text := s.until(s.pos+1, q)
	for strings.HasPrefix(s.sql[s.pos:], q) {
		text += q + s.until(s.pos+1, q)
	}
	return text
}

// number passes digits, 0x..., a fraction, an exponent and underscores.
func (s *scanner) number() {
	hex := strings.HasPrefix(s.sql[s.pos:], "0x") || strings.HasPrefix(s.sql[s.pos:], "0X")
	for ; s.pos < len(s.sql); s.pos++ {
		c := s.sql[s.pos]
		exponent := !hex && (c == '+' || c == '-') && (s.sql[s.pos-1]|0x20) == 'e'
		if !isWord(c) && c != '.' && !exponent {
			return
		}
	}
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isWord(c byte) bool {
	return isDigit(c) || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_' || c == '$' || c >= 0x80
}
