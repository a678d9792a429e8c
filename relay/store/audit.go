package store

import (
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
)

// AuditRow is one line of the audit log: what somebody did or tried, once or
// several times in a row.
type AuditRow struct {
	ID      int64     // given by the store; grows
	At      time.Time // the first time
	Until   time.Time // the last time; At if it was one
	Times   int
	Who     string         // "key:NAME", "router", "operator", "nobody", "relay"
	Key     string         // id of the API key, "" if none
	Router  usage.RouterID // "" if none
	Method  string         // what was asked, like "GET /api/routers" or "link.open"
	Result  string         // "ok", else the code or kind of the refusal
	Address string         // whence; "" for the relay itself
	Detail  string         // more for a person
}

// AuditQuery chooses rows of the audit log; a zero field chooses all.
type AuditQuery struct {
	Router usage.RouterID
	Key    string // its id or name
	Since  time.Time
	Limit  int
}
