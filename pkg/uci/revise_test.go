package uci

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const reviseText = `# mine
config device
	option mac '02:77:00:00:00:01' # phone
	option alias old
	list tag a
	list tag b

config x; option a b; option c d
config device 'tv'
	option alias 'tv'
	option alias 'TV' # twice
config device 'tv'
	option group 'living'
# end`

func TestReviseText(t *testing.T) {
	nth := func(f *File, n int) *Section {
		for _, s := range f.Sections {
			if s.Type == "device" && s.Index == n {
				return s
			}
		}
		return nil
	}
	for _, tt := range []struct {
		name   string
		revise func(*Text) error
		old    []string // one after the other: text and what it becomes
	}{
		{"nothing", func(*Text) error { return nil }, nil},
		{"set without a name", func(x *Text) error { return x.Set(nth(x.File, 0), "alias", "it's") }, []string{"alias old", `alias 'it'\''s'`}},
		{"add to it", func(x *Text) error { return x.Set(nth(x.File, 0), "group", "kids") }, []string{"\tlist tag b\n", "\tlist tag b\n\toption group 'kids'\n"}},
		{"unset", func(x *Text) error { return x.Set(nth(x.File, 0), "mac", "") }, []string{"\toption mac '02:77:00:00:00:01' # phone\n", ""}},
		{"unset what is not there", func(x *Text) error { return x.Set(nth(x.File, 0), "none", "") }, nil},
		{"unset a list", func(x *Text) error { return x.Set(nth(x.File, 0), "tag", "") }, []string{"\tlist tag a\n\tlist tag b\n", ""}},
		{"unset one given twice", func(x *Text) error { return x.Set(nth(x.File, 1), "alias", "") },
			[]string{"\toption alias 'tv'\n\toption alias 'TV' # twice\n", ""}},
		{"unset among others on a line", func(x *Text) error { return x.Set(x.File.Section("x", ""), "a", "") }, []string{"option a b", ""}},
		{"remove", func(x *Text) error { return x.Remove(nth(x.File, 0)) },
			[]string{"config device\n\toption mac '02:77:00:00:00:01' # phone\n\toption alias old\n\tlist tag a\n\tlist tag b\n", ""}},
		{"remove one opened twice", func(x *Text) error { return x.Remove(nth(x.File, 1)) }, []string{
			"config device 'tv'\n\toption alias 'tv'\n\toption alias 'TV' # twice\n", "", "config device 'tv'\n\toption group 'living'\n", ""}},
		{"add", func(x *Text) error {
			s, err := x.Add("device", "d1")
			if err != nil {
				return err
			}
			if err := x.Set(s, "mac", "02:77:00:00:00:02"); err != nil {
				return err
			}
			return x.Set(s, "alias", "new")
		}, []string{"# end", "# end\n\nconfig device 'd1'\n\toption mac '02:77:00:00:00:02'\n\toption alias 'new'\n"}},
	} {
		want := reviseText
		for i := 0; i < len(tt.old); i += 2 {
			if !strings.Contains(want, tt.old[i]) {
				t.Fatalf("%s: %q is not in the text", tt.name, tt.old[i])
			}
			want = strings.Replace(want, tt.old[i], tt.old[i+1], 1)
		}
		got, err := ReviseText([]byte(reviseText), "f", tt.revise)
		if err != nil || string(got) != want {
			t.Errorf("%s: got %q, %v\nwant %q", tt.name, got, err, want)
		}
	}
}

func TestReviseErrors(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		revise     func(*Text) error
	}{
		{"taken", `there is a section "tv"`, func(x *Text) error { _, err := x.Add("device", "tv"); return err }},
		{"bad name", "is no section name", func(x *Text) error { _, err := x.Add("device", "t v"); return err }},
		{"a list", "tag is a list", func(x *Text) error { return x.Set(x.File.Sections[0], "tag", "x") }},
		{"no option", "is no option name", func(x *Text) error { return x.Set(x.File.Sections[0], "a-b", "x") }},
		{"gone", "no longer", func(x *Text) error { return x.Set(&Section{Type: "device", Index: 9}, "a", "x") }},
		{"too long", "over", func(x *Text) error { return x.Set(x.File.Sections[0], "a", strings.Repeat("x", MaxLine)) }},
	} {
		if _, err := ReviseText([]byte(reviseText), "f", tt.revise); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %s", tt.name, err, tt.want)
		}
	}
	if _, err := ReviseText([]byte("confg"), "f", func(*Text) error { return nil }); err == nil {
		t.Error("a broken file was revised")
	}
}

// TestRevise: what does not change is not written.
func TestRevise(t *testing.T) {
	path := filepath.Join(t.TempDir(), "netpilot")
	set := func(value string) {
		t.Helper()
		if err := Revise(path, func(x *Text) error {
			s := x.File.Section("device", "")
			if s == nil {
				var err error
				if s, err = x.Add("device", "d"); err != nil {
					return err
				}
			}
			return x.Set(s, "alias", value)
		}); err != nil {
			t.Fatal(err)
		}
	}
	set("a")
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	set("a")
	after, err := os.Stat(path)
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("the file was replaced by itself (%v)", err)
	}
	set("b")
	if text, err := os.ReadFile(path); err != nil || string(text) != "config device 'd'\n\toption alias 'b'\n" {
		t.Errorf("got %q, %v", text, err)
	}
}
