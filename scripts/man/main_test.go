package main

import (
	"bytes"
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	agent "github.com/netpilot/netpilot/agent/command"
)

// TestPageHasEveryCommand makes the page from the agent's real help, and has
// man or groff complain about it where there is one.
func TestPageHasEveryCommand(t *testing.T) {
	help := func(verb ...string) (string, error) {
		var out, complaints bytes.Buffer
		args := append(append([]string{"netpilot-agent"}, verb...), "--help")
		if exit := agent.Run(context.Background(), args, agent.Build{Version: "1.2.3"}, nil, &out, &complaints); exit != 0 {
			t.Errorf("%v: exit code %d: %s", args, exit, complaints.String())
		}
		return out.String(), nil
	}
	var b bytes.Buffer
	if err := page(&b, help, "1.2.3", time.Unix(1764000000, 0).UTC()); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for _, want := range []string{".TH NETPILOT-AGENT 8 2025-11-24 \"netpilot-agent 1.2.3\"\n", ".SS enroll\n", ".SS run\n", ".SS dump\n", `\-\-token\-file FILE`, ".SH FILES\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if groff, err := exec.LookPath("groff"); err == nil {
		cmd := exec.Command(groff, "-man", "-Tutf8", "-ww", "-z")
		cmd.Stdin = strings.NewReader(text)
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("groff: %v\n%s", err, out)
		}
	}
}

// TestEscape keeps troff out of the text.
func TestEscape(t *testing.T) {
	for in, want := range map[string]string{".TH x": `\&.TH x`, `a\b`: `a\eb`, "--x": `\-\-x`, "'y": `\&'y`} {
		if got := escape(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
