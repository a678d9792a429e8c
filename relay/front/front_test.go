package front

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// seen serves one request and gives the RemoteAddr that the relay saw, "" if
// the request was refused.
func seen(t *testing.T, proxies, remote string, forwarded ...string) (string, *http.Response) {
	t.Helper()
	list, err := ParseProxies(proxies)
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	h := Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.RemoteAddr }), true, list)
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr = remote
	r.Header["X-Forwarded-For"] = forwarded
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if r.RemoteAddr != remote {
		t.Errorf("the caller's request was changed")
	}
	return got, w.Result()
}

func TestClientAddress(t *testing.T) {
	const proxies = "10.0.0.0/8, 192.0.2.7,2001:db8::/32"
	for _, test := range []struct {
		name, proxies, remote string
		forwarded             []string
		want                  string
	}{
		{"no proxies: the header is nobody's word", "", "203.0.113.5:99", []string{"198.51.100.1"}, "203.0.113.5:99"},
		{"through the proxy", proxies, "10.1.2.3:99", []string{"198.51.100.1"}, "198.51.100.1:0"},
		{"IPv6", proxies, "[2001:db8::1]:99", []string{"2a00::9"}, "[2a00::9]:0"},
		{"IPv4 in IPv6", proxies, "[::ffff:10.1.2.3]:99", []string{"::ffff:198.51.100.1"}, "198.51.100.1:0"},
		{"forged by the client", proxies, "10.1.2.3:99", []string{"1.1.1.1, 198.51.100.1"}, "198.51.100.1:0"},
		{"forged in a header of its own", proxies, "10.1.2.3:99", []string{"1.1.1.1", "198.51.100.1"}, "198.51.100.1:0"},
		{"two proxies", proxies, "10.1.2.3:99", []string{"198.51.100.1, 192.0.2.7"}, "198.51.100.1:0"},
		{"no header", proxies, "10.1.2.3:99", nil, "10.1.2.3:99"},
		{"no address", proxies, "10.1.2.3:99", []string{"unknown"}, "10.1.2.3:99"},
		{"no address before the proxy", proxies, "10.1.2.3:99", []string{"1.1.1.1, unknown, 192.0.2.7"}, "192.0.2.7:0"},
		{"a zone", proxies, "10.1.2.3:99", []string{"fe80::1%eth0"}, "[fe80::1]:0"},
		{"not the proxy", proxies, "203.0.113.5:99", []string{"198.51.100.1"}, ""},
		{"not the proxy, near it", proxies, "192.0.2.8:99", nil, ""},
		{"no peer", proxies, "@", nil, ""},
	} {
		got, resp := seen(t, test.proxies, test.remote, test.forwarded...)
		if got != test.want || (resp.StatusCode == http.StatusForbidden) != (test.want == "") {
			t.Errorf("%s: got %q and %d, want %q", test.name, got, resp.StatusCode, test.want)
		}
	}
}

func TestParseProxies(t *testing.T) {
	if list, err := ParseProxies(" , "); err != nil || len(list) != 0 {
		t.Errorf("nothing: got %v, %v", list, err)
	}
	for _, text := range []string{"proxy.example", "10.0.0.0/33", "10.0.0.1;10.0.0.2"} {
		if _, err := ParseProxies(text); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%q: got error %v, want one that names it", text, err)
		}
	}
}

func TestHeaders(t *testing.T) {
	for _, secure := range []bool{true, false} {
		w := httptest.NewRecorder()
		Handler(http.NotFoundHandler(), secure, nil).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		for header, want := range map[string]string{"X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff"} {
			if got := w.Header().Get(header); got != want {
				t.Errorf("%s: got %q, want %q", header, got, want)
			}
		}
		if got := w.Header().Get("Strict-Transport-Security"); (got == "max-age=31536000") != secure {
			t.Errorf("secure %v: got Strict-Transport-Security %q", secure, got)
		}
	}
}
