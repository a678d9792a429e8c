package adb

import (
	"cmp"
	"strings"
)

// A version is digits, more digits after dots, one letter, suffixes such as
// _rc1, ~ and a commit in hex, -r and the package's revision; each but the
// first part may be absent (apk-package(5), apk-tools' src/version.c).

// part is what a piece of a version is. Later parts come later in a version,
// and of two versions equal so far the one whose next part is later is lower.
type part int

const (
	partFirst part = iota
	partNumber
	partLetter
	partSuffix
	partSuffixNumber
	partCommit
	partRevision
	partEnd
	partBad
)

type token struct {
	part part
	text string // without what introduces it
	rank int    // of a suffix
}

const digits, hexDigits, lower = "0123456789", "0123456789abcdef", "abcdefghijklmnopqrstuvwxyz"

// suffixRank orders suffixes: below 0 comes before the version without one,
// above 0 after it. 0 is no suffix that apk knows.
func suffixRank(s string) int {
	switch s {
	case "alpha":
		return -4
	case "beta":
		return -3
	case "pre":
		return -2
	case "rc":
		return -1
	case "cvs":
		return 1
	case "svn":
		return 2
	case "git":
		return 3
	case "hg":
		return 4
	case "p":
		return 5
	}
	return 0
}

// span splits s after the bytes that are in set.
func span(s, set string) (head, tail string) {
	n := len(s) - len(strings.TrimLeft(s, set))
	return s[:n], s[n:]
}

// nextToken takes one token off s; last is the part before it, or -1.
func nextToken(s string, last part) (token, string) {
	bad := token{part: partBad}
	if last == -1 {
		return number(partFirst, s)
	}
	if s == "" {
		return token{part: partEnd}, ""
	}
	switch c := s[0]; {
	case c >= 'a' && c <= 'z':
		if last > partNumber {
			return bad, ""
		}
		return token{part: partLetter, text: s[:1]}, s[1:]
	case c == '.':
		if last > partNumber {
			return bad, ""
		}
		return number(partNumber, s[1:])
	case c >= '0' && c <= '9':
		if last != partSuffix {
			return bad, ""
		}
		return number(partSuffixNumber, s)
	case c == '_':
		name, rest := span(s[1:], lower)
		if last > partSuffixNumber || suffixRank(name) == 0 {
			return bad, ""
		}
		return token{part: partSuffix, text: name, rank: suffixRank(name)}, rest
	case c == '~':
		commit, rest := span(s[1:], hexDigits)
		if last >= partCommit || commit == "" {
			return bad, ""
		}
		return token{part: partCommit, text: commit}, rest
	case strings.HasPrefix(s, "-r") && last < partRevision:
		return number(partRevision, s[2:])
	}
	return bad, ""
}

func number(p part, s string) (token, string) {
	n, rest := span(s, digits)
	if n == "" {
		return token{part: partBad}, ""
	}
	return token{part: p, text: n}, rest
}

// ValidVersion reports whether apk takes s for a version: 1.2.3-r1 and
// 1.2.3_rc1-r1 are, v1.2.3-r1, 1.2.3-1 and 1.2.3~rc1-r1 are not.
func ValidVersion(s string) bool {
	for last := part(-1); ; {
		var t token
		if t, s = nextToken(s, last); t.part >= partEnd {
			return t.part == partEnd
		}
		last = t.part
	}
}

// CompareVersions orders valid versions as apk does: below 0 if a is older than
// b, above 0 if newer. An empty one equals every version.
func CompareVersions(a, b string) int {
	if a == "" || b == "" {
		return 0
	}
	var ta, tb token
	for last := part(-1); ; last = ta.part {
		ta, a = nextToken(a, last)
		tb, b = nextToken(b, last)
		if ta.part != tb.part || ta.part >= partEnd {
			break
		}
		if n := compareTokens(ta, tb); n != 0 {
			return n
		}
	}
	switch {
	case ta.part == tb.part:
		return 0
	case ta.part == partSuffix && ta.rank < 0:
		return -1
	case tb.part == partSuffix && tb.rank < 0:
		return 1
	}
	return cmp.Compare(tb.part, ta.part)
}

func compareTokens(a, b token) int {
	switch a.part {
	case partSuffix:
		return cmp.Compare(a.rank, b.rank)
	case partNumber:
		if a.text[0] == '0' || b.text[0] == '0' { // then it is read like a fraction
			return cmp.Compare(a.text, b.text)
		}
		fallthrough
	case partFirst, partSuffixNumber, partRevision:
		x, y := strings.TrimLeft(a.text, "0"), strings.TrimLeft(b.text, "0")
		return cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(x, y))
	}
	return cmp.Compare(a.text, b.text)
}
