// Fleet plays N routers to a relay over the real protocol, asks the relay
// about them, checks every answer against what the router truly has, and says
// how it went. It is a simulator: its routers say so in their hello, and what
// they moved is made up.
//
//	go run ./scripts/fleet --routers 1000 --for 20s
//	go run ./scripts/fleet --routers 10000 --storm --churn 0.01
//	go run ./scripts/fleet --routers 1000 --push 60s --since 6h --for 2m
//
// It starts a relay of its own (make build) on loopback with a fresh data
// directory, and no other address is ever put under load.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/store/sqlite"
	"github.com/netpilot/netpilot/scripts/fleet/play"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout)
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case errors.As(err, new(misuse)):
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(1)
	}
}

type misuse struct{ error }

type options struct {
	relay, bin, ca string
	network        play.Network
	callers        int
	span           time.Duration
	churn          float64
	storm          bool
	push           time.Duration // 0: nothing is pushed
	pushRate       int           // rows a second
	atOnce, hold   bool
	bare           bool
}

func run(ctx context.Context, args []string, out io.Writer) error {
	var o options
	f := flag.NewFlagSet("fleet", flag.ContinueOnError)
	f.IntVar(&o.network.Routers, "routers", 100, "how many routers")
	f.IntVar(&o.network.Devices, "devices", 20, "devices of each")
	f.IntVar(&o.network.Services, "services", 22, "services of each device; 22 make an answer of 4 KB")
	f.IntVar(&o.callers, "callers", 16, "who ask at once; 0: only play")
	f.DurationVar(&o.span, "for", 20*time.Second, "how long to ask; without callers, how long to play")
	f.Float64Var(&o.churn, "churn", 0, "part of the links that breaks every second, 0.01 for 1 %")
	f.BoolVar(&o.storm, "storm", false, "then break all links at once and time their return")
	f.DurationVar(&o.push, "push", 0, "push history so often, 60s as routers do; 0 pushes none")
	f.Func("since", "the histories begin then, RFC 3339, or so long ago (default 1h)", func(text string) error {
		if d, err := time.ParseDuration(text); err == nil && d > 0 {
			o.network.Since = time.Now().Add(-d).Truncate(usage.FiveMinutes)
			return nil
		}
		var err error
		o.network.Since, err = time.Parse(time.RFC3339, text)
		o.network.Since = o.network.Since.Truncate(usage.FiveMinutes)
		return err
	})
	f.IntVar(&o.pushRate, "push-rate", 0, "all together push at most so many rows a second, one for each device and five minutes; 0 for no limit")
	f.BoolVar(&o.atOnce, "at-once", false, "push without the pauses by which routers spread over time")
	f.BoolVar(&o.bare, "bare", false, "with --relay: the least clients that can answer, not agents")
	f.BoolVar(&o.hold, "hold", false, "with --relay: begin to push at SIGUSR2")
	f.StringVar(&o.bin, "bin", "bin/netpilot-relay", "the relay program")
	f.StringVar(&o.relay, "relay", "", "play to the relay at this URL on loopback, where the routers of --seed are enrolled already")
	f.StringVar(&o.network.Seed, "seed", "netpilot", "what the routers' secrets are made of")
	f.StringVar(&o.ca, "ca-file", "", "PEM file that vouches for the relay's certificate")
	if err := f.Parse(args); err != nil {
		return misuse{err}
	}
	if f.NArg() > 0 || o.network.Routers < 1 || o.network.Devices < 1 || o.network.Services < 0 || o.callers < 0 || o.churn < 0 || o.churn > 1 ||
		o.push < 0 || o.pushRate < 0 {
		return misuse{fmt.Errorf("there is no fleet of %s; see --help", strings.Join(args, " "))}
	}
	if o.network.Since.IsZero() {
		o.network.Since = time.Now().Add(-time.Hour).Truncate(usage.FiveMinutes)
	}
	fmt.Fprintf(out, "# %d simulated routers with %d devices each; all traffic is made up.\n", o.network.Routers, o.network.Devices)
	switch {
	case o.bare && (o.relay == "" || o.push > 0 || o.ca != ""):
		return misuse{errors.New("--bare needs --relay, pushes nothing and speaks no TLS")}
	case o.bare:
		return o.playBare(ctx, out)
	case o.relay != "":
		return o.playOnly(ctx, out)
	}
	return o.alone(ctx, out)
}

// playOnly is the routers for somebody else's callers. It prints a line for
// each thing that happened; SIGUSR1 breaks all links once what there was is
// pushed.
func (o *options) playOnly(ctx context.Context, out io.Writer) error {
	fleet, err := play.NewFleet(&o.network, o.relay, o.ca)
	if err != nil {
		return err
	}
	begin := make(chan os.Signal, 1)
	signal.Notify(begin, syscall.SIGUSR2)
	defer signal.Stop(begin)
	storms := make(chan os.Signal, 1)
	signal.Notify(storms, syscall.SIGUSR1)
	defer signal.Stop(storms)
	var pushes *play.Pushes
	if o.push > 0 {
		pushes = fleet.PushEvery(o.push, o.pushRate)
		pushes.AtOnce = o.atOnce
	}
	ended := make(chan struct{})
	go func() { defer close(ended); fleet.Run(ctx) }()
	defer func() { <-ended }()
	began := time.Now()
	if err := fleet.AwaitUp(ctx, o.network.Routers); err != nil {
		return nil // told to stop
	}
	fmt.Fprintf(out, "up %d links in %.1f s\n", o.network.Routers, time.Since(began).Seconds())
	if pushes != nil {
		if o.hold {
			select {
			case <-ctx.Done():
				return nil
			case <-begin:
			}
		}
		began = time.Now()
		pushes.Begin()
		if err := pushes.AwaitAll(ctx); err != nil {
			return nil // told to stop
		}
		fmt.Fprintf(out, "pushed %d rows in %.2f s: %s\n", pushes.Rows(), time.Since(began).Seconds(), pushes)
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-storms:
			if err := storm(ctx, fleet, out); err != nil {
				return err
			}
		}
	}
}

// playBare is playOnly with clients that only answer.
func (o *options) playBare(ctx context.Context, out io.Writer) error {
	began := time.Now()
	routers, err := play.StartBare(ctx, &o.network, o.relay)
	if err != nil {
		return err
	}
	defer routers.Close()
	fmt.Fprintf(out, "up %d links in %.1f s\n", o.network.Routers, time.Since(began).Seconds())
	routers.Ping(ctx)
	return nil
}

// storm breaks all links and times their return.
func storm(ctx context.Context, fleet *play.Fleet, out io.Writer) error {
	was, dials, began := fleet.Up(), fleet.Dials(), time.Now()
	cut := fleet.Cut(1)
	peak := make(chan int)
	watch, stop := context.WithCancel(ctx)
	go func() { // ends with watch
		most, last := 0, dials
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-watch.Done():
				peak <- max(most, fleet.Dials()-last)
				return
			case <-tick.C:
				now := fleet.Dials()
				most, last = max(most, now-last), now
			}
		}
	}()
	err := fleet.AwaitUp(ctx, was+cut)
	stop()
	most := <-peak
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "storm %d links cut, all back in %.1f s, %d dials, at most %d in a second\n",
		cut, time.Since(began).Seconds(), fleet.Dials()-dials, most)
	return nil
}

// alone is the relay, the routers and the callers.
func (o *options) alone(ctx context.Context, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "netpilot-fleet")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	ready, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	relay, err := play.StartRelay(ready, o.bin, dir)
	if err != nil {
		return fmt.Errorf("%w (make build makes %s)", err, o.bin)
	}
	defer relay.Stop()
	key, err := relay.NewKey("fleet")
	if err != nil {
		return err
	}
	if err := o.enrol(ctx, dir); err != nil {
		return err
	}
	empty, err := relay.Resident()
	if err != nil {
		return err
	}
	fleet, err := play.NewFleet(&o.network, relay.URL, "")
	if err != nil {
		return err
	}
	var pushes *play.Pushes
	if o.push > 0 {
		pushes = fleet.PushEvery(o.push, o.pushRate)
		pushes.AtOnce = o.atOnce
	}
	playing, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() { defer close(ended); fleet.Run(playing) }()
	defer func() { stop(); <-ended }()
	began := time.Now()
	within, cancel := context.WithTimeoutCause(ctx, 2*time.Minute, errors.New("the rest did not come within 2 minutes"))
	defer cancel()
	if err := fleet.AwaitUp(within, o.network.Routers); err != nil {
		return err
	}
	fmt.Fprintf(out, "links     %d up in %.1f s\n", o.network.Routers, time.Since(began).Seconds())
	if o.churn > 0 {
		go o.breakSome(playing, fleet) // ends with playing
	}
	if pushes != nil {
		pushes.Begin()
		defer func() { err = errors.Join(err, o.verify(ctx, pushes, relay.URL, key, out)) }()
	}
	if o.callers == 0 {
		select {
		case <-ctx.Done():
		case <-time.After(o.span):
		}
		return nil
	}
	before, err := relay.CPU()
	if err != nil {
		return err
	}
	load := play.Load{Base: relay.URL, Key: key, Client: play.NewClient(o.callers, nil), Callers: o.callers, Span: o.span,
		Next: o.network.AskAny}
	tally := load.Run(ctx)
	if tally.Calls == 0 {
		return ctx.Err()
	}
	after, err := relay.CPU()
	if err != nil {
		return err
	}
	full, err := relay.Resident()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "calls     %d, %d wrong or without an answer, %.0f/s\n", tally.Calls, tally.Wrong, tally.PerSecond())
	fmt.Fprintf(out, "latency   p50 %v, p90 %v, p99 %v, longest %v\n", tally.Percentile(0.5), tally.Percentile(0.9), tally.Percentile(0.99), tally.Percentile(1))
	fmt.Fprintf(out, "relay     %v of processor a call, %.1f MB resident, %.1f KiB a link\n",
		(after-before)/time.Duration(tally.Calls), float64(full)/1e6, float64(full-empty)/1024/float64(o.network.Routers))
	for _, fault := range tally.Faults[:min(len(tally.Faults), 3)] {
		fmt.Fprintf(out, "fault     %s\n", fault)
	}
	if o.storm {
		if err := storm(within, fleet, out); err != nil {
			return err
		}
	}
	if tally.Wrong > 0 && o.churn == 0 { // a link that breaks ends its calls
		return fmt.Errorf("%d of %d answers were wrong", tally.Wrong, tally.Calls)
	}
	return nil
}

// verify compares the relay's histories with the routers'. With links that
// break it may be a while until all is there.
func (o *options) verify(ctx context.Context, pushes *play.Pushes, url, key string, out io.Writer) error {
	within, cancel := context.WithTimeoutCause(ctx, 2*time.Minute+2*o.push, errors.New("the rest did not come in time"))
	defer cancel()
	if err := pushes.AwaitAll(within); err != nil {
		return err
	}
	fmt.Fprintf(out, "pushes    %s\n", pushes)
	began := time.Now()
	rows, err := pushes.Verify(ctx, url, key)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "history   %d rows of all routers compared with the relay's in %.1f s: the same\n", rows, time.Since(began).Seconds())
	return nil
}

func (o *options) enrol(ctx context.Context, dir string) (err error) {
	db, err := sqlite.Open(ctx, dir+"/relay.db")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return o.network.Enrol(ctx, db, func(done int) { fmt.Fprintf(os.Stderr, "\renrolled %d", done) })
}

// breakSome breaks a part of the links every second.
func (o *options) breakSome(ctx context.Context, fleet *play.Fleet) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			fleet.Cut(o.churn)
		}
	}
}
