package method

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/netpilot/netpilot/agent/truth"
	"github.com/netpilot/netpilot/pkg/usage"
)

// texts are what router.text answers: what a person reads on the router
// itself. Each is read in this process; nothing is run.
func (a *Agent) texts() map[string]func() (string, error) {
	root := truth.Root(a.Root)
	file := func(path string) func() (string, error) {
		return func() (string, error) {
			text, there, err := root.Optional(path)
			if err == nil && !there {
				err = fmt.Errorf("%s: %w", path, fs.ErrNotExist)
			}
			return text, err
		}
	}
	return map[string]func() (string, error){
		"leases":  file("/tmp/dhcp.leases"),
		"arp":     file("/proc/net/arp"),
		"dev":     file("/proc/net/dev"),
		"neigh":   a.neighText,
		"uptime":  func() (string, error) { return uptimeText(root, a.Now().In(a.Router.Location)) },
		"nlbwmon": func() (string, error) { return nlbwmonText(root) },
	}
}

func (a *Agent) callText(_ context.Context, _ Access, params json.RawMessage) (json.RawMessage, error) {
	var p struct {
		What string `json:"what"`
	}
	if err := decode(params, &p); err != nil {
		return nil, err
	}
	texts := a.texts()
	read, ok := texts[p.What]
	if !ok {
		return nil, usage.Errorf(usage.Invalid, "no text %q; choose one of %s", usage.Clean(p.What, 32), strings.Join(slices.Sorted(maps.Keys(texts)), ", "))
	}
	text, err := read()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, usage.Errorf(usage.Unavailable, "this router has no such file: %w", err)
	case err != nil:
		return nil, usage.Errorf(usage.Unavailable, "%w", err)
	}
	return fits(append(usage.AppendQuoted([]byte(`{"text":`), text), '}'))
}

// neighText lists the neighbours as ip neigh does, those that are or were
// reachable.
func (a *Agent) neighText() (string, error) {
	if a.Devices == nil {
		return "", errNoDevices()
	}
	return a.Devices().NeighbourTable()
}

// nlbwmonText is what /etc/init.d/nlbwmon status says.
func nlbwmonText(root truth.Root) (string, error) {
	pids, err := root.PIDs("nlbwmon")
	switch {
	case err != nil:
		return "", err
	case len(pids) == 0:
		return "inactive\n", nil
	}
	return "running\n", nil
}

// uptimeText is what busybox's uptime says at now.
func uptimeText(root truth.Root, now time.Time) (string, error) {
	text, err := root.Read("/proc/uptime")
	if err != nil {
		return "", err
	}
	whole, _, _ := strings.Cut(text, ".")
	seconds, err := strconv.ParseUint(whole, 10, 40)
	if err != nil {
		return "", fmt.Errorf("read /proc/uptime: %w", err)
	}
	load, err := root.Read("/proc/loadavg")
	if err != nil {
		return "", err
	}
	loads := strings.Fields(load)
	if len(loads) < 3 {
		return "", errors.New("read /proc/loadavg: no three loads")
	}
	minutes := seconds / 60
	days, hours, minutes := minutes/1440, minutes/60%24, minutes%60
	up := fmt.Sprintf("%d min", minutes)
	if hours > 0 {
		up = fmt.Sprintf("%2d:%02d", hours, minutes)
	}
	switch days {
	case 0:
	case 1:
		up = "1 day, " + up
	default:
		up = fmt.Sprintf("%d days, %s", days, up)
	}
	return fmt.Sprintf(" %s up %s,  load average: %s\n", now.Format(time.TimeOnly), up, strings.Join(loads[:3], ", ")), nil
}
