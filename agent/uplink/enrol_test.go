package uplink

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
)

func TestEnrol(t *testing.T) {
	request := wire.EnrolRequest{Token: "t0ken", RouterID: testRouter, Name: "OpenWrt", Model: "Box", AgentVersion: "1.2.3"}
	good := fmt.Sprintf(`{"router_id":%q,"secret":%q,"new":1}`, testRouter, testSecret)
	for _, tt := range []struct {
		name    string
		status  int
		header  string
		body    string
		kind    usage.Kind
		message string // "": enrolled
		retry   time.Duration
	}{
		{name: "good", status: 200, body: good},
		{name: "token", status: 403, body: `{"error":{"kind":"forbidden","message":"no"}}`, kind: usage.Forbidden,
			message: "the token is wrong, used or expired"},
		{name: "invalid", status: 400, body: `{"error":{"kind":"invalid","message":"router_id is malformed"}}`, kind: usage.Invalid,
			message: "relay answers 400: router_id is malformed"},
		{name: "busy", status: 429, header: "Retry-After: 90", kind: usage.Busy, message: "try again in 1m30s", retry: 90 * time.Second},
		{name: "proxy", status: 502, body: "<html>", kind: usage.Invalid, message: "relay answers 502: no reason given"},
		{name: "relay's bug", status: 500, body: `{"error":{"kind":"internal","message":"internal"}}`, kind: usage.Invalid, message: "relay answers 500"},
		{name: "redirect", status: 307, header: "Location: https://other.example/", kind: usage.Invalid, message: `redirect to "https://other.example/"`},
		{name: "another site", status: 200, body: "<html>", kind: usage.Invalid, message: "is not of a netpilot relay"},
		{name: "no secret", status: 200, body: `{"router_id":"` + testRouter + `"}`, kind: usage.Invalid, message: "is not of a netpilot relay"},
		{name: "another router", status: 200, body: `{"router_id":"x","secret":"` + testSecret + `"}`, kind: usage.Invalid, message: "for another router"},
		{name: "long", status: 200, body: strings.Repeat(" ", maxEnrolReply) + good, kind: usage.Invalid, message: "is not of a netpilot relay"},
		{name: "longer than all", status: 200, body: strings.Repeat(" ", 4*maxHandshake), kind: usage.Invalid, message: "is not of a netpilot relay"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			calls := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				calls++
				text, _ := io.ReadAll(r.Body)
				var got wire.EnrolRequest
				if err := json.Unmarshal(text, &got); err != nil || got != request || r.Method != http.MethodPost ||
					r.URL.Path != "/base"+wire.EnrolPath || r.Header.Get("Content-Type") != "application/json" {
					t.Errorf("got %s %s %s", r.Method, r.URL, text)
				}
				if name, value, ok := strings.Cut(tt.header, ": "); ok {
					w.Header().Set(name, value)
				}
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.body)
			}))
			defer server.Close()
			reply, err := Enrol(t.Context(), Client{Version: "1.2.3"}, mustParse(t, server.URL+"/base"), request)
			if calls != 1 {
				t.Errorf("relay was asked %d times, want once", calls)
			}
			if tt.message == "" {
				if err != nil || reply.Secret != testSecret {
					t.Errorf("got %+v, %v", reply, err)
				}
				return
			}
			var e *usage.Error
			if !errors.As(err, &e) || e.Kind != tt.kind || !strings.Contains(e.Message, tt.message) || e.RetryAfter != tt.retry {
				t.Fatalf("got %v, want %v: %s", err, tt.kind, tt.message)
			}
			if strings.Contains(e.Message, request.Token) || strings.Contains(e.Message, testSecret) {
				t.Errorf("the message has a secret: %s", e.Message)
			}
		})
	}
}

func TestEnrolNoRelay(t *testing.T) {
	ca := newAuthority(t, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	reached := false
	relayURL := ca.server(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }), "127.0.0.1",
		time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	for _, tt := range []struct {
		name, ca string
		kind     usage.Kind
		message  string
	}{
		{"untrusted", "", usage.Offline, "enrol: certificate of "},
		{"no ca_file", "/nonexistent", usage.Invalid, "enrol: ca_file: open /nonexistent"},
	} {
		_, err := Enrol(t.Context(), Client{CAFile: tt.ca}, mustParse(t, relayURL), wire.EnrolRequest{Token: "t0ken"})
		if usage.KindOf(err) != tt.kind || !strings.HasPrefix(err.Error(), tt.message) || reached {
			t.Errorf("%s: got %v (reached %v), want %v: %s", tt.name, err, reached, tt.kind, tt.message)
		}
	}
}
