package sqlitetable

import (
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
)

// affinity is what a column likes its values to be
// (https://sqlite.org/datatype3.html section 3).
type affinity uint8

const (
	affinityBlob affinity = iota
	affinityText
	affinityInt
	affinityReal
	affinityNumeric
)

// affinityOf applies the rules of section 3.1 in their order.
func affinityOf(declared string) affinity {
	t := strings.ToUpper(declared)
	has := func(s string) bool { return strings.Contains(t, s) }
	switch {
	case has("INT"):
		return affinityInt
	case has("CHAR") || has("CLOB") || has("TEXT"):
		return affinityText
	case has("BLOB") || t == "":
		return affinityBlob
	case has("REAL") || has("FLOA") || has("DOUB"):
		return affinityReal
	}
	return affinityNumeric
}

// apply gives a default the form it has in the column. Defaults matter only for
// rows older than their column, and ALTER TABLE ADD COLUMN allows literals only.
func (a affinity) apply(v Value, written string) Value {
	switch {
	case a == affinityText && (v.kind == Int || v.kind == Real):
		return Value{kind: Text, data: []byte(written)}
	case a >= affinityInt && v.kind == Text:
		v = numberOr(strings.Trim(written, " \t\n\v\f\r"), v)
	}
	n, isInt := v.Int()
	f, _ := v.Real()
	switch {
	case a == affinityReal && isInt:
		return realValue(float64(n))
	case (a == affinityInt || a == affinityNumeric) && v.kind == Real && f > -1<<63 && f < 1<<63 && f == float64(int64(f)):
		return intValue(int64(f)) // section 3: 3.0 becomes 3
	}
	return v
}

// numberOr is the number s is, or else v.
func numberOr(s string, v Value) Value {
	if strings.Trim(s, "+-.0123456789eE") != "" {
		return v // ParseFloat knows more than SQL
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return intValue(n)
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil || errors.Is(err, strconv.ErrRange) { // 1e400 is infinite
		return realValue(f)
	}
	return v
}

// literal consumes what follows DEFAULT, a literal perhaps with signs and in
// parentheses, and returns its value and its text. Any other expression, which
// no added column can have, counts as null.
func (p *parser) literal() (v Value, written string) {
	start := *p
	minus, depth := false, 0
	for ; p.tok.sign('+') || p.tok.sign('-') || p.tok.sign('('); p.advance() {
		minus = minus != p.tok.sign('-')
		if p.tok.sign('(') {
			depth++
		}
	}
	v, written = p.tok.literal(minus)
	for p.advance(); depth > 0 && p.tok.sign(')'); p.advance() {
		depth--
	}
	if depth > 0 {
		*p = start
		p.group()
		return Value{}, ""
	}
	return v, written
}

func (t token) literal(minus bool) (v Value, written string) {
	switch {
	case t.kind == tokenNumber:
		written = strings.ReplaceAll(t.text, "_", "")
		if digits, ok := strings.CutPrefix(strings.ToLower(written), "0x"); ok {
			n, err := strconv.ParseUint(digits, 16, 64)
			if err != nil {
				return Value{}, ""
			}
			written = strconv.FormatInt(int64(n), 10)
		}
		if minus {
			written = "-" + written
		}
		return numberOr(written, Value{}), written
	case t.kind == tokenBlob:
		b, err := hex.DecodeString(t.text)
		if err != nil {
			return Value{}, ""
		}
		return Value{kind: Blob, data: b}, ""
	case t.word("TRUE"):
		return intValue(1), "1"
	case t.word("FALSE"):
		return intValue(0), "0"
	case t.kind == tokenQuoted, t.kind == tokenWord && !t.word("NULL"):
		return Value{kind: Text, data: []byte(t.text)}, t.text
	}
	return Value{}, ""
}
