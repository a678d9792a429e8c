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

var histories = flag.Int("ledger.histories", 100_000, "random histories of the model test; a twentieth with -short")

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
	if testing.Short() {
		n /= 20
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
		s, salt, script := setups.Draw(rt, "router"), rapid.Uint64().Draw(rt, "salt"), scripts.Draw(rt, "script")
		if sum.histories++; sum.histories%100_000 == 0 {
			t.Logf("%d histories after %s", sum.histories, time.Since(start).Round(time.Second))
		}
		if err := newHistory(s, &sum, nil).play(script, salt); err != nil {
			// Once more, as a scenario that can be read.
			var log strings.Builder
			_ = newHistory(s, &tally{}, &log).play(script, salt)
			rt.Fatalf("%v\n%s", err, log.String())
		}
	})
	took := time.Since(start)
	t.Logf("%d histories in %s, %.0f a second; %d looks, %d exact to the byte, %d with gaps %v",
		sum.histories, took.Round(time.Millisecond), float64(sum.histories)/took.Seconds(), sum.looks, sum.exact, sum.looks-sum.exact, sum.kinds)
	t.Logf("clean period changes: with the socket %s, by 0.db alone %s", sum.clean, sum.blindly)
	if t.Failed() {
		return
	}
	if sum.clean.gaps*200 > sum.clean.changes {
		t.Errorf("clean period changes: %s, want at most 0.5 %%", sum.clean)
	}
}

// rate is how many changes of period of a table that lost nothing were
// declared gaps.
type rate struct{ changes, gaps int }

func (r rate) String() string {
	return fmt.Sprintf("%d of %d a needless gap (%.2f %%)", r.gaps, r.changes, 100*float64(r.gaps)/float64(max(r.changes, 1)))
}

// tally is what the histories contained.
type tally struct {
	histories, looks, exact int
	clean                   rate // where nlbwmon's socket answers
	blindly                 rate // where it does not, and only the clock names a period
	kinds                   map[ledger.Kind]int
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
	return h.setup.noSocket && len(rolled) > 0 && (rolled[0] != label || look.Source == ledger.Snapshot && look.Period <= label)
}

// checkGaps wants a cause for each gap.
func (h *history) checkGaps(b *ledger.Batch, seen ledgertest.Seen, rolled []nlbwmon.Period) error {
	restarted := h.seen.Life != seen.Life
	clean := len(h.causes) == 0 && !restarted && !h.setup.anonymous && h.boot == h.r.Boot && !h.setup.patient && !h.mayTail
	for _, g := range b.Gaps {
		ok := h.causes[g.Kind] || h.setup.patient || restarted
		switch g.Kind {
		case ledger.Reboot:
			ok = h.boot != h.r.Boot
		case ledger.Ambiguous:
			ok = ok || len(rolled) > 0 || h.setup.anonymous
		case ledger.Tail:
			ok = ok || len(rolled) > 0 && (!clean || h.wasFull || h.setup.noSocket) || h.mayTail
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
		r := &s.clean
		if h.setup.noSocket {
			r = &s.blindly
		}
		r.changes++
		if len(b.Gaps) > 0 {
			r.gaps++
		}
	}
}
