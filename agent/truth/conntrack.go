package truth

import (
	"bufio"
	"context"
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

const (
	conntrackDir   = "/proc/sys/net/netfilter/"
	conntrackTable = "/proc/net/nf_conntrack"
)

// checkConntrack looks at the switches of connection tracking.
func checkConntrack(_ context.Context, r *Router) ([]Finding, error) {
	acct, there, err := r.Root.Number(conntrackDir + "nf_conntrack_acct")
	if err != nil {
		return nil, err
	}
	if !there && !r.Root.Exists("/proc/sys/net") {
		return nil, nil // a copy of a router's files
	}
	if !there {
		return []Finding{{ID: "conntrack-missing", Severity: Error, skews: true, Text: "the kernel does not track connections, so there is nothing to count",
			Evidence: "no " + r.Root.Path(conntrackDir+"nf_conntrack_acct"), Cure: "opkg install kmod-nf-conntrack kmod-nf-conntrack-netlink (apk add)"}}, nil
	}
	var found []Finding
	if acct == 0 {
		found = append(found, Finding{ID: "conntrack-acct", Severity: Error, skews: true, Text: "the kernel does not count the bytes of connections",
			Evidence: r.Root.Path(conntrackDir+"nf_conntrack_acct") + " is 0", Cure: "sysctl -w net.netfilter.nf_conntrack_acct=1 (connections made after that are counted)",
			fix: r.sysctl("conntrack-acct", "net.netfilter.nf_conntrack_acct", "1")})
	}
	// Absent where the kernel was built without events.
	events, there, err := r.Root.Number(conntrackDir + "nf_conntrack_events")
	if there && events == 0 {
		found = append(found, Finding{ID: "conntrack-events-off", Severity: Error, skews: true, Text: "the kernel tells nobody of new and ended connections: what is short is not counted",
			Evidence: r.Root.Path(conntrackDir+"nf_conntrack_events") + " is 0", Cure: "sysctl -w net.netfilter.nf_conntrack_events=1; service nlbwmon restart",
			fix: r.sysctl("conntrack-events-off", "net.netfilter.nf_conntrack_events", "1", serviceRun{"nlbwmon", "restart", "restart"})})
	}
	return found, err
}

// checkEvents proves with a connection of its own that listeners are told.
func checkEvents(ctx context.Context, r *Router) ([]Finding, error) {
	if r.Kernel == nil {
		return nil, nil
	}
	if events, there, _ := r.Root.Number(conntrackDir + "nf_conntrack_events"); there && events == 0 {
		return nil, nil // said already
	}
	heard, port, err := r.Kernel.Event(ctx)
	if err != nil || heard {
		return nil, err
	}
	flows, _, err := r.Root.Number(conntrackDir + "nf_conntrack_count")
	if err != nil || flows == 0 {
		return nil, err // nothing is tracked: no rule of the firewall needs it
	}
	f := Finding{ID: "conntrack-events", Severity: Error, skews: true,
		Text:     "connections exist and their events do not arrive: nlbwmon misses whatever begins and ends between two of its looks",
		Evidence: sprintf("%d connections; a new one to 127.0.0.1:%d was not told of within 1 s", flows, port),
		Cure:     "find the kernel module that takes the events (often a vendor's accelerator: lsmod) and unload it; service nlbwmon restart",
	}
	switch tracked, err := r.tracked(port); {
	case errors.Is(err, fs.ErrNotExist), err == nil && !tracked:
		// Loopback may be exempt from tracking here: this proves nothing.
		f.Severity, f.skews = Note, false
		f.Text = "no connection event was seen, and whether there should have been one is not known"
	case err != nil:
		return nil, err
	}
	return []Finding{f}, nil
}

// tracked tells whether the table has a flow to port on loopback.
func (r *Router) tracked(port int) (bool, error) {
	f, err := os.Open(r.Root.Path(conntrackTable))
	if err != nil {
		return false, err
	}
	defer f.Close()
	want := " dport=" + strconv.Itoa(port) + " "
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if line := lines.Text(); strings.Contains(line, " dst=127.0.0.1 ") && strings.Contains(line, want) {
			return true, nil
		}
	}
	return false, lines.Err()
}
