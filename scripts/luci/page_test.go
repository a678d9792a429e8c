package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	agent "github.com/netpilot/netpilot/agent/command"
	"github.com/netpilot/netpilot/agent/config"
	"github.com/netpilot/netpilot/agent/method"
	relay "github.com/netpilot/netpilot/relay/command"
)

// TestMain is also the agent, where it is started as one.
func TestMain(m *testing.M) {
	if start, err := strconv.ParseInt(os.Getenv(startEnv), 10, 64); err == nil {
		os.Exit(agent.RunBy(context.Background(), clockFrom(time.Unix(0, start)), os.Args, build(), os.Stdin, os.Stdout, os.Stderr))
	}
	goleak.VerifyTestMain(m)
}

// TestTemplateIsComplete makes the template again.
func TestTemplateIsComplete(t *testing.T) {
	want, err := potOf(app0)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(app0, template))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is not of these pages (%v); next: go run ./scripts/luci", template, err)
	}
	dir := t.TempDir()
	for _, source := range []string{"_(name)", `_("double")`, "_('a' + b)"} {
		if err := os.WriteFile(filepath.Join(dir, "x.js"), []byte(source), 0o644); err != nil {
			t.Fatal(err)
		}
		if got, err := potOf(dir); err == nil {
			t.Errorf("%s: got %s, want an error", source, got)
		}
	}
}

// TestRights has every method of the plugin in the ACL file, by its scope.
func TestRights(t *testing.T) {
	var out, complaints bytes.Buffer
	r := newRouter(t)
	if code := r.run(t.Context(), strings.NewReader(""), &out, &complaints, "rpcd", "list"); code != 0 {
		t.Fatal(complaints.String())
	}
	var list map[string]map[string]any
	if err := json.Unmarshal(out.Bytes(), &list); err != nil {
		t.Fatal(err)
	}
	var read, write []string
	reading := method.New(&method.Agent{}).Names(method.AccessRead)
	for _, name := range slices.Sorted(maps.Keys(list)) {
		if slices.ContainsFunc(reading, func(m string) bool { return strings.ReplaceAll(m, ".", "_") == name }) {
			read = append(read, name)
		} else {
			write = append(write, name)
		}
	}
	a := readACL(t)
	if got := a.Read.Ubus["netpilot"]; !slices.Equal(got, read) {
		t.Errorf("read: got %q, want %q", got, read)
	}
	if got := a.Write.Ubus["netpilot"]; !slices.Equal(got, write) {
		t.Errorf("write: got %q, want %q", got, write)
	}
	if len(a.Read.Ubus)+len(a.Write.Ubus) != 2 {
		t.Error("the ACL grants objects of others")
	}
}

// TestNoHTML forbids what would make HTML of data.
func TestNoHTML(t *testing.T) {
	err := fs.WalkDir(os.DirFS(app0), "htdocs", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".js" {
			return err
		}
		text, err := os.ReadFile(filepath.Join(app0, path))
		for _, word := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "dom.parse"} {
			if strings.Contains(string(text), word) {
				t.Errorf("%s has %s", path, word)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// harmless checks that no name became a part of the page, and that no script
// failed.
func (b *browser) harmless() {
	b.t.Helper()
	var hurt bool
	b.eval(`window.hurt !== undefined || document.querySelector('#view img, #view script') !== null`, &hurt)
	if hurt {
		b.t.Error("a device's name ran as a script")
	}
	for _, e := range b.errors {
		b.t.Errorf("a script failed: %s", e)
	}
}

// look has the page look at the agent now, as LuCI's poll does each time.
const look = `Promise.all(standinPoll.looks.map(l => l.fn())).then(() => true)`

// TestOverview is the page of a busy router.
func TestOverview(t *testing.T) {
	b := newBrowser(t)
	r := newRouter(t)
	r.remember()
	r.count()
	r.start()
	s := r.serve()
	b.open(s.page("overview", "owner"), 1200, false)
	b.wait(`document.querySelectorAll('.np-devices tbody tr').length == 4 && document.querySelector('.np-slot')`)
	b.wait(`document.querySelector('.np-finding')`)
	for range 20 { // until nlbwmon has refreshed twice
		b.eval(look, nil)
		if strings.Contains(b.text(".np-cards"), "mean of the") {
			break
		}
	}

	cards := b.text(".np-cards")
	for _, want := range []string{"Not enrolled", "Enrol this router", "mean of the", "nlbwmon refreshes every 1 s", "Answers", "4/10000 rows, by socket"} {
		if !strings.Contains(cards, want) {
			t.Errorf("no %q in the cards:\n%s", want, cards)
		}
	}
	// The devices: most first, the one without a name by its address.
	table := b.text(".np-devices")
	last := -1
	for _, want := range []string{"tv", "laptop", hostile, "02:77:00:00:00:14"} {
		at := strings.Index(table, want)
		if at <= last {
			t.Errorf("%q is not in its place:\n%s", want, table)
		}
		last = at
	}
	b.wait(`/↓.[0-9.]+.[KM]iB\/s ↑/.test(document.querySelector('tr[data-mac="00:1b:63:00:00:12"] .np-rate').textContent)`)
	var today, slots int
	b.eval(`document.querySelectorAll('.np-slot').length`, &slots)
	b.eval(`[...document.querySelectorAll('.np-down')].slice(0, 20).filter(bar => +bar.getAttribute('height') > 0).length`, &today)
	if slots != 24 || today != 19 {
		t.Errorf("today has %d hours, of the first 20 %d with bytes", slots, today)
	}
	if findings := b.text(".np-finding"); !strings.Contains(findings, "Cure:") {
		t.Errorf("a finding without a cure: %s", findings)
	}
	b.screenshot("overview-today")

	// A week by days of the router's own zone. On Tuesday the four devices
	// moved 1808 MiB down and 281 MiB up for each of 2*(1+2+3+4) shares.
	b.click(`button[data-range=week]`)
	b.wait(`document.querySelectorAll('.np-slot').length == 7`)
	var titles []string
	b.eval(`[...document.querySelectorAll('.np-slot title')].map(t => t.textContent)`, &titles)
	if got, want := plain(titles[4]), "Tue, Nov 24: 35.3 GiB down, 5.5 GiB up"; got != want {
		t.Errorf("Tuesday: got %q, want %q", got, want)
	}
	if got := titles[2]; !strings.HasPrefix(got, "Sun, Nov 22: ") || !strings.HasSuffix(got, ", part of it was not counted") {
		t.Errorf("Sunday has a gap, and it says %q", got)
	}
	b.click(`button[data-range=month]`)
	b.wait(`document.querySelectorAll('.np-slot').length == 30`)
	b.wait(`document.querySelectorAll('.np-devices tbody tr').length == 4`)
	b.screenshot("overview-month")

	// Rename in place: first to something that is refused, then to something
	// that would hurt.
	row := `tr[data-mac="02:77:00:00:00:11"] `
	b.click(row + "button")
	b.fill(row+"input", "tab\tname")
	b.eval(look, nil) // a poll does not take the field away
	b.click(row + ".cbi-button-save")
	b.wait(`document.querySelector('` + row + `.np-error')`)
	if got := b.text(row + ".np-error"); !strings.Contains(got, "alias must be printable text") {
		t.Errorf("refused with %q", got)
	}
	b.screenshot("overview-rename")
	alias := `Anna's "><script>window.hurt = 2</script><img src=x onerror=window.hurt=3>`[:63]
	b.fill(row+"input", alias)
	b.click(row + ".cbi-button-save")
	b.wait(`!document.querySelector('.np-rename')`)
	if got := b.text(row + ".np-name"); got != alias {
		t.Errorf("renamed to %q, want %q", got, alias)
	}
	b.eval(look, nil)
	b.eval(look, nil)
	b.harmless()
	b.click(row + "button")
	b.fill(row+"input", "")
	b.eval(`document.querySelector('`+row+`input').dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter' }))`, nil)
	b.wait(`!document.querySelector('.np-rename') && document.querySelector('` + row + `.np-name').textContent == 'laptop'`)

	// On a phone nothing is wider than the screen.
	b.open(s.page("overview", "owner"), 390, true)
	b.wait(`document.querySelectorAll('.np-devices tbody tr').length == 4 && document.querySelector('.np-slot')`)
	b.eval(look, nil)
	var width int
	b.eval(`document.documentElement.scrollWidth`, &width)
	if width > 390 {
		t.Errorf("the page is %d pixels wide on a phone of 390", width)
	}
	b.wait(`document.querySelector('.np-finding')`)
	b.screenshot("overview-phone-dark")

	// Who may only look is offered nothing else.
	b.open(s.page("overview", "reader"), 1200, false)
	b.wait(`document.querySelectorAll('.np-devices tbody tr').length == 4`)
	if strings.Contains(b.text(".np-devices"), "Rename") {
		t.Error("a reader may rename")
	}
	b.harmless()

	// The daemon ends under the page: it says so and goes on.
	r.stop()
	b.eval(look, nil)
	b.wait(`document.querySelector('.np-cards').textContent.includes('The service does not run')`)
	b.wait(`document.querySelector('.np-cards').textContent.includes('service netpilot-agent start')`)
	b.wait(`document.querySelector('.np-first .np-finding.warning').textContent.includes('netpilot-agent does not run')`)
	b.screenshot("overview-stopped")
	b.harmless()
}

// TestOverviewOfNothing is the page where next to nothing is there.
func TestOverviewOfNothing(t *testing.T) {
	b := newBrowser(t)
	r := newRouter(t)
	r.write("tmp/dhcp.leases", "", 0o644)
	r.write("proc/net/arp", "", 0o644)
	s := r.serve()

	// Neither daemon nor nlbwmon.
	b.open(s.page("overview", "owner"), 1200, false)
	b.wait(`document.querySelector('.np-finding')`)
	b.wait(`document.querySelector('#view').textContent.includes('no history is kept')`)
	for _, want := range []string{"Cannot be read", "no nlbwmon socket", "service nlbwmon start", "No device is known yet."} {
		if text := b.text("#view"); !strings.Contains(text, want) {
			t.Errorf("no %q:\n%s", want, text)
		}
	}
	b.screenshot("overview-nothing")
	b.harmless()

	// A daemon that has counted nothing yet.
	r.start()
	b.open(s.page("overview", "owner"), 1200, false)
	b.wait(`document.querySelector('#view').textContent.includes('Nothing was counted in this time yet.')`)
	b.wait(`document.querySelector('#view').textContent.includes('No rates yet')`)
	b.harmless()

	// No plugin at all, as before rpcd's reload.
	s.setAbsent(true)
	b.open(s.page("overview", "owner"), 1200, false)
	b.wait(`document.querySelector('.np-cards .np-error')`)
	if text := b.text(".np-cards"); !strings.Contains(text, "RPC call to netpilot/status failed") {
		t.Errorf("it says %q", text)
	}
	b.harmless()
	s.setAbsent(false)
	b.eval(look, nil)
	b.wait(`!document.querySelector('.np-cards .np-error')`)
}

// TestSettings changes options and enrols at a real relay.
func TestSettings(t *testing.T) {
	b := newBrowser(t)
	r := newRouter(t)
	r.count()
	r.write("etc/init.d/netpilot-agent", "#!/bin/sh\necho \"$1\" >> "+r.path("calls")+"\n", 0o755)
	s := r.serve()
	b.open(s.page("settings", "owner"), 1000, false)
	b.wait(`document.querySelector('[data-option=history_days]')`)
	b.screenshot("settings")

	b.fill("[data-option=history_days]", "1000")
	b.click("#standin-apply")
	b.wait(`document.querySelector('#standin-said').textContent.includes('out of range')`)
	b.fill("[data-option=history_days]", "50")
	b.fill("[data-option=ca_file]", "ca.pem")
	b.click("#standin-apply")
	b.wait(`document.querySelector('#standin-said').textContent.includes('An absolute path')`)
	b.fill("[data-option=ca_file]", "")
	b.fill("[data-option=remote_access]", "read")
	b.eval(`document.querySelector('[data-option=history_flash]').checked = false`, nil)
	b.click("#standin-apply")
	b.wait(`document.querySelector('#standin-said').textContent.includes('saved')`)
	got, _, err := config.Load(r.root)
	want := config.Default()
	want.RemoteAccess, want.History.Days, want.History.Flash = config.AccessRead, 50, false
	if err != nil || got != want {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
	r.start()

	// Enrolment: what is refused says why, and a good token ends in a link.
	b.open(s.page("settings", "owner"), 1000, false)
	b.wait(`document.querySelector('#np-enrol')`)
	b.fill("#np-relay", "http://relay.example")
	b.fill("#np-token", "x")
	b.click("#np-enrol")
	b.wait(`document.querySelector('#np-said .np-error')`)
	url, token := newRelay(t)
	b.fill("#np-relay", url)
	b.fill("#np-token", "npe_wrong")
	b.click("#np-enrol")
	b.wait(`document.querySelector('#np-said').textContent.includes('the token is wrong')`)
	b.screenshot("settings-refused")
	b.fill("#np-token", token)
	b.click("#np-enrol")
	b.wait(`document.querySelector('#np-said').textContent.includes('Waiting for the link')`)
	var left string
	b.eval(`document.querySelector('#np-token').value`, &left)
	if left != "" {
		t.Error("the token stays in its field")
	}
	if calls, err := os.ReadFile(r.path("calls")); err != nil || string(calls) != "enable\nrestart\n" {
		t.Errorf("the service was told %q, %v", calls, err)
	}
	r.stop() // the service's stand-in above restarts nothing
	r.start()
	b.wait(`document.querySelector('#np-said').textContent.includes('The link is up.')`)
	b.wait(`document.querySelector('[data-option=enabled]').checked && document.querySelector('#view').textContent.includes('Enrolled at ` + url + `')`)
	b.screenshot("settings-enrolled")
	b.open(s.page("overview", "owner"), 1000, false)
	b.wait(`document.querySelector('.np-cards').textContent.includes('Connected')`)
	b.harmless()

	b.open(s.page("settings", "reader"), 1000, false)
	b.wait(`document.querySelector('#view').textContent.includes('You may look but not enrol.')`)
	if strings.Contains(r.log.String(), token) {
		t.Error("the token is in the log")
	}
}

// newRelay starts a relay and makes a token.
func newRelay(t *testing.T) (url, token string) {
	t.Helper()
	data := filepath.Join(t.TempDir(), "relay")
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan string, 1), make(chan error, 1)
	go func() { // ends with ctx
		ended <- relay.Serve(ctx, relay.Config{
			Version: "1.2.3", Listen: "127.0.0.1:0", Data: data, Log: slog.New(slog.DiscardHandler), Drain: time.Second,
			Ready: func(url string) error { ready <- url; return nil },
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("relay: %v", err)
		}
	})
	select {
	case url = <-ready:
	case err := <-ended:
		ended <- nil
		t.Fatalf("relay: %v", err)
	}
	var out, complaints bytes.Buffer
	if exit := relay.Run(ctx, "1.2.3", []string{"netpilot-relay", "enrolment", "create", "--data", data}, strings.NewReader(""), &out, &complaints); exit != 0 {
		t.Fatalf("exit code %d: %s", exit, complaints.String())
	}
	return url, strings.TrimSpace(out.String())
}
