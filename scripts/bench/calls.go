package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/netpilot/netpilot/scripts/fleet/play"
)

// turn is what one program did in one turn.
type turn struct {
	p50, p99 time.Duration
	rate     float64
	cpu      time.Duration // of the server, a call
}

// measure runs one turn of a load against a server process.
func measure(ctx context.Context, server *play.Process, load *play.Load) (turn, error) {
	before, err := server.CPU()
	if err != nil {
		return turn{}, err
	}
	tally := load.Run(ctx)
	load.First += uint64(tally.Calls)
	if err := ctx.Err(); err != nil {
		return turn{}, err
	}
	if tally.Wrong > 0 {
		return turn{}, fmt.Errorf("%d of %d answers were wrong: %q", tally.Wrong, tally.Calls, tally.Faults)
	}
	after, err := server.CPU()
	if err != nil {
		return turn{}, err
	}
	return turn{tally.Percentile(0.5), tally.Percentile(0.99), tally.PerSecond(), (after - before) / time.Duration(tally.Calls)}, nil
}

// median is the middle of what pick finds in the turns.
func median[T ~int64 | ~float64](turns []turn, pick func(turn) T) T {
	var all []T
	for _, t := range turns {
		all = append(all, pick(t))
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// ratio is the median of the relay's figure over the floor's, turn by turn.
func ratio(ours, floors []turn, pick func(turn) float64) float64 {
	var all []float64
	for i := range ours {
		all = append(all, pick(ours[i])/pick(floors[i]))
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// calls compares REST calls through the relay with the floor: to clients that
// are as bare as the floor's, and to real agents' link code, which is part of
// every call on a router but not of the relay.
func calls(ctx context.Context, b *bench) error {
	bare, err := b.newFloor()
	if err != nil {
		return err
	}
	defer bare.close()
	fmt.Printf("\n## Calls\n\nHTTP call to answer of 4 KB, %d turns of 3 s each; medians of the turns, ratios turn by turn.\n", b.rounds)
	if err := b.compare(ctx, bare, "To routers that are as bare as the floor's clients", b.network.AskBare, "--bare"); err != nil {
		return err
	}
	return b.compare(ctx, bare, "To routers with an agent's own link code, which make up their answers", b.network.AskAny)
}

// compare is one table of calls. The fleet gets more arguments.
func (b *bench) compare(ctx context.Context, bare *floor, to string, ask func(uint64) play.Question, more ...string) error {
	stage, err := b.newStage(ctx, false, more...)
	if err != nil {
		return err
	}
	defer stage.close()
	fmt.Printf("\n%s:\n\n| callers | | p50 | p99 | calls/s | server CPU a call |\n|---:|---|---:|---:|---:|---:|\n", to)
	for _, callers := range []int{1, 16, 256} {
		ours := play.Load{Base: stage.relay.URL, Key: stage.key, Callers: callers, Span: 3 * time.Second, Client: play.NewClient(callers, nil), Next: ask}
		least := play.Load{Base: bare.url, Method: http.MethodPost, Callers: callers, Span: 3 * time.Second, Client: play.NewClient(callers, nil),
			Next: func(n uint64) play.Question {
				text := fmt.Sprintf("question %d.", n)
				return play.Question{Path: fmt.Sprintf("/call/%d", n*7919%uint64(b.routers)), Body: text, Want: text}
			}}
		var a, f []turn
		for range b.rounds {
			t, err := measure(ctx, bare.server, &least)
			if err != nil {
				return fmt.Errorf("floor: %w", err)
			}
			f = append(f, t)
			if t, err = measure(ctx, stage.relay.Process, &ours); err != nil {
				return fmt.Errorf("relay: %w", err)
			}
			a = append(a, t)
		}
		row := func(who string, t []turn) {
			fmt.Printf("| %d | %s | %v | %v | %.0f | %v |\n", callers, who,
				median(t, func(t turn) time.Duration { return t.p50 }).Round(time.Microsecond),
				median(t, func(t turn) time.Duration { return t.p99 }).Round(time.Microsecond),
				median(t, func(t turn) float64 { return t.rate }),
				median(t, func(t turn) time.Duration { return t.cpu }).Round(time.Microsecond))
		}
		row("floor", f)
		row("relay", a)
		fmt.Printf("| %d | **ratio** | %.2f | %.2f | %.2f | %.2f |\n", callers,
			ratio(a, f, func(t turn) float64 { return float64(t.p50) }), ratio(a, f, func(t turn) float64 { return float64(t.p99) }),
			ratio(a, f, func(t turn) float64 { return t.rate }), ratio(a, f, func(t turn) float64 { return float64(t.cpu) }))
	}
	return nil
}

// million asks until every answer could have been lost, crossed or doubled.
// Each question has an answer of its own, and the routers answer at once.
func million(ctx context.Context, b *bench) error {
	stage, err := b.newStage(ctx, false)
	if err != nil {
		return err
	}
	defer stage.close()
	load := play.Load{Base: stage.relay.URL, Key: stage.key, Callers: 16, Calls: b.million, Client: play.NewClient(16, nil),
		Next: b.network.AskAny}
	tally := load.Run(ctx)
	if err := ctx.Err(); err != nil {
		return err
	}
	fmt.Printf("\n## Answers\n\n%d calls by 16 callers in %.0f s: %d lost, empty, crossed or doubled.\n", tally.Calls, tally.Took.Seconds(), tally.Wrong)
	for _, fault := range tally.Faults[:min(3, len(tally.Faults))] {
		fmt.Println("    " + fault)
	}
	return nil
}
