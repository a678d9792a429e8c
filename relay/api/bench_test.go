package api

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// nowhere takes an answer and keeps only its status.
type nowhere struct {
	header http.Header
	status int
}

func (w *nowhere) Header() http.Header             { return w.header }
func (w *nowhere) WriteHeader(status int)          { w.status = status }
func (w *nowhere) Write(p []byte) (int, error)     { return len(p), nil }
func (w *nowhere) SetReadDeadline(time.Time) error { return nil }

// BenchmarkAnswer is what the API itself costs a call: finding the route and
// the key, checking, counting against limits, and the envelope.
func BenchmarkAnswer(b *testing.B) {
	r := newRig(b)
	r.Now = time.Now
	r.Limit(1e9, 1e9)
	r.key = r.newKey("forever", time.Time{})
	data := json.RawMessage(`{"mac":"02:77:00:00:00:11","pad":"` + strings.Repeat("x", 4000) + `"}`)
	r.routers.answer = func(context.Context, string, json.RawMessage) (json.RawMessage, error) { return data, nil }
	req := httptest.NewRequest(http.MethodGet, "/api/device-usage/device/02:77:00:00:00:11?period=2026-11-01&routerId="+id(connected), nil)
	req.Header.Set("Authorization", "Bearer "+r.key)
	b.ReportAllocs()
	for b.Loop() {
		w := &nowhere{header: make(http.Header, 8)}
		r.ServeHTTP(w, req)
		if w.status != http.StatusOK {
			b.Fatalf("got status %d", w.status)
		}
	}
}
