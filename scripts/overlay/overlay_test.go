package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestBuilt builds programs as the agent is built, and as anybody builds.
func TestBuilt(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "overlay")
	if err := run(dir); err != nil {
		t.Fatal(err)
	}
	ours := []string{"-overlay=" + filepath.Join(dir, "overlay.json"), "-toolexec=" + filepath.Join(dir, "toolexec")}
	t.Run("StandIns", func(t *testing.T) { standInsDoTheSame(t, ours) })
	t.Run("Template", func(t *testing.T) { templateSaysSo(t, ours) })
	t.Run("Runtime", func(t *testing.T) { runtimeWorks(t, ours) })
}

// program builds a program of testdata or of a text.
func program(t *testing.T, source string, flags ...string) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "program")
	cmd := exec.Command("go", append(append([]string{"build", "-trimpath", "-gcflags=all=-l", "-o", binary}, flags...), source)...)
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s %q: %v\n%s", source, flags, err, out)
	}
	return binary
}

// standInsDoTheSame: what stands in does what the real package does.
func standInsDoTheSame(t *testing.T, ours []string) {
	var said [2]map[string][]string
	for i, flags := range [][]string{ours, nil} {
		out, err := exec.Command(program(t, "./testdata/both", flags...)).CombinedOutput()
		if err != nil {
			t.Fatalf("%q: %v\n%s", flags, err, out)
		}
		if err := json.Unmarshal(out, &said[i]); err != nil {
			t.Fatal(err)
		}
	}
	if len(said[1]) != 6 || len(said[1]["responses"]) < 5000 {
		t.Fatalf("only %d parts and %d answers", len(said[1]), len(said[1]["responses"]))
	}
	for part, want := range said[1] {
		got := said[0][part]
		if len(got) != len(want) {
			t.Errorf("%s: got %d results, want %d", part, len(got), len(want))
			continue
		}
		wrong := 0
		for i := range want {
			if got[i] != want[i] && wrong < 10 {
				wrong++
				t.Errorf("%s %d:\ngot  %.300q\nwant %.300q", part, i, got[i], want[i])
			}
		}
	}
}

// templateSaysSo: the others stand for what nobody runs, and say so.
func templateSaysSo(t *testing.T, ours []string) {
	source := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(source, []byte(`package main

import (
	"bufio"
	"compress/flate"
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"text/template"
)

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func main() {
	_, err := flate.NewWriter(io.Discard, 9)
	_, readErr := http.NewRequestWithContext(context.Background(), "GET", "http://x", strings.NewReader("x"))
	fmt.Println(template.New("").Execute(nil, nil), err, readErr)
	r, _ := http.NewRequestWithContext(context.Background(), "GET", "http://b\u00fccher.example", nil)
	fmt.Println(r.Write(io.Discard))
	_, err = http.ReadResponse(bufio.NewReader(io.MultiReader(strings.NewReader("HTTP/1.1 200 OK\r\nX: "), endless{})), r)
	fmt.Println(err)
	defer func() { fmt.Println(recover()) }()
	regexp.MustCompile("x*")
}
`), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(program(t, source, ours...)).CombinedOutput()
	if want := "this build has no text/template this build of compress/flate only reads this build of net/http is a client's only\n" +
		"this build takes host names in ASCII only; write it as xn--...\nthe head of the HTTP answer is longer than 1 MiB\nthis build has no regexp for x*\n"; err != nil || string(out) != want {
		t.Errorf("got %v\n%swant\n%s", err, out, want)
	}
}

// runtimeWorks: all that the runtime needs its tables for works without the
// parts that are gone.
func runtimeWorks(t *testing.T, ours []string) {
	for i, flags := range [][]string{ours, append(slices.Clone(ours), "-gcflags=all="), append(slices.Clone(ours), "-ldflags=-s -w")} {
		cmd := exec.Command(program(t, "./testdata/hard", flags...))
		cmd.Env = append(cmd.Environ(), "GOGC=20")
		var out, trace bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &trace
		if err := cmd.Run(); err == nil {
			t.Error("it did not crash")
		}
		want := "10000 8 recovered runtime error: invalid memory address or nil pointer dereference\n" +
			"value method main.square.area called using nil *square pointer\n? 0 true main.generic[...] main.generic[...]\n"
		if out.String() != want {
			t.Errorf("%q: it printed\n%swant\n%s", flags, out.String(), want)
		}
		if !strings.Contains(trace.String(), "panic: 1\n") || !strings.Contains(trace.String(), "main.main()\n\t?:0 +0x") || i != 1 && !strings.Contains(trace.String(), "main.crash(") {
			t.Errorf("%q: the trace is\n%s", flags, trace.String())
		}
	}
}

// A Go without the texts that are changed is refused.
func TestApplyRefuses(t *testing.T) {
	dir := t.TempDir()
	from, err := folder("runtime")
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "mspanset.go")
	if err := os.WriteFile(other, []byte("package runtime\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	err = apply(dir, changed, map[string]string{filepath.Join(from, "mspanset.go"): other})
	if err == nil || !strings.Contains(err.Error(), "another version of Go") {
		t.Errorf("got error %v", err)
	}
}
