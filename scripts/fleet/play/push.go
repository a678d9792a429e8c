package play

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/netpilot/netpilot/agent/replica"
	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
)

// Pushes is how a fleet's routers push their histories. Make it with
// PushEvery.
type Pushes struct {
	// AtOnce leaves out the pauses by which routers spread over time. Set it
	// before Begin.
	AtOnce bool

	network *Network
	every   time.Duration
	limit   *rate.Limiter // of rows; nil for none
	begin   chan struct{} // closed by Begin
	moved   chan struct{} // of capacity 1: a cursor moved

	cursors []atomic.Uint64 // that the relay acknowledged, by router
	rows    atomic.Int64
	refused atomic.Int64

	mu    sync.Mutex // guards below
	times []time.Duration
	fault string // the first refusal
}

// PushEvery has the fleet's routers push what they moved since the network's
// Since, and then what comes, with the agent's own code and the time between
// rounds; nothing before Begin. With a limit all together push no more rows a
// second, a row being one device in one bucket.
func (f *Fleet) PushEvery(every time.Duration, limit int) *Pushes {
	p := &Pushes{network: f.network, every: every, begin: make(chan struct{}), moved: make(chan struct{}, 1),
		cursors: make([]atomic.Uint64, f.network.Routers)}
	if limit > 0 {
		p.limit = rate.NewLimiter(rate.Limit(limit), max(limit/4, 10_000)) // at least the rows of one push
	}
	f.Follow = p.follow
	return p
}

// Begin lets the routers push.
func (p *Pushes) Begin() { close(p.begin) }

func (p *Pushes) follow(ctx context.Context, i int, w wire.Welcome, ask replica.Ask) {
	select {
	case <-ctx.Done():
		return
	case <-p.begin:
	}
	made := &past{network: p.network, router: i, now: time.Now}
	r := replica.Replica{History: made, Counting: simulated, Every: p.every}
	if p.AtOnce {
		r.Rand = func() float64 { return 0 }
	}
	r.Follow(ctx, w.Cursor, func(ctx context.Context, method string, params json.RawMessage) (json.RawMessage, error) {
		if p.limit != nil {
			if err := p.limit.WaitN(ctx, min(made.given*p.network.Devices, p.limit.Burst())); err != nil {
				return nil, err
			}
		}
		began := time.Now()
		result, err := ask(ctx, method, params)
		if err != nil {
			if ctx.Err() == nil {
				p.refuse(err)
			}
			return result, err
		}
		return result, p.acknowledged(i, result, time.Since(began))
	})
}

func (p *Pushes) refuse(err error) {
	if p.refused.Add(1) == 1 {
		p.mu.Lock()
		p.fault = err.Error()
		p.mu.Unlock()
	}
}

// acknowledged notes an answer.
func (p *Pushes) acknowledged(i int, result json.RawMessage, took time.Duration) error {
	var reply wire.PushReply
	if err := json.Unmarshal(result, &reply); err != nil {
		return err
	}
	before := p.cursors[i].Swap(reply.Cursor)
	if reply.Cursor < before {
		p.refuse(fmt.Errorf("the relay had router %d up to %d and has it up to %d", i, before, reply.Cursor))
		return nil
	}
	p.rows.Add(int64(reply.Cursor-before) * int64(p.network.Devices))
	p.mu.Lock()
	p.times = append(p.times, took)
	p.mu.Unlock()
	select {
	case p.moved <- struct{}{}:
	default:
	}
	return nil
}

// Rows is how many rows the relay has acknowledged.
func (p *Pushes) Rows() int { return int(p.rows.Load()) }

// AwaitAll waits until the relay has acknowledged what all routers had when it
// was called.
func (p *Pushes) AwaitAll(ctx context.Context) error {
	want := p.network.closed(time.Now())
	for i := 0; i < len(p.cursors); {
		if p.cursors[i].Load() >= want {
			i++
			continue
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d routers have pushed all: %w", i, len(p.cursors), context.Cause(ctx))
		case <-p.moved:
		}
	}
	return nil
}

// String says how many pushes there were, and how long the relay took.
func (p *Pushes) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := Tally{Times: slices.Clone(p.times)}
	t.Sort()
	text := fmt.Sprintf("%d acknowledged with %d rows, p50 %v, p99 %v, longest %v, %d refused", len(t.Times), p.Rows(),
		t.Percentile(0.5).Round(time.Microsecond), t.Percentile(0.99).Round(time.Microsecond), t.Percentile(1).Round(time.Microsecond), p.refused.Load())
	if p.fault != "" {
		text += ", the first: " + usage.Clean(p.fault, 200)
	}
	return text
}

// Verify asks the relay for the history of every router, as far as it
// acknowledged it, and compares each device's row of each five minutes with
// what the router has. It says how many rows were compared.
func (p *Pushes) Verify(ctx context.Context, base, key string) (rows int, err error) {
	const workers = 8
	client := NewClient(workers, nil)
	defer client.CloseIdleConnections()
	next, compared := new(atomic.Int64), new(atomic.Int64)
	failed := make(chan error, workers)
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(p.cursors) {
					return
				}
				if err := p.verify(ctx, client, base, key, i); err != nil {
					failed <- fmt.Errorf("router %d: %w", i, err)
					return
				}
				compared.Add(int64(p.cursors[i].Load()) * int64(p.network.Devices))
			}
		})
	}
	all.Wait()
	select {
	case err = <-failed:
	default:
		err = ctx.Err()
	}
	return int(compared.Load()), err
}

// verifyBuckets are asked for at once: a page of the relay's holds them.
const verifyBuckets = 100

func (p *Pushes) verify(ctx context.Context, client *http.Client, base, key string, i int) error {
	n := p.network
	var want usage.Bucket
	for from, end := uint64(0), p.cursors[i].Load(); from < end; from += verifyBuckets {
		to := min(from+verifyBuckets, end)
		var answer struct {
			Data struct {
				Source  string
				Buckets []struct {
					Start       time.Time
					Seconds     int
					MAC         string
					Rx          uint64 `json:"bytes_rx"`
					Tx          uint64 `json:"bytes_tx"`
					RxPackets   uint64 `json:"packets_rx"`
					TxPackets   uint64 `json:"packets_tx"`
					Connections uint64
				}
			}
		}
		path := fmt.Sprintf("/api/device-usage/history?by=device&resolution=5m&limit=10000&routerId=%s&from=%s&to=%s",
			n.ID(i), n.Start(from).UTC().Format(time.RFC3339), n.Start(to).UTC().Format(time.RFC3339))
		if err := getJSON(ctx, client, base+path, key, &answer); err != nil {
			return fmt.Errorf("GET %s: %w", path, err)
		}
		type row struct {
			start int64
			mac   usage.MAC
		}
		got := make(map[row]usage.Counters)
		for _, b := range answer.Data.Buckets {
			mac, err := usage.ParseMAC(b.MAC)
			if err != nil || b.Seconds != 300 {
				return fmt.Errorf("GET %s: %d seconds of %q", path, b.Seconds, b.MAC)
			}
			k := row{b.Start.Unix(), mac}
			if _, twice := got[k]; twice {
				return fmt.Errorf("the relay has %s at %s twice", mac, b.Start)
			}
			got[k] = usage.Counters{RxBytes: b.Rx, TxBytes: b.Tx, RxPackets: b.RxPackets, TxPackets: b.TxPackets, Conns: b.Connections}
		}
		for b := from; b < to; b++ {
			n.Bucket(&want, i, b, usage.FiveMinutes)
			for _, d := range want.Devices {
				k := row{want.Start.Unix(), d.MAC}
				if c := got[k]; c != d.Counters {
					return fmt.Errorf("the relay has %+v of %s at %s, the router %+v", c, d.MAC, want.Start, d.Counters)
				}
				delete(got, k)
			}
		}
		if len(got) > 0 {
			return fmt.Errorf("the relay has %d rows that the router never had", len(got))
		}
	}
	return nil
}

func getJSON(ctx context.Context, client *http.Client, url, key string, to any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(strings.TrimSpace(resp.Status))
	}
	return json.NewDecoder(resp.Body).Decode(to)
}
