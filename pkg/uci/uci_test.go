package uci

import (
	"errors"
	"io/fs"
	"reflect"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	tests := []struct {
		name, text, option string
		want               []string
	}{
		{"unquoted", "config a 'b'\n\toption o v", "o", []string{"v"}},
		{"single quotes keep a backslash", `config a 'b'` + "\n" + `option o 'a\b'`, "o", []string{`a\b`}},
		{"double quotes use a backslash", `config a 'b'` + "\n" + `option o "a\"b\\c\n"`, "o", []string{`a"b\cn`}},
		{"quotes side by side", `config a 'b'` + "\n" + `option o 'a'"b"c\ d`, "o", []string{"abc d"}},
		{"a single quote as uci writes it", `config a 'b'` + "\n" + `option o 'it'\''s'`, "o", []string{"it's"}},
		{"comment after a value", "config a 'b' # c\noption o v # 'x", "o", []string{"v"}},
		{"a hash ends an unquoted word", "config a 'b'\noption o v#w", "o", []string{"v"}},
		{"a quoted hash stays", "config a 'b'\noption o 'v#w'", "o", []string{"v#w"}},
		{"semicolons", "config a 'b'; option o 'v'; option p w", "o", []string{"v"}},
		{"a value of two lines", "config a 'b'\noption o 'v\nw'", "o", []string{"v\nw"}},
		{"a line goes on", "config a 'b'\noption o \\\n  v\\\nw", "o", []string{"vw"}},
		{"short keywords", "p x\nc a 'b'\no o v", "o", []string{"v"}},
		{"CR LF", "config a 'b'\r\noption o v\r\n", "o", []string{"v"}},
		{"the last one wins", "config a 'b'\noption o v\noption o w", "o", []string{"w"}},
		{"a list", "config a 'b'\nlist o v\nlist o 'w x'", "o", []string{"v", "w x"}},
		{"a list takes the option in", "config a 'b'\noption o v\nlist o w", "o", []string{"v", "w"}},
		{"an option ends the list", "config a 'b'\nlist o v\noption o w", "o", []string{"w"}},
		{"a section opened again", "config a 'b'\noption o v\nconfig a c\noption o x\nconfig a b\noption p w", "o", []string{"v"}},
		{"empty is not set", "config a 'b'\noption o ''", "o", nil},
		{"no value is not set", "config a 'b'\noption o\noption p 1", "o", nil},
		{"bytes that are no UTF-8", "config a 'b'\noption o '\xff'", "o", []string{"\xff"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := Parse(strings.NewReader(tt.text), "test")
			if err != nil {
				t.Fatal(err)
			}
			if got := f.Section("a", "b").List(tt.option); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"keyword", "\nconfg a", `f:2: "confg" is none of package, config, option, list`},
		{"keyword with quotes", "'config' a", `f:1: "'config'" is none of`},
		{"no type", "config\n", "f:1: section type is missing"},
		{"empty type", "config ''\n", "f:1: section type is empty"},
		{"section name", "config a 'b-c'\n", `f:1: section name "b-c" may hold only`},
		{"no section", "option a b", "f:1: option before the first config"},
		{"no option name", "config a\n\toption", "f:2: option name is missing"},
		{"option name", "config a\n\toption a-b c", `f:2: option name "a-b" may hold only`},
		{"too many words", "config a\n\n\toption a b c", "f:3: too many words"},
		{"open quote", "config a\noption a 'b\nc\n", "f:2: ' is never closed"},
		{"open double quote", "config a\noption a \"b", `f:2: " is never closed`},
		{"backslash", `config a \`, "f:1: backslash at the end of the file"},
		{"quoted backslash", `config a "\`, "f:1: backslash at the end of the file"},
		{"zero byte", "config a\n\x00", "f:2: line has a zero byte"},
		{"long line", "config a\n#" + strings.Repeat("x", MaxLine), "f:2: line is over 8192 bytes"},
		{"long file", strings.Repeat("#\n", MaxFile/2+1), "f:1: file is over 262144 bytes"},
		{"another type", "config a 'n'\nconfig b 'n'", `f:2: section "n" is of type "b" here and of type "a" in line 1`},
		{"package name", "package 'a b'", `f:1: package name "a b" may hold only letters, digits and _-`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse(strings.NewReader(tt.text), "f")
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Fatalf("got %v, want %s", err, tt.want)
			}
			var e *Error
			if !errors.As(err, &e) {
				t.Errorf("got a %T, want *Error", err)
			}
		})
	}
}

func TestSections(t *testing.T) {
	f, err := Parse(strings.NewReader("config host\n option name a\nconfig x\nconfig host 'h'\n option name b\nconfig host\n"), "f")
	if err != nil {
		t.Fatal(err)
	}
	type section struct {
		typ, name   string
		index, line int
	}
	var got []section
	for _, s := range f.Sections {
		got = append(got, section{s.Type, s.Name, s.Index, s.Line})
	}
	want := []section{{"host", "", 0, 1}, {"x", "", 0, 3}, {"host", "h", 1, 4}, {"host", "", 2, 6}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if v, ok := f.Section("host", "").Get("name"); v != "a" || !ok {
		t.Errorf("first host: got %q, %v", v, ok)
	}
	if v, ok := f.Section("host", "h").Get("name"); v != "b" || !ok {
		t.Errorf("host h: got %q, %v", v, ok)
	}
	if v, ok := f.Section("nobody", "").Get("name"); v != "" || ok {
		t.Errorf("no section: got %q, %v", v, ok)
	}
}

func TestLoadMissing(t *testing.T) {
	if _, err := Load(t.TempDir() + "/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
}

func TestParseBool(t *testing.T) {
	for _, s := range []string{"1", "on", "true", "yes", "enabled"} {
		if v, ok := ParseBool(s); !v || !ok {
			t.Errorf("%q: got %v, %v", s, v, ok)
		}
	}
	for _, s := range []string{"0", "off", "false", "no", "disabled"} {
		if v, ok := ParseBool(s); v || !ok {
			t.Errorf("%q: got %v, %v", s, v, ok)
		}
	}
	for _, s := range []string{"", "2", "On", " 1"} {
		if _, ok := ParseBool(s); ok {
			t.Errorf("%q was taken", s)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("package p\nconfig a 'b' # c\n\toption o 'v'\n\tlist l \"w\\\"\"\n")
	f.Add("config a b;option o 'x'\\''y'; list l \\\n z\n")
	f.Fuzz(func(t *testing.T, text string) {
		file, err := Parse(strings.NewReader(text), "f")
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Line < 1 {
				t.Fatalf("got %#v, want an *Error with a line", err)
			}
			return
		}
		for _, s := range file.Sections {
			for _, o := range s.Options {
				if o.valueAt > o.end || o.end > s.end || s.end > len(text) {
					t.Fatalf("section %+v option %+v stand outside of the text", s, o)
				}
			}
		}
	})
}
