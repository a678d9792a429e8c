package legacy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/netpilot/netpilot/pkg/usage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

func TestNew(t *testing.T) {
	for _, bad := range []string{"", "commands:5000", "ftp://x", "http://", "http://x?a=1", "http://x#a", "http://u:hunter2@x", "http://u:hunter2@\x00"} {
		if _, err := New(bad, quiet); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: got %v", bad, err)
		}
	}
}

// echo answers with what it got.
func echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.Header()["X-Two"] = []string{"1", "2"}
	w.Header().Set("Content-Type", "text/html")
	w.WriteHeader(http.StatusTeapot)
	fmt.Fprintf(w, "%s %s %s %q %s", r.Method, r.RequestURI, r.Header.Get("Authorization"), r.Header.Get("Content-Type"), body)
}

// pair is a door that passes on to an old server.
func pair(t *testing.T, base string, old http.HandlerFunc) (door *httptest.Server, up *Upstream) {
	server := httptest.NewServer(old)
	t.Cleanup(server.Close)
	up, err := New(server.URL+base, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(up.Close)
	door = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := up.Pass(w, r); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
		}
	}))
	t.Cleanup(door.Close)
	return door, up
}

func TestPassUnchanged(t *testing.T) {
	door, _ := pair(t, "", echo)
	client := door.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for _, test := range []struct{ method, target, body string }{
		{"GET", "/api/wifi/status?routerId=a&sessionId=b", "{}"},
		{"POST", "/api/blacklist/add", `{"mac":"x"}`},
		{"DELETE", "/api/whitelist/%2Fa%20b;c?x=%zz&y=1;2", "{}"},
		{"PATCH", "/", ""},
		{"OPTIONS", "/x?", ""},
	} {
		r, err := http.NewRequest(test.method, door.URL+test.target, strings.NewReader(test.body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.SetBasicAuth("netpilot", "npk_secret")
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		want := fmt.Sprintf("%s %s  %q %s", test.method, test.target, "application/json", test.body)
		if resp.StatusCode != http.StatusTeapot || string(got) != want || len(resp.Header["X-Two"]) != 2 || resp.Header.Get("Content-Type") != "text/html" {
			t.Errorf("got %d %v %s, want %s", resp.StatusCode, resp.Header, got, want)
		}
	}
}

func TestRedirectsStayHere(t *testing.T) {
	var self string
	door, up := pair(t, "/old", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", map[string]string{"/old/a": self + "/old/b?x=1", "/old/c": "/old/d", "/old/e": "https://elsewhere.example/f"}[r.URL.Path])
		w.WriteHeader(http.StatusFound)
	})
	self = up.String()[:strings.LastIndex(up.String(), "/")]
	client := door.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for path, want := range map[string]string{"/a": "/b?x=1", "/c": "/old/d", "/e": "https://elsewhere.example/f"} {
		resp, err := client.Get(door.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := resp.Header.Get("Location"); got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
}

// A stream comes as it is sent, not when it ends.
func TestPassStreams(t *testing.T) {
	next := make(chan struct{})
	door, _ := pair(t, "", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "one\n")
		w.(http.Flusher).Flush()
		<-next
		fmt.Fprint(w, "two\n")
	})
	resp, err := door.Client().Get(door.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	first := make([]byte, 4)
	if _, err := io.ReadFull(resp.Body, first); err != nil || string(first) != "one\n" {
		t.Fatalf("got %q, %v", first, err)
	}
	close(next)
	if rest, err := io.ReadAll(resp.Body); err != nil || string(rest) != "two\n" {
		t.Errorf("got %q, %v", rest, err)
	}
}

func TestPassBrokenOff(t *testing.T) {
	door, _ := pair(t, "", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		fmt.Fprint(w, "half")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	resp, err := door.Client().Get(door.URL)
	if err == nil {
		defer resp.Body.Close()
		var got []byte
		if got, err = io.ReadAll(resp.Body); err == nil {
			t.Errorf("half an answer passes for a whole one: %q", got)
		}
	}
}

func TestUpstreamGone(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	up, err := New(server.URL, quiet)
	if err != nil {
		t.Fatal(err)
	}
	server.Close()
	w := httptest.NewRecorder()
	err = up.Pass(w, httptest.NewRequest("GET", "/x", nil))
	if usage.KindOf(err) != usage.Unavailable || w.Body.Len() > 0 {
		t.Errorf("got %v and %q, want an error and nothing written", err, w.Body)
	}
	if _, err := up.Ask(t.Context(), "GET", "/x", "", nil); usage.KindOf(err) != usage.Unavailable {
		t.Errorf("Ask: got %v", err)
	}
}

func TestAsk(t *testing.T) {
	_, up := pair(t, "/base", echo)
	got, err := up.Ask(t.Context(), "POST", "/api/session/start", "a=b", []byte(`{}`))
	if want := `POST /base/api/session/start?a=b  "application/json" {}`; err != nil || got.Status != http.StatusTeapot || string(got.Body) != want {
		t.Errorf("got %d %s, %v", got.Status, got.Body, err)
	}
	_, large := pair(t, "", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(bytes.Repeat([]byte(" "), maxTold+1)) })
	if _, err := large.Ask(t.Context(), "GET", "/", "", nil); err == nil {
		t.Error("an answer that is too large was read whole")
	}
}

func TestDifferences(t *testing.T) {
	ok := func(data string) Answer { return Answer{200, []byte(`{"success":true,"data":` + data + `}`)} }
	failed := func(status int, code string) Answer {
		return Answer{status, []byte(`{"success":false,"error":{"code":"` + code + `"}}`)}
	}
	row := `{"mac":"AA:00:00:00:00:01","ip":"10.0.0.1","download":100,"upload":2.5,"unit":"MB"}`
	sessions := func(list string) Answer { return ok(`[` + list + `]`) }
	for _, test := range []struct {
		name         string
		ours, theirs Answer
		want         string
	}{
		{"/health", ok(`{"message":"Server is healthy","checks":{"store":null}}`), ok(`{"message":"Server is healthy"}`), ""},
		{"/health", ok(`{"message":"Server is healthy"}`), ok(`{"message":"Server is ill"}`), "message: Server is healthy, not Server is ill"},
		{"/health", ok(`{"message":"Server is healthy"}`), failed(500, "INTERNAL"), "status: 200, not 500"},
		{"/api/session/status", sessions(`{"session_id":"s1","used_at":"1"}`), failed(500, "INTERNAL"), ""},
		{"/api/session/status", sessions(`{"session_id":"s1","used_at":"1"}`), sessions(`{"session_id":"s1","used_at":"2","last":3}`), ""},
		{"/api/session/status", sessions(`{"session_id":"s1"}`), sessions(`{"session_id":"s2"}`), "s1: only ours; s2: only theirs"},
		{"/api/monitor/current", ok(`[]`), failed(500, "COMMAND_FAILED"), "status: 200, not 500"},
		{"same", ok(`[` + row + `]`), ok(`[` + row + `]`), ""},
		{"case, order of members, growth", ok(`[{"unit":"MB","upload":3.4,"download":104,"ip":"10.0.0.1","mac":"aa:00:00:00:00:01","usage":{}}]`), ok(`[` + row + `]`), ""},
		{"numbers", ok(`[{"mac":"aa:00:00:00:00:01","ip":"10.0.0.1","download":120,"upload":2.5,"unit":"MB"}]`), ok(`[` + row + `]`), "download: 120, not 100"},
		{"text", ok(`[{"mac":"aa:00:00:00:00:01","ip":"10.0.0.2","download":100,"upload":2.5,"unit":"MB"}]`), ok(`[` + row + `]`), "ip: 10.0.0.2, not 10.0.0.1"},
		{"missing member", ok(`[{"mac":"aa:00:00:00:00:01"}]`), ok(`[{"mac":"aa:00:00:00:00:01","vendor":"x"}]`), "vendor: <nil>, not x"},
		{"missing", ok(`[]`), ok(`[` + row + `]`), "only theirs"},
		{"extra", ok(`[` + row + `]`), ok(`[]`), "only ours"},
		{"one row", ok(row), ok(strings.Replace(row, "}", `,"timestamp":"x"}`, 1)), ""},
		{"status", ok(`[]`), failed(500, "COMMAND_FAILED"), "status: 200, not 500"},
		{"code", failed(500, "COMMAND_FAILED"), failed(500, "ROUTER_UNREACHABLE"), "success: false COMMAND_FAILED, not false ROUTER_UNREACHABLE"},
		{"both failed", failed(500, "COMMAND_FAILED"), failed(500, "COMMAND_FAILED"), ""},
		{"no JSON", ok(`[]`), Answer{200, []byte("<html>")}, "their answer is no JSON"},
		{"hostile", ok(`[]`), ok(`[{"mac":"\u001b[2J\u202e"}]`), "[2j: only theirs"},
	} {
		got := strings.Join(Differences(test.name, test.ours, test.theirs), "; ")
		if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

// The shadow counts, holds nobody up, and has a bound.
func TestShadow(t *testing.T) {
	hold, arrived := make(chan struct{}), make(chan string, 2*atOnce)
	_, up := pair(t, "", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		arrived <- r.RequestURI + " " + string(body)
		select {
		case <-hold:
		case <-r.Context().Done():
		}
		fmt.Fprint(w, `{"success":true,"data":[]}`)
	})
	s := NewShadow(up, quiet)
	same := Answer{200, []byte(`{"success":true,"data":[]}`)}
	for range atOnce - 1 {
		s.Compare("/api/monitor/current", "routerId=a", nil, same)
	}
	s.Compare("/api/monitor/current", "routerId=a", nil, Answer{500, nil})
	for range atOnce {
		if got := <-arrived; got != "/api/monitor/current?routerId=a {}" {
			t.Errorf("the old server was asked %s", got)
		}
	}
	s.Compare("/api/monitor/current", "", nil, same) // one too many
	if got := s.Counts(); got != (Counts{Skipped: 1}) {
		t.Errorf("got %+v", got)
	}
	close(hold)
	s.tasks.Wait()
	if got := s.Counts(); got != (Counts{Same: atOnce - 1, Different: 1, Skipped: 1}) {
		t.Errorf("got %+v", got)
	}
	s.Close()
	s.Compare("/api/monitor/current", "", nil, same)
	s.Close()
	if got := s.Counts(); got.Failed != 1 {
		t.Errorf("after Close: got %+v", got)
	}
}

func TestShadowCloseEnds(t *testing.T) {
	arrived := make(chan struct{})
	_, up := pair(t, "", func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		close(arrived)
		<-r.Context().Done()
	})
	s := NewShadow(up, quiet)
	s.Compare("/", "", nil, Answer{})
	<-arrived
	s.Close() // does not wait 24 s
	if errors.Is(s.stop.Err(), nil) || s.Counts().Failed != 1 {
		t.Errorf("got %+v", s.Counts())
	}
}

// An old server that is away is one line of the log, however often it is asked,
// and so is its return.
func TestShadowSilence(t *testing.T) {
	var log bytes.Buffer
	var answers atomic.Bool // not one a request: the transport asks again where it may
	_, up := pair(t, "", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		if !answers.Load() {
			panic(http.ErrAbortHandler)
		}
		fmt.Fprint(w, `{"success":true,"data":[]}`)
	})
	s := NewShadow(up, slog.New(slog.NewTextHandler(&log, nil)))
	defer s.Close()
	for _, does := range []bool{true, false, false, false, true, true} {
		answers.Store(does)
		s.Compare("/api/monitor/current", "", nil, Answer{200, []byte(`{"success":true,"data":[]}`)})
		s.Wait()
	}
	if got := log.String(); strings.Count(got, "does not answer") != 1 || strings.Count(got, "answers again") != 1 || strings.Count(got, "\n") != 2 {
		t.Errorf("got\n%s", got)
	}
	if got := s.Counts(); got != (Counts{Same: 3, Failed: 3}) {
		t.Errorf("got %+v", got)
	}
}
