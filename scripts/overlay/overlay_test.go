package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestStandIns: what stands in does what is asked of it, as the real package
// does, and refuses the rest.
func TestStandIns(t *testing.T) {
	dir := t.TempDir()
	write := func(path string, text []byte) {
		t.Helper()
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name := range replaced {
		text, err := standIns.ReadFile("standin/" + name + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		write(strings.TrimSuffix(name, ".go")+"/"+name, text)
	}
	names := []string{"", "format", "output, o", "a  b", "a,b\nc d\n", " x", "relay.example", "xn--bcher-kva.example", "b\u00fccher.example"}
	given, err := json.Marshal(names)
	if err != nil {
		t.Fatal(err)
	}
	write("go.mod", []byte("module standin\n\ngo 1.26\n"))
	write("main.go", []byte(`package main

import (
	"encoding/json"
	"os"

	"standin/idna"
	"standin/regexp"
	"standin/template"
)

func main() {
	var names []string
	if err := json.Unmarshal([]byte(os.Args[1]), &names); err != nil {
		panic(err)
	}
	var out struct {
		Cut, ASCII []string
		Panicked, Printed bool
	}
	re := regexp.MustCompile("[, ]+.*")
	for _, name := range names {
		out.Cut = append(out.Cut, re.ReplaceAllString(name, ""))
		ascii, err := idna.Lookup.ToASCII(name)
		if err != nil {
			ascii = "refused"
		}
		out.ASCII = append(out.ASCII, ascii)
	}
	out.Printed = template.New("").Execute(nil, nil) == nil
	func() {
		defer func() { out.Panicked = recover() != nil }()
		regexp.MustCompile("x*")
	}()
	_ = json.NewEncoder(os.Stdout).Encode(out)
}
`))
	cmd := exec.Command("go", "run", ".", string(given))
	cmd.Dir = dir
	text, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	var got struct {
		Cut, ASCII        []string
		Panicked, Printed bool
	}
	if err := json.Unmarshal(text, &got); err != nil || len(got.Cut) != len(names) || len(got.ASCII) != len(names) {
		t.Fatalf("%v\n%s", err, text)
	}
	re := regexp.MustCompile("[, ]+.*")
	for i, name := range names {
		if want := re.ReplaceAllString(name, ""); got.Cut[i] != want {
			t.Errorf("%q cut: got %q, want %q", name, got.Cut[i], want)
		}
		want := name
		if strings.Contains(name, "\u00fc") {
			want = "refused"
		}
		if got.ASCII[i] != want {
			t.Errorf("%q in ASCII: got %q, want %q", name, got.ASCII[i], want)
		}
	}
	if !got.Panicked || got.Printed {
		t.Errorf("another expression was taken, or a template printed: %s", text)
	}
}
