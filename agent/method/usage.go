package method

import (
	"context"
	"encoding/json"
	"net/netip"
	"sync"
	"time"

	"github.com/netpilot/netpilot/agent/baseline"
	"github.com/netpilot/netpilot/agent/config"
	"github.com/netpilot/netpilot/agent/identity"
	"github.com/netpilot/netpilot/agent/live"
	"github.com/netpilot/netpilot/agent/source"
	"github.com/netpilot/netpilot/agent/truth"
	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
)

// Agent is what the methods work on. Its fields are set once.
type Agent struct {
	Router    *source.Router
	Protocols string                             // path of nlbwmon's protocols file
	Services  func() (*nlbwmon.Protocols, error) // what stands in it
	Names     func() (usage.Names, error)        // who the devices are
	Devices   func() *identity.Keeper            // the same, and what changes them
	Status    func(context.Context) Status       // the part of the status that is not nlbwmon's
	Limit     int                                // nlbwmon's database_limit, 0 for none
	History   History                            // nil where none is kept
	Live      *live.Stream                       // nil where no daemon samples
	Hello     func() wire.Hello                  // how the agent introduces itself
	Baseline  *baseline.Store                    // what to count from; nil counts from the start of the period
	Audit     Audit                              // what was asked over the link
	Truth     *truth.Teller                      // whether the counting is right; nil where nobody looks
	Doctor    func(context.Context) truth.Report // runs every check
	Root      string                             // the router's files, for its options

	// Take puts options in force that were just written and names those that
	// it could; nil where no daemon runs.
	Take func(config.Config) []string

	setting sync.Mutex     // held while options are written; guards Running
	Running map[string]any // the options this agent runs with, by config.Preferences; set once, then changed by Take's word

	// Fresh makes nlbwmon begin its period anew, and tells where the old files
	// are kept; nil where that cannot be.
	Fresh func(context.Context) (kept []string, period nlbwmon.Period, err error)
	Now   func() time.Time
}

// Query says what usage is asked for.
type Query struct {
	Source string
	Period nlbwmon.Period
	View   usage.View
	MAC    *usage.MAC // nil: every device
	Filter usage.Filter
	Order  usage.Order
	Page   usage.Page
}

// Usage answers a query. The error names every source that failed; an answer
// with Damage holds the good rows of a file that broke off.
func (a *Agent) Usage(ctx context.Context, q Query) (*usage.Answer, error) {
	if err := q.Filter.Check(); err != nil {
		return nil, err
	}
	var tally usage.Tally
	var rows recordList
	var sink usage.Sink = &tally
	if q.View == usage.ByRecord {
		sink = &rows
	}
	// Names and protocols only dress the numbers up: without them the
	// numbers are as true.
	names, err := a.Names()
	if err != nil {
		names = nil
	}
	sink = chosenRows{sink, newSelection(names, q.Filter, q.MAC), q.View == usage.ByRecord}
	var reading source.Reading
	counted := false
	if req := (source.Request{Source: q.Source, Period: q.Period}); q.Period == 0 {
		reading, counted, err = a.live(ctx, req, q.MAC != nil, sink)
	} else {
		reading, err = a.Router.Read(ctx, req, sink)
	}
	if err != nil {
		return nil, err
	}
	answer := &usage.Answer{
		Timestamp: a.Now(),
		Source:    reading.Source,
		AsOf:      reading.AsOf,
		View:      q.View,
		Page:      q.Page,
	}
	if counted {
		answer.ResetAt = a.Baseline.At(q.MAC)
	}
	if reading.Period != 0 {
		answer.Period = reading.Period.String()
	}
	if reading.Guessed || reading.Order != nlbwmon.OrderGuess && reading.Order != nlbwmon.NativeOrder() {
		answer.AddressOrder = reading.Order.String()
		if reading.Guessed {
			answer.AddressOrder += " (guessed)"
		}
	}
	if reading.Damage != nil {
		answer.Damage = reading.Damage.Error()
	}
	if len(reading.Hostnames) > 0 {
		names = sourceNames{names, reading.Hostnames}
	}
	if services, err := a.Services(); err == nil {
		answer.Known = services
	}
	answer.Interfaces = reading.Interfaces
	answer.Counting = a.Truth.Reading(&reading, a.Router.Location)
	answer.Total = tally.Total()
	switch q.View {
	case usage.ByDevice:
		answer.Devices, answer.Unresolved = tally.Devices(q.Order, names)
	case usage.ByHost:
		answer.Hosts = tally.Hosts(q.Order, names)
	case usage.ByService:
		answer.Services = tally.Services(q.Order, answer.Known)
	case usage.ByGroup, usage.ByCategory:
		devices, unresolved := tally.Devices(q.Order, names)
		for i := range unresolved { // in the sum, under no label
			devices = append(devices, usage.Device{Counters: unresolved[i].Counters})
		}
		answer.Shares = usage.Shares(devices, q.View.String(), q.Order)
	case usage.ByRecord:
		usage.SortRecords(rows.records, q.Order)
		answer.Records, answer.Total = rows.records, rows.total
	}
	if q.MAC != nil && tally.Rows() == 0 && len(rows.records) == 0 {
		return nil, usage.Errorf(usage.NotFound, "no device %s in the period since %s", q.MAC, answer.Period)
	}
	if q.MAC != nil && q.View == usage.ByDevice {
		answer.Services = tally.Services(q.Order, answer.Known)
	}
	return answer, nil
}

// answerSize is what the answer of a small network takes at most, in bytes.
const answerSize = 8 << 10

// listParams are the params of the list methods.
type listParams struct {
	usage.Filter
	Period string `json:"period"`
	MAC    string `json:"mac"`
	Sort   string `json:"sort"`
	Limit  int    `json:"limit"`
	Offset int    `json:"offset"`
}

func (p listParams) query(view usage.View) (Query, error) {
	q := Query{View: view, Filter: p.Filter, Page: usage.Page{Limit: p.Limit, Offset: p.Offset}}
	if p.Limit < 0 || p.Offset < 0 {
		return q, usage.Errorf(usage.Invalid, "limit and offset must not be negative")
	}
	var err error
	if q.Order, err = usage.ParseOrder(p.Sort); err != nil {
		return q, err
	}
	if p.Period != "" {
		if q.Period, err = nlbwmon.ParsePeriod(p.Period); err != nil {
			return q, err
		}
	}
	if p.MAC != "" {
		mac, err := usage.ParseMAC(p.MAC)
		if err != nil {
			return q, err
		}
		q.MAC = &mac
	}
	return q, nil
}

func (a *Agent) callCurrent(ctx context.Context, _ Access, params json.RawMessage) (json.RawMessage, error) {
	return a.list(ctx, usage.ByDevice, params)
}

func (a *Agent) callRecords(ctx context.Context, _ Access, params json.RawMessage) (json.RawMessage, error) {
	return a.list(ctx, usage.ByRecord, params)
}

func (a *Agent) list(ctx context.Context, view usage.View, params json.RawMessage) (json.RawMessage, error) {
	var p listParams
	if err := decode(params, &p); err != nil {
		return nil, err
	}
	q, err := p.query(view)
	if err != nil {
		return nil, err
	}
	answer, err := a.Usage(ctx, q)
	if err != nil {
		return nil, err
	}
	return fits(answer.AppendJSON(make([]byte, 0, answerSize), wire.MaxResult))
}

func (a *Agent) callDevice(ctx context.Context, _ Access, params json.RawMessage) (json.RawMessage, error) {
	var p listParams
	if err := decode(params, &p); err != nil {
		return nil, err
	}
	q, err := p.query(usage.ByDevice)
	switch {
	case err != nil:
		return nil, err
	case q.MAC == nil:
		return nil, usage.Errorf(usage.Invalid, "usage.device needs a mac")
	case q.MAC.IsZero():
		return nil, usage.Errorf(usage.Invalid, "%s is no device: nlbwmon files what it cannot attribute under it; see usage.current, unresolved", q.MAC)
	}
	answer, err := a.Usage(ctx, q)
	if err != nil {
		return nil, err
	}
	return fits(answer.AppendDeviceJSON(make([]byte, 0, answerSize), wire.MaxResult))
}

// sourceNames adds the names a source itself has to those the router knows, which
// win.
type sourceNames struct {
	usage.Names
	hostnames map[usage.MAC]string
}

func (n sourceNames) Identity(mac usage.MAC, at time.Time) usage.Identity {
	var id usage.Identity
	if n.Names != nil {
		id = n.Names.Identity(mac, at)
	}
	if id.Hostname == "" && n.hostnames[mac] != "" {
		id.Hostname = n.hostnames[mac]
		if id.NameSource == "" {
			id.NameSource = usage.NameFile
		}
	}
	return id
}

func (n sourceNames) Hostname(mac usage.MAC) string {
	if n.Names != nil {
		if name := n.Names.Hostname(mac); name != "" {
			return name
		}
	}
	return n.hostnames[mac]
}

func (n sourceNames) IPs(mac usage.MAC) []netip.Addr {
	if n.Names != nil {
		return n.Names.IPs(mac)
	}
	return nil
}

// recordList keeps every record.
type recordList struct {
	records []usage.Record
	total   usage.Counters
}

func (l *recordList) Begin(rows int) {
	l.records, l.total = make([]usage.Record, 0, rows), usage.Counters{}
}

func (l *recordList) Add(r *usage.Record) {
	l.records = append(l.records, *r)
	l.total.Add(r.Counters())
}
