package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// maxNesting is how deep arrays and objects of a frame may be in each other.
const maxNesting = 512

// members calls do for each member of a JSON object (RFC 8259), with the
// member's raw value, a part of frame. It decodes nothing: a relay hands 1 MiB
// answers on as they are. It goes over the frame once, so that it may find only
// at the end that this was no JSON, and what do was told is to be forgotten.
func members(frame []byte, do func(key string, value json.RawMessage) error) error {
	i := skipSpace(frame, 0)
	if !at(frame, i, '{') {
		return notJSON(frame)
	}
	i = skipSpace(frame, i+1)
	for first := true; !at(frame, i, '}'); first = false {
		if !first {
			if !at(frame, i, ',') {
				return notJSON(frame)
			}
			i = skipSpace(frame, i+1)
		}
		end := stringEnd(frame, i)
		colon := skipSpace(frame, end)
		if end == bad || !at(frame, colon, ':') {
			return notJSON(frame)
		}
		key, err := text(frame[i:end])
		if err != nil {
			return err
		}
		i = skipSpace(frame, colon+1)
		if end = valueEnd(frame, i); end == bad {
			return notJSON(frame)
		}
		if err := do(key, json.RawMessage(frame[i:end:end])); err != nil {
			return err
		}
		i = skipSpace(frame, end)
	}
	if skipSpace(frame, i+1) != len(frame) {
		return notJSON(frame)
	}
	return nil
}

// notJSON says what is wrong and where. encoding/json is slower than we are,
// but has words for it.
func notJSON(frame []byte) error {
	var v json.RawMessage
	if err := json.Unmarshal(frame, &v); err != nil {
		return err
	}
	if i := skipSpace(frame, 0); frame[i] != '{' {
		return errors.New("not a JSON object")
	}
	return fmt.Errorf("nested deeper than %d", maxNesting)
}

// text is the content of a JSON string; most need no decoding.
func text(quoted json.RawMessage) (string, error) {
	plain := len(quoted) >= 2 && quoted[0] == '"'
	for i := 1; plain && i < len(quoted)-1; i++ {
		plain = quoted[i] != '\\' && quoted[i] < utf8.RuneSelf
	}
	if plain {
		return string(quoted[1 : len(quoted)-1]), nil
	}
	var s string
	err := json.Unmarshal(quoted, &s)
	return s, err
}

// bad is the end of what does not end as it should.
const bad = -1

// at tells whether b has c at i; what is bad has nothing.
func at(b []byte, i int, c byte) bool { return uint(i) < uint(len(b)) && b[i] == c }

// skipSpace is the index of the next byte that is no blank. What is bad stays it.
func skipSpace(b []byte, i int) int {
	for uint(i) < uint(len(b)) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// stringEnd is the index behind the string that begins at i, or bad.
func stringEnd(b []byte, i int) int {
	if !at(b, i, '"') {
		return bad
	}
	for i++; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			return i + 1
		case c < ' ':
			return bad
		case c == '\\':
			if i++; i >= len(b) {
				return bad
			}
			switch b[i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				for range 4 {
					if i++; i >= len(b) || !isHex(b[i]) {
						return bad
					}
				}
			default:
				return bad
			}
		}
	}
	return bad
}

func isHex(c byte) bool {
	return c-'0' < 10 || c|0x20-'a' < 6
}

// valueEnd is the index behind the value that begins at i, or bad if there is
// no value, down to its last part.
func valueEnd(b []byte, i int) int {
	var objects [maxNesting / 64]uint64 // which of the values that are open are objects
	depth := 0
	for {
		if i >= len(b) {
			return bad
		}
		c := b[i]
		switch c {
		case '"':
			i = stringEnd(b, i)
		case '{', '[':
			if depth == maxNesting {
				return bad
			}
			bit := uint64(1) << (depth % 64)
			if c == '{' {
				objects[depth/64] |= bit
			} else {
				objects[depth/64] &^= bit
			}
			depth++
			i = skipSpace(b, i+1)
			switch {
			case at(b, i, c+2): // '}' or ']': empty
			case c == '{':
				if i = memberStart(b, i); i == bad {
					return bad
				}
				continue
			default:
				continue
			}
		case 't':
			i = wordEnd(b, i, "true")
		case 'f':
			i = wordEnd(b, i, "false")
		case 'n':
			i = wordEnd(b, i, "null")
		default:
			i = numberEnd(b, i)
		}
		if i == bad {
			return bad
		}
		// A value has ended, or an empty one may: close what ends with it.
		for {
			if depth == 0 {
				return i
			}
			if i = skipSpace(b, i); i >= len(b) {
				return bad
			}
			object := objects[(depth-1)/64]>>((depth-1)%64)&1 != 0
			if c := b[i]; c == ',' {
				break
			} else if object && c != '}' || !object && c != ']' {
				return bad
			}
			depth--
			i++
		}
		i = skipSpace(b, i+1)
		if objects[(depth-1)/64]>>((depth-1)%64)&1 != 0 {
			if i = memberStart(b, i); i == bad {
				return bad
			}
		}
	}
}

// memberStart is the index of the value of the member whose name begins at i,
// or bad.
func memberStart(b []byte, i int) int {
	end := stringEnd(b, i)
	if end == bad {
		return bad
	}
	if i = skipSpace(b, end); !at(b, i, ':') {
		return bad
	}
	return skipSpace(b, i+1)
}

func wordEnd(b []byte, i int, word string) int {
	if len(b)-i < len(word) || string(b[i:i+len(word)]) != word {
		return bad
	}
	return i + len(word)
}

// numberEnd is the index behind the number that begins at i, or bad.
func numberEnd(b []byte, i int) int {
	if at(b, i, '-') {
		i++
	}
	if at(b, i, '0') {
		i++
	} else if i = digitsEnd(b, i); i == bad {
		return bad
	}
	if at(b, i, '.') {
		if i = digitsEnd(b, i+1); i == bad {
			return bad
		}
	}
	if at(b, i, 'e') || at(b, i, 'E') {
		if i++; at(b, i, '+') || at(b, i, '-') {
			i++
		}
		return digitsEnd(b, i)
	}
	return i
}

// digitsEnd is the index behind the digits at i, or bad if there are none.
func digitsEnd(b []byte, i int) int {
	first := i
	for i < len(b) && b[i]-'0' < 10 {
		i++
	}
	if i == first {
		return bad
	}
	return i
}
