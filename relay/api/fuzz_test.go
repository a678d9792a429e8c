package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/netpilot/netpilot/relay/store/storetest"
)

// parameters lists every parameter of every operation, as method, path and
// name.
func (r *rig) parameters() (list [][3]string) {
	for path, item := range r.huma.OpenAPI().Paths {
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Put} {
			if op == nil {
				continue
			}
			for _, p := range op.Parameters {
				name := p.Name
				switch p.In {
				case "path":
					name = "{" + name + "}"
				case "header":
					name = name + ":"
				}
				list = append(list, [3]string{op.Method, path, name})
			}
		}
	}
	return list
}

// request has one parameter set to value, and the ids it needs.
func request(t *testing.T, at [3]string, value string) *http.Request {
	path, query := at[1], url.Values{"routerId": {id(connected)}}
	if strings.HasPrefix(path, "/api/monitor") || strings.HasPrefix(path, "/api/network") || strings.HasPrefix(path, "/api/router/") {
		query.Set("sessionId", "s1")
	}
	header := make(http.Header)
	if path == "/api/stream" {
		query.Set("live", "true")
	}
	if name, ok := strings.CutSuffix(at[2], ":"); ok {
		header.Set(name, value)
	} else if strings.HasPrefix(at[2], "{") {
		path = strings.ReplaceAll(path, at[2], url.PathEscape(value))
	} else {
		query.Set(at[2], value)
	}
	path = strings.NewReplacer("{id}", id(connected), "{mac}", "02:77:00:00:00:11").Replace(path)
	req := httptest.NewRequestWithContext(t.Context(), at[0], "/", strings.NewReader(`{"alias":"x"}`))
	u, err := url.Parse(path + "?" + query.Encode())
	if err != nil {
		return nil // no client could send it
	}
	req.URL, req.Header = u, header
	req.Header.Set("Content-Type", "application/json")
	return req
}

// nasty are values for where something else is expected.
func nasty() []string {
	return []string{
		"", " ", "\x00", "a\x00b", "\r\nSet-Cookie: a=b", "\x1b[2J", "\xff\xfe", "\u202e", "é", "'", "' OR '1'='1", `"; DROP TABLE routers;--`, "%", "_", "*", "../../etc/passwd",
		"..%2f..%2f", "/etc/shadow", `C:\`, "$(reboot)", "`id`", "| sh", "; reboot", "{{7*7}}", "<script>alert(1)</script>", "=1+1", "null", "true", "[]", "{}", "-1", "0", "1e309", "NaN",
		"9223372036854775807", "9223372036854775808", "-9223372036854775809", "0x10", "1.5", "١", "2026-11-31", "2026-02-30T25:61:61Z", "0000-00-00", "9999-12-31T23:59:59Z",
		"02:77:00:00:00:11", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00", strings.Repeat("A", 70_000), strings.Repeat("9", 400), id(connected), strings.ToUpper(id(connected)), id(unknown), "s1",
	}
}

// checkAnswer is what every answer must be, whatever was asked.
func checkAnswer(t *testing.T, what string, resp *http.Response) {
	t.Helper()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.Header.Get("Content-Type") == "application/json" {
		var e envelope
		if err := json.Unmarshal(body, &e); err != nil || e.Success == nil || *e.Success != (resp.StatusCode == 200) {
			t.Errorf("%s: got %d %.300s, %v", what, resp.StatusCode, body, err)
		}
		if e.Error != nil && (e.Error.Code == "INTERNAL" || strings.Contains(e.Error.Message, "internal error")) {
			t.Errorf("%s: our own fault: %.300s", what, body)
		}
		if len(body) > 16<<10 && !*e.Success {
			t.Errorf("%s: a failure of %d bytes", what, len(body))
		}
		if e.Error != nil && strings.ContainsAny(e.Error.Message, "\x00\x1b\r\n\u202e") {
			t.Errorf("%s: the message repeats it raw: %q", what, e.Error.Message)
		}
	} else if resp.StatusCode != 200 {
		t.Errorf("%s: got %d of %s", what, resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	if resp.Header.Get("Set-Cookie") != "" {
		t.Errorf("%s: a header was smuggled in", what)
	}
}

// fuzzRig is a rig whose router answers all with nothing, and whose streams
// end after their first event.
func fuzzRig(t testing.TB) *rig {
	r := newRig(t)
	r.Drain()
	r.inSession()
	r.push(connected, start, "", storetest.Bucket(start.Truncate(time.Hour), 5*time.Minute, 1, 300))
	r.routers.answer = func(_ context.Context, method string, params json.RawMessage) (json.RawMessage, error) {
		if len(params) > 0 && !json.Valid(params) {
			t.Errorf("%s: sent %q to the router", method, params)
		}
		return json.RawMessage(`{"stdout":"","stderr":"","text":""}`), nil
	}
	return r
}

// Every parameter of every path with every nasty value: a clear answer.
func TestNastyParameters(t *testing.T) {
	r := fuzzRig(t)
	list := r.parameters()
	for _, name := range []string{"routerId", "live", "Last-Event-ID:"} {
		if !slices.Contains(list, [3]string{"GET", "/api/stream", name}) {
			t.Errorf("the stream has no parameter %s", name)
		}
	}
	if len(list) < 90 {
		t.Fatalf("%d parameters found", len(list))
	}
	for _, at := range list {
		for _, value := range nasty() {
			req := request(t, at, value)
			if req == nil {
				continue
			}
			req.Header.Set("Authorization", "Bearer "+r.key)
			w := httptest.NewRecorder()
			r.ServeHTTP(w, req)
			checkAnswer(t, fmt.Sprintf("%v = %.40q", at, value), w.Result())
			if at[1] == "/api/session/end" || at[1] == "/api/session/start" {
				r.do("POST", "/api/session/start?sessionId=s1&routerId="+id(connected), "{}", nil)
			}
		}
	}
}

// Any bytes in any parameter.
func FuzzParameters(f *testing.F) {
	r := fuzzRig(f)
	list := r.parameters()
	for i, value := range nasty() {
		f.Add(uint16(i*7), value)
	}
	f.Fuzz(func(t *testing.T, at uint16, value string) {
		p := list[int(at)%len(list)]
		req := request(t, p, value)
		if req == nil {
			return
		}
		req.Header.Set("Authorization", "Bearer "+r.key)
		w := httptest.NewRecorder()
		r.ServeHTTP(w, req)
		checkAnswer(t, fmt.Sprint(p), w.Result())
	})
}

// Any bytes as the body of what takes one.
func FuzzBodies(f *testing.F) {
	r := fuzzRig(f)
	targets := []string{"POST /api/session/refresh", "GET /api/monitor/current", "GET /api/session/status", "POST /api/device-usage/reset", "PUT /api/device-usage/preferences", "PUT /api/device-usage/device/02:77:00:00:00:11",
		"POST /api/router/execute", "POST /api/session/start", "GET /api/device-usage/current"}
	for i, body := range []string{"", "{}", "[]", "null", `"x"`, `{"a":`, `{"mac":"x","hard":1}`, `{"alias":null,"group":""}`, `{"command":"nlbw -c json"}`, `{"command":"cat /etc/shadow; reboot"}`,
		`{"routerId":{"a":1},"sessionId":7}`, "\xff\xfe", "{\"a\":\"\\ud800\"}", strings.Repeat("[", 20_000), strings.Repeat(" ", maxBody+1)} {
		f.Add(uint8(i), []byte(body))
	}
	f.Fuzz(func(t *testing.T, at uint8, body []byte) {
		method, path, _ := strings.Cut(targets[int(at)%len(targets)], " ")
		req := httptest.NewRequestWithContext(t.Context(), method, path+"?sessionId=s1&routerId="+id(connected), bytes.NewReader(body))
		req.Header.Set("Authorization", "Bearer "+r.key)
		req.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		r.ServeHTTP(w, req)
		checkAnswer(t, path, w.Result())
		if path == "/api/session/start" { // a body cannot end it
			if e := w.Result(); e.StatusCode == http.StatusInternalServerError {
				t.Errorf("%s with %q: %d", path, body, e.StatusCode)
			}
		}
	})
}

// zeros is a body of n bytes that says how much of it was taken.
type zeros struct{ left, taken int64 }

func (z *zeros) Read(p []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), z.left))
	clear(p[:n])
	z.left -= int64(n)
	z.taken += int64(n)
	return n, nil
}

// A body of 1 GB: refused after 64 KiB where a body is read, and not read
// where none is, over a real connection; the next caller is served.
func TestHugeBodies(t *testing.T) {
	r := newRig(t)
	server := httptest.NewServer(r.API)
	defer server.Close()
	for _, test := range []struct {
		method, path, media string
		chunked             bool
	}{
		{"POST", "/api/device-usage/reset?routerId=" + id(connected), "application/json", false},
		{"POST", "/api/device-usage/reset?routerId=" + id(connected), "application/json", true},
		{"PUT", "/api/device-usage/preferences?routerId=" + id(connected), "application/json", false},
		{"GET", "/api/device-usage/current?routerId=" + id(connected), "application/json", true},
		{"GET", "/api/device-usage/current?routerId=" + id(connected), "application/octet-stream", false},
		{"POST", "/health", "application/json", false},
		{"POST", "/nowhere", "application/json", true},
	} {
		const giga = 1 << 30
		z := &zeros{left: giga}
		req, err := http.NewRequestWithContext(t.Context(), test.method, server.URL+test.path, z)
		if err != nil {
			t.Fatal(err)
		}
		if !test.chunked {
			req.ContentLength = giga
		}
		req.Header.Set("Authorization", "Bearer "+r.key)
		req.Header.Set("Content-Type", test.media)
		resp, err := server.Client().Do(req)
		if err == nil { // the server may hang up on the sender instead
			answer, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			var e envelope
			if json.Unmarshal(answer, &e) != nil || e.Success == nil {
				t.Errorf("%s %s: got %d %.200s", test.method, test.path, resp.StatusCode, answer)
			}
			if want := http.StatusRequestEntityTooLarge; test.media == "application/json" && strings.HasPrefix(test.path, "/api") && resp.StatusCode != want {
				t.Errorf("%s %s: got %d, want %d", test.method, test.path, resp.StatusCode, want)
			}
		}
		server.Client().CloseIdleConnections()
	}
	want(t, "the next caller", r.do("GET", "/health", "", nil), 200, "")
}

// The handler itself takes no more of a body than it keeps.
func TestBodyIsBounded(t *testing.T) {
	r := newRig(t)
	z := &zeros{left: 1 << 30}
	req := httptest.NewRequestWithContext(t.Context(), "POST", "/api/device-usage/reset?routerId="+id(connected), z)
	req.Header.Set("Authorization", "Bearer "+r.key)
	req.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	want(t, "1 GB", w.Result(), 413, "BAD_REQUEST")
	if z.taken > maxBody+4096 {
		t.Errorf("%d bytes were read", z.taken)
	}
}

// HEAD is GET without a body; OPTIONS and what else there is are refused with
// what the path has.
func TestOtherMethods(t *testing.T) {
	r := newRig(t)
	server := httptest.NewServer(r.API)
	defer server.Close()
	for path, item := range r.huma.OpenAPI().Paths {
		target := server.URL + strings.NewReplacer("{id}", id(connected), "{mac}", "02:77:00:00:00:11").Replace(path) + "?routerId=" + id(connected)
		for _, method := range []string{"HEAD", "OPTIONS", "PATCH", "TRACE", "CONNECTED"} {
			if path == "/api/stream" && method == "HEAD" {
				continue // without an end, as GET
			}
			req, err := http.NewRequestWithContext(t.Context(), method, target, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+r.key)
			resp, err := server.Client().Do(req)
			if err != nil {
				t.Fatalf("%s %s: %v", method, path, err)
			}
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			allowed := method == "HEAD" && item.Get != nil
			if !allowed && (resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") == "") || allowed && resp.StatusCode == http.StatusMethodNotAllowed {
				t.Errorf("%s %s: got %d, Allow %q", method, path, resp.StatusCode, resp.Header.Get("Allow"))
			}
			if method == "HEAD" && len(body) > 0 {
				t.Errorf("HEAD %s: got %.100s", path, body)
			}
		}
	}
}
