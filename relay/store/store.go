// Package store says what the relay keeps: which routers are enrolled, the
// tokens that enrol them, and the keys of the backends that ask about them.
// An engine, such as package sqlite below it, does the keeping; package
// storetest is what every engine must pass.
package store

import (
	"context"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
)

// Store is the whole of what an engine offers; callers declare the part they
// use. All methods are safe for concurrent use and for several processes on
// one database. Errors a person can act on are *usage.Error; times are kept to
// the millisecond.
type Store interface {
	// CreateToken keeps a new enrolment token and forgets those that
	// expired more than a month ago.
	CreateToken(ctx context.Context, t Token, hash Hash) error
	// Redeem uses the token up and enrols the router under its new secret,
	// both or neither. Exactly one of concurrent callers wins; the others,
	// like those with an unknown or expired token, get kind Forbidden. A
	// router that exists gets the new secret and is no longer revoked.
	Redeem(ctx context.Context, token Hash, r Router, secret Hash, now time.Time) error

	// RouterBySecret finds the router a secret belongs to, revoked or not.
	// The error is of kind NotFound if no router has it.
	RouterBySecret(ctx context.Context, secret Hash) (Router, error)
	// Router finds a router by its id; kind NotFound if there is none.
	Router(ctx context.Context, id usage.RouterID) (Router, error)
	// Routers lists routers and says how many match without the limit.
	Routers(ctx context.Context, q RouterQuery) ([]Router, int, error)
	// RevokeRouter makes the router's secret worthless at now; revoking
	// again changes nothing. Kind NotFound if there is no such router.
	RevokeRouter(ctx context.Context, id usage.RouterID, now time.Time) error
	// Changes lists the routers whose secret or revocation changed after
	// revision since, oldest first.
	Changes(ctx context.Context, since int64) ([]Change, error)
	// Saw records, all or none, what the serving process saw of routers.
	Saw(ctx context.Context, sightings []Sighting) error
	// AllOffline marks every router as not connected, as is true when a
	// relay starts.
	AllOffline(ctx context.Context) error

	// CreateKey keeps a new API key; kind Invalid if a key in force has the
	// same name.
	CreateKey(ctx context.Context, k Key, hash Hash) error
	// Keys lists all keys by name, the newest first among equals.
	Keys(ctx context.Context) ([]Key, error)
	// KeyByHash finds a key, in force or not; kind NotFound if there is none.
	KeyByHash(ctx context.Context, hash Hash) (Key, error)
	// RevokeKey ends the key with that id or name; of several with one name
	// the one in force. Kind NotFound if there is none.
	RevokeKey(ctx context.Context, idOrName string, now time.Time) (Key, error)
	// KeyUsed records when a key was last used.
	KeyUsed(ctx context.Context, id string, now time.Time) error

	// Check reads the database for damage.
	Check(ctx context.Context) error
	// Close ends all use; calling it twice is harmless.
	Close() error
}
