package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/netpilot/netpilot/agent/ledger"
	"github.com/netpilot/netpilot/agent/live"
	"github.com/netpilot/netpilot/agent/local"
	"github.com/netpilot/netpilot/agent/sample"
	"github.com/netpilot/netpilot/pkg/sorting"
	"github.com/netpilot/netpilot/pkg/usage"
)

func (p *program) top() *cli.Command {
	return &cli.Command{
		Name:  "top",
		Usage: "show who uses how much just now, until Ctrl-C",
		Description: examples(
			"netpilot-agent top", "refreshes in place",
			"netpilot-agent top --once", "one table, as soon as there is one",
			"netpilot-agent top --by tx --limit 5 --interval 30s >> top.log", "for a log",
		) + "\n\nnlbwmon counts at its refreshes (option refresh_interval, 30 s by default), so a rate is the mean between" +
			"\nthe last two and stays until the next. With a shorter refresh_interval top is livelier.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "once", Usage: "wait for rates, print them and end"},
			&cli.DurationFlag{Name: "interval", Value: live.Every, Usage: "show every `SPAN`, 2s or more"},
			&cli.IntFlag{Name: "limit", Usage: "at most `N` devices; 0: as many as there is room for"},
			&cli.StringFlag{Name: "by", Value: "total", Usage: "fastest `WHAT` first: total, rx or tx"},
			&cli.StringFlag{Name: "format", Value: "table", Usage: "`F`: table, or json, an object a line"},
		},
		Action: p.runTop,
	}
}

func (p *program) runTop(c *cli.Context) error {
	t := screen{w: p.stdout, by: c.String("by"), limit: c.Int("limit"), location: time.UTC}
	format := c.String("format")
	if err := errors.Join(oneOf("by", t.by, "total", "rx", "tx"), oneOf("format", format, "table", "json")); err != nil {
		return misuse{err}
	}
	interval := c.Duration("interval")
	switch {
	case t.limit < 0:
		return misuse{errors.New("--limit must not be negative")}
	case interval < live.Every || interval > time.Hour:
		return misuse{fmt.Errorf("--interval %s: choose from 2s to 1h", interval)}
	}
	r, err := p.router(c)
	if err != nil {
		return err
	}
	t.location = r.agent.Router.Location
	ctx, cancel := context.WithCancel(c.Context)
	samples, ended := make(chan usage.Rates, 1), make(chan error, 1)
	go func() { ended <- p.watch(ctx, r, samples) }() // ends with ctx; waited for below
	defer func() {
		cancel()
		<-ended
	}()
	resized := make(chan os.Signal, 1)
	if terminal(p.stdout) && format == "table" && !c.Bool("once") {
		signal.Notify(resized, syscall.SIGWINCH)
		defer signal.Stop(resized)
		t.open()
		defer t.close()
	}
	var due time.Time
	for {
		select {
		case <-c.Context.Done():
			return nil // Ctrl-C is how it ends
		case err := <-ended:
			ended <- nil // for the waiter above
			return err
		case <-resized:
			t.draw()
		case rates := <-samples:
			if now := time.Now(); now.Before(due) || c.Bool("once") && rates.AsOf == nil {
				continue
			} else {
				due = now.Add(interval - live.Every)
			}
			t.rates = rates
			if format == "json" {
				text, err := json.Marshal(rates)
				if err != nil {
					return err
				}
				t.err = errors.Join(t.err, second(fmt.Fprintf(p.stdout, "%s\n", text)))
			} else {
				t.draw()
			}
			if c.Bool("once") || t.err != nil {
				return t.err
			}
		}
	}
}

// watch delivers a sample every 2 s: the daemon's, or its own where none runs.
func (p *program) watch(ctx context.Context, r *router, samples chan<- usage.Rates) error {
	deliver := func(rates usage.Rates) {
		select {
		case samples <- rates:
		case <-ctx.Done():
		}
	}
	conn, err := local.Dial(ctx, r.path(local.Path))
	if errors.Is(err, local.ErrNoDaemon) {
		return p.watchAlone(ctx, r, deliver)
	}
	if err != nil {
		return err
	}
	defer conn.Close()
	const renew = 10 // samples, 20 s: the daemon hangs up on who says nothing for 30 s
	for n := 0; ; {
		if n%renew == 0 {
			if err := conn.Send(live.Method, json.RawMessage(`{"action":"start"}`)); err != nil {
				return err
			}
			n++
		}
		m, err := conn.Next(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("%w; did the daemon end? try: service netpilot-agent status", err)
		case m.Error != nil:
			return m.Error
		case m.Method != live.Method:
			continue
		}
		var rates usage.Rates
		if err := json.Unmarshal(m.Params, &rates); err != nil {
			return fmt.Errorf("read the daemon's sample: %w", err)
		}
		n++
		deliver(rates)
	}
}

// watchAlone looks at nlbwmon itself.
func (p *program) watchAlone(ctx context.Context, r *router, deliver func(usage.Rates)) error {
	m := &live.Meter{
		Router: r.agent.Router, Limit: r.agent.Limit,
		Instant: func() (ledger.Instant, error) { return sample.BootClock("/") },
		Daemon:  func() time.Duration { return sample.Daemon(r.root) },
	}
	tick := time.NewTicker(live.Every)
	defer tick.Stop()
	for {
		names, _ := r.agent.Names() // they only dress the numbers up
		rates, err := m.Rates(ctx, names)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		deliver(rates)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// screen shows rates: in place on a terminal that was opened, else one block
// below the other.
type screen struct {
	w        io.Writer
	by       string
	limit    int
	location *time.Location
	inPlace  bool
	rates    usage.Rates
	err      error
}

// The terminal's words (ECMA-48 and xterm): its other screen without a cursor,
// and back.
const (
	otherScreen = "\x1b[?1049h\x1b[?25l"
	ownScreen   = "\x1b[?25h\x1b[?1049l"
	home        = "\x1b[H"
	clearLine   = "\x1b[K"
	clearBelow  = "\x1b[J"
)

func (s *screen) open() {
	s.inPlace = true
	s.write(otherScreen + home)
}

func (s *screen) close() { s.write(ownScreen) }

func (s *screen) write(text string) {
	if s.err == nil {
		_, s.err = io.WriteString(s.w, text)
	}
}

func (s *screen) draw() {
	if !s.inPlace {
		s.write(strings.Join(s.lines(), "\n") + "\n\n")
		return
	}
	height, width := 24, 80
	if f, ok := s.w.(*os.File); ok {
		if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil && size.Row > 0 && size.Col > 0 {
			height, width = int(size.Row), int(size.Col)
		}
	}
	lines := s.lines()
	var b strings.Builder
	b.WriteString(home)
	for i, line := range lines[:min(len(lines), height)] {
		if i > 0 {
			b.WriteByte('\n')
		}
		if cut := []rune(line); len(cut) > width {
			line = string(cut[:width])
		}
		b.WriteString(line + clearLine)
	}
	s.write(b.String() + clearBelow)
}

// lines are what is shown, without regard to the screen's size.
func (s *screen) lines() []string {
	r := &s.rates
	refresh := time.Duration(r.RefreshSeconds * float64(time.Second))
	clock := func(t time.Time) string { return t.In(s.location).Format(time.TimeOnly) }
	head := clock(r.Timestamp) + "  "
	switch {
	case r.Stale:
		head += fmt.Sprintf("nlbwmon has not refreshed since %s and should every %s; try: service nlbwmon status", clock(*r.AsOf), refresh)
	case r.AsOf == nil:
		head += fmt.Sprintf("waiting for two refreshes of nlbwmon, which come every %s", refresh)
	default:
		head += fmt.Sprintf("mean of the %.0f s before %s; nlbwmon refreshes every %s", r.Seconds, clock(*r.AsOf), refresh)
	}
	lines := []string{head}
	if r.AsOf == nil || r.Stale {
		return lines
	}
	row := func(rx, tx uint64, who string) string {
		return fmt.Sprintf("%12s %12s  %s", usage.Bytes(rx)+"/s", usage.Bytes(tx)+"/s", who)
	}
	lines = append(lines, "", row(r.Rx, r.Tx, "all"), fmt.Sprintf("%12s %12s  %s", "download", "upload", "device"))
	devices := slices.Clone(r.Devices)
	if s.by != "total" {
		sorting.Stable(devices, func(a, b usage.Rate) int {
			x, y := a.Rx, b.Rx
			if s.by == "tx" {
				x, y = a.Tx, b.Tx
			}
			switch {
			case x > y:
				return -1
			case x < y:
				return 1
			}
			return 0
		})
	}
	if s.limit > 0 {
		devices = devices[:min(s.limit, len(devices))]
	}
	for i := range devices {
		d := &devices[i]
		lines = append(lines, row(d.Rx, d.Tx, strings.TrimRight(d.MAC.String()+"  "+usage.Clean(d.Name(), usage.MaxName), " ")))
	}
	return lines
}

// second is the error of a pair.
func second(_ int, err error) error { return err }
