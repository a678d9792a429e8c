package api

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// The description needs no key, and the page nothing from elsewhere.
func TestDocument(t *testing.T) {
	r := newRig(t)
	for path, media := range map[string]string{
		"/openapi.json": "application/openapi+json", "/openapi.yaml": "application/openapi+yaml", "/docs": "text/html; charset=utf-8",
	} {
		resp := r.do("GET", path, "", func(req *http.Request) { req.Header = http.Header{} })
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		text := string(body)
		if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != media || !strings.Contains(text, "/api/device-usage/current") {
			t.Errorf("%s: got %d %s %.300s", path, resp.StatusCode, resp.Header.Get("Content-Type"), text)
		}
		for _, elsewhere := range []string{"<script", "src=", "url(", "https://", "ErrorModel"} {
			if strings.Contains(text, elsewhere) {
				t.Errorf("%s has %q", path, elsewhere)
			}
		}
	}
}
