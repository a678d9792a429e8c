// Killtest proves that what the relay acknowledged is durable: simulated
// routers push history as fast as they are answered, the relay's process is
// killed with SIGKILL at a random instant, started again on the same data, and
// every bucket it has acknowledged must be there, once, as it was pushed. Then
// the next kill.
//
//	make kill                       # 100 kills, some minutes
//	make kill ARGS='--kills 10'
//
// It starts a relay of its own on loopback with a fresh data directory. SIGKILL
// is the end of a process, not of the machine: it does not prove that the disk
// keeps what it says it has.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "killtest:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	t := killtest{out: out}
	f := flag.NewFlagSet("killtest", flag.ContinueOnError)
	f.IntVar(&t.kills, "kills", 100, "how often")
	f.IntVar(&t.network.Routers, "routers", 20, "simulated routers that push")
	f.IntVar(&t.network.Devices, "devices", 5, "devices of each")
	f.DurationVar(&t.within, "within", time.Second, "after the first answer, the relay is killed within this time")
	f.StringVar(&t.bin, "bin", "bin/netpilot-relay", "the relay program")
	seed := f.Uint64("seed", uint64(time.Now().UnixNano()), "of the random instants")
	if err := f.Parse(args); err != nil {
		return err
	}
	if t.kills < 1 || t.network.Routers < 1 || t.network.Devices < 1 || t.within <= 0 || f.NArg() > 0 {
		return errors.New("there is nothing to kill; see --help")
	}
	t.random = newRandom(*seed)
	if t.dir, err = os.MkdirTemp("", "netpilot-killtest"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(t.dir)) }()
	return t.run(ctx)
}

func newRandom(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 5)) }
