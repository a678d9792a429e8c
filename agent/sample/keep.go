package sample

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/netpilot/netpilot/agent/ledger"
	"github.com/netpilot/netpilot/pkg/atomicfile"
)

// The blobs in the history's state file: one file with the buckets, so that a
// restart neither loses nor repeats a delta. They are gone after a reboot.
const (
	ledgerBlob  = "ledger"  // the ledger's state
	clockBlob   = "clock"   // a clock
	pendingBlob = "pending" // what waits for the time to be known
)

// restore takes up what the last Sampler of this boot kept. Without that the
// ledger begins anew, knowing at best that there was one, and in which boot.
func (s *Sampler) restore() *ledger.Ledger {
	if data := s.opts.History.Blob(clockBlob); data != nil {
		if err := json.Unmarshal(data, &s.clock); err != nil {
			s.clock = clock{}
		}
	}
	state := s.opts.History.Blob(ledgerBlob)
	if state != nil {
		l, err := ledger.Restore(state, s.opts.Ledger)
		if err == nil {
			err = s.pending.restore(s.opts.History.Blob(pendingBlob))
		}
		if err == nil {
			return l
		}
		s.opts.Log.Warn("the ledger's state is of no use; counting starts anew", "err", err)
	}
	o := s.opts.Ledger
	o.Last = s.lastBoot(state != nil)
	return ledger.New(o)
}

// maxBootFile bounds what is read of BootFile.
const maxBootFile = 128

// lastBoot is the boot in which the history was last kept, and none if that is
// not known. It is not to be mistaken: after a reboot all that nlbwmon has is
// new, in the same boot nothing is. lost tells that there was a state.
func (s *Sampler) lastBoot(lost bool) ledger.Instant {
	at, err := s.opts.Instant()
	if err != nil {
		return ledger.Instant{}
	}
	if lost {
		return ledger.Instant{Boot: at.Boot}
	}
	data, err := os.ReadFile(s.opts.BootFile)
	boot := strings.TrimSpace(string(data))
	if err != nil || boot == "" || len(boot) > maxBootFile {
		return ledger.Instant{}
	}
	return ledger.Instant{Boot: boot}
}

// noteBoot writes BootFile, once a boot, before anything of this boot is kept.
func (s *Sampler) noteBoot(boot string) error {
	if s.noted || s.opts.BootFile == "" {
		return nil
	}
	data, err := os.ReadFile(s.opts.BootFile)
	if err == nil && strings.TrimSpace(string(data)) == boot {
		s.noted = true
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(s.opts.BootFile), 0o700); err != nil {
		return err
	}
	if err := atomicfile.Write(s.opts.BootFile, []byte(boot+"\n"), 0o600); err != nil {
		return err
	}
	s.noted = true
	return nil
}

// keep puts into the history what the next Sampler needs; it is on disk with
// the history's next Save or Advance.
func (s *Sampler) keep() error {
	last, _, known := s.ledger.Last()
	if !known {
		return nil
	}
	if err := s.noteBoot(last.Boot); err != nil {
		// A full or read-only flash: after the next reboot the time before the
		// first look is then missing, which is no reason not to count.
		s.opts.Log.Debug("boot not noted", "err", err)
	}
	clock, err := json.Marshal(&s.clock)
	if err != nil {
		return err
	}
	pending, err := s.pending.state()
	if err != nil {
		return err
	}
	store := s.opts.History
	// The store holds the last state until it has this one, so two take turns.
	state := s.ledger.State(s.spare[:0])
	if err := store.PutBlob(ledgerBlob, state); err != nil {
		return err
	}
	s.state, s.spare = state, s.state
	return errors.Join(
		store.PutBlob(clockBlob, clock),
		store.PutBlob(pendingBlob, pending),
	)
}

// waiting is the head of the blob of what waits; the rows follow in binary.
type waiting struct {
	From, To            ledger.Instant
	Deltas, Quarantined int // rows
	Gaps                []ledger.Gap
}

// state is what waits, nil if nothing does: JSON of the heads, a newline, and
// the rows of each span one after the other.
func (p *pending) state() ([]byte, error) {
	if len(p.spans) == 0 {
		return nil, nil
	}
	heads := make([]waiting, 0, len(p.spans))
	for i := range p.spans {
		s := &p.spans[i]
		heads = append(heads, waiting{s.from, s.to, len(s.deltas), len(s.quarantined), s.gaps})
	}
	data, err := json.Marshal(heads)
	if err != nil {
		return nil, err
	}
	data = append(data, '\n')
	for i := range p.spans {
		data = appendRows(data, p.spans[i].deltas)
		data = appendRows(data, p.spans[i].quarantined)
	}
	return data, nil
}

func (p *pending) restore(data []byte) error {
	if data == nil {
		return nil
	}
	head, rows, ok := strings.Cut(string(data), "\n")
	var heads []waiting
	if err := json.Unmarshal([]byte(head), &heads); err != nil || !ok {
		return fmt.Errorf("what waits for the clock: %w", err)
	}
	rest := []byte(rows)
	var spans []span
	for _, h := range heads {
		s := span{from: h.From, to: h.To, gaps: h.Gaps}
		var err error
		if s.deltas, rest, err = cutRows(rest, h.Deltas); err != nil {
			return err
		}
		if s.quarantined, rest, err = cutRows(rest, h.Quarantined); err != nil {
			return err
		}
		spans = append(spans, s)
	}
	p.spans = spans
	return nil
}
