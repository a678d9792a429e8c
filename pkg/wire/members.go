package wire

import (
	"encoding/json"
	"errors"
	"unicode/utf8"
)

// members calls do for each member of a JSON object, with the member's raw
// value, a part of frame. It checks the whole frame once, before the first
// call, and decodes nothing: a relay hands 1 MiB answers on as they are.
func members(frame []byte, do func(key string, value json.RawMessage) error) error {
	if !json.Valid(frame) {
		// Slower, but it says what is wrong and where.
		var v json.RawMessage
		if err := json.Unmarshal(frame, &v); err != nil {
			return err
		}
	}
	return walk(frame, do)
}

// walk is members for what is known to be JSON: it trusts the grammar.
func walk(frame []byte, do func(key string, value json.RawMessage) error) error {
	i := skipSpace(frame, 0)
	if frame[i] != '{' {
		return errors.New("not a JSON object")
	}
	for i = skipSpace(frame, i+1); frame[i] != '}'; i = skipSpace(frame, i) {
		if frame[i] == ',' {
			i = skipSpace(frame, i+1)
		}
		end := stringEnd(frame, i)
		key, err := text(frame[i:end])
		if err != nil {
			return err
		}
		i = skipSpace(frame, skipSpace(frame, end)+1) // over the colon
		end = valueEnd(frame, i)
		if err := do(key, json.RawMessage(frame[i:end:end])); err != nil {
			return err
		}
		i = end
	}
	return nil
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

func skipSpace(b []byte, i int) int {
	for b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r' {
		i++
	}
	return i
}

// stringEnd is the index behind the string that begins at i.
func stringEnd(b []byte, i int) int {
	for i++; b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// valueEnd is the index behind the value that begins at i.
func valueEnd(b []byte, i int) int {
	depth := 0
	for ; ; i++ {
		switch b[i] {
		case '"':
			i = stringEnd(b, i) - 1
			if depth == 0 {
				return i + 1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i // of the object around a number or a word
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ' ', '\t', '\n', '\r':
			if depth == 0 {
				return i
			}
		}
	}
}
