package replica

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/netpilot/netpilot/agent/history"
	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shelf is a history of buckets with the cursors 1, 2, ...; the real one is
// followed in scripts/e2e.
type shelf struct {
	buckets []usage.Bucket
	gap     usage.Gap // after the last bucket, if it has a reason
	open    []usage.Bucket
	changed chan struct{}
	broken  time.Time // until then it cannot be read
}

func (s *shelf) Since(_ context.Context, c history.Cursor, visit func(*history.Change) error) error {
	if time.Now().Before(s.broken) {
		return errors.New("read segment: input/output error")
	}
	for i := int(c); i < len(s.buckets); i++ {
		if err := visit(&history.Change{Cursor: history.Cursor(i + 1), Bucket: s.buckets[i]}); err != nil {
			return err
		}
	}
	if end := history.Cursor(len(s.buckets) + 1); s.gap.Reason != "" && c < end {
		return visit(&history.Change{Cursor: end, Gap: s.gap, IsGap: true})
	}
	return nil
}

func (s *shelf) Pending(_ context.Context, _ history.Cursor, visit func(*usage.Bucket) error) (time.Time, error) {
	for i := range s.open {
		if err := visit(&s.open[i]); err != nil {
			return time.Time{}, err
		}
	}
	return time.Now(), nil
}

func (s *shelf) Changed() <-chan struct{} { return s.changed }

// bucket has n devices.
func bucket(at int, n int) usage.Bucket {
	b := usage.Bucket{Start: time.Unix(1_795_000_200, 0).Add(time.Duration(at) * usage.FiveMinutes), Length: usage.FiveMinutes}
	for k := range n {
		b.Devices = append(b.Devices, usage.DeviceSum{MAC: usage.MAC{2, 0, 0, 0, byte(k >> 8), byte(k)}, Counters: usage.Counters{RxBytes: uint64(1e15) + uint64(at)}})
	}
	return b
}

// asked is a push with when it came.
type asked struct {
	wire.Push
	at   time.Duration // since the link began
	size int
}

// follow runs Follow for that long with a relay that answers as answer says,
// and gives what it was asked.
func follow(t *testing.T, r *Replica, cursor uint64, d time.Duration, answer func(n int, p *wire.Push) (uint64, error)) (got []asked, ended time.Duration) {
	t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if r.Rand == nil {
		r.Rand = func() float64 { return 0.5 }
	}
	r.Follow(ctx, &cursor, func(_ context.Context, method string, params json.RawMessage) (json.RawMessage, error) {
		if method != wire.PushMethod {
			t.Errorf("asked %s", method)
		}
		p, err := wire.DecodePush(append(json.RawMessage{}, params...))
		if err != nil {
			t.Errorf("%v: %s", err, params)
		}
		got = append(got, asked{p, time.Since(began), len(params)})
		c, err := answer(len(got), &p)
		if err != nil {
			return nil, err
		}
		return json.Marshal(wire.PushReply{Cursor: c})
	})
	return got, time.Since(began)
}

func taken(_ int, p *wire.Push) (uint64, error) { return p.Cursor, nil }

// TestFollow: what is closed and what is open, with gap and counting; then a
// round a minute, and one soon after a change.
func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{buckets: []usage.Bucket{bucket(0, 2), bucket(1, 1)}, open: []usage.Bucket{bucket(2, 1)}, changed: make(chan struct{}, 1)}
		s.gap = usage.Gap{Range: usage.Range{From: time.Unix(1_795_000_200, 0), To: time.Unix(1_795_000_300, 0)}, Reason: "reboot"}
		counting := json.RawMessage(`{"ok":false,"accuracy":null,"reasons":[]}`)
		r := &Replica{History: s, Counting: func(context.Context) json.RawMessage { return counting }}
		got, _ := follow(t, r, 1, 2*time.Minute, taken)
		if len(got) != 2 {
			t.Fatalf("%d pushes in two minutes", len(got))
		}
		p := got[0]
		if p.After != 1 || p.Cursor != 3 || len(p.Buckets) != 1 || len(p.Buckets[0].Devices) != 1 || len(p.Gaps) != 1 || p.Gaps[0].Reason != "reboot" ||
			len(p.Open) != 1 || p.AsOf.IsZero() || string(p.Counting) != string(counting) || p.at != firstPause/2 {
			t.Errorf("first: got %+v", p)
		}
		if p := got[1]; p.After != 3 || p.Cursor != 3 || len(p.Buckets)+len(p.Gaps) != 0 || len(p.Open) != 1 || p.at != firstPause/2+time.Minute {
			t.Errorf("second: got %+v", p)
		}
		s.changed <- struct{}{}
		if got, _ = follow(t, r, 3, 30*time.Second, taken); len(got) != 1 || got[0].at != firstPause/2 {
			t.Errorf("a change while it waits for the first round: %d pushes", len(got))
		}
		time.AfterFunc(10*time.Second, func() { s.changed <- struct{}{} })
		if got, _ = follow(t, r, 3, 50*time.Second, taken); len(got) != 2 || got[1].at != 10*time.Second+afterClose/2 {
			t.Errorf("after a change: got %+v", got)
		}
	})
}

// TestCatchUp: small frames, a pause as long as the answer took between them,
// and only the last says what is open.
func TestCatchUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		for i := range 100 {
			s.buckets = append(s.buckets, bucket(i, 50))
		}
		got, _ := follow(t, &Replica{History: s}, 0, 50*time.Second, func(_ int, p *wire.Push) (uint64, error) {
			time.Sleep(100 * time.Millisecond)
			return p.Cursor, nil
		})
		next := uint64(0)
		for i, p := range got {
			last := i == len(got)-1
			if p.After != next || len(p.Buckets) != int(p.Cursor-p.After) || p.size > 2*frameSize || p.AsOf.IsZero() == last {
				t.Errorf("push %d: after %d, cursor %d, %d buckets, %d bytes, as of %v", i, p.After, p.Cursor, len(p.Buckets), p.size, p.AsOf)
			}
			if i > 0 && p.at-got[i-1].at != 200*time.Millisecond {
				t.Errorf("push %d: %v after the one before", i, p.at-got[i-1].at)
			}
			next = p.Cursor
		}
		if next != 100 || len(got) < 5 {
			t.Errorf("%d pushes up to %d", len(got), next)
		}
	})
}

// TestAnswers is each thing that a relay may say instead of taking a push.
func TestAnswers(t *testing.T) {
	busy := &usage.Error{Kind: usage.Busy, Message: "busy", RetryAfter: 10 * time.Second}
	for name, test := range map[string]struct {
		answer  func(n int, p *wire.Push) (uint64, error)
		pushes  []time.Duration // between them
		after   []uint64
		stopped bool // for good
	}{
		"busy": {func(n int, p *wire.Push) (uint64, error) {
			if n < 3 {
				return 0, busy
			}
			return p.Cursor, nil
		}, []time.Duration{10 * time.Second, 10 * time.Second, time.Minute}, []uint64{2, 2, 2, 3}, false},
		"no answer": {func(n int, p *wire.Push) (uint64, error) {
			if n == 1 {
				return 0, context.DeadlineExceeded
			}
			return p.Cursor, nil
		}, []time.Duration{30 * time.Second, time.Minute}, []uint64{2, 2, 3}, false},
		"invalid": {func(int, *wire.Push) (uint64, error) { return 0, usage.Errorf(usage.Invalid, "no") }, nil, []uint64{2}, true},
		"it has less": {func(n int, p *wire.Push) (uint64, error) {
			if n == 1 {
				return 0, nil
			}
			return p.Cursor, nil
		}, []time.Duration{0, time.Minute}, []uint64{2, 0, 3}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &shelf{buckets: []usage.Bucket{bucket(0, 1), bucket(1, 1), bucket(2, 1)}}
				got, ended := follow(t, &Replica{History: s}, 2, 100*time.Second, test.answer)
				for i, after := range test.after {
					if i >= len(got) || got[i].After != after {
						t.Fatalf("pushes: got %+v, want after %d", got, test.after)
					}
					if i > 0 && got[i].at-got[i-1].at != test.pushes[i-1] {
						t.Errorf("push %d came after %v, want %v", i, got[i].at-got[i-1].at, test.pushes[i-1])
					}
				}
				if stopped := ended < 100*time.Second; stopped != test.stopped {
					t.Errorf("ended after %v, want for good: %v", ended, test.stopped)
				}
			})
		})
	}
}

// TestNothing: no cursor, no push; no clock, none either; a history that fails
// is asked again later.
func TestNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		none := func(context.Context, string, json.RawMessage) (json.RawMessage, error) {
			t.Error("pushed")
			return nil, errors.New("no")
		}
		(&Replica{History: &shelf{}}).Follow(t.Context(), nil, none)
		s := &shelf{broken: time.Now().Add(6 * time.Minute)}
		if got, ended := follow(t, &Replica{History: s}, 0, 5*time.Minute, taken); len(got) != 0 || ended != 5*time.Minute {
			t.Errorf("a history that fails: %d pushes, ended after %v", len(got), ended)
		}
		if got, _ := follow(t, &Replica{History: s}, 0, 2*time.Minute, taken); len(got) == 0 {
			t.Error("a history that works again is not pushed")
		}
	})
}

// TestTooMuchOpen: what no frame holds waits until it closes, and the rest is
// pushed.
func TestTooMuchOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{buckets: []usage.Bucket{bucket(0, 1)}}
		for i := range 40 {
			s.open = append(s.open, bucket(i, 1000))
		}
		got, _ := follow(t, &Replica{History: s}, 0, 10*time.Second, taken)
		if len(got) == 0 || got[0].Cursor != 1 || !got[0].AsOf.IsZero() || got[0].size > wire.MaxFrame-1024 {
			t.Errorf("got %d pushes: %d bytes", len(got), got[0].size)
		}
		if len(got) > 20 {
			t.Errorf("%d pushes in ten seconds", len(got))
		}
	})
}

// TestAllowed: what the owner forbids is not pushed, also where a push was
// under way, and goes on where it stopped when it is allowed again.
func TestAllowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{open: []usage.Bucket{bucket(200, 1)}, changed: make(chan struct{}, 1)}
		for i := range 200 {
			s.buckets = append(s.buckets, bucket(i, 60))
		}
		began := time.Now()
		var refused time.Duration // when a push that had begun was forbidden
		r := &Replica{History: s, Allowed: func() bool {
			at := time.Since(began)
			return at >= 5*time.Minute && refused == 0 || at >= 20*time.Minute
		}}
		got, ended := follow(t, r, 0, 30*time.Minute, func(n int, p *wire.Push) (uint64, error) {
			if n == 3 {
				refused = time.Since(began)
			}
			return p.Cursor, nil
		})
		if ended != 30*time.Minute {
			t.Errorf("it ended after %v", ended)
		}
		if len(got) < 5 || got[0].at < 5*time.Minute || got[0].at > 6*time.Minute+time.Second || got[2].at != refused || got[2].Cursor == 200 ||
			got[3].at < 20*time.Minute || got[3].at > 21*time.Minute+time.Second || got[3].After != got[2].Cursor {
			for _, p := range got {
				t.Logf("at %v: after %d up to %d", p.at, p.After, p.Cursor)
			}
			t.Fatalf("got %d pushes, want three after 5 minutes and the rest after 20", len(got))
		}
		if last := got[len(got)-1]; last.Cursor != 200 || last.AsOf.IsZero() {
			t.Errorf("the last is up to %d at %v, want all 200", last.Cursor, last.AsOf)
		}
	})
}
