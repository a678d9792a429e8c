package command

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/netpilot/netpilot/relay/web"
)

// The dashboard takes nothing from the backends of the old commands server:
// only what browsers ask for at / and its own files.
func TestDashboardAndTheOldServer(t *testing.T) {
	const (
		browser = "text/html,application/xhtml+xml,*/*;q=0.8"
		page    = "<!doctype html>"
		refusal = `{"success":false`
	)
	pages, err := web.New()
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	pages.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	_, rest, _ := strings.Cut(w.Body.String(), `<script type="module" src="`)
	script, _, _ := strings.Cut(rest, `"`)
	type request struct {
		method, path, accept string
		key                  bool
		status               int
		answer               string // how it begins
	}
	for name, test := range map[string]struct {
		old, off bool
		requests []request
	}{
		"alone": {false, false, []request{
			{"GET", "/", browser, false, 200, page},
			{"HEAD", "/", browser, false, 200, ""},
			{"GET", script, "*/*", false, 200, "/*"},
			{"GET", "/", "*/*", true, 404, refusal},
			{"GET", "/dashboard/x.js", browser, true, 404, refusal},
			{"POST", "/", browser, true, 404, refusal},
		}},
		"before the old server": {true, false, []request{
			{"GET", "/", browser, false, 200, page},
			{"GET", "/", browser, true, 200, page},
			{"GET", script, "*/*", false, 200, "/*"},
			{"POST", script, "*/*", true, 405, refusal},
			{"GET", "/", "*/*", true, 200, "old GET /"},
			{"GET", "/", "*/*", false, 401, refusal},
			{"POST", "/?x=1", browser, true, 200, "old POST /?x=1"},
			{"GET", "/dashboard/x.js", "*/*", true, 200, "old GET /dashboard/x.js"},
		}},
		"switched off": {false, true, []request{
			{"GET", "/", browser, true, 404, refusal},
			{"GET", script, "*/*", true, 404, refusal},
		}},
		"switched off before the old server": {true, true, []request{
			{"GET", "/", browser, true, 200, "old GET /"},
			{"GET", script, "*/*", false, 401, refusal},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Config{Data: t.TempDir(), NoDashboard: test.off}
			old := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				fmt.Fprintf(w, "old %s %s", r.Method, r.RequestURI)
			}))
			if test.old {
				cfg.Legacy = old.URL
			}
			r := start(t, cfg)
			t.Cleanup(old.Close)
			key := must(t, "key", "create", "--name", "test", "--scope", "write", "--data", r.data)
			for _, q := range test.requests {
				req, err := http.NewRequestWithContext(t.Context(), q.method, r.url+q.path, nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Accept", q.accept)
				if q.key {
					req.Header.Set("Authorization", "Bearer "+key)
				}
				resp, err := r.http.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || resp.StatusCode != q.status || !strings.HasPrefix(string(body), q.answer) {
					t.Errorf("%+v: got %d %v %.100s", q, resp.StatusCode, err, body)
				}
				if runs := strings.Contains(resp.Header.Get("Content-Security-Policy"), "script-src 'self'"); runs != (q.answer == page || q.answer == "/*" || q.answer == "") {
					t.Errorf("%+v: the policy is %q", q, resp.Header.Get("Content-Security-Policy"))
				}
				if allow := resp.Header.Get("Allow"); (q.status == 405) != (allow == "GET, HEAD") {
					t.Errorf("%+v: Allow is %q", q, allow)
				}
			}
		})
	}
}
