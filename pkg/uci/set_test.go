package uci

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestSetText(t *testing.T) {
	edit := Edit{Type: "agent", Section: "agent", Option: "enabled", Value: "1"}
	tests := []struct {
		name, text string
		edit       Edit
		want       string
	}{
		{"replace", "# top\nconfig agent 'agent'\n\toption enabled '0' # why\n\n# end", edit,
			"# top\nconfig agent 'agent'\n\toption enabled '1' # why\n\n# end"},
		{"replace unquoted", "config agent agent\n  option enabled 0", edit, "config agent agent\n  option enabled '1'"},
		{"replace the last of two", "config agent agent\noption enabled 0\noption enabled 0\n", edit,
			"config agent agent\noption enabled 0\noption enabled '1'\n"},
		{"give a value", "config agent agent\noption enabled\t# x\n", edit, "config agent agent\noption enabled '1'\t# x\n"},
		{"append to the section", "config agent 'agent' # c\n\toption a b # d\n\n#e\nconfig x\n", edit,
			"config agent 'agent' # c\n\toption a b # d\n\toption enabled '1'\n\n#e\nconfig x\n"},
		{"append without line end", "config agent 'agent'", edit, "config agent 'agent'\n\toption enabled '1'\n"},
		{"append before a semicolon", "config agent 'agent'; config x", edit, "config agent 'agent'\n\toption enabled '1'; config x"},
		{"new section", "config x", edit, "config x\n\nconfig agent 'agent'\n\toption enabled '1'\n"},
		{"new file", "", edit, "config agent 'agent'\n\toption enabled '1'\n"},
		{"quote", "config agent 'agent'\noption n old\n", Edit{"agent", "agent", "n", "it's\n#"},
			"config agent 'agent'\noption n 'it'\\''s\n#'\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := SetText([]byte(tt.text), "f", tt.edit)
			if err != nil || string(got) != tt.want {
				t.Errorf("got %q, %v\nwant %q", got, err, tt.want)
			}
		})
	}
}

func TestSetTextErrors(t *testing.T) {
	full := "config a b\n" + strings.Repeat("#\n", (MaxFile-12)/2)
	tests := []struct {
		name, text string
		edit       Edit
		want       string
	}{
		{"list", "config a b\nlist o v", Edit{"a", "b", "o", "w"}, "f:2: o is a list"},
		{"broken file", "confg", Edit{"a", "b", "o", "w"}, "f:1:"},
		{"type", "", Edit{"a b", "b", "o", "w"}, `set in f: "a b" is no section type`},
		{"section", "", Edit{"a", "", "o", "w"}, `set in f: "" is no section name`},
		{"option", "", Edit{"a", "b", "o o", "w"}, `set in f: "o o" is no option name`},
		{"long value", "", Edit{"a", "b", "o", strings.Repeat("x", MaxLine)}, "set in f: value of o is over"},
		{"zero byte", "", Edit{"a", "b", "o", "\x00"}, "set in f: value of o has a zero byte"},
		{"full", full, Edit{"a", "b", "o", "v"}, "set o: f:1: file is over"},
		{"other type", "config x b", Edit{"a", "b", "o", "v"}, `set o: f:3: section "b" is of type`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := SetText([]byte(tt.text), "f", tt.edit)
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func TestSet(t *testing.T) {
	path := filepath.Join(t.TempDir(), "netpilot")
	check := func(value string, mode os.FileMode) {
		t.Helper()
		got, err := os.ReadFile(path)
		if want := "config agent 'agent'\n\toption enabled '" + value + "'\n"; err != nil || string(got) != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("got mode %v, %v, want %v", info.Mode(), err, mode)
		}
	}
	for _, value := range []string{"0", "1"} { // makes the file, then changes it
		if err := Set(path, Edit{"agent", "agent", "enabled", value}); err != nil {
			t.Fatal(err)
		}
		check(value, 0o600)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Set(path, Edit{"agent", "agent", "enabled", "on"}); err != nil {
		t.Fatal(err)
	}
	check("on", 0o644)
	if left, err := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("got %d files, %v, want no temporary file left", len(left), err)
	}
}

// values is what every option of f says, to compare before and after.
func values(f *File) map[string][]string {
	m := make(map[string][]string)
	for _, s := range f.Sections {
		for _, o := range s.Options {
			key := strings.Join([]string{s.Type, s.Name, string(rune('0' + s.Index)), o.Name}, "\x00")
			m[key] = o.Values
		}
	}
	return m
}

func FuzzSet(f *testing.F) {
	f.Add("config a 'b' # c\n\toption o 'v'; config x\n", "o", "it's")
	f.Add("config a b;option p \\\n 'x'\nconfig a b", "o", "\n")
	f.Fuzz(func(t *testing.T, text, option, value string) {
		before, err := Parse(strings.NewReader(text), "f")
		if err != nil {
			return
		}
		got, err := SetText([]byte(text), "f", Edit{"a", "b", option, value})
		if err != nil {
			return
		}
		after, err := Parse(strings.NewReader(string(got)), "f")
		if err != nil {
			t.Fatalf("%q became %q: %v", text, got, err)
		}
		s := after.Section("a", "b")
		if o := s.Option(option); o == nil || o.IsList || o.Values[0] != value {
			t.Fatalf("%q became %q: got %+v, want %q", text, got, o, value)
		}
		was, is := values(before), values(after)
		key := strings.Join([]string{"a", "b", string(rune('0' + s.Index)), option}, "\x00")
		delete(was, key)
		delete(is, key)
		if !reflect.DeepEqual(was, is) {
			t.Fatalf("%q became %q: other options changed from %q to %q", text, got, was, is)
		}
	})
}
