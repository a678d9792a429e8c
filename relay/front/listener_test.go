package front

import (
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// manyHandshakes is how many connections begin no handshake: enough to see that
// only most of them stay. scripts/faults has ten times as many, of a whole relay.
const manyHandshakes = 1000

// Of clients that connect and say nothing only the newest stay, and who does
// its handshake is served meanwhile.
func TestHalfOpenHandshakes(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	newAuthority(t).issue("relay.example", 1, cert, key)
	cfg, err := TLS{CertFile: cert, KeyFile: key, Log: slog.New(slog.DiscardHandler)}.Config()
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	const most = 50
	l := NewListener(tcp, most)
	srv := &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "served") }),
		ReadHeaderTimeout: time.Minute, // so that none ends by itself
		ConnState:         l.State,
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(tls.NewListener(l, cfg)) }() // ends with srv.Close
	defer func() { srv.Close(); <-served }()

	var silent sync.WaitGroup
	silent.Add(manyHandshakes)
	hold := make(chan struct{})
	var held sync.WaitGroup
	for range manyHandshakes {
		c, err := net.Dial("tcp", tcp.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		held.Go(func() { // ends when the relay hangs up, or at the end
			stop := make(chan struct{})
			go func() { // ends with hold or stop
				select {
				case <-hold:
					c.Close()
				case <-stop:
				}
			}()
			silent.Done()
			_, _ = c.Read(make([]byte, 1))
			close(stop)
			c.Close()
		})
	}
	defer held.Wait()
	defer close(hold)
	silent.Wait()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer client.CloseIdleConnections()
	resp, err := client.Get("https://" + tcp.Addr().String())
	if err != nil {
		t.Fatalf("beside %d half-open handshakes: %v", manyHandshakes, err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || string(body) != "served" {
		t.Errorf("got %q, %v", body, err)
	}
	// The request was accepted after all the others.
	if got := l.Waiting(); got > most {
		t.Errorf("the relay waits for %d peers, want at most %d", got, most)
	}
	if got := l.Ended(); got < manyHandshakes-most-1 {
		t.Errorf("the relay ended %d, want about %d", got, manyHandshakes-most)
	}
}

// A flood from one address pushes out its own, not those of others.
func TestFloodPushesOutItself(t *testing.T) {
	l := NewListener(nil, 10)
	peer := func(addr string) *conn {
		here, there := net.Pipe()
		t.Cleanup(func() { here.Close(); there.Close() })
		return &conn{Conn: here, from: netip.MustParsePrefix(addr)}
	}
	var others []*conn
	for _, addr := range []string{"192.0.2.1/32", "192.0.2.2/32", "2001:db8::/64"} {
		others = append(others, peer(addr))
		l.wait(others[len(others)-1])
	}
	var flood []*conn
	for range 100 {
		flood = append(flood, peer("203.0.113.9/32"))
		l.wait(flood[len(flood)-1])
	}
	for i, c := range others {
		if c.place == nil {
			t.Errorf("connection %d of another address was ended", i)
		}
	}
	for i, c := range flood {
		if (c.place != nil) != (i >= len(flood)-7) {
			t.Errorf("connection %d of the flood: got waited for %v; the newest 7 should be", i, c.place != nil)
		}
	}
	if l.Waiting() != 10 || l.Ended() != 93 {
		t.Errorf("got %d waiting and %d ended, want 10 and 93", l.Waiting(), l.Ended())
	}
	// What becomes active is no longer waited for, and may wait again.
	last := flood[len(flood)-1]
	for _, state := range []http.ConnState{http.StateActive, http.StateActive, http.StateIdle, http.StateHijacked, http.StateClosed} {
		l.State(last, state)
	}
	if l.Waiting() != 9 {
		t.Errorf("got %d waiting, want 9", l.Waiting())
	}
}
