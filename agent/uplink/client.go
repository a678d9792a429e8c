package uplink

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/gorilla/websocket"

	"github.com/netpilot/netpilot/agent/config"
	"github.com/netpilot/netpilot/pkg/wire"
)

const (
	dialWithin   = 20 * time.Second // name, TCP, TLS and HTTP together
	maxHandshake = 64 << 10         // bytes a relay may send until the link is up: certificates and one HTTP head
	maxCAFile    = 256 << 10        // the whole of Mozilla's roots has some 220 KiB
)

// Client is how to reach a relay, for the link and for enrolment.
type Client struct {
	CAFile    string    // PEM file of a private CA, trusted besides the system's; "" for none
	CertFile  string    // PEM file of the certificate to show the relay; "" for none
	KeyFile   string    // PEM file of its key
	Version   string    // of the agent, for the User-Agent header
	BuildTime time.Time // no certificate is checked at an earlier time
	LastGood  time.Time // nor at one before this, which was once proven

	Dial func(ctx context.Context, network, addr string) (net.Conn, error) // net.Dialer's if nil
	Now  func() time.Time                                                  // the router's clock; time.Now if nil
}

func (c Client) withDefaults() Client {
	if c.Dial == nil {
		c.Dial = netDial
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// certTime is when certificates are checked: routers boot in the past, and
// what has once been a fact does not become earlier.
func (c Client) certTime() time.Time {
	t := c.Now()
	for _, floor := range []time.Time{c.BuildTime, c.LastGood} {
		if t.Before(floor) {
			t = floor
		}
	}
	return t
}

// tlsConfig verifies always; there is no way to switch that off.
func (c Client) tlsConfig(host string) (*tls.Config, error) {
	cfg := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12, Time: c.certTime}
	if c.CertFile != "" || c.KeyFile != "" {
		pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile) // anew for each link: it may have been renewed
		if err != nil {
			return nil, fmt.Errorf("client_cert: %w; see options client_cert and client_key in %s", err, config.Path)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	var err error
	cfg.RootCAs, err = c.roots()
	return cfg, err
}

// connect dials the host of u and does the TLS handshake if its scheme is
// https. raw is the TCP connection under conn; it closes when ctx ends, unless
// the caller calls raw.release before.
func (c Client) connect(ctx context.Context, u *url.URL) (conn net.Conn, raw *guardedConn, err error) {
	port := u.Port()
	if port == "" {
		port = "80"
		if u.Scheme == "https" {
			port = "443"
		}
	}
	tcp, err := c.Dial(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return nil, nil, err
	}
	raw = &guardedConn{Conn: tcp, left: maxHandshake}
	// Neither writing the request nor reading the answer looks at ctx.
	raw.release = context.AfterFunc(ctx, func() { tcp.Close() })
	if u.Scheme != "https" {
		return raw, raw, nil
	}
	t, err := c.handshake(ctx, raw, u.Hostname())
	if err != nil {
		raw.release()
		raw.Close()
		return nil, nil, err
	}
	return t, raw, nil
}

func (c Client) handshake(ctx context.Context, raw net.Conn, host string) (*tls.Conn, error) {
	cfg, err := c.tlsConfig(host)
	if err != nil {
		return nil, &Failure{Cause: CauseConfig, Message: err.Error(), Err: err}
	}
	t := tls.Client(raw, cfg)
	if err := t.HandshakeContext(ctx); err != nil {
		return nil, &handshakeError{err}
	}
	// The roots have done their work, and a connection holds its
	// configuration for as long as it lives: they would be a good part of
	// the heap. With none, nothing more could be trusted.
	cfg.RootCAs = x509.NewCertPool()
	return t, nil
}

// dial makes a WebSocket to the relay. The raw connection below it is for
// hanging up: closing that never blocks.
func dial(ctx context.Context, c Client, id config.Identity) (*websocket.Conn, *guardedConn, error) {
	dialCtx, cancel := context.WithTimeout(ctx, dialWithin)
	defer cancel()
	var raw *guardedConn
	connect := func(ctx context.Context, _, _ string) (conn net.Conn, err error) {
		conn, raw, err = c.connect(ctx, id.Relay)
		return conn, err
	}
	d := websocket.Dialer{
		NetDialContext:    connect,
		NetDialTLSContext: connect,
		Subprotocols:      []string{wire.Subprotocol},
		ReadBufferSize:    4 << 10,
		WriteBufferSize:   16 << 10, // an answer of a small network leaves in one write
	}
	target := *id.Relay.JoinPath(wire.ConnectPath)
	target.Scheme = "ws"
	if id.Relay.Scheme == "https" {
		target.Scheme = "wss"
	}
	conn, resp, err := d.DialContext(dialCtx, target.String(), http.Header{
		"Authorization": {"Bearer " + id.Secret.Reveal()},
		"User-Agent":    {"netpilot-agent/" + c.Version},
	})
	alive := raw != nil && raw.release() // before cancel, which would close the connection
	switch {
	case errors.Is(err, websocket.ErrBadHandshake):
		return nil, nil, refused(resp)
	case err != nil:
		return nil, nil, c.explain(dialCtx, id.Relay, err)
	case !alive:
		return nil, nil, c.explain(dialCtx, id.Relay, context.Cause(dialCtx))
	case conn.Subprotocol() != wire.Subprotocol:
		err = protocolFailure("the answer does not speak %s; is it a netpilot relay?", wire.Subprotocol)
	case resp.Header.Get("Sec-WebSocket-Extensions") != "":
		// None was asked for (RFC 6455 section 4.1), and gorilla would count
		// only compressed bytes against its read limit.
		err = protocolFailure("the relay switched on a WebSocket extension")
	}
	if err != nil {
		raw.Close()
		return nil, nil, err
	}
	raw.left = -1
	return conn, raw, nil
}

// Probe makes a link's first step, up to the relay's word on the secret, and
// hangs up. Where another link of this router is up it would take its place:
// the running agent's State knows better.
func (c Client) Probe(ctx context.Context, id config.Identity) error {
	conn, _, err := dial(ctx, c.withDefaults(), id)
	if err != nil {
		return err
	}
	return conn.Close()
}

// Reach goes the way to the relay up to verified TLS (its name, TCP and, for
// https, TLS) and hangs up. It asks for nothing, so no link is disturbed.
func (c Client) Reach(ctx context.Context, relay *url.URL) error {
	c = c.withDefaults()
	ctx, cancel := context.WithTimeout(ctx, dialWithin)
	defer cancel()
	conn, raw, err := c.connect(ctx, relay)
	if err != nil {
		return c.explain(ctx, relay, err)
	}
	raw.release()
	return conn.Close()
}

// guardedConn bounds what is read. Its fields belong to the goroutine that
// reads: first the one that dials, then the link's reader.
type guardedConn struct {
	net.Conn
	release func() bool   // see connect
	left    int           // bytes that may still come; negative: no limit
	idle    time.Duration // silence that ends the connection; 0: only deadlines that others set
}

var errHandshakeTooLong = errors.New("over 64 KiB before the link was up")

func (c *guardedConn) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, errHandshakeTooLong
	}
	if c.left > 0 && len(p) > c.left {
		p = p[:c.left]
	}
	if c.idle > 0 {
		if err := c.Conn.SetReadDeadline(time.Now().Add(c.idle)); err != nil {
			return 0, err
		}
	}
	n, err := c.Conn.Read(p)
	if c.left > 0 {
		c.left -= n
	}
	return n, err
}
