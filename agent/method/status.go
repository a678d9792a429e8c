package method

import (
	"context"
	"encoding/json"
	"time"

	"github.com/netpilot/netpilot/agent/identity"
	"github.com/netpilot/netpilot/agent/source"
	"github.com/netpilot/netpilot/pkg/usage"
)

// Status is the agent's view of itself and of nlbwmon.
type Status struct {
	Timestamp    time.Time     `json:"timestamp"`
	Version      string        `json:"version"`
	RouterID     string        `json:"router_id"`
	Hostname     string        `json:"hostname"`
	Timezone     string        `json:"timezone"`
	Privileges   string        `json:"privileges"` // "root", or the user number it runs as
	RemoteAccess string        `json:"remote_access"`
	ClockSane    bool          `json:"clock_sane"` // later than the agent's build
	Warnings     []string      `json:"warnings"`   // of the configuration
	Nlbwmon      NlbwmonStatus `json:"nlbwmon"`
	History      HistoryStatus `json:"history"`
	Uplink       UplinkStatus  `json:"uplink"`
	ResetAt      *time.Time    `json:"reset_at"` // since when everything is counted, null: since the start of the period

	Devices  *identity.State `json:"devices,omitempty"`
	Counting *usage.Counting `json:"counting"` // over the last day; null where nobody looks
}

// HistoryStatus is how the router's own history is kept. Counts are since the
// daemon began.
type HistoryStatus struct {
	OK          bool              `json:"ok"`                    // the daemon keeps one
	Error       string            `json:"error,omitempty"`       // why not, with the next step
	Directory   string            `json:"directory,omitempty"`   // in RAM
	Flash       string            `json:"flash,omitempty"`       // the copy's directory; without it a reboot ends the history
	FlashError  string            `json:"flash_error,omitempty"` // why the copy is behind
	FlashSince  *time.Time        `json:"flash_since,omitempty"` // of that
	BehindBytes int64             `json:"behind_bytes"`          // that only RAM has
	Bytes       int64             `json:"bytes"`                 // of all segments
	Repairs     []string          `json:"repairs"`               // what was found damaged when it was opened
	LeftAlone   []string          `json:"left_alone"`            // files that are not this version's
	LastSample  *time.Time        `json:"last_sample"`           // when the rows of the last look were true
	Samples     uint64            `json:"samples"`               // looks at nlbwmon's table
	Waiting     int               `json:"waiting"`               // looks that wait for the clock to be set
	Gaps        uint64            `json:"gaps"`                  // spans of which something is unknown
	Attributed  uint64            `json:"attributed"`            // rows without a MAC whose device was found by address
	Unresolved  []UnresolvedUsage `json:"unresolved"`            // addresses for which it was not
	LinkSpeed   uint64            `json:"link_bytes_per_second"` // each way; a device that moved more is quarantined
	Quarantined []SuspectUsage    `json:"quarantined"`           // kept apart from every sum
}

// UnresolvedUsage is what an address moved of which nobody knows the device.
type UnresolvedUsage struct {
	IP      string `json:"ip"` // "" for all beyond the first 64
	RxBytes uint64 `json:"bytes_rx"`
	TxBytes uint64 `json:"bytes_tx"`
}

// SuspectUsage is what a device cannot have moved.
type SuspectUsage struct {
	MAC     string    `json:"mac"`
	Last    time.Time `json:"last"`
	RxBytes uint64    `json:"bytes_rx"`
	TxBytes uint64    `json:"bytes_tx"`
}

// NlbwmonStatus is what reading nlbwmon came to.
type NlbwmonStatus struct {
	OK             bool            `json:"ok"`
	Error          string          `json:"error,omitempty"` // why nothing could be read, with the next step
	Source         string          `json:"source,omitempty"`
	Tried          []SourceFailure `json:"tried"` // better sources that failed, and why
	Period         string          `json:"period,omitempty"`
	Interval       string          `json:"interval,omitempty"` // as nlbwmon's -I
	Rows           int             `json:"rows"`
	Limit          int             `json:"limit"` // nlbwmon's database_limit; 0: none
	Full           bool            `json:"full"`  // rows reached the limit: old rows are being overwritten
	AsOf           *time.Time      `json:"as_of"`
	AgeSeconds     *float64        `json:"age_seconds"`
	RefreshSeconds float64         `json:"refresh_seconds"`
}

// SourceFailure is a source that could not serve.
type SourceFailure struct {
	Source string `json:"source"`
	Error  string `json:"error"`
}

// UplinkStatus is the state of the link to the relay.
type UplinkStatus struct {
	Running   bool       `json:"running"`  // the daemon runs; without it nothing else here is known
	Enrolled  bool       `json:"enrolled"` // a relay and a secret are stored
	Relay     string     `json:"relay,omitempty"`
	Connected bool       `json:"connected"`
	Since     *time.Time `json:"since,omitempty"` // of the present state
	Error     string     `json:"error,omitempty"` // why the link is down
	Cause     string     `json:"cause,omitempty"` // the same in a word: dns, connect, tls, clock, refused ...
	Attempts  int        `json:"attempts"`        // dials since it was last up
	NextDial  *time.Time `json:"next_dial,omitempty"`
}

// discard takes rows to count them.
type discard struct{}

func (discard) Begin(int)         {}
func (discard) Add(*usage.Record) {}

// BriefStatus is the status without a look at nlbwmon, which can take seconds
// where that hangs.
func (a *Agent) BriefStatus(ctx context.Context) Status {
	s := a.Status(ctx)
	s.Timestamp = a.Now()
	if at := a.Baseline.At(nil); !at.IsZero() {
		s.ResetAt = &at
	}
	s.Counting = a.Truth.History(usage.Range{From: s.Timestamp.Add(-usage.Day), To: s.Timestamp})
	if a.Devices != nil {
		state := a.Devices().State()
		s.Devices = &state
	}
	return s
}

// FullStatus reads nlbwmon and reports. Failing to read it is part of the
// report, never an error.
func (a *Agent) FullStatus(ctx context.Context) Status {
	s := a.BriefStatus(ctx)
	n := NlbwmonStatus{Limit: a.Limit, RefreshSeconds: a.Router.Refresh.Seconds(), Tried: []SourceFailure{}}
	reading, err := a.Router.Read(ctx, source.Request{Source: source.Nlbwmon}, discard{})
	for _, t := range reading.Tried {
		n.Tried = append(n.Tried, SourceFailure{t.Source, t.Err.Error()})
	}
	if err != nil {
		n.Error = err.Error()
		s.Nlbwmon = n
		if s.Counting != nil {
			s.Counting.Add(true, usage.Reason{ID: "nlbwmon-unreadable", Text: "nlbwmon cannot be read; where it does not run, nothing is counted", Cure: "netpilot-agent doctor"})
		}
		return s
	}
	n.OK = true
	n.Source = reading.Source
	n.Rows = reading.Rows
	n.Full = a.Limit > 0 && reading.Rows >= a.Limit
	if reading.Period != 0 {
		n.Period = reading.Period.String()
	}
	if reading.Interval.Type != 0 {
		n.Interval = reading.Interval.String()
	}
	if !reading.AsOf.IsZero() {
		age := s.Timestamp.Sub(reading.AsOf).Round(time.Millisecond).Seconds()
		n.AsOf, n.AgeSeconds = &reading.AsOf, &age
	}
	s.Nlbwmon = n
	return s
}

func (a *Agent) callStatus(ctx context.Context, _ Access, params json.RawMessage) (json.RawMessage, error) {
	var p struct {
		Brief bool `json:"brief"`
	}
	if err := decode(params, &p); err != nil {
		return nil, err
	}
	if p.Brief {
		return json.Marshal(a.BriefStatus(ctx))
	}
	return json.Marshal(a.FullStatus(ctx))
}
