package ledger_test

import (
	"fmt"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/netpilot/netpilot/agent/ledger"
	"github.com/netpilot/netpilot/agent/ledger/ledgertest"
	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/usage"
)

// setup is a router and an agent at the beginning.
type setup struct {
	limit           int
	compress, flash bool
	calm            bool // nothing is ever destroyed
	anonymous       bool
	noFile          bool
	noSocket        bool
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
		noSocket:  bits&0x70 == 0x10, // one of eight
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
	log   *strings.Builder // nil where nobody will read it
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

func newHistory(s setup, sum *tally, log *strings.Builder) *history {
	month := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	r := ledgertest.New(ledgertest.Config{
		Clock: month.Add(-s.before), Refresh: time.Duration(s.refresh) * time.Second, Commit: time.Duration(s.commit) * time.Second,
		Limit: s.limit, Interval: s.interval, Compress: s.compress, Flash: s.flash,
	})
	h := &history{
		r: r, a: &ledgertest.Agent{Router: r, Anonymous: s.anonymous, NoFile: s.noFile, NoSocket: s.noSocket},
		l: ledger.New(ledger.Options{}), setup: s, first: true, causes: map[ledger.Kind]bool{}, sum: sum, log: log,
	}
	h.a.Ask = func(look ledger.Look) bool { return h.l.AskSocket(look) }
	h.say("router: limit %d, compress %t, flash %t, life known %t, snapshot %t, socket %t, commit every %d s",
		s.limit, s.compress, s.flash, !s.anonymous, !s.noFile, !s.noSocket, s.commit)
	return h
}

func (h *history) say(format string, args ...any) {
	if h.log == nil {
		return
	}
	fmt.Fprintf(h.log, "[%s] ", h.r)
	fmt.Fprintf(h.log, format+"\n", args...)
}

// play lets the script's things happen; an error is a broken promise.
func (h *history) play(script []uint64, salt uint64) error {
	for _, n := range script {
		o := spread(n, salt)
		if h.setup.calm && o.kind > opAgentRestart {
			o.kind = opLook
		}
		if err := h.do(o); err != nil {
			return err
		}
	}
	return nil
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
