package main

import (
	"html"
	"regexp"
	"strings"

	"github.com/netpilot/netpilot/pkg/usage"
)

// forms are the legal forms dropped from a name's end, in any case. They tell a
// lawyer something, and a person looking for a device nothing.
const forms = `` +
	`inc|incorporated|incorporation|corp|corporation|co|ltd|limited|l\.?l\.?c|l\.?l\.?p|plc|` +
	`(?:company|private|pvt|pte|pty|\((?:pvt|pte|pty|p)\))[\s.,]*(?:ltd|limited)|company\s+inc|pty|p/l|` +
	`(?:g?mbh|ag)|k\.?g|kgaa|ohg|e\.?k|` +
	`ab|a/s|as|asa|aps|oy|oyj|` +
	`s\.?a|s\.?a\.?s|sasu|s\.?a\.?u|s/a|s\.?a\.?r\.?l|s\.?r\.?l|s\.?p\.?a|s\.?l|s\.?l\.?u|lda|ltda|` +
	`s\.?\s?r\.?\s?o|a\.?s|spol|sp\.?\s?z\.?\s?o\.?\s?o|d\.?\s?o\.?\s?o|kft|zrt|` +
	`b\.?v|n\.?v|bvba|c\.?v|` +
	`sdn[\s.]*bhd|bhd|k\.?k|jsc|ojsc|cjsc|pjsc`

var (
	// A form follows a blank, a comma, a full stop, an ampersand or a bracket,
	// and only the punctuation between words may follow it. The earliest match is
	// the longest form.
	lastForm = regexp.MustCompile(`(?i)^(.*?[\s,，.&)）])(?:` + forms + `)[\s,，.;]*$`)
	blanks   = regexp.MustCompile(`[\s\p{Z}]+`)
)

// shorten is the name as the table tells it: blanks collapsed, character
// references resolved, legal forms cut from the end, and what is left made safe
// to show. A name that is nothing but a form stays whole.
func shorten(owner string) string {
	name := tidy(html.UnescapeString(owner), len(owner))
	for {
		m := lastForm.FindStringSubmatch(name)
		if m == nil {
			break
		}
		rest := strings.TrimRight(m[1], " ,，;&")
		if strings.HasSuffix(rest, " .") || strings.HasSuffix(rest, ",.") {
			rest = strings.TrimRight(rest, " .,")
		}
		if len(fold(rest)) < 2 {
			break
		}
		name = rest
	}
	return tidy(strings.TrimRight(name, " ,，;"), usage.MaxName)
}

// tidy collapses blanks and leaves what may be shown of the first limit bytes.
func tidy(s string, limit int) string {
	s = strings.TrimSpace(blanks.ReplaceAllString(s, " "))
	return strings.TrimSpace(usage.Clean(s, limit))
}

// fold is what spellings of one name share: the letters and digits, in lower case.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(" ,，.-&()（）;'\"", r) {
			return -1
		}
		return r
	}, strings.ToLower(s))
}
