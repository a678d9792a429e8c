package store

import (
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
)

// Router is one enrolled router. A zero time means never.
type Router struct {
	ID           usage.RouterID
	Name         string
	Model        string
	Release      string // OpenWrt release
	Arch         string // OpenWrt package architecture
	Timezone     string // POSIX TZ
	AgentVersion string
	EnrolledAt   time.Time
	LastSeen     time.Time // last frame, as far as written down
	Connected    bool      // as the serving process last wrote; see Online
	RevokedAt    time.Time
	Rotate       bool // a new secret is wanted
}

// Standing is what a secret is to its router.
type Standing struct {
	Offered bool      // the router has stored it and not yet proven it
	Until   time.Time // of one before the present: when it stops working
}

// Sighting intervals: a relay writes LastSeen of live links down every
// SeenEvery, so a router not heard of for OnlineWithin has no link, even if
// the relay was killed before it could say so.
const (
	SeenEvery    = 30 * time.Second
	OnlineWithin = 3 * SeenEvery
)

// Online tells whether the router has a link, as far as another process than
// the serving one can know.
func (r *Router) Online(now time.Time) bool {
	return r.Connected && now.Sub(r.LastSeen) < OnlineWithin
}

// RouterSort is an order of routers; equals go by id.
type RouterSort string

// The orders of routers.
const (
	ByName     RouterSort = "name"
	BySeen     RouterSort = "last_seen"   // most recent first
	ByEnrolled RouterSort = "enrolled_at" // most recent first
)

// RouterQuery chooses routers.
type RouterQuery struct {
	Among  []usage.RouterID // none but these; nil is all, empty is none
	Prefix string           // of the id; "" is all
	Sort   RouterSort       // "" is ByName
	Limit  int              // 0 is all
	Offset int
}

// Change is a router whose right to connect changed.
type Change struct {
	Revision int64 // grows with every change in the store
	ID       usage.RouterID
	Secrets  []Hash // that are good: the present one, then one offered and one before, if any
	Revoked  bool
	Rotate   bool // a new secret is wanted
}

// Sighting is what the relay saw of one router's link.
type Sighting struct {
	ID        usage.RouterID
	LastSeen  time.Time
	Connected bool
	// Facts are what the router said of itself; nil leaves them as they are.
	Facts *Facts
}

// Facts are what a router says of itself at every connect.
type Facts struct {
	Name, Model, Release, Arch, Timezone, AgentVersion string
}
