// Package baseline is the reset that nlbwmon does not have: it remembers what
// each of nlbwmon's rows had counted at an instant, and what is counted from
// then on is the row less that. Nothing is destroyed: nlbwmon's table and the
// history stay whole, and Clear takes the reset back.
//
// A baseline belongs to the rows, so it must follow what happens to them. It
// is never more than the value a row last started from: a row that nlbwmon
// evicted, or that a new period or a restart set back, has its baseline set
// back as well. So a count is never negative, and no byte counted after the
// reset is taken from it. Store.Observe does that with what the ledger finds
// out at each look.
package baseline

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/netpilot/netpilot/agent/ledger"
	"github.com/netpilot/netpilot/pkg/atomicfile"
	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/sorting"
	"github.com/netpilot/netpilot/pkg/usage"
)

// Path is where it lies below the root, on flash: a reset outlives the power.
const Path = "/etc/netpilot/reset"

// Foreign is the period of rows that are not of nlbwmon's live table: no
// baseline is theirs.
const Foreign = ^nlbwmon.Period(0)

// writeEvery spares the flash where a full table evicts rows at each refresh.
const writeEvery = time.Hour

// state is what is remembered. One that others may see is never changed.
type state struct {
	period  nlbwmon.Period // that rows belongs to; 0 if unknown
	boot    string         // the kernel's boot id when rows was right; "" if unknown
	at      time.Time      // of the last reset of everything in force, zero if none
	devices []deviceReset  // resets of one device since then
	done    []done         // ids of resets, the newest last
	rows    []usage.Record // what not to count, sorted by compare
}

type deviceReset struct {
	mac usage.MAC
	at  time.Time
}

type done struct {
	id string
	at time.Time
}

// compare orders rows by device, then by the rest of the key.
func compare(a, b usage.Record) int {
	return cmp.Or(bytes.Compare(a.MAC[:], b.MAC[:]), cmp.Compare(a.Family, b.Family), bytes.Compare(a.Addr[:], b.Addr[:]),
		cmp.Compare(a.Proto, b.Proto), cmp.Compare(a.Port, b.Port))
}

func find(rows []usage.Record, r *usage.Record) *usage.Record {
	if i, ok := slices.BinarySearchFunc(rows, *r, compare); ok {
		return &rows[i]
	}
	return nil
}

// Store is the baseline in a file. All methods may be called from any
// goroutine; a nil Store has no baseline.
type Store struct {
	Path string
	Now  func() time.Time // the router's clock

	// Boot is the kernel's boot id, "" if unknown.
	Boot func() string

	// Saved reads a period's file as nlbwmon last saved it, into sink.
	Saved func(p nlbwmon.Period, sink usage.Sink) error

	resetting sync.Mutex // held by a reset from its look at the ids to its end

	mu      sync.Mutex // guards below
	state   *state
	written time.Time // of state, by the process's clock; zero: as read
	dirty   bool      // state is not what the file has
}

// Load reads the file. Without one there is no baseline; a damaged one is an
// error, and then too there is none.
func (s *Store) Load() error {
	s.state = new(state)
	f, err := os.Open(s.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err // names the path
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return fmt.Errorf("read %s: %w", s.Path, err)
	}
	got, err := decode(text)
	if err != nil {
		return fmt.Errorf("%s is %w: usage is counted from the start of the period; reset again: netpilot-agent reset", s.Path, err)
	}
	s.state = got
	return nil
}

func (s *Store) now() *state {
	if s == nil {
		return new(state)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// putLocked makes next the state, in the file first.
func (s *Store) putLocked(next *state) error {
	err := os.MkdirAll(filepath.Dir(s.Path), 0o700)
	if err == nil {
		err = atomicfile.Write(s.Path, next.encode(), 0o600)
	}
	if err != nil {
		return fmt.Errorf("the reset cannot be kept: %w", err)
	}
	s.state, s.written, s.dirty = next, time.Now(), false
	return nil
}

// Read has read deliver nlbwmon's live table to sink, less the baseline. Rows
// that moved nothing since are left out unless whole is set. It tells whether
// a baseline was in force; in a period other than its own none is.
func (s *Store) Read(sink usage.Sink, whole bool, read func(usage.Sink) (nlbwmon.Period, error)) (counted bool, err error) {
	now := s.now()
	if now.at.IsZero() && len(now.devices) == 0 {
		_, err := read(sink)
		return false, err
	}
	period, err := read(&less{Sink: sink, rows: now.rows, whole: whole})
	if err != nil || period == now.period || period == 0 || now.period == 0 && period != Foreign {
		return err == nil, err
	}
	_, err = read(sink)
	return false, err
}

// less takes a baseline from rows.
type less struct {
	usage.Sink
	rows  []usage.Record
	whole bool
}

func (l *less) Add(r *usage.Record) {
	base := find(l.rows, r)
	if base == nil {
		l.Sink.Add(r)
		return
	}
	d := *r
	for i, c := range counters(&d) {
		*c -= min(*c, *counters(base)[i])
	}
	if l.whole || d.Counters() != (usage.Counters{}) {
		l.Sink.Add(&d)
	}
}

func counters(r *usage.Record) [5]*uint64 {
	return [5]*uint64{&r.Conns, &r.RxBytes, &r.RxPackets, &r.TxBytes, &r.TxPackets}
}

// At is when the counters were last reset, of mac if that is not nil; zero if
// they were not.
func (s *Store) At(mac *usage.MAC) time.Time {
	now := s.now()
	if mac != nil {
		for _, d := range now.devices {
			if d.mac == *mac {
				return d.at
			}
		}
	}
	return now.at
}

// Devices calls visit for each device that was reset after everything was.
func (s *Store) Devices(visit func(usage.MAC, time.Time)) {
	for _, d := range s.now().devices {
		visit(d.mac, d.at)
	}
}

// Request is one reset.
type Request struct {
	ID    string     // the same id again does nothing
	MAC   *usage.MAC // only this device; nil: everything
	Clear bool       // take resets back instead: count from the start of the period
}

// Done tells when the reset of that id was done, if it was.
func (s *Store) Done(id string) (at time.Time, ok bool) {
	for _, d := range s.now().done {
		if d.id == id {
			return d.at, true
		}
	}
	return time.Time{}, false
}

// Reset sets the baseline to the rows that take delivers, which are of the
// period that it returns, and tells when that was. For an id that was there
// before it only tells when.
func (s *Store) Reset(req Request, take func(usage.Sink) (nlbwmon.Period, error)) (at time.Time, repeated bool, err error) {
	if req.ID == "" || len(req.ID) > maxID || usage.Clean(req.ID, maxID) != req.ID {
		return at, false, usage.Errorf(usage.Invalid, "a reset needs an id of 1 to %d printable bytes, the same each time it is sent again", maxID)
	}
	s.resetting.Lock()
	defer s.resetting.Unlock()
	if at, ok := s.Done(req.ID); ok {
		return at, true, nil
	}
	rows := &list{mac: req.MAC}
	period, err := take(rows)
	if err != nil {
		return at, false, err
	}
	if rows.many {
		return at, false, usage.Errorf(usage.Unavailable, "nlbwmon has more than %d rows, too many to remember; set option database_limit in /etc/config/nlbwmon", maxRows)
	}
	// Observe may have changed the state meanwhile, which waits for nothing
	// slower than a file.
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.state
	at = s.Now().Truncate(time.Millisecond)
	next := &state{period: period, boot: s.Boot(), at: old.at, done: append(slices.Clone(old.done), done{req.ID, at})}
	next.done = next.done[max(0, len(next.done)-maxDone):]
	if req.MAC == nil {
		next.rows, next.at = rows.records, at
		if req.Clear {
			next.rows, next.at = nil, time.Time{}
		}
	} else {
		if old.period == period || old.period == 0 || period == 0 { // else they no longer count
			next.devices = slices.DeleteFunc(slices.Clone(old.devices), func(d deviceReset) bool { return d.mac == *req.MAC })
			next.rows = slices.DeleteFunc(slices.Clone(old.rows), func(r usage.Record) bool { return r.MAC == *req.MAC })
		} else {
			next.at = time.Time{}
		}
		if !req.Clear {
			next.devices = append(next.devices, deviceReset{*req.MAC, at})
			next.rows = append(next.rows, rows.records...)
		} else if !next.at.IsZero() {
			// Others are still counted from the reset of everything, and this
			// one from the start of the period: it needs saying.
			next.devices = append(next.devices, deviceReset{*req.MAC, time.Time{}})
		}
		if len(next.devices) > maxDevices {
			return at, false, usage.Errorf(usage.Invalid, "%d devices were reset one by one; reset everything, or clear some", maxDevices)
		}
	}
	sorting.Func(next.rows, compare)
	return at, false, s.putLocked(next)
}

// list keeps the rows of one device, or all, that have counted anything.
type list struct {
	mac     *usage.MAC
	records []usage.Record
	many    bool
}

func (l *list) Begin(int) { l.records, l.many = nil, false }

func (l *list) Add(r *usage.Record) {
	switch {
	case l.mac != nil && r.MAC != *l.mac, r.Counters() == (usage.Counters{}):
	case len(l.records) == maxRows:
		l.many = true
	default:
		l.records = append(l.records, *r)
	}
}

// Observe follows what the ledger saw happen to the rows. It must be told of
// every look. A change is written at once where nlbwmon or the router
// restarted or a period began, and else once an hour at most.
func (s *Store) Observe(l *ledger.Ledger, b *ledger.Batch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.state.rows) == 0 {
		return nil
	}
	next, event := s.follow(l, b)
	if next != nil {
		s.state, s.dirty = next, true
	}
	if !s.dirty || !event && !s.written.IsZero() && time.Since(s.written) < writeEvery {
		return nil
	}
	return s.putLocked(s.state)
}

// Close writes what Observe has not written yet.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.dirty {
		return nil
	}
	return s.putLocked(s.state)
}

// follow is the state after a look, nil if it stays; event tells that the
// table did not just grow.
func (s *Store) follow(l *ledger.Ledger, b *ledger.Batch) (next *state, event bool) {
	old := s.state
	boot := s.Boot()
	rebooted := b.Flags.Has(ledger.First) && boot != old.boot // with the ledger's memory
	event = rebooted || b.Flags&(ledger.Restarted|ledger.Rebooted|ledger.PeriodChanged) != 0
	fresh := *old
	fresh.boot, fresh.rows = boot, nil
	if b.Flags.Has(ledger.PeriodChanged) || event && b.Period != 0 && old.period != 0 && b.Period != old.period {
		return &fresh, true // the table was emptied
	}
	var saved list
	if rebooted && s.Saved(old.period, &saved) != nil {
		saved.Begin(0)
	}
	sorting.Func(saved.records, compare)
	var added map[usage.Record]usage.Counters // by row without counters
	changed := event
	for i := range old.rows {
		base := old.rows[i]
		row := l.Row(&base)
		if row == nil { // evicted: it will start from zero
			changed = true
			continue
		}
		from := *row // at most where the row started
		switch {
		case rebooted:
			from.Conns, from.RxBytes, from.RxPackets, from.TxBytes, from.TxPackets = 0, 0, 0, 0, 0
			if f := find(saved.records, row); f != nil {
				from = *f
			}
		case event || below(row, &base):
			if added == nil {
				added = sums(b.Deltas)
			}
			d := added[key(row)]
			for i, c := range counters(&from) {
				*c -= min(*c, [...]uint64{d.Conns, d.RxBytes, d.RxPackets, d.TxBytes, d.TxPackets}[i])
			}
		}
		was := base
		for i, c := range counters(&base) {
			*c = min(*c, *counters(&from)[i], *counters(row)[i])
		}
		changed = changed || base != was
		if base.Counters() != (usage.Counters{}) {
			fresh.rows = append(fresh.rows, base)
		}
	}
	if !changed {
		return nil, event
	}
	return &fresh, event
}

func below(a, b *usage.Record) bool {
	for i, c := range counters(a) {
		if *c < *counters(b)[i] {
			return true
		}
	}
	return false
}

// key is r without its counters.
func key(r *usage.Record) usage.Record {
	return usage.Record{Family: r.Family, Proto: r.Proto, Port: r.Port, MAC: r.MAC, Addr: r.Addr}
}

func sums(deltas []usage.Record) map[usage.Record]usage.Counters {
	m := make(map[usage.Record]usage.Counters, len(deltas))
	for i := range deltas {
		c := m[key(&deltas[i])]
		c.Add(deltas[i].Counters())
		m[key(&deltas[i])] = c
	}
	return m
}
