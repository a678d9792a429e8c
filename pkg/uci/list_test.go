package uci

import (
	"slices"
	"strings"
	"testing"
)

func TestAddTo(t *testing.T) {
	add := func(text string) ([]byte, error) {
		return ReviseText([]byte(text), "f", func(t *Text) error { return t.AddTo(&Section{Type: "n"}, "net", "lan") })
	}
	for _, tt := range []struct{ name, text, want string }{
		{"to a list", "config n\n\tlist net '10.0.0.0/8'\n\toption a b\n", "config n\n\tlist net '10.0.0.0/8'\n\toption a b\n\tlist net 'lan'\n"},
		{"to none", "config n # c", "config n # c\n\tlist net 'lan'\n"},
		{"to an option", "config n\noption net x\n", "config n\noption net x\n\tlist net 'lan'\n"},
		{"before a semicolon", "config n; config o", "config n\n\tlist net 'lan'; config o"},
		{"there already", "config n\nlist net lan\n", "config n\nlist net lan\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := add(tt.text)
			if err != nil || string(got) != tt.want {
				t.Fatalf("got %q, %v, want %q", got, err, tt.want)
			}
			f, err := parse(got, "f")
			if err != nil || !slices.Contains(f.Section("n", "").List("net"), "lan") {
				t.Errorf("%q reads as %v, %v", got, f, err)
			}
		})
	}
	for text, want := range map[string]string{"": "no longer in the file", "confg": "f:1:", "config n\n" + strings.Repeat("#\n", (MaxFile-10)/2): "file is over"} {
		if _, err := add(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
