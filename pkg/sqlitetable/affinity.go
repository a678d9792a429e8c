package sqlitetable

import (
	"encoding/hex"
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
	case (a == affinityInt || a == affinityNumeric) && v.kind == Real && f == float64(int64(f)) && f > -1<<51 && f < 1<<51:
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
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		return realValue(f)
	}
	return v
}

// literal consumes what follows DEFAULT and returns its value and its text. An
// expression, which no added column can have, counts as null.
func (p *parser) literal() (v Value, written string) {
	minus := false
	for p.tok.sign('+') || p.tok.sign('-') {
		minus = minus != p.tok.sign('-')
		p.advance()
	}
	t := p.tok
	p.group()
	switch {
	case t.kind == tokenQuoted:
		return Value{kind: Text, data: []byte(t.text)}, t.text
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
	}
	return Value{}, ""
}
