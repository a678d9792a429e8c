package front

import (
	"container/list"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/netpilot/netpilot/relay/limit"
)

// Listener bounds the connections on which the server waits for a peer: for
// its TLS handshake, its first request or its next one. One too many ends the
// oldest of the address that has the most, so that a flood pushes out itself.
// Each has its own deadline besides, which the server keeps.
type Listener struct {
	net.Listener
	most  int
	ended atomic.Int64

	mu      sync.Mutex // guards below
	total   int
	waiting map[netip.Prefix]*list.List // of *conn, the oldest first
}

// NewListener makes l one that waits for at most so many peers. The server
// must have State as its ConnState.
func NewListener(l net.Listener, most int) *Listener {
	return &Listener{Listener: l, most: most, waiting: make(map[netip.Prefix]*list.List)}
}

// conn is one connection; place is guarded by the listener's mutex.
type conn struct {
	net.Conn
	from  netip.Prefix
	place *list.Element // nil while it is not waited for
}

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	mine := &conn{Conn: c, from: limit.Network(c.RemoteAddr().String())}
	l.wait(mine)
	return mine, nil
}

// State is told by the server how a connection does.
func (l *Listener) State(c net.Conn, state http.ConnState) {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	mine, ok := c.(*conn)
	if !ok {
		return
	}
	switch state {
	case http.StateNew, http.StateIdle:
		l.wait(mine)
	case http.StateActive, http.StateHijacked, http.StateClosed:
		l.mu.Lock()
		l.leaveLocked(mine)
		l.mu.Unlock()
	}
}

// Waiting is how many peers are waited for now.
func (l *Listener) Waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total
}

// Ended is how many connections were ended for there being too many.
func (l *Listener) Ended() int64 { return l.ended.Load() }

// wait enters c, and ends another one if that is one too many.
func (l *Listener) wait(c *conn) {
	l.mu.Lock()
	var victim *conn
	if c.place == nil {
		peers := l.waiting[c.from]
		if peers == nil {
			peers = list.New()
			l.waiting[c.from] = peers
		}
		c.place = peers.PushBack(c)
		l.total++
		if l.total > l.most {
			victim = l.largestLocked().Front().Value.(*conn)
			l.leaveLocked(victim)
		}
	}
	l.mu.Unlock()
	if victim != nil {
		l.ended.Add(1)
		victim.Close() // the server sees its read fail
	}
}

func (l *Listener) leaveLocked(c *conn) {
	if c.place == nil {
		return
	}
	peers := l.waiting[c.from]
	peers.Remove(c.place)
	if peers.Len() == 0 {
		delete(l.waiting, c.from)
	}
	c.place = nil
	l.total--
}

// largestLocked is the peers of the address that has the most.
func (l *Listener) largestLocked() *list.List {
	var largest *list.List
	for _, peers := range l.waiting {
		if largest == nil || peers.Len() > largest.Len() {
			largest = peers
		}
	}
	return largest
}
