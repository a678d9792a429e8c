package wire

import (
	"context"
	"encoding/json"
)

// Peer is who stands at the other end of the door that a call came through.
// Two calls through one link or connection have the same Peer.
type Peer interface {
	// Notify sends a notification if it can be taken at once. One that finds
	// the queue full is dropped: it is for what the next one makes up for.
	Notify(method string, params json.RawMessage)
	// Done is closed when the other end is gone.
	Done() <-chan struct{}
}

type peerKey struct{}

// WithPeer is the context of a call that came from p.
func WithPeer(ctx context.Context, p Peer) context.Context {
	return context.WithValue(ctx, peerKey{}, p)
}

// PeerOf is who made the call of ctx, nil where it came through no door.
func PeerOf(ctx context.Context) Peer {
	p, _ := ctx.Value(peerKey{}).(Peer)
	return p
}
