package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/netpilot/netpilot/agent/config"
	"github.com/netpilot/netpilot/agent/identity"
	"github.com/netpilot/netpilot/agent/local"
	"github.com/netpilot/netpilot/agent/method"
	"github.com/netpilot/netpilot/agent/source"
	"github.com/netpilot/netpilot/agent/truth"
	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/usage"
)

// namesFor is how long the daemon keeps the names of services it read.
const namesFor = 2 * time.Second

// lockPath is what the readers of nlbwmon on this router take turns by,
// beside the local socket.
const lockPath = "/var/run/netpilot/nlbwmon.lock"

// router is everything the verbs know about the router below the root.
type router struct {
	root       string
	config     config.Config
	warnings   []config.Warning
	caFile     string // "" for the system's authorities alone
	clientCert string // and clientKey: as caFile; both or none
	clientKey  string
	agent      *method.Agent
	truth      *truth.Router
	inForce    *inForce
}

// router reads the configuration and wires the parts that need no daemon.
func (p *program) router(c *cli.Context) (*router, error) {
	r, damage, err := p.damagedRouter(c)
	if err = cmp.Or(damage, err); err != nil {
		return nil, err
	}
	return r, nil
}

// damagedRouter is router, with defaults in the place of what cannot be read;
// damage is what that is.
func (p *program) damagedRouter(c *cli.Context) (r *router, damage, err error) {
	r = &router{root: filepath.Clean(c.String("root"))}
	r.config, r.warnings, damage = config.Load(r.root)
	r.inForce = newInForce(&r.config)
	if r.config.CAFile != "" {
		r.caFile = r.path(r.config.CAFile)
	}
	if r.config.ClientCert != "" || r.config.ClientKey != "" {
		r.clientCert, r.clientKey = r.path(r.config.ClientCert), r.path(r.config.ClientKey)
	}
	nlbwmonConfig, err := config.ReadNlbwmon(r.root)
	damage = cmp.Or(damage, err)
	order, err := r.byteOrder(c.String("byte-order"))
	if err != nil {
		return nil, damage, err
	}
	// Facts like the zone dress the answers up; a router without them works.
	facts, _ := config.ReadRouter(r.root)
	location, err := config.Location(facts.Timezone)
	if err != nil {
		location = time.UTC
	}
	protocols := r.config.Protocols
	if protocols == "" {
		protocols = nlbwmonConfig.ProtocolDatabase
	}
	r.agent = &method.Agent{
		Router: &source.Router{
			SnapshotPath: r.path(r.config.Snapshot),
			SocketPath:   r.path(r.config.NlbwmonSocket),
			SocketWithin: p.clock.Exchange,
			LockPath:     r.path(lockPath),
			NlbwPath:     r.path("/usr/sbin/nlbw"),
			SQLitePath:   r.path("/tmp/nlbw.db"),
			DatabaseDir:  r.path(nlbwmonConfig.DatabaseDirectory),
			Refresh:      nlbwmonConfig.RefreshInterval,
			Order:        order,
			Location:     location,
			Now:          p.now,
		},
		Protocols: r.path(protocols),
		Services: method.Remember(namesFor, p.now, func() (*nlbwmon.Protocols, error) {
			return nlbwmon.LoadProtocols(r.path(protocols))
		}),
		Limit:  nlbwmonConfig.DatabaseLimit,
		Status: func(ctx context.Context) method.Status { return p.ownStatus(ctx, r, facts) },
		Now:    p.now,
	}
	r.agent.Router.Service = func(name string) (uint8, uint16, bool) {
		services, _ := r.agent.Services() // nil knows none
		return services.Find(name)
	}
	r.know(p, nil, nil)
	r.agent.Root, r.agent.Running = r.root, r.config.Preferences()
	r.agent.Baseline = p.baseline(r)
	r.agent.Fresh = p.fresh(r)
	r.examine(p, nlbwmonConfig)
	return r, damage, nil
}

// know has the answers name devices by what the router's files say, and by
// what was kept in blobs, which the daemon alone has. The files are read when
// somebody asks.
func (r *router) know(p *program, blobs identity.Blobs, log *slog.Logger) {
	r.agent.Devices = sync.OnceValue(func() *identity.Keeper {
		return identity.Open(identity.Options{Root: r.root, Now: p.now, NotBefore: p.build.at(), Blobs: blobs, Log: log})
	})
	r.agent.Names = func() (usage.Names, error) { return r.agent.Devices().Names() }
}

// path is a path of the router's below the root.
func (r *router) path(path string) string { return filepath.Join(r.root, path) }

// byteOrder reads flag --byte-order.
func (r *router) byteOrder(word string) (nlbwmon.AddrOrder, error) {
	switch word {
	case "little":
		return nlbwmon.OrderLittle, nil
	case "big":
		return nlbwmon.OrderBig, nil
	case "native":
		return nlbwmon.NativeOrder(), nil
	case "auto":
		if r.root == "/" {
			return nlbwmon.NativeOrder(), nil
		}
		return nlbwmon.OrderGuess, nil
	}
	return 0, oneOf("byte-order", word, "auto", "native", "little", "big")
}

// ownStatus is what the agent knows of itself where no daemon is asked.
func (p *program) ownStatus(_ context.Context, r *router, facts config.Router) method.Status {
	s := method.Status{
		Version:      p.build.Version,
		RouterID:     string(facts.ID),
		Hostname:     facts.Hostname,
		Timezone:     facts.Timezone,
		RemoteAccess: string(r.inForce.remoteAccess()),
		ClockSane:    p.now().After(p.build.at()),
		Privileges:   "root",
		Warnings:     []string{},
		History: method.HistoryStatus{
			Error: local.ErrNoDaemon.Error(), Repairs: []string{}, LeftAlone: []string{},
			Unresolved: []method.UnresolvedUsage{}, Quarantined: []method.SuspectUsage{},
		},
	}
	if uid := os.Geteuid(); uid != 0 {
		s.Privileges = strconv.Itoa(uid)
	}
	for _, w := range r.warnings {
		s.Warnings = append(s.Warnings, w.String())
	}
	switch id, err := config.LoadIdentity(r.root); {
	case err == nil:
		s.Uplink.Enrolled, s.Uplink.Relay = true, id.Relay.String()
		s.Uplink.Error = local.ErrNoDaemon.Error()
	case errors.Is(err, config.ErrNotEnrolled):
		s.Uplink.Error = config.ErrNotEnrolled.Error()
	default:
		s.Uplink.Error = fmt.Sprintf("identity: %v", err)
	}
	return s
}
