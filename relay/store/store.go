// Package store says what the relay keeps: which routers are enrolled, the
// tokens that enrol them, the keys of the backends that ask about them, and
// what the routers push of their history.
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
	History

	// CreateToken keeps a new enrolment token and forgets those that
	// expired more than a month ago.
	CreateToken(ctx context.Context, t Token, hash Hash) error
	// Redeem uses the token up and enrols the router under its new secret,
	// both or neither. Exactly one of concurrent callers wins; the others,
	// like those with an unknown or expired token, get kind Forbidden. A
	// router that exists gets the new secret and is no longer revoked.
	Redeem(ctx context.Context, token Hash, r Router, secret Hash, now time.Time) error

	// RouterBySecret finds the router a secret belongs to at now, revoked or
	// not, and says what the secret is to it. The error is of kind NotFound
	// if no router has it.
	RouterBySecret(ctx context.Context, secret Hash, now time.Time) (Router, Standing, error)
	// WantRotation asks for a new secret of the routers, of all if there are
	// none; the present ones stay good for overlap after the change. It says
	// how many it asked for, revoked ones left out. Kind NotFound if one is
	// not enrolled.
	WantRotation(ctx context.Context, routers []usage.RouterID, overlap time.Duration) (int, error)
	// OfferSecret makes a secret that the router has stored good besides its
	// present one, in place of one offered before. It is of kind Invalid when
	// no rotation is wanted or the secret belongs to another.
	OfferSecret(ctx context.Context, router usage.RouterID, next Hash) error
	// ProveSecret makes the offered secret the router's present one: the
	// router has proven to use it. The one before stays good for the overlap
	// that was asked for. It does nothing if it is the present one already.
	ProveSecret(ctx context.Context, router usage.RouterID, next Hash, now time.Time) error
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
	// KeyByHash finds a key, in force or not, by its secret or by the one
	// before during their overlap; kind NotFound if there is none.
	KeyByHash(ctx context.Context, hash Hash, now time.Time) (Key, error)
	// RevokeKey ends the key with that id or name; of several with one name
	// the one in force. Kind NotFound if there is none.
	RevokeKey(ctx context.Context, idOrName string, now time.Time) (Key, error)
	// RotateKey gives the key, found as by RevokeKey, a new secret; the present
	// one works for overlap more, one before that no longer. Kind Invalid if
	// the key is not in force.
	RotateKey(ctx context.Context, idOrName string, hash Hash, now time.Time, overlap time.Duration) (Key, error)
	// KeyRouters changes what a key with a list of routers may see. Kind
	// Invalid if the key sees all.
	KeyRouters(ctx context.Context, idOrName string, add, remove []usage.RouterID) (Key, error)
	// KeyUsed records when a key was last used.
	KeyUsed(ctx context.Context, id string, now time.Time) error

	// AppendAudit adds rows to the audit log, all or none.
	AppendAudit(ctx context.Context, rows []AuditRow) error
	// Audit visits the rows that match, the newest first, until visit fails.
	Audit(ctx context.Context, q AuditQuery, visit func(AuditRow) error) error
	// TrimAudit forgets the oldest rows: those before the time, and all but
	// the newest of the number. It says how many it forgot.
	TrimAudit(ctx context.Context, before time.Time, keep int) (int64, error)

	// Sessions lists all sessions, the longest unused first.
	Sessions(ctx context.Context) ([]Session, error)
	// SaveSessions keeps sessions, new or used again; a session that was not
	// kept before is added. All or none.
	SaveSessions(ctx context.Context, sessions []Session) error
	// DropSessions forgets sessions, told by ID and Key; one that is not
	// there is no error. All or none.
	DropSessions(ctx context.Context, sessions []Session) error

	// Check reads the database for damage.
	Check(ctx context.Context) error
	// Close ends all use; calling it twice is harmless.
	Close() error
}
