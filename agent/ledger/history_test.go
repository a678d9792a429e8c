package ledger_test

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/netpilot/netpilot/agent/ledger"
	"github.com/netpilot/netpilot/agent/ledger/ledgertest"
	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/usage"
)

var histories = flag.Int("ledger.histories", 100_000, "random histories of the model test; a twentieth with -short or -race")

// reduced divides the number of histories where each takes longer or time is
// short.
const reduced = 20

// TestHistories lets random things happen to a simulated router and compares
// each batch with what nlbwmon truly counted in that time:
//
//   - no key gets more than was counted, in no counter;
//   - without a gap each key gets exactly what was counted;
//   - a gap spans the whole look, and is of a kind whose cause did happen.
//
// A counterexample is shrunk by rapid and printed as a scenario.
func TestHistories(t *testing.T) {
	n := *histories
	if testing.Short() || raceEnabled {
		n /= reduced
	}
	if err := flag.Set("rapid.checks", strconv.Itoa(n)); err != nil {
		t.Fatal(err)
	}
	if err := flag.Set("rapid.nofailfile", "true"); err != nil {
		t.Fatal(err)
	}
	var sum tally
	start := time.Now()
	rapid.Check(t, func(rt *rapid.T) {
		h := newHistory(setups.Draw(rt, "router"))
		h.sum = &sum
		sum.histories++
		salt := rapid.Uint64().Draw(rt, "salt")
		for _, n := range scripts.Draw(rt, "script") {
			o := spread(n, salt)
			if h.setup.calm && o.kind > opAgentRestart {
				o.kind = opLook
			}
			if err := h.do(o); err != nil {
				rt.Fatalf("%v\n%s", err, h.log.String())
			}
		}
	})
	took := time.Since(start)
	t.Logf("%d histories in %s, %.0f a second; %d looks, %d exact to the byte, %d with gaps %v; of %d clean period changes %d ambiguous",
		sum.histories, took.Round(time.Millisecond), float64(sum.histories)/took.Seconds(), sum.looks, sum.exact, sum.looks-sum.exact, sum.kinds, sum.changes, sum.doubtful)
	if !t.Failed() && sum.doubtful*2 > sum.changes {
		t.Errorf("%d of %d clean period changes were declared ambiguous", sum.doubtful, sum.changes)
	}
}

// tally is what the histories contained.
type tally struct {
	histories, looks, exact int
	changes, doubtful       int
	kinds                   map[ledger.Kind]int
}

// setup is a router and an agent at the beginning.
type setup struct {
	limit           int
	compress, flash bool
	calm            bool // nothing is ever destroyed
	anonymous       bool
	noFile          bool
	before          time.Duration // until the period ends
	commit, refresh int           // seconds
	interval        nlbwmon.Interval
	patient         bool
}

var setups = rapid.Custom(func(t *rapid.T) setup {
	bits := rapid.Uint8().Draw(t, "bits")
	return setup{
		limit:     []int{0, 0, 0, 3, 4, 6, 50}[rapid.IntRange(0, 6).Draw(t, "limit")],
		compress:  bits&1 != 0,
		flash:     bits&2 != 0,
		calm:      bits&0x80 != 0,
		anonymous: bits&0x1c == 0x1c, // one of eight
		noFile:    bits&0x60 == 0x60, // one of four
		before:    time.Duration(rapid.IntRange(1, 200).Draw(t, "before")) * time.Second,
		commit:    []int{45, 300, 86400}[rapid.IntRange(0, 2).Draw(t, "commit")],
		refresh:   30,
		interval:  nlbwmon.Interval{Type: nlbwmon.IntervalMonthly, Value: 1},
	}
})

// op is one thing that happens.
type op struct {
	kind opKind
	a, b uint16
}

type opKind uint8

const (
	opNothing opKind = iota
	opOpen
	opMove
	opShut
	opStep
	opLook
	opLongStep
	opCommit
	opAgentRestart // the last of a calm history
	opRestart
	opStop
	opStart
	opPower
	opMAC
	opClock
	opStateLost
	opFail
	opCut
	opRemove
	opLimit
	opCompress
)

// often is how many of a hundred things are of a kind; the common come first,
// so that rapid shrinks towards them.
var often = []struct {
	kind opKind
	n    int
}{
	{opLook, 27}, {opMove, 19}, {opStep, 20}, {opOpen, 12}, {opShut, 3}, {opCommit, 1}, {opAgentRestart, 2}, {opLongStep, 3},
	{opRestart, 2}, {opStart, 1}, {opStop, 1}, {opMAC, 1}, {opClock, 1}, {opPower, 1}, {opStateLost, 1},
	{opFail, 1}, {opCut, 1}, {opRemove, 1}, {opLimit, 1}, {opCompress, 1},
}

var kinds = func() (all []opKind) {
	for _, o := range often {
		for range o.n {
			all = append(all, o.kind)
		}
	}
	return all
}()

// scripts are drawn so that rapid can shrink them: of each thing it draws one
// number, 0 is nothing at all, and the rest are spread over what can happen,
// since rapid prefers small numbers and small is not simple here.
var scripts = rapid.SliceOfN(rapid.Uint64(), 30, 90)

// spread makes an op of a drawn number, another one in each history.
func spread(n, salt uint64) op {
	if n == 0 {
		return op{kind: opNothing}
	}
	x := (n + salt) * 0x9e3779b97f4a7c15
	x ^= x >> 32
	x *= 0xd6e8feb86659fd93
	x ^= x >> 32
	return op{kinds[x%100], uint16(x >> 16), uint16(x >> 40)}
}

// history is one run.
type history struct {
	r     *ledgertest.Router
	a     *ledgertest.Agent
	l     *ledger.Ledger
	log   strings.Builder
	sum   *tally
	setup setup

	seen ledgertest.Seen // what is booked
	at   ledger.Instant
	boot int

	causes map[ledger.Kind]bool // what happened since the last batch that may lead to a gap
	first  bool

	mayTail bool
	wasFull bool
	moves   uint64
}

func newHistory(s setup) *history {
	month := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	r := ledgertest.New(ledgertest.Config{
		Clock: month.Add(-s.before), Refresh: time.Duration(s.refresh) * time.Second, Commit: time.Duration(s.commit) * time.Second,
		Limit: s.limit, Interval: s.interval, Compress: s.compress, Flash: s.flash,
	})
	h := &history{
		r: r, a: &ledgertest.Agent{Router: r, Anonymous: s.anonymous, NoFile: s.noFile},
		l: ledger.New(ledger.Options{}), setup: s, first: true, causes: map[ledger.Kind]bool{},
	}
	fmt.Fprintf(&h.log, "router: limit %d, compress %t, flash %t, life known %t, snapshot %t, commit every %d s\n",
		s.limit, s.compress, s.flash, !s.anonymous, !s.noFile, s.commit)
	return h
}

func (h *history) say(format string, args ...any) {
	fmt.Fprintf(&h.log, "[%s] ", h.r)
	fmt.Fprintf(&h.log, format+"\n", args...)
}

// do lets o happen; an error is a broken promise.
func (h *history) do(o op) error {
	r := h.r
	switch o.kind {
	case opOpen:
		host, port := byte(o.a%4+1), []uint16{80, 443}[o.b%2]
		h.say("host %d opens a flow to port %d", host, port)
		r.Open(host, port)
	case opMove:
		if flows := r.Flows(); len(flows) > 0 {
			f := flows[int(o.a)%len(flows)]
			// No two amounts are alike: that a row comes back with the very bytes
			// it had is the coincidence the ledger dares to rule out.
			h.moves++
			rx, tx := uint64(o.b)+1_000_003*h.moves, uint64(o.b%977)
			h.say("host %d port %d moves %d down, %d up", f.Host, f.Port, rx, tx)
			r.Move(f, rx, tx)
		}
	case opShut:
		if flows := r.Flows(); len(flows) > 0 {
			i := int(o.a) % len(flows)
			h.say("host %d ends its flow to port %d", flows[i].Host, flows[i].Port)
			r.Shut(i)
		}
	case opStep:
		d := time.Duration(o.a%70+1) * time.Second
		h.say("%s pass", d)
		r.Step(d)
	case opLongStep:
		d := []time.Duration{10 * time.Minute, 25 * time.Hour, 8 * 24 * time.Hour, 32 * 24 * time.Hour}[o.a%4]
		h.say("%s pass", d)
		if d > time.Hour {
			// Time without refreshes' worth of work: the timers fire, but an hour is as good as a month.
			h.passLong(d)
		} else {
			r.Step(d)
		}
	case opCommit:
		h.say("commit by the socket")
		r.Commit()
	case opRestart, opStop:
		s := ledgertest.Signal(o.a % 4)
		h.say("nlbwmon ends by %s", []string{"SIGTERM", "SIGINT", "SIGKILL", "SIGKILL and 0.db is removed"}[s])
		r.Stop(s)
		if o.kind == opRestart {
			h.say("nlbwmon starts: %t", r.Start())
		}
	case opStart:
		h.say("nlbwmon starts: %t", r.Start())
	case opPower:
		clock := r.Wall().Add([]time.Duration{0, -time.Minute, -40 * 24 * time.Hour}[o.a%3])
		h.say("power cut; the clock comes up as %s", clock.Format(time.DateTime))
		r.PowerCut(clock)
	case opMAC:
		host := byte(o.a%4 + 1)
		mac := usage.MAC{2, 1, 0, 0, 0, byte(o.b % 3)}
		if o.b%3 == 0 {
			mac = usage.MAC{}
		}
		h.say("host %d is now %s", host, mac)
		r.SetMAC(host, mac)
	case opClock:
		d := []time.Duration{time.Hour, -time.Hour, 24 * time.Hour, -24 * time.Hour, 35 * 24 * time.Hour, -35 * 24 * time.Hour, 70 * 24 * time.Hour}[o.a%7]
		h.say("the clock is set by %s", d)
		r.StepClock(d)
		if d < 0 {
			h.allow(ledger.Hidden, ledger.Tail, ledger.Ambiguous)
			h.setup.patient = true // from now on files may be of another period than they say
		}
	case opAgentRestart:
		h.say("the agent restarts")
		l, err := ledger.Restore(h.l.State(nil), ledger.Options{Last: h.at})
		if err != nil {
			return err
		}
		h.l = l
	case opStateLost:
		h.say("the agent loses its state")
		h.l = ledger.New(ledger.Options{Last: h.at})
		h.allow(ledger.StateLost)
	case opFail:
		h.a.FailFetches = int(o.a%12) + 1
		h.say("%d questions will get no answer", h.a.FailFetches)
	case opCut:
		h.a.Cut = int(o.a%2) + 1
		h.say("%d files will be read damaged", h.a.Cut)
	case opRemove:
		// Not the one nlbwmon may have begun with: what was removed from under it nobody can know.
		_, p, _ := h.l.Last()
		if h.seen.Life != r.Daemon || p >= r.Period() {
			return nil
		}
		h.say("the file of %d is removed", p)
		r.Remove(p)
		h.mayTail = true
		h.allow(ledger.Tail, ledger.Ambiguous)
	case opLimit:
		r.Limit = []int{0, 3, 5, 50}[o.a%4]
		h.say("limit %d from nlbwmon's next start on", r.Limit)
	case opCompress:
		r.Compress = !r.Compress
		h.mayTail = true // a stale file may lie beside the right one from now on
		h.say("compress %t from nlbwmon's next start on", r.Compress)
	case opLook:
		return h.look()
	}
	return nil
}

// passLong lets days pass in which only the timers near the end matter.
func (h *history) passLong(d time.Duration) {
	h.r.Skip(d - 2*time.Minute)
	h.r.Step(2 * time.Minute)
}

func (h *history) allow(kinds ...ledger.Kind) {
	for _, k := range kinds {
		h.causes[k] = true
	}
}

// look is one look of the agent and the check of its batch.
func (h *history) look() error {
	_, label, known := h.l.Last()
	look, seen, ok := h.a.Look(h.l)
	if !ok {
		h.say("look: nlbwmon cannot be read")
		return nil
	}
	if h.a.FailFetches > 0 {
		h.allow(ledger.Unread, ledger.Ambiguous)
	}
	if h.a.Cut > 0 {
		h.allow(ledger.Tail, ledger.Unread, ledger.Ambiguous)
	}
	// A snapshot lags behind: what filled the table may show a look later.
	if h.r.WasFull || h.wasFull {
		h.allow(ledger.Limit)
	}
	b, err := h.l.Observe(look, h.a)
	if err != nil {
		h.say("look: %v", err)
		if !errors.Is(err, ledger.ErrStale) && !errors.Is(err, ledger.ErrAgain) {
			return err
		}
		return nil
	}
	rolled := h.r.RolledFrom[h.seen.Rolls:max(seen.Rolls, h.seen.Rolls)]
	h.say("look by %s: period %d, flags %05b, %d deltas, gaps %s", []string{"", "socket", "snapshot"}[look.Source], b.Period, b.Flags, len(b.Deltas), gapText(b.Gaps))
	if err := h.check(b, look, seen, rolled, label, known); err != nil {
		return err
	}
	h.seen, h.at, h.boot = seen, look.Instant, h.r.Boot
	h.first = false
	clear(h.causes)
	h.r.ClockBack = false
	h.wasFull, h.r.WasFull = h.r.WasFull, h.r.AtLimit()
	return nil
}

func gapText(gaps []ledger.Gap) string {
	var b strings.Builder
	for _, g := range gaps {
		fmt.Fprintf(&b, "%s ", g.Kind)
	}
	return b.String()
}

// check compares b with the truth.
func (h *history) check(b *ledger.Batch, look ledger.Look, seen ledgertest.Seen, rolled []nlbwmon.Period, label nlbwmon.Period, known bool) error {
	if h.first {
		if len(b.Deltas)+len(b.Quarantined)+len(b.Gaps) > 0 || !b.Flags.Has(ledger.First) {
			return fmt.Errorf("the first look gave %d deltas, gaps %v", len(b.Deltas), b.Gaps)
		}
		return nil
	}
	if b.From != h.at || b.To != look.Instant {
		return fmt.Errorf("got a batch from %v to %v, want from %v to %v", b.From, b.To, h.at, look.Instant)
	}
	truth := map[ledgertest.Key]usage.Counters{}
	for _, c := range h.r.Counted[h.seen.Counts:seen.Counts] {
		t := truth[c.Key]
		t.Add(c.Counters)
		truth[c.Key] = t
	}
	got := map[ledgertest.Key]usage.Counters{}
	for _, list := range [][]usage.Record{b.Deltas, b.Quarantined} {
		for i := range list {
			g := got[ledgertest.KeyOf(&list[i])]
			g.Add(list[i].Counters())
			got[ledgertest.KeyOf(&list[i])] = g
		}
	}
	for _, g := range b.Gaps {
		if g.From != b.From || g.To != b.To {
			return fmt.Errorf("a gap from %v to %v in a batch from %v to %v", g.From, g.To, b.From, b.To)
		}
	}
	if h.setup.anonymous && h.seen.Life != seen.Life && len(b.Gaps) == 0 {
		return nil // a restart that nobody could see: the package comment promises nothing
	}
	exact := len(b.Gaps) == 0 && !h.blind(look, seen, rolled, label)
	for k, g := range got {
		t := truth[k]
		if g.Conns > t.Conns || g.RxBytes > t.RxBytes || g.RxPackets > t.RxPackets || g.TxBytes > t.TxBytes || g.TxPackets > t.TxPackets {
			return fmt.Errorf("COUNTED TWICE: %v port %d %v got %+v, nlbwmon counted %+v", k.MAC, k.Port, k.Addr[:4], g, t)
		}
	}
	if exact {
		for k, t := range truth {
			if got[k] != t {
				return fmt.Errorf("MISSING WITHOUT A GAP: %v port %d %v got %+v, nlbwmon counted %+v", k.MAC, k.Port, k.Addr[:4], got[k], t)
			}
		}
	}
	return h.checkGaps(b, seen, rolled)
}

// blind tells whether something happened that the ledger cannot see, as its
// package comment says: a restart where the daemon's life is not known, or a
// period that the clock has misnamed.
func (h *history) blind(look ledger.Look, seen ledgertest.Seen, rolled []nlbwmon.Period, label nlbwmon.Period) bool {
	if h.setup.anonymous && h.seen.Life != seen.Life {
		return true
	}
	return len(rolled) > 0 && (rolled[0] != label || look.Source == ledger.Snapshot && look.Period <= label)
}

// checkGaps wants a cause for each gap.
func (h *history) checkGaps(b *ledger.Batch, seen ledgertest.Seen, rolled []nlbwmon.Period) error {
	restarted := h.seen.Life != seen.Life
	clean := len(h.causes) == 0 && !restarted && !h.setup.anonymous && h.boot == h.r.Boot && !h.setup.patient
	for _, g := range b.Gaps {
		ok := h.causes[g.Kind] || h.setup.patient || restarted
		switch g.Kind {
		case ledger.Reboot:
			ok = h.boot != h.r.Boot
		case ledger.Ambiguous:
			ok = ok || len(rolled) > 0 || h.setup.anonymous
		case ledger.Tail:
			ok = ok || len(rolled) > 0 && (!clean || h.wasFull) || h.mayTail
		case ledger.Unread:
			ok = ok || restarted || h.boot != h.r.Boot
		}
		if !ok {
			return fmt.Errorf("A GAP FOR NOTHING: %s; happened: %v, rolled %v", g.Kind, slices.Collect(maps.Keys(h.causes)), rolled)
		}
	}
	h.tally(b, rolled, clean)
	return nil
}

func (h *history) tally(b *ledger.Batch, rolled []nlbwmon.Period, clean bool) {
	s := h.sum
	s.looks++
	if len(b.Gaps) == 0 {
		s.exact++
	}
	if s.kinds == nil {
		s.kinds = map[ledger.Kind]int{}
	}
	for _, g := range b.Gaps {
		s.kinds[g.Kind]++
	}
	if clean && len(rolled) > 0 {
		s.changes++
		if len(b.Gaps) > 0 {
			s.doubtful++
		}
	}
}
