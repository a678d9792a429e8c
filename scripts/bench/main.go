// Bench measures the relay against the floor of two bare hops and against what
// it replaces, in one run in which the programs take turns, and prints
// Markdown. docs/performance.md keeps what it printed.
//
//	make bench-relay            # builds what it needs and runs everything
//	go run ./scripts/bench --only calls,links --routers 1000
//
// All routers are simulated, and everything stays on loopback.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/netpilot/netpilot/scripts/fleet/play"
)

// bench is one run and its parts.
type bench struct {
	bin     string // folder of the programs
	routers int
	rounds  int
	million int // calls of the check for lost and crossed answers
	network play.Network
}

// part is one thing to measure.
type part struct {
	name string
	run  func(context.Context, *bench) error
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	parts := []part{{"calls", calls}, {"ssh", sshd}, {"links", links}, {"storm", storm}, {"ingest", ingest}, {"million", million}}
	b := &bench{}
	var names []string
	for _, p := range parts {
		names = append(names, p.name)
	}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.StringVar(&b.bin, "bin", "bin", "folder with netpilot-relay, fleet and floor")
	f.IntVar(&b.routers, "routers", 10_000, "simulated routers")
	f.IntVar(&b.rounds, "rounds", 5, "how often the programs take turns")
	f.IntVar(&b.million, "calls", 1_000_000, "calls of the check for lost and crossed answers")
	only := f.String("only", strings.Join(names, ","), "the parts to run")
	if err := f.Parse(args); err != nil {
		return err
	}
	chosen := strings.Split(*only, ",")
	for _, name := range chosen {
		if !slices.Contains(names, name) {
			return fmt.Errorf("no part %q; choose of %s", name, strings.Join(names, ", "))
		}
	}
	b.network = play.Network{Seed: "bench", Routers: b.routers, Devices: 20, Services: 22}
	fmt.Printf("%s, %d processors, %s; %d simulated routers.\n", model(), runtime.NumCPU(), runtime.Version(), b.routers)
	for _, p := range parts {
		if !slices.Contains(chosen, p.name) {
			continue
		}
		fmt.Fprintf(os.Stderr, "bench: %s\n", p.name)
		if err := p.run(ctx, b); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

// model is the processor's name.
func model() string {
	text, _ := os.ReadFile("/proc/cpuinfo") // it only dresses the figures up
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// program is the path of one; of a bare name the system would search $PATH.
func (b *bench) program(name string) string { return b.bin + string(filepath.Separator) + name }
