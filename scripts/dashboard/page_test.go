package dashboard

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
	relay "github.com/netpilot/netpilot/relay/command"
	"github.com/netpilot/netpilot/relay/store/sqlite"
	"github.com/netpilot/netpilot/scripts/browser"
	"github.com/netpilot/netpilot/scripts/fleet/play"
	"github.com/netpilot/netpilot/scripts/home"
)

func TestDashboard(t *testing.T) {
	w := newWorld(t)
	w.Window(1280, false)
	w.Go(w.relay.URL + "/")

	// Who has no key, or a wrong one, sees nothing.
	w.Wait(`document.querySelector('#secret') === document.activeElement`)
	w.Screenshot("sign-in")
	for key, want := range map[string]string{"npk_wrong": "unknown, expired or revoked", "two words": "That is no API key", "ключ": "That is no API key"} {
		w.Fill("#secret", key)
		w.Click(".sign button")
		w.Wait(fmt.Sprintf(`document.querySelector('#refused').textContent.includes(%q)`, want))
	}
	w.Screenshot("sign-in-refused")
	w.signIn("Authorization: Bearer " + w.reader)

	w.testNumbers()
	w.testFleet()
	w.testRouter()
	w.testDevice()
	w.testOffline()
	w.testRename()
	w.testPhone()
	w.testMany()
	w.testBreaks()
	w.harmless()
}

// TestNothing is the dashboard of a relay to which no router came yet, and that
// keeps nothing.
func TestNothing(t *testing.T) {
	w := newRelay(t, func(cfg *relay.Config) { cfg.NoHistory = true })
	w.Window(390, true)
	w.Go(w.relay.URL + "/")
	w.signIn(w.reader)
	w.Wait(`document.querySelector('#routers .empty').textContent.includes('netpilot-relay enrolment create')`)
	w.Wait(`document.querySelector('#sums').textContent.includes('0 of 0') && document.querySelector('#span').textContent.includes('There is no router')`)
	w.Screenshot("nothing")
	w.enrol(&play.Network{Seed: "dashboard", Routers: 2, Devices: 1})
	w.Reload()
	w.Wait(`document.querySelectorAll('#routers tbody tr').length == 2 && document.querySelector('#routers tbody').textContent.includes('not said yet')`)
	w.Wait(`document.querySelector('#sums').textContent.includes('0 of 2') && document.querySelector('#sums').textContent.includes('keeps no history')`)
	w.Wait(`document.querySelector('#span').textContent.includes('keeps no history')`)
	w.fits(390)
	w.Screenshot("no-history")
	w.testClocks()
	w.harmless()
}

// testClocks draws days on which the router's clock was set.
func (w *world) testClocks() {
	const spring = `{ from: '2026-03-29T00:00:00+01:00', gaps: [ { from: '2026-03-29T02:30:00Z', to: '2026-03-29T02:40:00Z' } ], buckets: [
		{ start: '2026-03-29T01:00:00+01:00', bytes_rx: 1, bytes_tx: 0 }, { start: '2026-03-29T03:00:00+02:00', bytes_rx: 2, bytes_tx: 0 }, { start: '2026-03-29T23:00:00+02:00', bytes_rx: 3, bytes_tx: 0 } ] }`
	const autumn = `{ from: '2026-10-24T00:00:00+02:00', gaps: [ { from: '2026-10-25T22:30:00Z', to: '2026-10-25T22:40:00Z' } ], buckets: [
		{ start: '2026-10-24T00:00:00+02:00', bytes_rx: 1, bytes_tx: 0 }, { start: '2026-10-25T00:00:00+02:00', bytes_rx: 2, bytes_tx: 0 }, { start: '2026-10-26T00:00:00+01:00', bytes_rx: 3, bytes_tx: 0 } ] }`
	const twice = `{ from: '2026-10-25T00:00:00+02:00', gaps: [], buckets: [
		{ start: '2026-10-25T02:00:00+02:00', bytes_rx: 1, bytes_tx: 0 }, { start: '2026-10-25T02:00:00+01:00', bytes_rx: 2, bytes_tx: 0 } ] }`
	for call, want := range map[string]string{
		"hours(" + spring + ")":     "01:00=1 03:00=2 04:00=0! 23:00=3",
		"hours(" + twice + ")":      "02:00=3",
		"daysOf(3, " + autumn + ")": "Sat, Oct 24=1 Sun, Oct 25=2! Mon, Oct 26=3",
	} {
		var got string
		w.Eval(`import(document.querySelector('script').src.replace('app.js', 'chart.js')).then(({ hours, daysOf }) =>
			`+call+`.filter(s => s.rx || s.gap).map(s => s.name + '=' + s.rx + (s.gap ? '!' : '')).join(' '))`, &got)
		if got != want {
			w.t.Errorf("%s: got %s, want %s", call, got, want)
		}
	}
}

// harmless checks that nothing ran that was a name, and that nothing was asked
// of anybody else.
func (w *world) harmless() {
	w.t.Helper()
	t := w.t
	var hurt bool
	w.Eval(`window.hurt !== undefined`, &hurt)
	if hurt {
		t.Error("a name ran as a script")
	}
	for _, e := range w.Errors {
		t.Errorf("an error in the console: %s", e)
	}
	for _, to := range w.Requests {
		u, err := url.Parse(to)
		if err != nil || u.Scheme != "data" && u.Scheme != "about" && u.Scheme != "blob" && "http://"+u.Host != w.relay.URL {
			t.Errorf("the page asked %s", to)
		}
		if strings.Contains(to, "npk_") {
			t.Errorf("a key is in an address: %s", to)
		}
	}
}

// testNumbers compares how bytes are written with the command line's way.
func (w *world) testNumbers() {
	numbers := []uint64{0, 1, 1023, 1024, 1075, 1126, 800_000, 799_999, 1<<20 - 1, 1 << 20, 1<<20 + 1<<18, 3<<20 + 3<<18, 1<<40 + 1<<38, 123_456_789_012, 1<<53 - 1}
	list, err := json.Marshal(numbers)
	if err != nil {
		w.t.Fatal(err)
	}
	var got []string
	w.Eval(fmt.Sprintf(`import(document.querySelector('script').src.replace('app.js', 'dom.js')).then(({ bytes }) => %s.map(bytes))`, list), &got)
	for i, n := range numbers {
		if text := browser.Plain(got[i]); text != usage.Bytes(n) {
			w.t.Errorf("%d bytes: got %s, want %s", n, text, usage.Bytes(n))
		}
	}
}

func (w *world) testFleet() {
	w.Wait(`document.querySelectorAll('#routers tbody tr').length == 2 && document.querySelector('#span .slot') && document.querySelectorAll('.tile').length == 3`)
	var sum struct {
		counters
		Online       int
		TotalRouters int `json:"total_routers"`
	}
	w.same("#sums", func() []string {
		w.get("/api/fleet/summary?days=1&limit=10", &sum)
		return []string{fmt.Sprintf("%d of %d", sum.Online, sum.TotalRouters), "1 offline", usage.Bytes(sum.TotalBytes), sum.both()}
	})
	var list struct{ Routers []routerItem }
	for _, id := range []string{w.attic, w.cellar} {
		w.same(fmt.Sprintf(`tr[data-router="%s"]`, id), func() []string {
			w.get("/api/routers?days=1", &list)
			r := list.Routers[slices.IndexFunc(list.Routers, func(r routerItem) bool { return r.ID == id })]
			return []string{r.Name, r.ID[:12], "1.2.3", usage.Bytes(r.Usage.TotalBytes), map[bool]string{true: "online", false: "offline"}[r.Online]}
		})
	}
	var week struct {
		counters
		TopDevices []struct {
			deviceItem
		} `json:"top_devices"`
		Days []struct {
			Date string
			counters
		} `json:"daily_totals"`
	}
	look := func() { w.get("/api/fleet/summary?days=7&limit=10", &week) }
	w.same("#span", func() (want []string) {
		look()
		want = append(want, usage.Bytes(week.TotalBytes), week.both())
		for _, d := range week.TopDevices {
			want = append(want, usage.Bytes(d.TotalBytes))
		}
		return append(want, home.Hostile)
	})
	w.Eval(`document.querySelector('#span details').open = true`, nil)
	w.same("#span .numbers", func() (want []string) {
		look()
		for _, d := range week.Days {
			day, err := time.Parse(time.DateOnly, d.Date)
			if err != nil {
				w.t.Fatal(err)
			}
			want = append(want, day.Format("Mon, Jan 2")+"\t"+usage.Bytes(d.BytesRx)+"\t"+usage.Bytes(d.BytesTx))
		}
		return want
	})
	w.Eval(`document.querySelector('#span details').open = false`, nil)
	w.Screenshot("fleet")
	w.Window(1280, true)
	w.Screenshot("fleet-dark")
	w.Window(1280, false)
	w.Click(`#span button[data-value="30"]`)
	w.Wait(`document.querySelectorAll('#span .slot').length == 30`)

	// Choosing: by a tile, by the form, by a name that none has.
	w.Click(`.tile button`)
	w.Wait(`document.querySelectorAll('#routers tbody tr').length == 1 && document.querySelector('select[name=online]').value == 'false'`)
	w.Eval(`(s => { s.value = ''; s.dispatchEvent(new Event('change')); })(document.querySelector('select[name=online]'))`, nil)
	w.Wait(`document.querySelectorAll('#routers tbody tr').length == 2`)
	w.Fill(`input[name=name]`, "ATT")
	w.Wait(`document.querySelectorAll('#routers tbody tr').length == 1`)
	w.Fill(`input[name=name]`, "nobody")
	w.Wait(`document.querySelector('#routers').textContent.includes('No router is like that.')`)
	w.Fill(`input[name=name]`, "")
	w.Wait(`document.querySelectorAll('#routers tbody tr').length == 2`)
	w.Eval(`document.querySelector('[data-focus=sort-last_seen]').focus()`, nil) // as a keyboard does
	w.Click(`[data-focus=sort-last_seen]`)
	w.Wait(`document.querySelector('#routers th[aria-sort]').textContent == 'Last seen' && document.activeElement.dataset.focus == 'sort-last_seen'`)
}

// deviceRows is what the table of a router's devices must show.
func (w *world) deviceRows(id string) (want []string) {
	var current struct {
		Devices []deviceItem
		counters
		TotalDevices int `json:"total_devices"`
	}
	w.get("/api/device-usage/current?routerId="+id, &current)
	want = append(want, fmt.Sprintf("%d devices, %s", current.TotalDevices, usage.Bytes(current.TotalBytes)))
	for _, d := range current.Devices {
		want = append(want, d.MAC, d.IP, usage.Bytes(d.BytesRx)+"\t"+usage.Bytes(d.BytesTx)+"\t"+usage.Bytes(d.TotalBytes))
		if d.Hostname != nil {
			want = append(want, *d.Hostname)
		}
	}
	return want
}

func (w *world) testRouter() {
	w.Click(fmt.Sprintf(`tr[data-router="%s"] a`, w.attic))
	w.Wait(`document.querySelectorAll('#devices tbody tr').length == 4 && document.querySelector('#findings li')`)
	w.same("#devices", func() []string { return w.deviceRows(w.attic) })
	var r struct {
		Counting struct {
			Reasons []struct{ Text, Cure string }
		}
	}
	w.same("#findings", func() (want []string) {
		w.get("/api/routers/"+w.attic, &r)
		if len(r.Counting.Reasons) == 0 {
			w.t.Fatal("the router knows no reason")
		}
		for _, f := range r.Counting.Reasons {
			want = append(want, f.Text, f.Cure)
		}
		return want
	})
	for _, days := range []int{7, 30} {
		w.Click(fmt.Sprintf(`#usage button[data-value="%d"]`, days))
		w.Wait(fmt.Sprintf(`document.querySelectorAll('#usage .slot').length == %d`, days))
		w.same("#usage", func() []string {
			var s struct {
				counters
				Top []struct{ counters } `json:"top_devices"`
				By  []struct {
					Service string
					counters
				} `json:"top_services"`
			}
			w.get(fmt.Sprintf("/api/device-usage/summary?days=%d&limit=10&routerId=%s", days, w.attic), &s)
			return []string{usage.Bytes(s.TotalBytes), s.both(), usage.Bytes(s.Top[0].TotalBytes), s.By[0].Service, usage.Bytes(s.By[0].TotalBytes), "CET"}
		})
	}
	// Rates, when they are asked for.
	if now := w.Text("#devices tbody .now"); now != "–" {
		w.t.Errorf("a rate before anybody asked for one: %s", now)
	}
	w.Click("#live button")
	w.Wait(`/↓.[0-9.]+.[KM]iB\/s ↑/.test(document.querySelector('tr[data-mac="00:1b:63:00:00:12"] .now').textContent)`)
	w.Wait(`/↓.[0-9.]+.[KM]iB\/s ↑/.test(document.querySelector('#live .figure').textContent) && document.querySelector('#live').textContent.includes('nlbwmon refreshes every 1')`)
	live := func(to string) bool { return strings.Contains(to, "/api/stream") && strings.Contains(to, "live=true") }
	if !slices.ContainsFunc(w.Requests, live) {
		w.t.Error("no stream of live rates was asked for")
	}
	w.Screenshot("router")
	// They pause while nobody sees the page.
	last := func(hidden bool) string {
		before := len(w.Requests)
		w.Eval(fmt.Sprintf(`Object.defineProperty(document, 'hidden', { value: %t, configurable: true }), document.dispatchEvent(new Event('visibilitychange'))`, hidden), nil)
		for {
			w.Eval(`new Promise(requestAnimationFrame).then(() => true)`, nil) // hears of what the page asks
			if i := slices.IndexFunc(w.Requests[before:], func(to string) bool { return strings.Contains(to, "/api/stream") }); i >= 0 {
				return w.Requests[before+i]
			}
		}
	}
	if to := last(true); live(to) {
		w.t.Errorf("while the page is hidden it follows %s", to)
	}
	if to := last(false); !live(to) {
		w.t.Errorf("when the page is seen again it follows %s", to)
	}
	w.Click(`#usage button[data-value="1"]`)
	w.Wait(`document.querySelectorAll('#usage .slot').length >= 23 || document.querySelector('#usage .empty')`)
	w.Screenshot("router-today")
	// They end with the view.
	before := len(w.Requests)
	w.view("/")
	w.Wait(`document.querySelectorAll('#routers tbody tr').length == 2 && document.querySelector('#link.open')`)
	w.view("/router/" + w.attic)
	w.Wait(`document.querySelectorAll('#devices tbody tr').length == 4 && document.querySelector('#link.open')`)
	if slices.ContainsFunc(w.Requests[before:], live) {
		w.t.Error("live rates are asked for after the view was left")
	}
	w.Fill("#devices input", "192.168.1.12")
	w.Wait(`document.querySelectorAll('#devices tbody tr').length == 1`)
	w.Fill("#devices input", "")
	w.Wait(`document.querySelectorAll('#devices tbody tr').length == 4`)
	w.Click(`#devices th button[data-focus=sort-name]`)
	w.Wait(`document.querySelector('#devices tbody tr').dataset.mac == '02:77:00:00:00:13'`) // its name begins with a sign
}

func (w *world) testDevice() {
	w.Click(`tr[data-mac="00:1b:63:00:00:12"] a`)
	w.Wait(`document.querySelectorAll('#usage .slot').length == 7 && document.querySelector('#services tbody tr')`)
	w.same("#services", func() []string {
		var d struct {
			Device   deviceItem
			Services []struct {
				Service string
				counters
			}
		}
		w.get("/api/device-usage/device/00:1b:63:00:00:12?routerId="+w.attic, &d)
		return []string{usage.Bytes(d.Device.TotalBytes), d.Services[0].Service, usage.Bytes(d.Services[0].BytesRx) + "\t" + usage.Bytes(d.Services[0].BytesTx)}
	})
	w.same("#usage", func() []string {
		var past struct {
			TotalBytes uint64 `json:"total_bytes"`
		}
		w.get("/api/device-usage/history?days=7&resolution=1d&mac=00:1b:63:00:00:12&routerId="+w.attic, &past)
		return []string{usage.Bytes(past.TotalBytes)}
	})
	w.Shows("#device", "tv", "192.168.1.12")
	w.Screenshot("device")
}

// testOffline is the router that went away.
func (w *world) testOffline() {
	w.view("/router/" + w.cellar)
	w.Wait(`document.querySelector('#offline') && document.querySelector('#devices [data-stale]') && document.querySelector('#state [data-stale]')`)
	w.Wait(fmt.Sprintf(`document.querySelector('h1 bdi').textContent == %q`, cellar))
	var answer struct {
		Metadata struct {
			Stale bool
			AsOf  time.Time
		}
	}
	if err := json.Unmarshal(w.get("/api/device-usage/current?routerId="+w.cellar, nil), &answer); err != nil || !answer.Metadata.Stale {
		w.t.Fatalf("the API's answer is not stale: %v", err)
	}
	var stamp time.Time
	w.Eval(`document.querySelector('#devices [data-stale] time').dateTime`, &stamp)
	if !stamp.Equal(answer.Metadata.AsOf) {
		w.t.Errorf("true at %s, want %s", stamp, answer.Metadata.AsOf)
	}
	w.same("#devices", func() []string { return w.deviceRows(w.cellar) })
	w.Screenshot("router-offline")

	// Files are as the API gives them.
	into := w.t.TempDir()
	w.Call("Page.setDownloadBehavior", map[string]any{"behavior": "allow", "downloadPath": into}, nil)
	w.Click(`#usage button[data-value="7"]`)
	w.Wait(`document.querySelectorAll('#usage .slot').length == 7`)
	for kind, path := range map[string]string{"csv": "export?format=csv", "md": "report?format=md"} {
		w.Click(fmt.Sprintf(`.files button[data-file$=".%s"]`, kind))
		var got []byte
		w.until("a file is there", func() bool {
			found, err := filepath.Glob(filepath.Join(into, "*."+kind))
			if err != nil || len(found) != 1 {
				return false
			}
			got, err = os.ReadFile(found[0])
			return err == nil && len(got) > 0
		})
		want := w.get("/api/device-usage/"+path+"&days=7&routerId="+w.cellar, nil)
		if kind == "csv" && !bytes.Equal(got, want) {
			w.t.Errorf("%s: got %.300s\nwant %.300s", kind, got, want)
		}
		if !bytes.Contains(got, []byte("laptop")) {
			w.t.Errorf("%s: %.300s", kind, got)
		}
	}
	// Its devices' services are not known, and the page says so.
	w.view("/router/" + w.cellar + "/02:77:00:00:00:11")
	w.Wait(`document.querySelector('#services').textContent.includes('when it is online again') && document.querySelector('#device [data-stale]')`)
	// A router that is not there, and one that is none.
	w.view("/router/" + strings.Repeat("0", 64))
	w.Wait(`document.querySelector('#router .note.bad').textContent.includes('is not enrolled here')`)
	w.view("/router/x")
	w.Wait(`document.querySelectorAll('#routers tbody tr').length == 2`)
}

func (w *world) testRename() {
	row := `tr[data-mac="02:77:00:00:00:11"] `
	w.view("/router/" + w.attic)
	w.Click(row + ".link")
	w.Wait(`document.querySelector('` + row + `.note[role=alert]').textContent.includes('may only read')`)
	w.Screenshot("rename-refused")
	if slices.ContainsFunc(w.Requests, func(to string) bool { return strings.Contains(to, "/api/device-usage/device/02:77:00:00:00:11") }) {
		w.t.Error("the relay was asked all the same")
	}
	w.Click("#leave")
	w.Wait(`document.querySelector('#secret') && document.querySelector('#who').hidden && sessionStorage.length == 0 && location.hash == ''`)
	w.signIn(w.writer)
	w.view("/router/" + w.attic)
	w.Click(row + ".link")
	w.Fill(row+"input", "tab\tname")
	w.Click(row + ".main")
	w.Wait(`document.querySelector('` + row + `.note.bad').textContent.includes('alias must be printable text')`)
	alias := `Anna's "><script>window.hurt = 2</script><img src=x onerror=window.hurt=3>`[:63]
	w.Fill(row+"input", alias)
	w.Click(row + ".main")
	w.Wait(`!document.querySelector('.rename')`)
	w.same(row+".name a", func() []string { return []string{alias} })
	var current struct{ Devices []deviceItem }
	w.get("/api/device-usage/current?routerId="+w.attic, &current)
	if !slices.ContainsFunc(current.Devices, func(d deviceItem) bool { return d.MAC == "02:77:00:00:00:11" && d.Alias != nil && *d.Alias == alias }) {
		w.t.Error("the router does not know the new name")
	}
	w.Wait(`document.querySelectorAll('#devices tbody tr').length == 4`)
	w.Screenshot("renamed")
	// Escape leaves all as it is.
	w.Click(row + ".link")
	w.Fill(row+"input", "other")
	w.Eval(`document.querySelector('`+row+`input').dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape', bubbles: true }))`, nil)
	w.Wait(`!document.querySelector('.rename')`)
	w.same(row+".name a", func() []string { return []string{alias} })
}

func (w *world) testPhone() {
	for _, dark := range []bool{false, true} {
		name := map[bool]string{false: "phone", true: "phone-dark"}[dark]
		w.Window(390, dark)
		w.view("/")
		w.Wait(`document.querySelectorAll('#routers tbody tr').length == 2 && document.querySelector('#span .slot')`)
		w.fits(390)
		w.Screenshot("fleet-" + name)
		w.view("/router/" + w.attic)
		w.Wait(`document.querySelectorAll('#devices tbody tr').length == 4 && document.querySelector('#findings li')`)
		w.Click(`#usage button[data-value="7"]`)
		w.Wait(`document.querySelectorAll('#usage .slot').length == 7`)
		w.fits(390)
		w.Screenshot("router-" + name)
	}
	w.Window(1280, false)
}

// enrol adds simulated routers.
func (w *world) enrol(n *play.Network) {
	w.t.Helper()
	db, err := sqlite.Open(w.t.Context(), filepath.Join(w.relay.Data, "relay.db"))
	if err == nil {
		err = errors.Join(n.Enrol(w.t.Context(), db, nil), db.Close())
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// testMany is a fleet of more routers than a page has, which come and go.
func (w *world) testMany() {
	many := &play.Network{Seed: "dashboard", Routers: 28, Devices: 1, Since: time.Now().Truncate(usage.FiveMinutes)}
	w.enrol(many)
	w.view("/")
	w.Wait(`document.querySelectorAll('#routers tbody tr').length == 25 && document.querySelector('#routers .pager span').textContent == '1–25 of 30'`)
	w.Wait(`document.querySelector('#sums .figure').textContent == '1 of 30' && document.querySelector('#link.open')`)
	// They come while the page is open, and nobody looks again.
	fleet, err := play.NewFleet(many, w.relay.URL, "")
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(w.t.Context())
	var played sync.WaitGroup
	played.Go(func() { fleet.Run(ctx) }) // ends with ctx
	w.Wait(`document.querySelector('#sums .figure').textContent == '29 of 30'`)
	w.Click(`[data-focus=next]`)
	w.Wait(`document.querySelectorAll('#routers tbody tr').length == 5 && document.querySelector('#routers .pager span').textContent == '26–30 of 30' && document.querySelector('[data-focus=next]').disabled`)
	var list struct{ Routers []routerItem }
	w.get("/api/routers?sort=name&limit=25&offset=25", &list)
	for i, r := range list.Routers {
		w.same(fmt.Sprintf("#routers tbody tr:nth-child(%d)", i+1), func() []string { return []string{r.Name, r.ID[:12]} })
	}
	w.Screenshot("fleet-large")
	// One that knows neither rates nor much of itself: what it lacks is left out.
	w.Click(`#routers tbody a`)
	w.Wait(`document.querySelectorAll('#devices tbody tr').length == 1 && document.querySelector('#state').textContent.includes('there is no nlbwmon')`)
	w.Click("#live button")
	w.Wait(`document.querySelector('#live').textContent.includes('has no method') && document.querySelector('#live button').textContent == 'Show live rates' && document.querySelector('#link.open')`)
	w.view("/")
	w.Wait(`document.querySelectorAll('#routers tbody tr').length == 25`)
	stop()
	played.Wait()
	w.Wait(`document.querySelector('#sums .figure').textContent == '1 of 30'`)
}

// testBreaks is the relay that goes and comes back, and the key that ends.
func (w *world) testBreaks() {
	w.view("/")
	w.Wait(`document.querySelector('#link.open') && document.querySelectorAll('#routers tbody tr').length == 25`)
	w.relay.Stop()
	w.Wait(`document.querySelector('#link.broken').textContent == 'Reconnecting…'`)
	w.Eval(`document.dispatchEvent(new Event('visibilitychange'))`, nil)
	w.Wait(`document.querySelector('#gone').textContent.includes('cannot be reached')`)
	w.Wait(`document.querySelectorAll('#routers tbody tr').length == 25`) // what was shown stays
	w.Click(`#routers th button[data-focus=sort-name]`)
	w.view("/router/" + w.attic)
	w.Wait(`document.querySelector('#devices .empty').textContent == 'Waiting for the relay.' && document.querySelector('#gone').textContent.includes('cannot be reached')`)
	w.Screenshot("relay-gone")
	w.relay.Serve()
	w.Wait(`document.querySelector('#link.open') && document.querySelectorAll('#devices tbody tr').length == 4 && !document.querySelector('#gone').firstChild`)

	w.relay.Admin("key", "revoke", "writer")
	w.until("the page asks for another key", func() bool {
		var asks bool
		w.Eval(`document.dispatchEvent(new Event('visibilitychange')), !!document.querySelector('#secret')`, &asks)
		return asks
	})
	w.Wait(`document.querySelector('#refused').textContent.includes('unknown, expired or revoked') && sessionStorage.length == 0`)
	w.Screenshot("key-revoked")
	w.signIn(w.reader)
	w.Wait(`document.querySelectorAll('#routers tbody tr').length == 25`)
	// A reload goes on with the key of the tab.
	w.Reload()
	w.Wait(`!document.querySelector('#who').hidden && document.querySelectorAll('#routers tbody tr').length == 25`)
}
