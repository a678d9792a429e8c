// Package hub knows which router is connected and takes calls to it.
//
// A call ends exactly once: with the router's answer, with the router's
// error, or with an error of kind Offline (no link, or the link went away
// before the answer), Timeout (the link is up, the answer did not come in
// time) or Busy (too many calls at once). Nothing is queued for a router
// without a link and nothing is tried again: the caller decides.
package hub

import (
	"time"

	"github.com/netpilot/netpilot/pkg/wire"
)

// Limits of every hub.
const (
	// MaxPending bounds the open calls on one link. An agent works on
	// wire.MaxCalls and refuses the rest itself, so this only bounds memory.
	MaxPending = 64
	// CallWithin bounds every call: whoever asked the relay waits 25 s.
	CallWithin = 20 * time.Second
	// busyRetry is when to try again after too many calls: about the time of
	// one answer.
	busyRetry = time.Second
)

// Conn is a link's way to its router.
type Conn interface {
	// Send has one frame written and returns at once; the error says why it
	// will not arrive. Frames arrive in the order of Send and Write.
	Send(frame []byte) error
	// Write is Send for who waits for the answer anyway: it may write the frame
	// itself, which is faster, but takes as long as wire.WriteWithin.
	Write(frame []byte) error
	// Close ends the link with a close code of package wire. Only the first
	// call has an effect. It returns at once.
	Close(code int, reason string)
}

// Presence is what is known of a link that is up.
type Presence struct {
	Since     time.Time // when hello was accepted
	LastFrame time.Time // when something last arrived
	Hello     wire.Hello
}
