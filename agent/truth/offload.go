package truth

import (
	"context"
	"errors"
	"os"
	"strings"

	"github.com/netpilot/netpilot/agent/netfilter"
	"github.com/netpilot/netpilot/pkg/uci"
)

const firewallConfig = "/etc/config/firewall"

// checkOffload looks for flows that take a short cut past the counters: as
// the firewall is set up, and as it is.
func checkOffload(ctx context.Context, r *Router) ([]Finding, error) {
	file, err := r.Root.UCI(firewallConfig)
	if err != nil {
		return nil, err
	}
	defaults := file.Section("defaults", "")
	on := func(option string) bool {
		text, _ := defaults.Get(option)
		value, _ := uci.ParseBool(text)
		return value
	}
	// Hardware offload needs software offload to be on (firewall4).
	software := on("flow_offloading")
	hardware := software && on("flow_offloading_hw")
	var live []netfilter.Flowtable
	var liveErr error
	known := false
	if r.Kernel != nil {
		live, liveErr = r.Kernel.Flowtables(ctx)
		known = liveErr == nil
		if errors.Is(liveErr, os.ErrPermission) {
			liveErr = nil // the daemon in its jail: the configuration must do
		}
	}
	where := []string{}
	counted := true
	for _, t := range live {
		hardware = hardware || t.Hardware
		software, counted = true, counted && t.Counted
		where = append(where, t.Table+" "+t.Name)
	}
	evidence := sprintf("%s: flow_offloading %t, flow_offloading_hw %t", r.Root.Path(firewallConfig), on("flow_offloading"), on("flow_offloading_hw"))
	switch {
	case known && len(live) == 0:
		evidence += "; no flowtable is live"
	case known:
		evidence += "; live: " + sprintf("%s", strings.Join(where, ", "))
	default:
		evidence += "; the live flowtables were not looked at"
	}
	switch {
	case hardware && !(known && len(live) == 0):
		return []Finding{{ID: "offload-hardware", Severity: Error, skews: true, Evidence: evidence,
			Text: "hardware flow offload is on: most of what passes through the chip is not counted",
			Cure: "option flow_offloading_hw '0' in /etc/config/firewall; service firewall restart (costs speed on fast lines)",
			fix:  r.firewall("flow_offloading_hw")}}, liveErr
	case software && known && len(live) > 0 && counted:
		return nil, liveErr // counters are kept on the fast path
	case software && known && len(live) == 0:
		return nil, liveErr // asked for, but this kernel has none
	case software && !known && r.countsSoftware():
		return nil, liveErr
	case software:
		return []Finding{{ID: "offload-software", Severity: Error, skews: true, Evidence: evidence,
			Text: "software flow offload is on without counters: what takes the fast path is not counted",
			Cure: "option flow_offloading '0' in /etc/config/firewall; service firewall restart; OpenWrt from 24.10 on counts with it on",
			fix:  r.firewall("flow_offloading")}}, liveErr
	}
	return nil, liveErr
}

// countsSoftware tells whether this release's firewall4 gives its flowtable
// counters: from 24.10 on. An unknown one is taken to.
func (r *Router) countsSoftware() bool {
	text, _, _ := r.Root.Optional("/etc/openwrt_release")
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, "DISTRIB_RELEASE="); ok {
			value = strings.Trim(value, "'\"\r\n ")
			return value == "" || value[0] > '9' || value >= "24.10"
		}
	}
	return true
}

// firewall switches an option of the firewall off.
func (r *Router) firewall(option string) *fix {
	f := &fix{Services: []serviceRun{{"firewall", "restart", "restart"}}}
	f.set(r, firewallConfig, "defaults", option, "0")
	return f
}
