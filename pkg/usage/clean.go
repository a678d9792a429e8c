package usage

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxName is the longest name kept, in bytes: a DNS label (RFC 1035 section 2.3.4).
const MaxName = 63

// Clean makes text from the LAN, a file or a peer safe for a terminal, a log
// line and a page: invalid UTF-8, control characters, escape sequences' lead
// bytes and bidirectional marks are dropped, and at most limit bytes stay.
func Clean(s string, limit int) string {
	ok := len(s) <= limit
	for i := 0; ok && i < len(s); i++ {
		ok = s[i] >= 0x20 && s[i] < 0x7f
	}
	if ok {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			continue
		}
		if b.Len()+utf8.RuneLen(r) > limit {
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}
