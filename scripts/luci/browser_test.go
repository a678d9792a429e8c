package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// soon bounds every wait for something that is about to happen.
const soon = 120 * time.Second

// browser is a headless Chromium with one page, driven by its DevTools
// protocol.
type browser struct {
	t       *testing.T
	conn    *websocket.Conn
	session string
	last    int
	errors  []string // what scripts threw and nobody caught
}

// message is one of the protocol, either way.
type message struct {
	ID      int             `json:"id,omitempty"`
	Session string          `json:"sessionId,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  any             `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   json.RawMessage `json:"error,omitempty"`
}

// newBrowser starts Chromium, or skips the test where there is none.
func newBrowser(t *testing.T) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("needs chromium: apt-get install chromium")
	}
	profile := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
		"--user-data-dir="+profile, "--remote-debugging-port=0", "about:blank")
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t}
	t.Cleanup(func() {
		if b.conn != nil {
			b.session = ""
			_ = b.conn.WriteJSON(message{ID: 1 << 20, Method: "Browser.close"})
		}
		grace := time.AfterFunc(20*time.Second, cancel)
		_ = cmd.Wait() // it says that it was killed, if so
		grace.Stop()
		cancel()
		if b.conn != nil {
			_ = b.conn.Close()
		}
	})
	lines, address := bufio.NewScanner(said), ""
	var all []string
	late := time.AfterFunc(soon, cancel)
	for address == "" && lines.Scan() {
		all = append(all, lines.Text())
		_, address, _ = strings.Cut(lines.Text(), "DevTools listening on ")
	}
	if !late.Stop() || address == "" {
		t.Fatalf("chromium did not start:\n%s", strings.Join(all, "\n"))
	}
	go func() { // ends with chromium, whose stderr it drains
		for lines.Scan() {
		}
	}()
	if b.conn, _, err = websocket.DefaultDialer.Dial(address, nil); err != nil {
		t.Fatal(err)
	}
	b.conn.SetReadLimit(64 << 20)
	var target struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	b.call("Page.enable", nil, nil)
	b.call("Runtime.enable", nil, nil)
	return b
}

// call sends a command and waits for its result.
func (b *browser) call(method string, params map[string]any, result any) {
	b.t.Helper()
	b.last++
	m := message{ID: b.last, Session: b.session, Method: method}
	if params != nil {
		m.Params = params
	}
	if err := b.conn.WriteJSON(m); err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
	if err := b.conn.SetReadDeadline(time.Now().Add(soon)); err != nil {
		b.t.Fatal(err)
	}
	for {
		var reply struct {
			message
			Params json.RawMessage
		}
		if err := b.conn.ReadJSON(&reply); err != nil {
			b.t.Fatalf("%s: %v", method, err)
		}
		switch {
		case reply.Method == "Runtime.exceptionThrown":
			b.errors = append(b.errors, string(reply.Params))
		case reply.ID != b.last:
		case reply.Error != nil:
			b.t.Fatalf("%s: %s", method, reply.Error)
		case result == nil:
			return
		default:
			if err := json.Unmarshal(reply.Result, result); err != nil {
				b.t.Fatalf("%s: %v", method, err)
			}
			return
		}
	}
}

// eval runs a script in the page, waits for its promise, and reads its value
// into v.
func (b *browser) eval(script string, v any) {
	b.t.Helper()
	var reply struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails json.RawMessage
	}
	b.call("Runtime.evaluate", map[string]any{"expression": script, "awaitPromise": true, "returnByValue": true}, &reply)
	if reply.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s", script, reply.ExceptionDetails)
	}
	if v != nil {
		if err := json.Unmarshal(reply.Result.Value, v); err != nil {
			b.t.Fatalf("%s: %s: %v", script, reply.Result.Value, err)
		}
	}
}

// wait waits until a condition of the page holds, or says what the page shows.
func (b *browser) wait(condition string) {
	b.t.Helper()
	var held bool
	b.eval(fmt.Sprintf(`new Promise(done => {
		const holds = () => { try { return %s; } catch (error) { return false; /* not there yet */ } };
		const end = Date.now() + %d, look = () => { if (holds()) done(true); else if (Date.now() > end) done(false); else setTimeout(look, 20); };
		look();
	})`, condition, (soon/2).Milliseconds()), &held)
	if !held {
		b.t.Fatalf("the page does not come to %s; it shows:\n%s", condition, b.text("#view"))
	}
}

// plain has blanks where numbers are kept with their units.
func plain(text string) string { return strings.ReplaceAll(text, "\u00a0", " ") }

// text is what a person reads in the first node of the selector.
func (b *browser) text(selector string) string {
	b.t.Helper()
	var text string
	b.eval(fmt.Sprintf(`(document.querySelector(%q) || { innerText: '' }).innerText`, selector), &text)
	return plain(text)
}

// click clicks the first node of the selector.
func (b *browser) click(selector string) {
	b.t.Helper()
	b.wait(fmt.Sprintf(`document.querySelector(%q)`, selector))
	b.eval(fmt.Sprintf(`document.querySelector(%q).click()`, selector), nil)
}

// fill types a text into a field.
func (b *browser) fill(selector, text string) {
	b.t.Helper()
	b.eval(fmt.Sprintf(`document.querySelector(%q).value = %q`, selector, text), nil)
}

// open shows an address at a width, in the light or the dark, and waits until
// the stand-in has rendered the view.
func (b *browser) open(url string, width int, dark bool) {
	b.t.Helper()
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}, nil)
	b.call("Page.navigate", map[string]any{"url": url}, nil)
	b.wait(fmt.Sprintf(`location.href == %q && document.documentElement.dataset.ready`, url))
	if dark {
		b.eval(`document.documentElement.setAttribute('data-darkmode', 'true')`, nil)
	}
}

// screenshot keeps what the page looks like for people.
func (b *browser) screenshot(name string) {
	b.t.Helper()
	b.eval(`new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done))).then(() => true)`, nil)
	var shot struct{ Data string }
	b.call("Page.captureScreenshot", map[string]any{"captureBeyondViewport": true}, &shot)
	png, err := base64.StdEncoding.DecodeString(shot.Data)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.MkdirAll(shots, 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(shots, name+".png"), png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// shots is where screenshots are kept; git ignores it.
const shots = "../../dist/luci"
