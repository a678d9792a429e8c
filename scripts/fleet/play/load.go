package play

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Load asks questions from several callers at once and checks each answer.
type Load struct {
	Base    string // URL of the server
	Key     string // API key; "" for none
	Method  string // "" is GET
	Client  *http.Client
	Callers int
	Calls   int           // in all; 0: until Span is over
	Span    time.Duration // 0: until Calls are done
	Next    func(number uint64) Question
	First   uint64 // number of the first question, so that loads after one another ask different ones
}

// Tally is what came of a Load.
type Tally struct {
	Calls  int
	Wrong  int      // answers that were not the right one, or none
	Faults []string // the first few of them
	Took   time.Duration
	Times  []time.Duration // of each right answer, sorted
}

// Percentile is the time within which that part of the calls were answered.
func (t *Tally) Percentile(p float64) time.Duration {
	if len(t.Times) == 0 {
		return 0
	}
	return t.Times[min(len(t.Times)-1, int(p*float64(len(t.Times))))]
}

// Sort brings Times in order, as Percentile needs them.
func (t *Tally) Sort() { slices.Sort(t.Times) }

// PerSecond is right answers per second.
func (t *Tally) PerSecond() float64 { return float64(len(t.Times)) / t.Took.Seconds() }

// NewClient is a client for that many callers, each on a connection of its
// own.
func NewClient(callers int, transport *http.Transport) *http.Client {
	if transport == nil {
		transport = new(http.Transport)
	}
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = callers, callers
	transport.DisableCompression = true
	return &http.Client{Transport: transport, Timeout: 30 * time.Second}
}

// Run asks until the calls are done, the span is over or ctx ends.
func (l *Load) Run(ctx context.Context) Tally {
	if l.Span > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, l.Span)
		defer cancel()
	}
	var asked atomic.Uint64
	var mu sync.Mutex
	var sum Tally
	began := time.Now()
	var all sync.WaitGroup
	for range l.Callers {
		all.Go(func() {
			var times []time.Duration
			var faults []string
			calls := 0
			for ctx.Err() == nil {
				n := asked.Add(1) - 1
				if l.Calls > 0 && n >= uint64(l.Calls) {
					break
				}
				q := l.Next(l.First + n)
				start := time.Now()
				err := l.ask(q)
				calls++
				if err == nil {
					times = append(times, time.Since(start))
				} else {
					faults = append(faults, err.Error())
				}
			}
			mu.Lock()
			defer mu.Unlock()
			sum.Calls += calls
			sum.Wrong += len(faults)
			sum.Faults = append(sum.Faults, faults[:min(len(faults), 5)]...)
			sum.Times = append(sum.Times, times...)
		})
	}
	all.Wait()
	sum.Took = time.Since(began)
	sum.Sort()
	return sum
}

func (l *Load) ask(q Question) error {
	method := l.Method
	if method == "" {
		method = http.MethodGet
	}
	req, err := http.NewRequest(method, l.Base+q.Path, strings.NewReader(q.Body))
	if err != nil {
		return err
	}
	if q.Body == "" {
		req.Body = http.NoBody
	}
	if l.Key != "" {
		req.Header.Set("Authorization", "Bearer "+l.Key)
	}
	resp, err := l.Client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("status %d: %.200s", resp.StatusCode, body)
	case len(body) == 0:
		return errors.New("empty answer")
	case !bytes.Contains(body, []byte(q.Want)):
		return fmt.Errorf("not the answer to %s (want %s): %.300s", q.Path, q.Want, body)
	}
	return nil
}
