package source

import (
	"context"

	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/usage"
)

// Client speaks to nlbwmon's control socket at path, "" for the router's own.
func (r *Router) Client(path string) *nlbwmon.Client {
	if path == "" {
		path = r.SocketPath
	}
	return &nlbwmon.Client{Path: path, LockPath: r.LockPath, Timeout: r.SocketWithin, Order: r.clientOrder()}
}

// clientOrder is the order on a socket: who listens there runs on this
// machine, unless someone said otherwise.
func (r *Router) clientOrder() nlbwmon.AddrOrder {
	if r.Order == nlbwmon.OrderGuess {
		return nlbwmon.NativeOrder()
	}
	return r.Order
}

// Stock is the router as stock nlbw's options see it.
type Stock struct {
	Router        *Router
	ProtocolsPath string
}

// Live reads the snapshot if it is whole and fresh, else the socket, and
// tells the period.
func (s Stock) Live(ctx context.Context, sink usage.Sink) (nlbwmon.Period, error) {
	if reading, err := s.Router.readSnapshot(sink); err == nil {
		return reading.Period, nil
	}
	reading, err := s.Router.readSocket(ctx, 0, sink)
	return reading.Period, err
}

// Dump reads the socket at path.
func (s Stock) Dump(ctx context.Context, path string, period nlbwmon.Period, sink usage.Sink) error {
	_, err := s.Router.Client(path).Dump(ctx, period, func(nlbwmon.Header) { sink.Begin(0) }, sink.Add)
	return err
}

// List asks the socket at path for its periods.
func (s Stock) List(ctx context.Context, path string) ([]nlbwmon.Period, error) {
	return s.Router.Client(path).List(ctx)
}

// Commit makes the daemon at path write its database.
func (s Stock) Commit(ctx context.Context, path string) (string, error) {
	return s.Router.Client(path).Commit(ctx)
}

// Protocols is the protocols file nlbwmon is set up with.
func (s Stock) Protocols() string { return s.ProtocolsPath }

// Order is how this machine's nlbwmon stores IPv4 addresses.
func (s Stock) Order() nlbwmon.AddrOrder { return s.Router.clientOrder() }
