package dashboard

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/netpilot/netpilot/pkg/usage"
	relay "github.com/netpilot/netpilot/relay/command"
	"github.com/netpilot/netpilot/scripts/browser"
	"github.com/netpilot/netpilot/scripts/home"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shots is where screenshots are kept; git ignores it.
const shots = "../../dist/dashboard"

// cellar is the name of a router: where it is taken for HTML, a script runs.
const cellar = `<img/src=x/onerror=window.hurt=2>`

// soon bounds every wait for something that is about to happen, on a machine
// that has other things to do.
const soon = 4 * time.Minute

// world is a relay with two routers, of which one goes away, and a browser.
type world struct {
	*browser.Browser
	t             *testing.T
	relay         *home.Relay
	attic, cellar string // the routers' ids
	reader        string // keys
	writer        string
	client        *http.Client
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := newRelay(t)
	w.writer = w.relay.Admin("key", "create", "--name", "writer", "--scope", "write")
	attic := w.router("attic", "02:77:00:00:00:01")
	w.attic = w.known(attic, 1)
	cellar := w.router(cellar, "02:77:00:00:00:02")
	w.cellar = w.known(cellar, 2)
	// What the relay answers of it when it is away.
	w.get("/api/device-usage/current?routerId="+w.cellar, nil)
	w.get("/api/device-usage/status?routerId="+w.cellar, nil)
	cellar.Stop()
	w.until("the second router is offline", func() bool { return !w.router1(w.cellar).Online })
	return w
}

// newRelay is a relay without routers, and a browser.
func newRelay(t *testing.T, changes ...func(*relay.Config)) *world {
	t.Helper()
	w := &world{t: t, Browser: browser.New(t, shots), relay: home.NewRelay(t, changes...), client: &http.Client{Transport: &http.Transport{}, Timeout: soon}}
	t.Cleanup(w.client.CloseIdleConnections)
	w.reader = w.relay.Admin("key", "create", "--name", "reader")
	return w
}

// router starts an enrolled one with a past.
func (w *world) router(name, mac string) *home.Router {
	w.t.Helper()
	r := home.New(w.t, time.Now())
	r.Write("sys/class/net/br-lan/address", mac+"\n", 0o644)
	r.Write("etc/config/system", "config system\n\toption hostname '"+name+"'\n", 0o644)
	r.Remember()
	r.Count()
	var out bytes.Buffer
	token := w.relay.Admin("enrolment", "create")
	if code := r.Run(w.t.Context(), strings.NewReader(token), &out, &out, "enroll", "--relay", w.relay.URL); code != 0 {
		w.t.Fatalf("enroll: exit code %d: %s", code, out.String())
	}
	r.Start()
	return r
}

// known waits until the relay has the history of the newest of n routers, and
// tells its id.
func (w *world) known(r *home.Router, n int) (id string) {
	w.t.Helper()
	w.until("the router's history is here", func() bool {
		var list struct{ Routers []routerItem }
		w.get("/api/routers?sort=enrolled_at", &list)
		if len(list.Routers) != n || !list.Routers[0].Online || list.Routers[0].HistoryAsOf == nil {
			return false
		}
		id = list.Routers[0].ID
		return true
	})
	return id
}

type counters struct {
	BytesRx    uint64 `json:"bytes_rx"`
	BytesTx    uint64 `json:"bytes_tx"`
	TotalBytes uint64 `json:"total_bytes"`
}

type routerItem struct {
	ID, Name    string
	Online      bool
	HistoryAsOf *time.Time `json:"history_as_of"`
	Usage       *counters
}

type deviceItem struct {
	MAC, IP         string
	Hostname, Alias *string
	counters
}

func (w *world) router1(id string) (r routerItem) {
	w.get("/api/routers/"+id, &r)
	return r
}

// get asks the API itself, as the reader, for the data of an answer.
func (w *world) get(path string, into any) []byte {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.relay.URL+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.reader)
	resp, err := w.client.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		w.t.Fatalf("GET %s: %d %v %.500s", path, resp.StatusCode, err, body)
	}
	if into != nil {
		if err := json.Unmarshal(body, &struct{ Data any }{into}); err != nil {
			w.t.Fatalf("GET %s: %v", path, err)
		}
	}
	return body
}

// until polls what the other side will make true.
func (w *world) until(what string, true func() bool) {
	w.t.Helper()
	deadline := time.After(soon)
	for !true() {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-deadline:
			w.t.Fatalf("not within %s: %s; the page shows:\n%s", soon, what, w.Text("body"))
		}
	}
}

// same waits until the page shows in a selector what the API says: numbers go
// on, so both are looked at again until they are of one moment.
func (w *world) same(selector string, want func() []string) {
	w.t.Helper()
	var lacks string
	deadline := time.Now().Add(soon)
	for time.Now().Before(deadline) {
		shown := w.Text(selector)
		lacks = ""
		for _, text := range want() {
			if !strings.Contains(shown, text) {
				lacks = text
			}
		}
		if lacks == "" {
			return
		}
		w.Eval(`document.dispatchEvent(new Event('visibilitychange')), new Promise(done => setTimeout(done, 100)).then(() => true)`, nil)
	}
	w.t.Errorf("%s does not come to %q; it shows:\n%s", selector, lacks, w.Text(selector))
}

// signIn opens the dashboard with a key.
func (w *world) signIn(key string) {
	w.t.Helper()
	w.Wait(`document.querySelector('#secret')`)
	w.Fill("#secret", key)
	w.Click(".sign button")
	w.Wait(`!document.querySelector('#who').hidden`)
}

// view opens a view by its address's end.
func (w *world) view(hash string) {
	w.t.Helper()
	w.Eval(fmt.Sprintf(`location.hash = %q`, hash), nil)
}

// wide checks that the page fits.
func (w *world) fits(width int) {
	w.t.Helper()
	var is int
	w.Eval(`document.documentElement.scrollWidth`, &is)
	if is > width {
		w.t.Errorf("the page is %d pixels wide on a screen of %d", is, width)
	}
}

func (c *counters) both() string {
	return "↓ " + usage.Bytes(c.BytesRx) + " ↑ " + usage.Bytes(c.BytesTx)
}
