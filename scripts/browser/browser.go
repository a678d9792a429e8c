// Package browser drives a headless Chromium for tests of pages, by its
// DevTools protocol.
package browser

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// soon bounds every wait for something that is about to happen, on a machine
// that has other things to do.
const soon = 4 * time.Minute

// Browser is a Chromium with one page.
type Browser struct {
	// Errors are what scripts threw and nobody caught, what they wrote to the
	// console as an error, and what the browser refused them.
	Errors []string
	// Requests are the addresses that the page asked for.
	Requests []string

	t       *testing.T
	shots   string // where screenshots go
	conn    *websocket.Conn
	session string
	last    int
	pages   int // that the browser has come to
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

// New starts Chromium, or skips the test where there is none. Screenshots are
// kept in the directory, which is made when there is one.
func New(t *testing.T, shots string) *Browser {
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
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL} // it is many processes, and no orphans
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b := &Browser{t: t, shots: shots}
	silent := make(chan struct{})
	t.Cleanup(func() {
		if b.conn != nil {
			b.session = ""
			_ = b.conn.WriteJSON(message{ID: 1 << 20, Method: "Browser.close"})
		}
		grace := time.AfterFunc(20*time.Second, cancel)
		<-silent       // all of its processes have ended: none writes into the profile
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
	go func() { // ends with chromium's processes, whose stderr it drains
		defer close(silent)
		_, _ = io.Copy(io.Discard, said)
	}()
	if !late.Stop() || address == "" {
		t.Fatalf("chromium did not start:\n%s", strings.Join(all, "\n"))
	}
	if b.conn, _, err = websocket.DefaultDialer.Dial(address, nil); err != nil {
		t.Fatal(err)
	}
	b.conn.SetReadLimit(64 << 20)
	var target struct{ TargetID string }
	b.Call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.Call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	for _, domain := range []string{"Page", "Runtime", "Network", "Log"} {
		b.Call(domain+".enable", nil, nil)
	}
	return b
}

// Call sends a command and waits for its result.
func (b *Browser) Call(method string, params map[string]any, result any) {
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
		reply := b.read(method)
		switch {
		case reply.Method != "":
			b.hear(reply.Method, reply.Params)
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

// incoming is a message of the browser.
type incoming struct {
	message
	Params json.RawMessage `json:"params"`
}

// read takes the next message; what says what it is waited for.
func (b *Browser) read(what string) (m incoming) {
	b.t.Helper()
	if err := b.conn.ReadJSON(&m); err != nil {
		b.t.Fatalf("%s: %v", what, err)
	}
	return m
}

// hear notes what the browser tells by itself.
func (b *Browser) hear(method string, params json.RawMessage) {
	var said struct {
		Type    string
		Entry   struct{ Source, Level string }
		Request struct{ URL string }
		Frame   struct{ ParentID string }
	}
	if err := json.Unmarshal(params, &said); err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
	switch {
	case method == "Runtime.exceptionThrown",
		method == "Runtime.consoleAPICalled" && said.Type == "error",
		// An answer of status 400 or more is an entry too, and no error of the page.
		method == "Log.entryAdded" && said.Entry.Level == "error" && said.Entry.Source != "network":
		b.Errors = append(b.Errors, string(params))
	case method == "Page.frameNavigated" && said.Frame.ParentID == "":
		b.pages++
	case method == "Network.requestWillBeSent":
		b.Requests = append(b.Requests, said.Request.URL)
	}
}

// Eval runs a script in the page, waits for its promise, and reads its value
// into v.
func (b *Browser) Eval(script string, v any) {
	b.t.Helper()
	var reply struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails json.RawMessage
	}
	b.Call("Runtime.evaluate", map[string]any{"expression": script, "awaitPromise": true, "returnByValue": true}, &reply)
	if reply.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s", script, reply.ExceptionDetails)
	}
	if v != nil {
		if err := json.Unmarshal(reply.Result.Value, v); err != nil {
			b.t.Fatalf("%s: %s: %v", script, reply.Result.Value, err)
		}
	}
}

// Wait waits until a condition of the page holds, or says what the page shows.
func (b *Browser) Wait(condition string) {
	b.t.Helper()
	var held bool
	b.Eval(fmt.Sprintf(`new Promise(done => {
		const holds = () => { try { return %s; } catch (error) { return false; /* not there yet */ } };
		const end = Date.now() + %d, look = () => { if (holds()) done(true); else if (Date.now() > end) done(false); else setTimeout(look, 20); };
		look();
	})`, condition, (soon/2).Milliseconds()), &held)
	if !held {
		b.t.Fatalf("the page does not come to %s; it shows:\n%s", condition, b.Text("body"))
	}
}

// Plain has blanks where numbers are kept with their units.
func Plain(text string) string { return strings.ReplaceAll(text, "\u00a0", " ") }

// Text is what a person reads in the first node of the selector.
func (b *Browser) Text(selector string) string {
	b.t.Helper()
	var text string
	b.Eval(fmt.Sprintf(`(document.querySelector(%q) || { innerText: '' }).innerText`, selector), &text)
	return Plain(text)
}

// Shows waits until a person reads each of the texts in the first node of the
// selector: what a page shows comes with more than one answer.
func (b *Browser) Shows(selector string, texts ...string) {
	b.t.Helper()
	for _, text := range texts {
		b.Wait(fmt.Sprintf(`document.querySelector(%q).innerText.replaceAll('\u00a0', ' ').includes(%q)`, selector, text))
	}
}

// Click clicks the first node of the selector.
func (b *Browser) Click(selector string) {
	b.t.Helper()
	b.Wait(fmt.Sprintf(`document.querySelector(%q)`, selector))
	b.Eval(fmt.Sprintf(`document.querySelector(%q).click()`, selector), nil)
}

// Fill types a text into the first field of the selector.
func (b *Browser) Fill(selector, text string) {
	b.t.Helper()
	b.Wait(fmt.Sprintf(`document.querySelector(%q)`, selector))
	b.Eval(fmt.Sprintf(`(field => { field.value = %q; field.dispatchEvent(new Event('input', { bubbles: true })); })(document.querySelector(%q))`, text, selector), nil)
}

// Window makes the page that wide, as a phone's if it is narrow, in the light
// or, for pages that ask the system, in the dark.
func (b *Browser) Window(width int, dark bool) {
	b.t.Helper()
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	b.Call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}, nil)
	b.Call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

// Go opens an address, also one that is open already.
func (b *Browser) Go(url string) {
	b.t.Helper()
	b.turn("Page.navigate", map[string]any{"url": url})
	b.Wait(fmt.Sprintf(`location.href == %q`, url))
}

// Reload opens the page again.
func (b *Browser) Reload() {
	b.t.Helper()
	b.turn("Page.reload", nil)
}

// turn waits until the page that a command turns to has taken the place of the
// one before: what is asked earlier is asked of that one.
func (b *Browser) turn(method string, params map[string]any) {
	b.t.Helper()
	before := b.pages
	b.Call(method, params, nil)
	for b.pages == before {
		if m := b.read(method); m.Method != "" {
			b.hear(m.Method, m.Params)
		}
	}
}

// Screenshot keeps what the page looks like for people.
func (b *Browser) Screenshot(name string) {
	b.t.Helper()
	b.Eval(`scrollTo(0, 0), new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done))).then(() => true)`, nil)
	var shot struct{ Data string }
	b.Call("Page.captureScreenshot", map[string]any{"captureBeyondViewport": true}, &shot)
	png, err := base64.StdEncoding.DecodeString(shot.Data)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.MkdirAll(b.shots, 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.shots, name+".png"), png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}
