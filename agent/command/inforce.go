package command

import (
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/netpilot/netpilot/agent/config"
	"github.com/netpilot/netpilot/agent/history"
	"github.com/netpilot/netpilot/agent/method"
	"github.com/netpilot/netpilot/pkg/usage"
)

// inForce is what the daemon goes by of the options that it takes over from a
// changed configuration while it runs. The others it reads once, at its start.
type inForce struct {
	level  slog.LevelVar
	remote atomic.Value // config.Access

	// Fixed before the daemon's tasks start.
	pinned  []string       // options in whose place a flag of run stands
	history *history.Store // nil where none is kept
}

// newInForce is c in force.
func newInForce(c *config.Config) *inForce {
	f := &inForce{}
	f.level.Set(c.LogLevel)
	f.remote.Store(c.RemoteAccess)
	return f
}

// pin gives an option a flag's value, for good.
func (f *inForce) pin(option string, set func()) {
	f.pinned = append(f.pinned, option)
	set()
}

// remoteAccess is what the relay may ask for just now.
func (f *inForce) remoteAccess() config.Access { return f.remote.Load().(config.Access) }

// access is the same as the methods have it.
func (f *inForce) access() method.Access { return method.Remote(f.remoteAccess()) }

// take puts c in force as far as that needs no restart, and names the options
// that are now as c has them.
func (f *inForce) take(c config.Config) (taken []string) {
	for option, set := range map[string]func(){
		"log_level":     func() { f.level.Set(c.LogLevel) },
		"remote_access": func() { f.remote.Store(c.RemoteAccess) },
	} {
		if !slices.Contains(f.pinned, option) {
			set()
			taken = append(taken, option)
		}
	}
	if f.history != nil && f.history.Keep(keepHours(&c), c.History.KiB<<10) == nil {
		taken = append(taken, "history_days", "history_kib")
	}
	return taken
}

// keepHours is how long the history keeps hours.
func keepHours(c *config.Config) time.Duration { return time.Duration(c.History.Days) * usage.Day }
