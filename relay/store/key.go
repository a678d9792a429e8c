package store

import (
	"slices"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
)

// Key is one API key of a backend. A zero time means never.
type Key struct {
	ID        string // eight hexadecimal digits, for naming it without saying it
	Name      string
	Scope     Scope
	Routers   []usage.RouterID // the only ones it may ask about; nil is all, empty is none
	CreatedAt time.Time
	ExpiresAt time.Time
	LastUsed  time.Time // to the minute
	RotatedAt time.Time // when its present secret was made, if it is not the first
	OldUntil  time.Time // when the secret before it stops working
	RevokedAt time.Time
}

// InForce tells whether the key opens anything at that time.
func (k *Key) InForce(now time.Time) bool {
	return k.RevokedAt.IsZero() && (k.ExpiresAt.IsZero() || now.Before(k.ExpiresAt))
}

// Sees tells whether the key may ask about the router. To a key, a router it
// may not see does not exist.
func (k *Key) Sees(router usage.RouterID) bool {
	return k.Routers == nil || slices.Contains(k.Routers, router)
}

// Scope is what a key may do. Each scope includes those before it.
type Scope string

// The scopes, in rising order.
const (
	ScopeRead  Scope = "read"  // ask, and change nothing
	ScopeWrite Scope = "write" // also reset counters, name devices, change preferences
	ScopeAdmin Scope = "admin" // also see the relay itself: its sessions and metrics
)

// Scopes lists all scopes in rising order.
func Scopes() []Scope { return []Scope{ScopeRead, ScopeWrite, ScopeAdmin} }

// Includes tells whether a key of scope s may do what needs the scope.
// An unknown scope includes nothing and is included in none.
func (s Scope) Includes(need Scope) bool {
	has, wants := slices.Index(Scopes(), s), slices.Index(Scopes(), need)
	return wants >= 0 && has >= wants
}
