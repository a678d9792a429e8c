package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
)

// History is the part of a Store that keeps what routers push of their own
// history (PROTOCOL.md, history.push). A router is the authority over its own
// time: a bucket replaces what is kept of its span.
type History interface {
	// Push keeps one push, all or nothing, and returns when it is durable. It
	// answers the cursor that the router's history is kept up to from then
	// on: if p.After is not the cursor kept, nothing of p is, and the router
	// goes on from what is answered. Kind NotFound for an unknown router.
	Push(ctx context.Context, p *Push) (cursor uint64, err error)
	// Replica tells what is kept of a router's history; the zero Replica if
	// nothing was ever pushed.
	Replica(ctx context.Context, router usage.RouterID) (Replica, error)
	// History gives the slots that start in q's range to visit, in the order
	// of time, then of the subject; an error of visit ends it and is
	// returned. Slots, grid and Coarser are as in the router's own answer to
	// usage.history, in the router's time zone.
	History(ctx context.Context, router usage.RouterID, q HistoryQuery, visit func(usage.Slot) error) (HistoryInfo, error)
	// Gaps gives the declared gaps that overlap r, oldest first.
	Gaps(ctx context.Context, router usage.RouterID, r usage.Range) ([]usage.Gap, error)

	// SetRetention says how long a router's history is kept; zeroes are the
	// defaults. Kind NotFound for an unknown router.
	SetRetention(ctx context.Context, router usage.RouterID, r Retention) error
	// Retention is what SetRetention set, zeroes where nothing was.
	Retention(ctx context.Context, router usage.RouterID) (Retention, error)
	// Tidy sums up and deletes what has come of age at now, as far as routers
	// say that it is so late. Call it now and then; it may take long and
	// disturbs little.
	Tidy(ctx context.Context, now time.Time) error

	// CountDevices has pushes from then on counted by device, too; call it
	// before the first. It costs a row for each device of a push.
	CountDevices()
	// DeviceCounters is what was counted so, of closed buckets, the devices
	// that came first before others, and how many devices there are without
	// the limit. No counter ever goes down, whatever is summed up, deleted,
	// corrected or pushed again.
	DeviceCounters(ctx context.Context, limit int) (list []DeviceCounter, total int, err error)

	// KeepAnswer remembers the last answer of a router to one of
	// AnswerMethods, for when it is offline. It is on disk within
	// AnswerWithin and need not survive a crash.
	KeepAnswer(router usage.RouterID, method string, a Answer)
	// LastAnswer is what KeepAnswer remembered; kind NotFound if nothing.
	LastAnswer(ctx context.Context, router usage.RouterID, method string) (Answer, error)
}

// Push is what a router pushes at once.
type Push struct {
	Router  usage.RouterID
	At      time.Time // when it arrived, by the relay's clock
	After   uint64    // the cursor that the router goes on from
	Cursor  uint64    // of the newest of Buckets and Gaps; After if there are none
	Buckets []usage.Bucket
	Gaps    []usage.Gap
	// Open, unless nil, is what is not closed or not yet safe on the router's
	// flash. It takes the place of the Open before, and says that everything
	// up to AsOf has been pushed.
	Open     []usage.Bucket
	AsOf     time.Time
	Counting json.RawMessage // whether the router counts rightly; nil if it does not say
}

// Replica is how far and how well a router's history is kept.
type Replica struct {
	Cursor   uint64
	PushedAt time.Time // the last push, by the relay's clock
	// AsOf is the instant, by the router's clock, up to which everything is
	// here; Through is where what may still change begins. Zero: never.
	AsOf, Through time.Time
	Counting      json.RawMessage // last known, as the router wrote it
	CountingAt    time.Time       // by the relay's clock
}

// Retention is how long a router's history is kept: as buckets of five
// minutes, then summed up to hours, then to days of the router's zone.
type Retention struct {
	FiveMinutes, Hours, Days time.Duration
}

// The defaults of Retention.
const (
	KeepFiveMinutes = 48 * time.Hour
	KeepHours       = 35 * usage.Day
	KeepDays        = 3 * 366 * usage.Day
)

// OrDefault puts the defaults in the place of zeroes.
func (r Retention) OrDefault() Retention {
	if r.FiveMinutes == 0 {
		r.FiveMinutes = KeepFiveMinutes
	}
	if r.Hours == 0 {
		r.Hours = max(KeepHours, r.FiveMinutes)
	}
	if r.Days == 0 {
		r.Days = max(KeepDays, r.Hours)
	}
	return r
}

// Check refuses what makes no sense, with kind Invalid.
func (r Retention) Check() error {
	all := r.OrDefault()
	switch {
	case all.FiveMinutes < time.Hour || all.Hours < all.FiveMinutes || all.Days < all.Hours || all.Days > 20*366*usage.Day:
		return usage.Errorf(usage.Invalid, "history cannot be kept for %s in five minutes, %s in hours and %s in days: "+
			"at least an hour, each at least as long as the one before, at most 20 years", all.FiveMinutes, all.Hours, all.Days)
	}
	return nil
}

// By is what a query tells apart.
type By uint8

// The subjects of a query.
const (
	Total       By = iota // all of the router: a Slot without a subject
	Device                // by MAC
	Service               // by name
	Family                // by address family
	Quarantined           // by MAC, of what cannot be true and is in no other answer
)

// ParseBy finds a subject by its name in usage.history; "" is Total.
func ParseBy(name string) (By, error) {
	switch name {
	case "", "total":
		return Total, nil
	case "device":
		return Device, nil
	case "service":
		return Service, nil
	case "family":
		return Family, nil
	}
	return 0, usage.Errorf(usage.Invalid, "cannot list history by %q; choose total, device, service or family", usage.Clean(name, 32))
}

// HistoryQuery asks for the slots that start in Range.
type HistoryQuery struct {
	usage.Range
	Resolution time.Duration // a multiple of 5 minutes up to a day; usage.Day for days of the router's zone; 0: 5 minutes
	By         By
	MAC        *usage.MAC // only this device: with Total, Device or Quarantined
	Service    string     // only this service: with Total or Service
}

// Check refuses what makes no sense, with kind Invalid.
func (q *HistoryQuery) Check() error {
	if q.Resolution == 0 {
		q.Resolution = usage.FiveMinutes
	}
	switch {
	case !q.From.Before(q.To):
		return usage.Errorf(usage.Invalid, "range from %s to %s is empty", q.From.Format(time.RFC3339), q.To.Format(time.RFC3339))
	case q.Resolution < usage.FiveMinutes || q.Resolution > usage.Day || q.Resolution%usage.FiveMinutes != 0:
		return usage.Errorf(usage.Invalid, "resolution %s: use a multiple of 5m up to 24h", q.Resolution)
	case q.By > Quarantined:
		return usage.Errorf(usage.Invalid, "no such subject of a query")
	case q.MAC != nil && (q.By == Service || q.By == Family) || q.Service != "" && q.By != Total && q.By != Service || q.MAC != nil && q.Service != "":
		return usage.Errorf(usage.Invalid, "history keeps devices, services and families apart, not together: ask for one of them")
	}
	return nil
}

// HistoryInfo is what an answer of History is like.
type HistoryInfo struct {
	Replica
	Slots   int  // given
	Coarser bool // at least one is longer than asked for: nothing finer is kept
}

// DeviceCounter is what one device of a router moved since it is counted.
type DeviceCounter struct {
	Router usage.RouterID
	// MAC is zero for what no device was found for, and for devices that are
	// too many to be counted one by one.
	MAC              usage.MAC
	RxBytes, TxBytes uint64
}

// Answer is a router's answer to a call, as it wrote it.
type Answer struct {
	Result json.RawMessage
	At     time.Time // when it came, by the relay's clock
}

// AnswerMethods are the methods of which the last answer is remembered, when
// asked without params.
func AnswerMethods() []string { return []string{"status", "usage.current"} }

// AnswerWithin is how soon a remembered answer is on disk.
const AnswerWithin = 30 * time.Second
