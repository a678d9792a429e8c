package method

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/netpilot/netpilot/pkg/nlbwmon/nlbwmontest"
	"github.com/netpilot/netpilot/pkg/usage"
)

type nlbwResult struct {
	Stdout string `json:"stdout"`
	Stderr string `json:"stderr"`
	Exit   int    `json:"exit_code"`
}

func argsOf(args ...string) string {
	text, _ := json.Marshal(map[string][]string{"args": args}) // strings always marshal
	return string(text)
}

// The far end gets the bytes that stock nlbw printed, and its exit code.
func TestNlbw(t *testing.T) {
	a, d := newAgent(t, "live-lab")
	for file, args := range map[string][]string{
		"json.out":       {"-c", "json"},
		"csv-g-mac.out":  {"-c", "csv", "-g", "mac"},
		"show.out":       {"-c", "show"},
		"list.out":       {"-c", "list"},
		"json-g-all.out": {"-c", "json", "-g", "family,proto,port,mac,ip", "-o", "family,proto,port,mac,ip"},
	} {
		want, err := os.ReadFile(recordings + "live-lab/nlbw-musl/" + file)
		if err != nil {
			t.Fatal(err)
		}
		var got nlbwResult
		if call(t, a, AccessRead, "nlbw", argsOf(args...), &got); got != (nlbwResult{Stdout: string(want)}) {
			t.Errorf("%q: got %+v, want %s", args, got, want)
		}
	}
	for params, want := range map[string]nlbwResult{
		"":                                       {Stderr: "No command specified\n", Exit: 1},
		argsOf("-c", "bogus"):                    {Stderr: "Unrecognized command 'bogus'\n", Exit: 1},
		argsOf("-c", "json", "-t", "2001-01-01"): {Stderr: "Error while processing command: No data available\n", Exit: 195},
	} {
		var got nlbwResult
		if call(t, a, AccessRead, "nlbw", params, &got); got != want {
			t.Errorf("%s: got %+v, want %+v", params, got, want)
		}
	}
	_ = d.Close()
	if err := os.Remove(a.Router.SnapshotPath); err != nil {
		t.Fatal(err)
	}
	var got nlbwResult
	if call(t, a, AccessRead, "nlbw", argsOf("-c", "json"), &got); got.Exit != 247 || got.Stdout != "" {
		t.Errorf("no daemon: got %+v, want exit code 247", got)
	}
}

// Reading does not write, and only who stands on the router names its files.
func TestNlbwScopes(t *testing.T) {
	a, _ := newAgent(t, "live-lab")
	for _, tt := range []struct {
		args  []string
		needs Access
	}{
		{[]string{"-c", "json"}, AccessRead},
		{[]string{"-c", "commit"}, AccessWrite},
		{[]string{"-nccommit"}, AccessWrite},
		{[]string{"-c", "json", "-c", "commit", "-c", "bogus"}, AccessWrite}, // stock nlbw overlooks the last one
		{[]string{"-c", "json", "-S", a.Router.SocketPath}, AccessOwner},
		{[]string{"-nS" + a.Router.SocketPath, "-c", "json"}, AccessOwner},
		{[]string{"-c", "json", "-p", "/etc/shadow"}, AccessOwner},
		{[]string{"-p/etc/shadow", "-c", "commit"}, AccessOwner},
		{[]string{"-c", "json", "-i"}, AccessRead},
		{[]string{"-c", "json", "-t", "24"}, AccessRead},
		{[]string{"-z"}, AccessWrite},
		{[]string{"-nz"}, AccessWrite},
		{[]string{"-d", "/etc/shadow", "-c", "json"}, AccessOwner},
		{[]string{"-c", "json", "-d/etc/shadow"}, AccessOwner},
	} {
		for access := AccessRead; access <= AccessOwner; access++ {
			_, err := New(a).Call(t.Context(), access, "nlbw", json.RawMessage(argsOf(tt.args...)))
			if allowed := access >= tt.needs; allowed != (err == nil) || !allowed && usage.KindOf(err) != usage.Forbidden {
				t.Errorf("%q with access %d: got %v, want allowed %t", tt.args, access, err, allowed)
			}
		}
	}
}

func TestNlbwLimits(t *testing.T) {
	a, d := newAgent(t, "live-lab")
	many := make([]string, maxArgs+1)
	for i := range many {
		many[i] = "-n"
	}
	many[0], many[1] = "-c", "json"
	long := strings.Repeat("m", maxArgLen+1)
	for _, tt := range []struct {
		args []string
		want string // "": taken
	}{
		{many[:maxArgs], ""},
		{many, "at most 32 arguments"},
		{[]string{"-c", "json", long[1:]}, ""},
		{[]string{"-c", "json", long}, "at most 256 bytes"},
	} {
		_, err := New(a).Call(t.Context(), AccessRead, "nlbw", json.RawMessage(argsOf(tt.args...)))
		if tt.want == "" && err != nil || tt.want != "" && (usage.KindOf(err) != usage.Invalid || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%d arguments: got %v, want %q", len(tt.args), err, tt.want)
		}
	}
	// More output than an answer holds is refused whole, never cut.
	d.SetRows(nlbwmontest.Generate(20_000, 1))
	freshen(t, a, d)
	_, err := New(a).Call(t.Context(), AccessRead, "nlbw", json.RawMessage(argsOf("-c", "json")))
	if usage.KindOf(err) != usage.Invalid || !strings.Contains(err.Error(), "-g mac") {
		t.Errorf("20,000 rows: got %v, want invalid with the way out", err)
	}
	// So is output that passes it only once it is quoted.
	d.SetRows(nlbwmontest.Generate(12_000, 1))
	freshen(t, a, d)
	_, err = New(a).Call(t.Context(), AccessRead, "nlbw", json.RawMessage(argsOf("-c", "csv")))
	if usage.KindOf(err) != usage.Invalid || !strings.Contains(err.Error(), "ask for less") {
		t.Errorf("12,000 rows: got %v, want invalid", err)
	}
	var got nlbwResult
	if call(t, a, AccessRead, "nlbw", argsOf("-c", "json", "-g", "mac"), &got); got.Exit != 0 || len(got.Stdout) < 10_000 {
		t.Errorf("grouped: got exit code %d and %d bytes", got.Exit, len(got.Stdout))
	}
}
