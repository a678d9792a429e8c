package uplink

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// nameServer is a name server on loopback that answers every question with a
// code (RFC 1035 section 4.1.1), or nothing where it is negative.
func nameServer(t *testing.T, code int) func(context.Context, string, string) (net.Conn, error) {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { _ = server.Close(); <-done })
	go func() { // ends when the socket closes
		defer close(done)
		buf := make([]byte, 512)
		for {
			n, from, err := server.ReadFrom(buf)
			if err != nil {
				return
			}
			if n < 12 || code < 0 {
				continue
			}
			buf[2], buf[3] = 0x81, 0x80|byte(code) // a response, recursion available
			for i := 6; i < 12; i++ {              // no answers, nor anything else
				buf[i] = 0
			}
			end := 12 // the question goes back as it is, without what follows it
			for end < n && buf[end] != 0 {
				end += int(buf[end]) + 1
			}
			if end += 5; end <= n {
				_, _ = server.WriteTo(buf[:end], from)
			}
		}
	}()
	// The resolver waits for its answer for seconds after nobody waits for the
	// resolver.
	var mu sync.Mutex
	var asking []net.Conn
	t.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		for _, conn := range asking {
			_ = conn.Close()
		}
	})
	d := net.Dialer{Resolver: &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "udp", server.LocalAddr().String())
		if err == nil {
			mu.Lock()
			asking = append(asking, conn)
			mu.Unlock()
		}
		return conn, err
	}}}
	return d.DialContext
}

// TestProbe: where the way to the relay breaks off, by real failures of real
// neighbours on loopback: a name server, a port, a certificate, the clock, and
// the relay's own word, before which Reach turns back.
func TestProbe(t *testing.T) {
	now := time.Date(2026, 11, 15, 0, 0, 0, 0, time.UTC)
	from, to := now.AddDate(0, 0, -5), now.AddDate(0, 0, 5)
	ca := newAuthority(t, from.AddDate(0, 0, -5), to)
	stranger := newAuthority(t, from.AddDate(0, 0, -5), to)
	r := &relay{t: t, link: func(ws *websocket.Conn, _ int) { _ = readUntilClosed(ws, nil) }}
	refusing := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(`{"error":{"kind":"invalid","message":"the secret is not this router's"}}`))
	})
	var requests atomic.Int64
	counted := func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			requests.Add(1)
			h.ServeHTTP(w, req)
		})
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	const closed = "127.0.0.1:1" // not a port that was free a moment ago: another test may get that
	for _, tt := range []struct {
		name    string
		url     string
		dial    func(context.Context, string, string) (net.Conn, error)
		now     time.Time
		cause   Cause // "": the relay takes the secret
		message string
	}{
		{"good", ca.server(counted(r), "127.0.0.1", from, to), nil, now, "", ""},
		{"no such name", "https://relay.example.net", nameServer(t, 3), now, CauseDNS, "no such host"},
		{"the name server fails", "https://relay.example.net", nameServer(t, 2), now, CauseDNS, "the name server"},
		{"no name server", "https://relay.example.net", nameServer(t, -1), now, CauseDNS, "the name server does not answer"},
		{"nobody at the port", "https://" + closed, nil, now, CauseConnect, closed},
		{"silence", "https://" + silent.Addr().String(), nil, now, CauseConnect, "did not answer in time"},
		{"a stranger's certificate", stranger.server(counted(r), "127.0.0.1", from, to), nil, now, CauseTLS, "signed by nobody"},
		{"clock not set", ca.server(counted(r), "127.0.0.1", from, to), nil, time.Date(1970, 1, 1, 0, 1, 0, 0, time.UTC), CauseClock, "the router's clock is not set"},
		{"secret refused", ca.server(counted(refusing), "127.0.0.1", from, to), nil, now, CauseRefused, "must be enrolled again"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := testOptions(tt.url, echo)
			o.CAFile, o.Dial = ca.file, tt.dial
			o.BuildTime = from.AddDate(0, 0, -1) // before the certificates
			o.Now = func() time.Time { return tt.now }
			goes := func(what string, look func(context.Context) error, cause Cause) {
				t.Helper()
				ctx := t.Context()
				if tt.name == "silence" || tt.name == "no name server" { // without the 20 s
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, 100*time.Millisecond)
					defer cancel()
				}
				err := look(ctx)
				var f *Failure
				switch {
				case cause == "":
					if err != nil {
						t.Errorf("%s: got %v", what, err)
					}
				case !errors.As(err, &f) || f.Cause != cause || !strings.Contains(f.Message, tt.message):
					t.Errorf("%s: got %v, want %s: %s", what, err, cause, tt.message)
				}
			}
			goes("probe", func(ctx context.Context) error { return o.Client.Probe(ctx, o.Identity) }, tt.cause)
			before := requests.Load()
			if tt.cause == CauseRefused { // it does not come so far
				tt.cause = ""
			}
			goes("reach", func(ctx context.Context) error { return o.Client.Reach(ctx, o.Identity.Relay) }, tt.cause)
			if n := requests.Load() - before; n != 0 {
				t.Errorf("reach: the relay was asked %d times", n)
			}
		})
	}
}
