package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/netpilot/netpilot/agent/config"
	"github.com/netpilot/netpilot/agent/history"
	"github.com/netpilot/netpilot/agent/identity"
	"github.com/netpilot/netpilot/agent/ledger"
	"github.com/netpilot/netpilot/agent/live"
	"github.com/netpilot/netpilot/agent/local"
	"github.com/netpilot/netpilot/agent/method"
	"github.com/netpilot/netpilot/agent/replica"
	"github.com/netpilot/netpilot/agent/sample"
	"github.com/netpilot/netpilot/agent/source"
	"github.com/netpilot/netpilot/agent/truth"
	"github.com/netpilot/netpilot/agent/uplink"
	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
)

func (p *program) run() *cli.Command {
	return &cli.Command{
		Name:  "run",
		Usage: "be the daemon: hold the link to the relay and answer its calls",
		Description: examples(
			"netpilot-agent run", "as the service does; the log goes to stderr",
			"netpilot-agent run --log-level debug", "with every call in the log",
			"netpilot-agent run --check", "say whether it could start, and end",
		) + "\n\nSignal USR1 says that the network or the clock is there now: it dials at once where it waits to.\n" +
			"TERM, INT and HUP end it in good order; procd starts it anew, with the options as they are then.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "log-level", Usage: "`LEVEL`: debug, info, warn or error (default: option log_level)"},
			&cli.StringFlag{Name: "remote-access", Usage: "what the relay may ask `FOR`: off, read or full (default: option remote_access)"},
			caFileFlag(),
			&cli.BoolFlag{Name: "check", Usage: "check the configuration and the identity, and end"},
		},
		Action: p.runDaemon,
	}
}

func (p *program) runDaemon(c *cli.Context) error {
	r, err := p.router(c)
	if err != nil {
		return err
	}
	if err := r.override(c); err != nil {
		return err
	}
	if word := c.String("log-level"); word != "" {
		if err := oneOf("log-level", word, "debug", "info", "warn", "error"); err != nil {
			return err
		}
		var level slog.Level
		if err := level.UnmarshalText([]byte(word)); err != nil {
			return misuse{err}
		}
		r.inForce.pin("log_level", func() { r.inForce.level.Set(level) })
	}
	if c.Bool("check") {
		_, _, err := identityOf(r)
		return err
	}
	return p.daemon(c.Context, r, logger(p.stderr, &r.inForce.level))
}

// identityOf reads the router's facts and its identity, nil where it is not
// enrolled. An identity of another router is an error.
func identityOf(r *router) (config.Router, *config.Identity, error) {
	facts, err := config.ReadRouter(r.root)
	if err != nil {
		return facts, nil, err
	}
	id, err := config.LoadIdentity(r.root)
	switch {
	case errors.Is(err, config.ErrNotEnrolled):
		return facts, nil, nil
	case err != nil:
		return facts, nil, err
	case id.RouterID != facts.ID:
		return facts, nil, fmt.Errorf("%s is of router %s and this is %s (was the board changed?); enrol it anew: netpilot-agent enroll --relay %s --token-file FILE",
			r.path(config.IdentityPath), id.RouterID.Short(), facts.ID.Short(), id.Relay)
	}
	return facts, &id, nil
}

// wakes gives a token for each signal USR1, as the router's hotplug scripts
// send it, until ctx ends. One that nobody takes waits.
func wakes(log *slog.Logger) (tokens <-chan struct{}, task func(context.Context) error) {
	wake, signals := make(chan struct{}, 1), make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGUSR1)
	return wake, func(ctx context.Context) error {
		defer signal.Stop(signals)
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-signals:
				log.Debug("woken by signal USR1")
				select {
				case wake <- struct{}{}:
				default:
				}
			}
		}
	}
}

// openHistory opens the history and says what it had to repair.
func (p *program) openHistory(r *router, log *slog.Logger) (*history.Store, error) {
	conf := &r.config.History
	flash := r.historyFlash()
	if flash != "" {
		if err := os.MkdirAll(filepath.Dir(flash), 0o700); err != nil {
			return nil, fmt.Errorf("make room for the history: %w", err)
		}
	}
	service := func(proto uint8, port uint16) string {
		services, err := r.agent.Services()
		if err != nil {
			return ""
		}
		name, _ := services.Lookup(proto, port)
		return name
	}
	store, err := history.Open(history.Options{
		Dir: r.path(conf.Dir), FlashDir: flash, MaxBytes: conf.KiB << 10,
		KeepHour: keepHours(&r.config),
		Location: r.agent.Router.Location, NotBefore: p.build.at(), Service: service,
	})
	if err != nil {
		return nil, fmt.Errorf("open the history: %w", err)
	}
	for _, repair := range store.Repairs() {
		log.Warn("history repaired", "what", repair.String())
	}
	return store, nil
}

// historyFlash is where the history's copy on flash lies, "" for nowhere.
func (r *router) historyFlash() string {
	if !r.config.History.Flash {
		return ""
	}
	return r.path(r.config.History.FlashDir)
}

// bootFile is where on flash the boot is noted in which the history was kept.
func (r *router) bootFile() string {
	if dir := r.historyFlash(); dir != "" {
		return filepath.Join(dir, "boot")
	}
	return ""
}

// sampler makes the task that fills the history, and that of the live stream
// which lives on its looks.
func (p *program) sampler(r *router, store *history.Store, keeper *identity.Keeper, log *slog.Logger) (*sample.Sampler, *live.Stream) {
	soon := make(chan struct{}, 1)
	stream := live.New(&live.Stream{
		Refresh: r.agent.Router.Refresh, Refreshed: r.agent.Router.Refreshed, Names: r.agent.Names, Now: p.now,
		Look: func() {
			select {
			case soon <- struct{}{}:
			default: // it is asked for already
			}
		},
	})
	return sample.New(sample.Options{
		Router: r.agent.Router, History: store, Ledger: ledger.Options{Refresh: r.agent.Router.Refresh}, Limit: r.agent.Limit,
		Now: p.now, NotBefore: p.build.at(), Log: log,
		Instant: p.clock.Instant, After: p.clock.After,
		Daemon:       func() time.Duration { return sample.Daemon(r.root) },
		Synchronised: sample.Synchronised, Attribute: keeper.Attribute, BootFile: r.bootFile(),
		LinkSpeed: func() uint64 { return sample.LinkSpeed(r.root) },
		Watch: func(l *ledger.Ledger, b *ledger.Batch, asOf time.Time) {
			stream.Observe(b, asOf)
			keeper.Moved(asOf, b.Deltas)
			if err := r.agent.Baseline.Observe(l, b); err != nil {
				log.Warn("reset not kept", "err", err)
			}
			r.measure(p, b)
			// What an answer or a push took for a moment goes back to the router
			// now: Go itself keeps it for long, and lets it grow until the
			// service's limit. It collects garbage at each look in any case.
			debug.FreeOSMemory()
		},
		Soon: soon,
	}), stream
}

// caFileFlag overrides option ca_file. Its path is this shell's, not below
// the root.
func caFileFlag() cli.Flag {
	return &cli.StringFlag{Name: "ca-file", Usage: "PEM `FILE` with a private certificate authority (default: option ca_file)"}
}

// override lets flags win over the configuration.
func (r *router) override(c *cli.Context) error {
	if file := c.String("ca-file"); file != "" {
		r.caFile = file
	}
	if word := c.String("remote-access"); word != "" {
		if err := oneOf("remote-access", word, string(config.AccessOff), string(config.AccessRead), string(config.AccessFull)); err != nil {
			return err
		}
		r.inForce.pin("remote_access", func() { r.inForce.remote.Store(config.Access(word)) })
	}
	return nil
}

// daemon wires the long-lived parts and runs them until ctx ends, which is a
// normal end, or one of them fails.
func (p *program) daemon(ctx context.Context, r *router, log *slog.Logger) error {
	for _, w := range r.warnings {
		log.Warn("configuration", "warning", w.String())
	}
	facts, id, err := identityOf(r)
	if err != nil {
		return err
	}
	started := p.now()
	r.agent.Router.Kept = new(source.Kept)
	r.agent.Truth.Meter = truth.NewMeter(truth.Root(r.root))
	r.truth.Daemon = func(ctx context.Context) truth.Daemon { return daemonTruth(r.agent.BriefStatus(ctx)) }
	table := method.New(r.agent)
	r.agent.Take = func(c config.Config) []string {
		taken := r.inForce.take(c)
		log.Info("options taken over", "log_level", r.inForce.level.Level(), "remote_access", r.inForce.remoteAccess(),
			"history_days", c.History.Days, "history_kib", c.History.KiB)
		return taken
	}
	r.agent.Hello = func() wire.Hello {
		return wire.Hello{
			RouterID: string(facts.ID), Name: facts.Hostname, Model: facts.Model, Release: facts.Release,
			Arch: facts.Arch, Timezone: facts.Timezone, AgentVersion: p.build.Version,
			Methods: table.Names(r.inForce.access()), MaxCalls: wire.MaxCalls, MaxFrame: wire.MaxFrame,
			Time: p.now(), ClockSane: p.now().After(p.build.at()), StartedAt: started,
		}
	}

	tasks := []func(context.Context) error{func(ctx context.Context) error {
		door, err := local.Listen(r.path(local.Path))
		if err != nil {
			return err
		}
		return local.Serve(ctx, door, func(ctx context.Context, name string, params json.RawMessage) (json.RawMessage, error) {
			return table.Call(ctx, method.AccessOwner, name, params)
		}, log)
	}}
	var follow func(context.Context, wire.Welcome, func(context.Context, string, json.RawMessage) (json.RawMessage, error))
	// Without a history the link and the live table still serve.
	switch store, err := p.openHistory(r, log); {
	case errors.Is(err, history.ErrLocked):
		return err // another daemon runs
	case err != nil:
		log.Error("no history", "err", err)
		r.reportHistory(nil, nil, err)
	default:
		defer func() {
			if err := r.agent.Baseline.Close(); err != nil {
				log.Warn("reset not kept", "err", err)
			}
			if err := store.Close(p.now()); err != nil {
				log.Error("history not kept whole", "err", err)
			}
		}()
		r.agent.History = store
		r.inForce.history = store
		copied := &replica.Replica{History: store, Counting: r.counting, Log: log, Allowed: func() bool {
			return r.inForce.remoteAccess() != config.AccessOff
		}}
		follow = func(ctx context.Context, w wire.Welcome, ask func(context.Context, string, json.RawMessage) (json.RawMessage, error)) {
			copied.Follow(ctx, w.Cursor, ask)
		}
		r.know(p, store, log)
		keeper := r.agent.Devices()
		defer func() { _ = keeper.Close() }() // before the history that keeps what it knew
		tasks = append(tasks, keeper.Run, r.agent.Categorize)
		var sampler *sample.Sampler
		sampler, r.agent.Live = p.sampler(r, store, keeper, log)
		tasks = append(tasks, sampler.Run, r.agent.Live.Run)
		r.reportHistory(store, sampler, nil)
	}
	wake, watch := wakes(log)
	tasks = append(tasks, watch)
	if id == nil {
		log.Warn("no link", "err", config.ErrNotEnrolled)
		own := r.agent.Status
		r.agent.Status = func(ctx context.Context) method.Status {
			s := own(ctx)
			s.Uplink.Running = true
			return s
		}
	} else {
		up := uplink.New(uplink.Options{
			Client:   p.client(r),
			Identity: *id,
			Wake:     wake,
			Hello:    r.agent.Hello,
			Handle: func(ctx context.Context, name string, params json.RawMessage) (json.RawMessage, error) {
				began := time.Now()
				result, err := table.Call(ctx, r.inForce.access(), name, params)
				took := time.Since(began)
				r.agent.Audit.Add(p.now(), name, took, len(result), err)
				log.Debug("call", "method", usage.Clean(name, 64), "bytes", len(result), "took", took, "err", err)
				return result, err
			},
			Log:    log,
			Follow: follow,
			SaveIdentity: func(id config.Identity) error {
				began := time.Now()
				err := config.SaveIdentity(r.root, id)
				r.agent.Audit.Add(p.now(), wire.MethodRotate, time.Since(began), 0, err)
				return err
			},
			SaveLastGood: func(t time.Time) error { return config.SaveLastGood(r.root, t) },
		})
		own := r.agent.Status
		r.agent.Status = func(ctx context.Context) method.Status {
			s := own(ctx)
			s.Uplink = uplinkStatus(*id, up.State())
			return s
		}
		tasks = append(tasks, up.Run)
	}
	log.Info("netpilot-agent runs", "version", p.build.Version, "router", facts.ID.Short(), "enrolled", id != nil)
	return together(ctx, tasks)
}

// client is how this router reaches a relay.
func (p *program) client(r *router) uplink.Client {
	return uplink.Client{
		CAFile:    r.caFile,
		CertFile:  r.clientCert,
		KeyFile:   r.clientKey,
		Version:   p.build.Version,
		BuildTime: p.build.at(),
		LastGood:  config.LastGood(r.root),
		Now:       p.now,
	}
}

// together runs all tasks until ctx ends or the first fails, and returns when
// every one has ended, with the first failure.
func together(ctx context.Context, tasks []func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var running sync.WaitGroup
	for _, task := range tasks {
		running.Go(func() {
			if err := task(ctx); err != nil {
				cancel(err)
			}
		})
	}
	running.Wait()
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

func uplinkStatus(id config.Identity, s uplink.State) method.UplinkStatus {
	u := method.UplinkStatus{
		Running: true, Enrolled: true, Relay: id.Relay.String(),
		Connected: s.Connected, Attempts: s.Attempts,
	}
	if !s.Since.IsZero() {
		u.Since = &s.Since
	}
	if !s.Connected {
		u.Error, u.Cause = s.LastError, string(s.Cause)
		if !s.NextDial.IsZero() {
			u.NextDial = &s.NextDial
		}
	}
	return u
}

// logger writes a line an event without the time: logd adds it.
func logger(w io.Writer, level slog.Leveler) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey && len(groups) == 0 && !terminal(w) {
				return slog.Attr{}
			}
			return a
		},
	}))
}
