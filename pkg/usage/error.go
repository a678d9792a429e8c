package usage

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Kind says what went wrong in the one vocabulary that agent, wire and REST
// share. Kinds are appended, never renumbered or reused.
type Kind uint8

// The kinds. Internal is the zero value: an error that says nothing of itself
// is our own bug.
const (
	Internal        Kind = iota // our bug; a person sees only this word
	Invalid                     // the request makes no sense; asking again will not help
	Unauthenticated             // no key, or a wrong one
	Forbidden                   // known, but not allowed
	NotFound                    // no such router, device or period
	Offline                     // the router is known and has no link now
	Timeout                     // the link is up, no answer came in time
	Busy                        // too many calls at once; try again later
	Unavailable                 // the router answered that nlbwmon cannot be read
)

var kindNames = [...]string{
	"internal", "invalid", "unauthenticated", "forbidden", "not_found", "offline", "timeout", "busy", "unavailable",
}

// String is the kind's name on the wire.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return kindNames[Internal]
}

// ParseKind finds a kind by its name; an unknown name, as from a newer peer,
// is Internal.
func ParseKind(name string) Kind {
	for k, n := range kindNames {
		if n == name {
			return Kind(k)
		}
	}
	return Internal
}

// Error is a failure with its kind for the machine and its message for the
// person. The message names the next step and carries no secret.
type Error struct {
	Kind       Kind
	Message    string
	RetryAfter time.Duration // 0: no advice
	Err        error         // the cause, for the log; may be nil
}

// Errorf makes an Error of the kind; %w keeps the cause.
func Errorf(kind Kind, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Kind: kind, Message: err.Error(), Err: errors.Unwrap(err)}
}

// Error is the message.
func (e *Error) Error() string { return e.Message }

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf is the kind of the first Error in err's chain. A deadline that
// passed is Timeout; anything else unmarked is Internal.
func KindOf(err error) Kind {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e.Kind
	case errors.Is(err, context.DeadlineExceeded):
		return Timeout
	}
	return Internal
}
