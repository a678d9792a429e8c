package web

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"strings"
	"testing"
)

// ask makes a request with headers, given as name and value in turn.
func ask(t *testing.T, d *Dashboard, method, target string, headers ...string) (*http.Response, []byte) {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	if !d.Has(r) {
		return nil, nil
	}
	d.ServeHTTP(w, r)
	resp := w.Result()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, body
}

// browser is what browsers say that they take of an address that is typed in.
const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

func TestHas(t *testing.T) {
	d, err := New()
	if err != nil {
		t.Fatal(err)
	}
	script := ""
	for target, f := range d.files {
		if f.name == "app.js" {
			script = target
		}
	}
	for _, test := range []struct {
		method, target, accept string
		want                   bool
	}{
		{"GET", "/", browser, true},
		{"HEAD", "/", "TEXT/HTML", true},
		{"GET", "/", "*/*", false},
		{"GET", "/", "", false},
		{"GET", "/", "application/json, text/html;q=0", false},
		{"GET", "/", "application/json, text/html; q=0.000", false},
		{"GET", "/", "application/json, text/html; q=0.001", true},
		{"GET", "/", "text/htmlx", false},
		{"POST", "/", browser, false},
		{"GET", script, "*/*", true},
		{"POST", script, "*/*", true},
		{"GET", "/dashboard/app.js", "*/*", false},
		{"GET", "/dashboard/", browser, false},
		{"GET", "/dashboard/index.html", browser, false},
		{"GET", "/dashboard/../app.js", browser, false},
		{"GET", "/dashboard/web.go", browser, false},
		{"GET", "/api/routers", browser, false},
	} {
		if resp, _ := ask(t, d, test.method, test.target, "Accept", test.accept); (resp != nil) != test.want {
			t.Errorf("%s %s, taking %q: got %t", test.method, test.target, test.accept, resp != nil)
		}
	}
}

// Each file has its type, the policy and a tag by which it is not sent twice.
func TestHeaders(t *testing.T) {
	d, err := New()
	if err != nil {
		t.Fatal(err)
	}
	if len(d.files) < 3 {
		t.Fatalf("there are %d files", len(d.files))
	}
	for target, f := range d.files {
		resp, body := ask(t, d, "GET", target, "Accept", browser)
		h := resp.Header
		kind := map[string]string{".html": "text/html", ".js": "text/javascript", ".css": "text/css"}[path.Ext(f.name)]
		if resp.StatusCode != 200 || !bytes.Equal(body, f.text) || h.Get("Content-Type") != kind+"; charset=utf-8" || h.Get("Content-Encoding") != "" {
			t.Errorf("%s: got %d, %d bytes, %v", target, resp.StatusCode, len(body), h)
		}
		keep := "public, max-age=31536000, immutable"
		if target == "/" {
			keep = "no-cache"
		}
		if h.Get("Cache-Control") != keep || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Vary") != "Accept, Accept-Encoding" ||
			h.Get("Cross-Origin-Opener-Policy") != "same-origin" || h.Get("Cross-Origin-Resource-Policy") != "same-origin" {
			t.Errorf("%s: got %v", target, h)
		}
		for _, directive := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "img-src 'self' data:",
			"frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'", "require-trusted-types-for 'script'"} {
			if !strings.Contains("; "+h.Get("Content-Security-Policy")+";", "; "+directive+";") {
				t.Errorf("%s: the policy lacks %s", target, directive)
			}
		}
		if again, body := ask(t, d, "GET", target, "Accept", browser, "If-None-Match", h.Get("ETag")); again.StatusCode != 304 || len(body) > 0 || h.Get("ETag") == "" {
			t.Errorf("%s: asked again, got %d", target, again.StatusCode)
		}
		if head, body := ask(t, d, "HEAD", target, "Accept", browser); head.StatusCode != 200 || len(body) > 0 || head.ContentLength != int64(len(f.text)) {
			t.Errorf("%s: HEAD got %d", target, head.StatusCode)
		}

		resp, body = ask(t, d, "GET", target, "Accept", browser, "Accept-Encoding", "gzip, deflate, br")
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil || resp.Header.Get("Content-Encoding") != "gzip" || resp.Header.Get("ETag") == h.Get("ETag") {
			t.Errorf("%s packed: %v, %v", target, err, resp.Header)
			continue
		}
		if text, err := io.ReadAll(z); err != nil || !bytes.Equal(text, f.text) {
			t.Errorf("%s packed: %v, %d bytes", target, err, len(text))
		}
	}
}

// The page must stay small, and ask for nothing that is not here.
func TestFiles(t *testing.T) {
	d, err := New()
	if err != nil {
		t.Fatal(err)
	}
	sent, whole := 0, 0
	link := regexp.MustCompile(`(?:\b(?:src|href)="|\bfrom ')([^"']*)["']`)
	for target, f := range d.files {
		sent += len(f.packed)
		whole += len(f.text)
		for _, word := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "DOMParser", "localStorage",
			"document.cookie", " style=", "<style", "onclick=\"", "setAttribute('style'", "javascript:"} {
			if bytes.Contains(f.text, []byte(word)) {
				t.Errorf("%s has %s", target, word)
			}
		}
		for _, m := range link.FindAllSubmatch(f.text, -1) {
			to := string(m[1])
			if strings.HasPrefix(to, "./") {
				to = path.Join(path.Dir(target), to)
			}
			_, ours := d.files[to]
			if !ours && to != "#/" && to != "/docs" && !strings.HasPrefix(to, "data:image/svg+xml,") {
				t.Errorf("%s asks for %s", target, to)
			}
		}
	}
	t.Logf("%d bytes, %d sent", whole, sent)
	if sent > 32<<10 || whole > 80<<10 {
		t.Errorf("the files are of %d bytes, packed %d", whole, sent)
	}
}
