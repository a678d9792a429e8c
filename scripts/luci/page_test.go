package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
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
	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/scripts/browser"
	"github.com/netpilot/netpilot/scripts/home"
)

// TestMain is also the agent, where it is started as one.
func TestMain(m *testing.M) {
	if start, err := strconv.ParseInt(os.Getenv(startEnv), 10, 64); err == nil {
		os.Exit(agent.RunBy(context.Background(), home.ClockFrom(began, time.Unix(0, start)), os.Args, home.Build(), os.Stdin, os.Stdout, os.Stderr))
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
	r := home.New(t, began)
	if code := r.Run(t.Context(), strings.NewReader(""), &out, &complaints, "rpcd", "list"); code != 0 {
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
func harmless(t *testing.T, b *browser.Browser) {
	t.Helper()
	var hurt bool
	b.Eval(`window.hurt !== undefined || document.querySelector('#view img, #view script') !== null`, &hurt)
	if hurt {
		t.Error("a device's name ran as a script")
	}
	for _, e := range b.Errors {
		t.Errorf("a script failed: %s", e)
	}
}

// shots is where screenshots are kept; git ignores it.
const shots = "../../dist/luci"

// open shows an address at a width, in the light or the dark, and waits until
// the stand-in has rendered the view.
func open(b *browser.Browser, url string, width int, dark bool) {
	b.Window(width, false)
	b.Go(url)
	b.Wait(`document.documentElement.dataset.ready`)
	if dark {
		b.Eval(`document.documentElement.setAttribute('data-darkmode', 'true')`, nil)
	}
}

// look has the page look at the agent now, as LuCI's poll does each time.
const look = `Promise.all(standinPoll.looks.map(l => l.fn())).then(() => true)`

// lookUntil has the page look until a person reads all of the texts in the
// selector at once.
func lookUntil(t *testing.T, b *browser.Browser, selector string, texts ...string) {
	t.Helper()
	lacks := func(shown string) bool {
		return slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(shown, text) })
	}
	deadline := time.Now().Add(4 * time.Minute)
	for shown := b.Text(selector); lacks(shown); shown = b.Text(selector) {
		if time.Now().After(deadline) {
			t.Fatalf("%s does not come to %q; it shows:\n%s", selector, texts, shown)
		}
		b.Eval(look, nil)
	}
}

// TestOverview is the page of a busy router.
func TestOverview(t *testing.T) {
	b := browser.New(t, shots)
	r := home.New(t, began)
	r.Remember()
	r.Count()
	r.Start()
	s := serve(t, r)
	open(b, s.page("overview", "owner"), 1200, false)
	b.Wait(`document.querySelectorAll('.np-devices tbody tr').length == 4 && document.querySelector('.np-slot')`)
	b.Wait(`document.querySelector('.np-finding')`)
	// When nlbwmon has refreshed twice.
	lookUntil(t, b, ".np-cards", "Not enrolled", "Enrol this router", "mean of the", "nlbwmon refreshes every 1 s", "Answers", "4/10000 rows, by socket")
	// The devices: most first, the one without a name by its address.
	table := b.Text(".np-devices")
	last := -1
	for _, want := range []string{"tv", "laptop", home.Hostile, "02:77:00:00:00:14"} {
		at := strings.Index(table, want)
		if at <= last {
			t.Errorf("%q is not in its place:\n%s", want, table)
		}
		last = at
	}
	b.Wait(`/↓.[0-9.]+.[KM]iB\/s ↑/.test(document.querySelector('tr[data-mac="00:1b:63:00:00:12"] .np-rate').textContent)`)
	var today, slots int
	b.Eval(`document.querySelectorAll('.np-slot').length`, &slots)
	b.Eval(`[...document.querySelectorAll('.np-down')].slice(0, 20).filter(bar => +bar.getAttribute('height') > 0).length`, &today)
	if slots != 24 || today != 19 {
		t.Errorf("today has %d hours, of the first 20 %d with bytes", slots, today)
	}
	b.Shows(".np-finding", "Cure:")
	b.Screenshot("overview-today")

	// A week by days of the router's own zone. On Tuesday the four devices
	// moved 1808 MiB down and 281 MiB up for each of 2*(1+2+3+4) shares.
	b.Click(`button[data-range=week]`)
	b.Wait(`document.querySelectorAll('.np-slot').length == 7`)
	var titles []string
	b.Eval(`[...document.querySelectorAll('.np-slot title')].map(t => t.textContent)`, &titles)
	if got, want := browser.Plain(titles[4]), "Tue, Nov 24: 35.3 GiB down, 5.5 GiB up"; got != want {
		t.Errorf("Tuesday: got %q, want %q", got, want)
	}
	if got := titles[2]; !strings.HasPrefix(got, "Sun, Nov 22: ") || !strings.HasSuffix(got, ", part of it was not counted") {
		t.Errorf("Sunday has a gap, and it says %q", got)
	}
	b.Click(`button[data-range=month]`)
	b.Wait(`document.querySelectorAll('.np-slot').length == 30`)
	b.Wait(`document.querySelectorAll('.np-devices tbody tr').length == 4`)
	b.Screenshot("overview-month")

	// Rename in place: first to something that is refused, then to something
	// that would hurt.
	row := `tr[data-mac="02:77:00:00:00:11"] `
	b.Click(row + "button")
	b.Fill(row+"input", "tab\tname")
	b.Eval(look, nil) // a poll does not take the field away
	b.Click(row + ".cbi-button-save")
	b.Shows(row+".np-error", "alias must be printable text")
	b.Screenshot("overview-rename")
	alias := `Anna's "><script>window.hurt = 2</script><img src=x onerror=window.hurt=3>`[:63]
	b.Fill(row+"input", alias)
	b.Click(row + ".cbi-button-save")
	b.Wait(fmt.Sprintf(`!document.querySelector('.np-rename') && document.querySelector(%q).textContent == %q`, row+".np-name", alias))
	b.Eval(look, nil)
	b.Eval(look, nil)
	harmless(t, b)
	b.Click(row + "button")
	b.Fill(row+"input", "")
	b.Eval(`document.querySelector('`+row+`input').dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter' }))`, nil)
	b.Wait(`!document.querySelector('.np-rename') && document.querySelector('` + row + `.np-name').textContent == 'laptop'`)

	// On a phone nothing is wider than the screen.
	open(b, s.page("overview", "owner"), 390, true)
	b.Wait(`document.querySelectorAll('.np-devices tbody tr').length == 4 && document.querySelector('.np-slot')`)
	b.Eval(look, nil)
	var width int
	b.Eval(`document.documentElement.scrollWidth`, &width)
	if width > 390 {
		t.Errorf("the page is %d pixels wide on a phone of 390", width)
	}
	b.Wait(`document.querySelector('.np-finding')`)
	b.Screenshot("overview-phone-dark")

	// Who may only look is offered nothing else.
	open(b, s.page("overview", "reader"), 1200, false)
	b.Wait(`document.querySelectorAll('.np-devices tbody tr').length == 4`)
	if strings.Contains(b.Text(".np-devices"), "Rename") {
		t.Error("a reader may rename")
	}
	harmless(t, b)

	// The daemon ends under the page: it says so and goes on.
	r.Stop()
	b.Eval(look, nil)
	b.Wait(`document.querySelector('.np-cards').textContent.includes('The service does not run')`)
	b.Wait(`document.querySelector('.np-cards').textContent.includes('service netpilot-agent start')`)
	b.Wait(`document.querySelector('.np-first .np-finding.warning').textContent.includes('netpilot-agent does not run')`)
	b.Screenshot("overview-stopped")
	harmless(t, b)
}

// TestOverviewOfNothing is the page where next to nothing is there.
func TestOverviewOfNothing(t *testing.T) {
	b := browser.New(t, shots)
	r := home.New(t, began)
	r.Write("tmp/dhcp.leases", "", 0o644)
	r.Write("proc/net/arp", "", 0o644)
	s := serve(t, r)

	// Neither daemon nor nlbwmon.
	open(b, s.page("overview", "owner"), 1200, false)
	b.Wait(`document.querySelector('.np-finding')`)
	b.Shows("#view", "no history is kept", "Cannot be read", "no nlbwmon socket", "service nlbwmon start", "No device is known yet.")
	b.Screenshot("overview-nothing")
	harmless(t, b)

	// A daemon that has counted nothing yet.
	r.Start()
	open(b, s.page("overview", "owner"), 1200, false)
	b.Wait(`document.querySelector('#view').textContent.includes('Nothing was counted in this time yet.')`)
	b.Wait(`document.querySelector('#view').textContent.includes('No rates yet')`)
	harmless(t, b)

	// No plugin at all, as before rpcd's reload.
	s.setAbsent(true)
	open(b, s.page("overview", "owner"), 1200, false)
	b.Shows(".np-cards .np-error", "RPC call to netpilot/status failed")
	harmless(t, b)
	s.setAbsent(false)
	b.Eval(look, nil)
	b.Wait(`!document.querySelector('.np-cards .np-error')`)
}

// TestSettings changes options and enrols at a real relay.
func TestSettings(t *testing.T) {
	b := browser.New(t, shots)
	r := home.New(t, began)
	r.Count()
	r.Write("etc/init.d/netpilot-agent", "#!/bin/sh\necho \"$1\" >> "+r.Path("calls")+"\n", 0o755)
	s := serve(t, r)
	open(b, s.page("settings", "owner"), 1000, false)
	b.Wait(`document.querySelector('[data-option=history_days]')`)
	b.Screenshot("settings")

	b.Fill("[data-option=history_days]", "1000")
	b.Click("#standin-apply")
	b.Wait(`document.querySelector('#standin-said').textContent.includes('out of range')`)
	b.Fill("[data-option=history_days]", "50")
	b.Fill("[data-option=ca_file]", "ca.pem")
	b.Click("#standin-apply")
	b.Wait(`document.querySelector('#standin-said').textContent.includes('An absolute path')`)
	b.Fill("[data-option=ca_file]", "")
	b.Fill("[data-option=remote_access]", "read")
	b.Eval(`document.querySelector('[data-option=history_flash]').checked = false`, nil)
	b.Click("#standin-apply")
	b.Wait(`document.querySelector('#standin-said').textContent.includes('saved')`)
	got, _, err := config.Load(r.Root)
	want := config.Default()
	want.RemoteAccess, want.History.Days, want.History.Flash = config.AccessRead, 50, false
	if err != nil || got != want {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
	r.Start()

	// Enrolment: what is refused says why, and a good token ends in a link.
	open(b, s.page("settings", "owner"), 1000, false)
	b.Wait(`document.querySelector('#np-enrol')`)
	b.Fill("#np-relay", "http://relay.example")
	b.Fill("#np-token", "x")
	b.Click("#np-enrol")
	b.Wait(`document.querySelector('#np-said .np-error')`)
	relay := home.NewRelay(t)
	url, token := relay.URL, relay.Admin("enrolment", "create")
	b.Fill("#np-relay", url)
	b.Fill("#np-token", "npe_wrong")
	b.Click("#np-enrol")
	b.Wait(`document.querySelector('#np-said').textContent.includes('the token is wrong')`)
	b.Screenshot("settings-refused")
	b.Fill("#np-token", token)
	b.Click("#np-enrol")
	b.Wait(`document.querySelector('#np-said').textContent.includes('Waiting for the link')`)
	var left string
	b.Eval(`document.querySelector('#np-token').value`, &left)
	if left != "" {
		t.Error("the token stays in its field")
	}
	if calls, err := os.ReadFile(r.Path("calls")); err != nil || string(calls) != "enable\nrestart\n" {
		t.Errorf("the service was told %q, %v", calls, err)
	}
	r.Stop() // the service's stand-in above restarts nothing
	r.Start()
	b.Wait(`document.querySelector('#np-said').textContent.includes('The link is up.')`)
	b.Wait(`document.querySelector('[data-option=enabled]').checked && document.querySelector('#view').textContent.includes('Enrolled at ` + url + `')`)
	b.Screenshot("settings-enrolled")
	open(b, s.page("overview", "owner"), 1000, false)
	b.Wait(`document.querySelector('.np-cards').textContent.includes('Connected')`)
	harmless(t, b)

	open(b, s.page("settings", "reader"), 1000, false)
	b.Wait(`document.querySelector('#view').textContent.includes('You may look but not enrol.')`)
	if strings.Contains(r.Log.String(), token) {
		t.Error("the token is in the log")
	}
}

// TestHoursOfADayWithAnotherClock: on the days on which clocks are set, each
// bar has the hour that the router's clock showed.
func TestHoursOfADayWithAnotherClock(t *testing.T) {
	b := browser.New(t, shots)
	r := home.New(t, began)
	r.Start()
	open(b, serve(t, r).page("overview", "owner"), 1200, false)
	var bars []string
	hours := func(history string) string {
		t.Helper()
		b.Eval(`load('netpilot.chart').then(c => c.hours(`+history+`)).then(slots => slots.filter(s => s.rx || s.gap).map(s => s.label + ' ' + s.rx + (s.gap ? ' gap' : '')))`, &bars)
		return strings.Join(bars, ", ")
	}
	got := hours(`{ from: '2026-10-25T00:00:00+02:00', gaps: [ { from: '2026-10-25T20:10:00+01:00', to: '2026-10-25T20:20:00.5+01:00' } ], buckets: [
		{ start: '2026-10-25T01:00:00+02:00', bytes_rx: 1, bytes_tx: 0 }, { start: '2026-10-25T02:00:00+02:00', bytes_rx: 2, bytes_tx: 0 },
		{ start: '2026-10-25T02:00:00+01:00', bytes_rx: 4, bytes_tx: 0 }, { start: '2026-10-25T23:00:00+01:00', bytes_rx: 8, bytes_tx: 0 } ] }`)
	if want := "1:00 1, 2:00 6, 20:00 0 gap, 23:00 8"; got != want {
		t.Errorf("in autumn: got %q, want %q", got, want)
	}
	got = hours(`{ from: '2026-03-29T00:00:00+01:00', gaps: [], buckets: [
		{ start: '2026-03-29T01:00:00+01:00', bytes_rx: 1, bytes_tx: 0 }, { start: '2026-03-29T03:00:00+02:00', bytes_rx: 2, bytes_tx: 0 } ] }`)
	if want := "1:00 1, 3:00 2"; got != want {
		t.Errorf("in spring: got %q, want %q", got, want)
	}
}

// TestBytes compares how bytes are written with the command line's way.
func TestBytes(t *testing.T) {
	b := browser.New(t, shots)
	r := home.New(t, began)
	r.Start()
	open(b, serve(t, r).page("overview", "owner"), 1200, false)
	numbers := []uint64{0, 1, 1023, 1 << 60, 1<<63 + 1<<58}
	for unit := uint64(1 << 10); unit <= 1<<50; unit <<= 10 {
		for _, whole := range []uint64{1, 2, 9, 99, 1000, 1023} {
			n := whole * unit
			numbers = append(numbers, n-1, n, n+1)
			for quarters := uint64(1); quarters < 4; quarters++ { // one and three are ties
				tie := n + quarters*unit/4
				numbers = append(numbers, tie-1, tie, tie+1)
			}
			numbers = append(numbers, n+unit*19/20, n+unit/20, n+unit-1)
		}
	}
	list, err := json.Marshal(numbers)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	b.Eval(fmt.Sprintf(`load('netpilot.agent').then(agent => %s.map(n => agent.bytes(n)))`, list), &got)
	if len(got) != len(numbers) {
		t.Fatalf("got %d texts of %d numbers", len(got), len(numbers))
	}
	for i, n := range numbers {
		if text := browser.Plain(got[i]); text != usage.Bytes(n) {
			t.Errorf("%d bytes: got %s, want %s", n, text, usage.Bytes(n))
		}
	}
}
