// Package uplink keeps the router's one outbound connection to its relay: it
// dials, says hello, answers calls, and when the link ends it waits and dials
// again, for ever. The protocol is pkg/wire/PROTOCOL.md.
//
// Nothing survives a link: calls without an answer are lost, and the relay
// asks again on the next one.
package uplink

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/netpilot/netpilot/agent/config"
	"github.com/netpilot/netpilot/pkg/wire"
)

// Handler answers one call. The context ends when the caller no longer waits;
// what is returned after that is dropped. The link is its wire.PeerOf. A *usage.Error goes to the caller as
// it is, any other error as internal and into the log.
type Handler func(ctx context.Context, method string, params json.RawMessage) (json.RawMessage, error)

// Options is what an Uplink needs. Client, Identity, Hello and Handle must be
// set, the rest may be left out.
type Options struct {
	Client
	Identity config.Identity
	Hello    func() wire.Hello // asked anew for every link
	Handle   Handler           // called from up to wire.MaxCalls goroutines
	Log      *slog.Logger

	// Welcome is told what the relay answered to hello, from Run's goroutine.
	Welcome func(wire.Welcome)

	// Follow, if not nil, is run for every link with the relay's answer to
	// hello and a way to ask the relay, one call at a time. It must return
	// soon after ctx, which is the link's life.
	Follow func(ctx context.Context, w wire.Welcome, ask func(context.Context, string, json.RawMessage) (json.RawMessage, error))

	// SaveLastGood stores a time that the clock and the relay agree has come,
	// at most once a day; Client.LastGood is what was stored before.
	SaveLastGood func(time.Time) error

	// SaveIdentity stores the identity with a changed secret, whole or not
	// at all. Without it the relay cannot change the secret.
	SaveIdentity func(config.Identity) error

	// Wake makes the Uplink dial at once when it waits to dial again by
	// itself, and look whether its link still works when it has one: for when
	// an interface came up. It must not be closed.
	Wake <-chan struct{}

	// Rand is a random number in [0, 1), math/rand's if nil. It must be safe
	// for concurrent use.
	Rand func() float64
}

// State is how the uplink does.
type State struct {
	Relay     string // host of the relay
	Connected bool
	Since     time.Time // when Connected changed, router's clock
	Attempts  int       // failed attempts since the last link
	NextDial  time.Time // zero while connected or dialling
	LastError string    // why there is no link, or why the one before ended; "" if never
	Cause     Cause     // of LastError
}

// Uplink is one router's connection to its relay.
type Uplink struct {
	opts  Options
	log   *slog.Logger
	slots chan struct{} // one for each call being worked on, over all links

	// Owned by Run.
	backoff  backoff
	lastGood time.Time
	logged   string // the failure that stands in the log

	identityMu sync.Mutex // guards identity
	identity   config.Identity

	mu    sync.Mutex // guards state
	state State
}

// New makes an Uplink; Run starts it.
func New(o Options) *Uplink {
	o.Client = o.Client.withDefaults()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Rand == nil {
		o.Rand = rand.Float64
	}
	u := &Uplink{
		opts:     o,
		log:      o.Log.With("relay", o.Identity.Relay.Host),
		slots:    make(chan struct{}, wire.MaxCalls),
		backoff:  backoff{rand: o.Rand},
		lastGood: o.LastGood,
		identity: o.Identity,
	}
	u.state = State{Relay: o.Identity.Relay.Host, Since: o.Now()}
	return u
}

// State may be called at any time, from any goroutine.
func (u *Uplink) State() State {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.state
}

func (u *Uplink) setState(change func(*State)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	change(&u.state)
}

// Run keeps the link until ctx ends, which is a normal end: it then says
// goodbye to the relay and returns nil within 5 s. No failure ends it.
func (u *Uplink) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		up, err := u.once(ctx)
		if ctx.Err() != nil {
			break
		}
		good := time.Duration(0)
		if !up.IsZero() {
			good = time.Since(up)
		}
		wait, byRelay := u.backoff.next(err, good, u.clockUnset())
		wake := u.opts.Wake
		if byRelay { // its word stands, whatever interface comes up
			wake = nil
		}
		u.failed(err, up, wait)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-wake:
		}
		timer.Stop()
		u.setState(func(s *State) { s.NextDial = time.Time{} })
	}
	u.setState(func(s *State) { s.NextDial = time.Time{} })
	return nil
}

// once lives one link from dial to close. It returns since when the relay had
// accepted it, the zero time if never, and always why it ended.
func (u *Uplink) once(ctx context.Context) (up time.Time, err error) {
	client := u.opts.Client
	client.LastGood = u.lastGood
	conn, raw, secret, err := u.dial(ctx, client)
	if err != nil {
		return time.Time{}, err
	}
	defer raw.Close()
	l := &link{
		up:      u,
		conn:    conn,
		raw:     raw,
		results: make(chan []byte),
		replies: make(chan []byte, maxReplies),
		asks:    make(chan []byte),
		notices: make(chan []byte, maxNotices),
		calls:   make(map[wire.CallID]context.CancelFunc),
	}
	if err := l.hello(ctx); err != nil {
		if l.goodbye(err) {
			l.linger()
		}
		return time.Time{}, err
	}
	up = time.Now()
	u.connected()
	u.proven(secret)
	if u.opts.Welcome != nil {
		u.opts.Welcome(l.welcome)
	}
	u.keepLastGood(l.welcome.ServerTime)
	err = l.run(ctx)
	u.setState(func(s *State) { s.Connected, s.Since = false, u.opts.Now() })
	return up, err
}

// dial tries the router's secrets until one is known to the relay.
func (u *Uplink) dial(ctx context.Context, c Client) (conn *websocket.Conn, raw *guardedConn, secret config.Secret, err error) {
	for _, secret := range u.secrets() {
		id := u.opts.Identity
		id.Secret = secret
		var refused *Failure
		conn, raw, err = dial(ctx, c, id)
		if !errors.As(err, &refused) || refused.status != http.StatusUnauthorized {
			return conn, raw, secret, err
		}
	}
	return nil, nil, "", err
}

func (u *Uplink) connected() {
	attempts := 0
	u.setState(func(s *State) {
		attempts = s.Attempts
		s.Connected, s.Since, s.Attempts, s.NextDial = true, u.opts.Now(), 0, time.Time{}
	})
	u.logged = ""
	u.log.Info("link up", "failed_attempts", attempts)
}

// failed notes why there is no link, or no longer. The same failure again is a
// number in the state, not a line in the log.
func (u *Uplink) failed(err error, up time.Time, wait time.Duration) {
	cause, text := CauseInternal, err.Error()
	var f *Failure
	if errors.As(err, &f) {
		cause = f.Cause
	}
	attempts := 0
	u.setState(func(s *State) {
		if up.IsZero() {
			s.Attempts++
		}
		s.LastError, s.Cause, s.NextDial = text, cause, u.opts.Now().Add(wait)
		attempts = s.Attempts
	})
	if !up.IsZero() {
		u.log.Warn("link closed", "age", time.Since(up).Round(time.Second), "cause", string(cause), "err", text)
	} else if key := string(cause) + text; key != u.logged {
		u.logged = key
		u.log.Warn("no link", "cause", string(cause), "err", text, "attempt", attempts)
	}
}

// clockUnset tells whether the router has not learned the time since it
// booted.
func (u *Uplink) clockUnset() bool { return u.opts.Now().Before(u.opts.BuildTime) }

// keepLastGood stores the earlier of the two clocks, so that a wrong one alone
// cannot make every certificate look expired from then on.
func (u *Uplink) keepLastGood(server time.Time) {
	const every = 24 * time.Hour // it is a write to flash
	t := u.opts.Now()
	if server.Before(t) {
		t = server
	}
	if u.opts.SaveLastGood == nil || t.Before(u.opts.BuildTime) || t.Before(u.lastGood.Add(every)) {
		return
	}
	u.lastGood = t // also on failure: no second try until tomorrow
	if err := u.opts.SaveLastGood(t); err != nil {
		u.log.Warn("last good time not stored", "err", err)
	}
}

// netDial is how the default Client dials: all addresses of both families,
// without TCP's own keep-alives, since the link has its pings.
func netDial(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{KeepAlive: -1}
	return d.DialContext(ctx, network, addr)
}
