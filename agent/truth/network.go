package truth

import (
	"context"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

const (
	networkConfig = "/etc/config/network"
	nlbwmonConfig = "/etc/config/nlbwmon"
)

// lan is a network of the configuration that devices are in.
type lan struct {
	name    string
	device  string
	subnets []netip.Prefix // on the device now
}

// lans are the networks with an address of the owner's choice, but the
// loopback and those the internet is reached by.
func (r *Router) lans(routes []route, uplinks []string) ([]lan, error) {
	file, err := r.Root.UCI(networkConfig)
	if err != nil {
		return nil, err
	}
	six, err := r.addresses6()
	if err != nil {
		return nil, err
	}
	var all []lan
	for _, s := range file.Sections {
		if s.Type != "interface" || s.Name == "" || s.Name == "loopback" {
			continue
		}
		if proto, _ := s.Get("proto"); proto != "static" {
			continue
		}
		l := lan{name: s.Name}
		for _, option := range []string{"device", "ifname"} { // ifname until 19.07
			if words := strings.Fields(strings.Join(s.List(option), " ")); l.device == "" && len(words) > 0 {
				l.device = words[0]
			}
		}
		if kind, _ := s.Get("type"); kind == "bridge" { // the way of 19.07
			l.device = "br-" + s.Name
		}
		if l.device == "" || l.device == "lo" || slices.Contains(uplinks, l.device) {
			continue
		}
		for _, rt := range routes {
			if rt.direct && rt.device == l.device && rt.dst.Bits() > 1 {
				l.subnets = append(l.subnets, rt.dst.Masked())
			}
		}
		for _, a := range six {
			if a.device == l.device {
				l.subnets = append(l.subnets, a.dst)
			}
		}
		all = append(all, l)
	}
	return all, nil
}

// Local tells which addresses are of the router's local networks, as they are
// now.
func (r *Router) Local() (func(netip.Addr) bool, error) {
	routes, err := r.Root.routes4()
	if err != nil {
		return nil, err
	}
	uplinks, err := r.Root.uplinks()
	if err != nil {
		return nil, err
	}
	lans, err := r.lans(routes, uplinks)
	if err != nil {
		return nil, err
	}
	return func(addr netip.Addr) bool {
		for _, l := range lans {
			for _, s := range l.subnets {
				if s.Contains(addr) {
					return true
				}
			}
		}
		return false
	}, nil
}

// addresses6 are the global IPv6 subnets of devices.
func (r *Router) addresses6() ([]route, error) {
	text, _, err := r.Root.Optional("/proc/net/if_inet6")
	var on []route
	for line := range strings.Lines(text) {
		// address ifindex length scope flags device
		f := strings.Fields(line)
		if len(f) < 6 || f[3] != "00" {
			continue
		}
		addr, ok := hex6(f[0])
		bits, err := strconv.ParseUint(f[2], 16, 8)
		if ok && err == nil && bits > 0 && bits <= 128 {
			on = append(on, route{device: f[5], dst: netip.PrefixFrom(addr, int(bits)).Masked()})
		}
	}
	return on, err
}

// checkNetworks compares what nlbwmon takes for local with what is.
func checkNetworks(_ context.Context, r *Router) ([]Finding, error) {
	if !r.Root.Exists(nlbwmonConfig) {
		return nil, nil // no nlbwmon; another check says so
	}
	file, err := r.Root.UCI(nlbwmonConfig)
	if err != nil {
		return nil, err
	}
	routes, err := r.Root.routes4()
	if err != nil {
		return nil, err
	}
	uplinks, err := r.Root.uplinks()
	if err != nil {
		return nil, err
	}
	lans, err := r.lans(routes, uplinks)
	if err != nil {
		return nil, err
	}
	// The list as it is: what was read at start may have been changed.
	names, prefixes := map[string]bool{}, []netip.Prefix{}
	listed := file.Section("nlbwmon", "").List("local_network")
	for _, word := range listed {
		if p, err := netip.ParsePrefix(word); err == nil {
			prefixes = append(prefixes, p.Masked())
		} else {
			names[word] = true
		}
	}
	evidence := sprintf("local_network in %s: %s", r.Root.Path(nlbwmonConfig), orNone(strings.Join(listed, " ")))
	var found []Finding
	for _, l := range lans {
		if names[l.name] {
			continue
		}
		var missed []string
		for _, s := range l.subnets {
			if !slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Bits() <= s.Bits() && p.Contains(s.Addr()) }) {
				missed = append(missed, s.String())
			}
		}
		if len(missed) == 0 {
			continue
		}
		fix := &fix{Services: []serviceRun{{"nlbwmon", "restart", "restart"}}}
		fix.add(r, nlbwmonConfig, "nlbwmon", "local_network", l.name)
		f := Finding{ID: "local-network", Severity: Error, skews: true, fix: fix,
			Text:     sprintf("devices of network %s are not counted on %s: nlbwmon does not take it for local", l.name, strings.Join(missed, ", ")),
			Evidence: sprintf("%s; %s is on %s", evidence, strings.Join(missed, ", "), l.device),
			Cure:     sprintf("uci add_list nlbwmon.@nlbwmon[0].local_network=%s; uci commit nlbwmon; service nlbwmon restart", l.name)}
		if len(found) > 0 { // one finding; a second --fix brings the next network in
			found[0].Text += "; and so for " + l.name
			continue
		}
		found = append(found, f)
	}
	for _, rt := range routes {
		if !rt.direct || rt.dst.Bits() <= 1 || !slices.Contains(uplinks, rt.device) {
			continue
		}
		for _, p := range prefixes {
			if p.Overlaps(rt.dst) {
				return append(found, Finding{ID: "wan-local", Severity: Warning,
					Text:     sprintf("the WAN's own network %s counts as local: the router itself is listed as a device, and what goes to that network is not counted", rt.dst.Masked()),
					Evidence: sprintf("%s; %s is on %s", evidence, rt.dst.Masked(), rt.device),
					Cure:     sprintf("in /etc/config/nlbwmon replace local_network %s by the names of the local networks (not automated: it may hold networks only you know); service nlbwmon restart", p)}), nil
			}
		}
	}
	return found, nil
}

func orNone(s string) string {
	if s == "" {
		return "(nothing)"
	}
	return s
}
