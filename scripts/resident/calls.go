package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/netpilot/netpilot/agent/local"
)

// This is the other way to measure: the binary that is shipped, by the
// machine's own clock, with a history of 35 days that ends now. Calls come
// over its two doors: what the relay passes on over REST, and what the relay
// would answer from its own copy over the router's socket.

// question is one of the calls that take turns.
type question struct {
	path   string // REST, or
	method string // of the local socket, with params
	params string
}

// questions vary with n, so that none is answered from the relay's cache of
// five seconds.
func questions(n int) []question {
	of := "&sort=" + []string{"total", "rx", "tx", "conns"}[n%4] + "&limit=" + strconv.Itoa(1+n%60)
	mac := device(n % devices).String()
	return []question{
		{path: "/api/device-usage/current?routerId=%s" + of},
		{method: "usage.history", params: `{"days":1,"resolution":"5m","by":"total"}`},
		{path: "/api/device-usage/status?routerId=%s"},
		{method: "usage.history", params: `{"days":35,"resolution":"1d","by":"device"}`},
		{path: "/api/device-usage/device/" + mac + "?routerId=%s"},
		{method: "usage.summary", params: `{"days":35}`},
		{path: "/api/device-usage/records?routerId=%s&limit=1000"},
		{method: "devices.list", params: `{}`},
		{method: "usage.history", params: `{"days":35,"resolution":"1h","mac":"` + mac + `"}`},
		{method: "status", params: `{}`},
	}
}

// startShipped starts the agent itself, and nlbwmon's refreshes.
func (b *bench) startShipped(ctx context.Context) error {
	b.agent = b.child(filepath.Join(b.bin, "netpilot-agent"), "--root", b.root, "run", "--log-level", "warn")
	b.agent.Env = b.env()
	if err := b.agent.Start(); err != nil {
		return fmt.Errorf("start the agent: %w; make build first", err)
	}
	return b.awaitLink(ctx)
}

// refreshing has nlbwmon refresh its table as it does, until ctx ends.
func (b *bench) refreshing(ctx context.Context) error {
	tick := time.NewTicker(refresh)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		b.mu.Lock()
		b.since = time.Since(b.begin)
		since := b.since
		b.mu.Unlock()
		if err := b.refresh(since); err != nil {
			return err
		}
	}
}

// used asks so many calls, rests, and says what memory the agent then has; and
// what it costs for as long as idle when nobody asks.
func (b *bench) used(ctx context.Context, calls int, rest, idle time.Duration, limitAnon float64) error {
	ctx, cancel := context.WithCancel(ctx)
	refreshed := make(chan error, 1)
	go func() { refreshed <- b.refreshing(ctx) }()
	err := b.askAll(ctx, calls)
	if err == nil {
		err = wait(ctx, rest)
	}
	if err == nil {
		err = b.sayMemory(limitAnon)
	}
	if idle > 0 && ctx.Err() == nil {
		err = errors.Join(err, b.sayIdle(ctx, idle))
	}
	cancel()
	return errors.Join(err, <-refreshed)
}

func (b *bench) askAll(ctx context.Context, calls int) error {
	began, bytes := time.Now(), 0
	door, err := local.Dial(ctx, filepath.Join(b.root, local.Path))
	if err != nil {
		return err
	}
	defer door.Close()
	for n := 0; n < calls; {
		for _, q := range questions(n) {
			var answer []byte
			if q.path != "" {
				answer, err = b.get(ctx, fmt.Sprintf(q.path, b.router))
			} else {
				answer, err = door.Call(ctx, q.method, json.RawMessage(q.params))
			}
			if err != nil {
				return fmt.Errorf("call %d, %s%s: %w", n+1, q.path, q.method, err)
			}
			bytes += len(answer)
			n++
		}
	}
	fmt.Fprintf(b.out, "%d calls answered in %.1f s, %.1f MB of answers, none failed\n", calls, time.Since(began).Seconds(), float64(bytes)/1e6)
	return nil
}

func (b *bench) sayMemory(limitAnon float64) error {
	all, anon, peak, err := b.resident()
	if err != nil {
		return err
	}
	threads, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", b.agent.Process.Pid))
	fmt.Fprintf(b.out, "VmRSS %.2f MB: RssAnon %.2f, of files %.2f; at most %.2f since the start; %d threads\n", all, anon, all-anon, peak, len(threads))
	switch {
	case all > b.limit:
		return fmt.Errorf("%.2f MB are more than %g", all, b.limit)
	case anon > limitAnon:
		return fmt.Errorf("%.2f MB that are no file's are more than %g", anon, limitAnon)
	}
	return nil
}

// sayIdle says how often the agent wakes up and what it computes when nobody
// asks anything. A wake-up is the end of one of its threads' sleeps.
func (b *bench) sayIdle(ctx context.Context, d time.Duration) error {
	sleeps, ran := b.threads()
	began := time.Now()
	if err := wait(ctx, d); err != nil {
		return err
	}
	minutes := time.Since(began).Minutes()
	sleepsNow, ranNow := b.threads()
	perMinute := float64((ranNow - ran).Microseconds()) / 1000 / minutes
	fmt.Fprintf(b.out, "idle for %.1f minutes: %.0f wake-ups and %.1f ms of CPU a minute, %.1f s of CPU a day\n",
		minutes, float64(sleepsNow-sleeps)/minutes, perMinute, perMinute*24*60/1000)
	return nil
}

// threads is how often the agent's threads went to sleep so far, and how long
// they ran (proc(5): /proc/PID/task/TID/status, and schedstat).
func (b *bench) threads() (sleeps int, ran time.Duration) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", b.agent.Process.Pid))
	for _, task := range tasks {
		text, _ := os.ReadFile(filepath.Join(task, "status")) // of a thread that ended just now: none
		for line := range strings.Lines(string(text)) {
			if rest, ok := strings.CutPrefix(line, "voluntary_ctxt_switches:"); ok {
				n, _ := strconv.Atoi(strings.TrimSpace(rest))
				sleeps += n
			}
		}
		text, _ = os.ReadFile(filepath.Join(task, "schedstat"))
		if f := strings.Fields(string(text)); len(f) == 3 {
			ns, _ := strconv.ParseInt(f[0], 10, 64)
			ran += time.Duration(ns)
		}
	}
	return sleeps, ran
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
