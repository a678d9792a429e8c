package nlbw

import (
	"bytes"
	"strings"
	"testing"
)

// musl's getopt(3), as read in its source: what each word becomes.
func TestGetopt(t *testing.T) {
	for _, tt := range []struct {
		args string // split at blanks; _ is an empty word
		want string // letters, each with =ARG where it has one
		err  string
	}{
		{"", "", ""},
		{"-n", "n", ""},
		{"-c json", "c=json", ""},
		{"-cjson", "c=json", ""},
		{"-c=json", "c==json", ""},
		{"-nc json", "n c=json", ""},
		{"-ncjson", "n c=json", ""},
		{"-nn", "n n", ""},
		{"-cn", "c=n", ""}, // not two options
		{"-c -n", "c=-n", ""},
		{"-c --", "c=--", ""},
		{"-c _", "c=", ""},
		{"-s,", "s=,", ""},
		{"-s , -n", "s", ""}, // optional arguments are glued on; the comma ends the options
		{"-s -n", "s n", ""},
		{"-sn", "s=n", ""},
		{"-ns;", "n s=;", ""},
		{"-q -e -s", "q e s", ""},
		{"-e\\ -q'", "e=\\ q='", ""},
		{"-n -- -c json", "n", ""},
		{"-n - -c json", "n", ""},
		{"-n word -c json", "n", ""},
		{"_ -n", "", ""},
		{"--n", "? n", "nlbw: unrecognized option: -\n"},
		{"-n--", "n ? ?", "nlbw: unrecognized option: -\nnlbw: unrecognized option: -\n"},
		{"-xn", "? n", "nlbw: unrecognized option: x\n"},
		{"-x json", "?", "nlbw: unrecognized option: x\n"},
		{"-:n", "? n", "nlbw: unrecognized option: :\n"},
		{"-?", "?", "nlbw: unrecognized option: ?\n"},
		{"-C json", "?", "nlbw: unrecognized option: C\n"},
		{"-c", "?", "nlbw: option requires an argument: c\n"},
		{"-n -nc", "n n ?", "nlbw: option requires an argument: c\n"},
		{"-\xc3\xbcn", "? ? n", "nlbw: unrecognized option: \xc3\nnlbw: unrecognized option: \xbc\n"}, // bytes: nlbw sets no locale
	} {
		args := strings.Fields(tt.args)
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "_", "")
		}
		var stderr bytes.Buffer
		g := getopt{args: args, spec: stockOptions, stderr: &stderr}
		var got []string
		for o, more := g.next(); more; o, more = g.next() {
			word := string(o.letter)
			if o.arg != nil {
				word += "=" + *o.arg
			}
			got = append(got, word)
		}
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("%q: got %q, want %q", tt.args, s, tt.want)
		}
		if stderr.String() != tt.err {
			t.Errorf("%q: got stderr %q, want %q", tt.args, stderr.String(), tt.err)
		}
	}
}
