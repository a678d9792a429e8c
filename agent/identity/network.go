package identity

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/netpilot/netpilot/pkg/uci"
)

// networks tells the router's LANs from its uplinks, as its configuration
// has them.
type networks struct {
	lan map[string]string // interface of the kernel's, and the network it is
	wan map[string]bool   // interfaces behind which there are no devices of ours
}

// of is the network that an interface belongs to; ok is false for an uplink
// and for the loopback. An interface that no configuration names, such as a
// container's bridge, is a network of its own.
func (n *networks) of(device string) (name string, ok bool) {
	if device == "lo" || n.wan[device] {
		return "", false
	}
	if name := n.lan[device]; name != "" {
		return name, true
	}
	return device, true
}

// readNetworks reads /etc/config/network and firewall. An uplink is what
// stands in a firewall zone that is called wan or hides its devices (masq).
func readNetworks(root string) (*networks, error) {
	n := &networks{lan: make(map[string]string), wan: make(map[string]bool)}
	network, err := loadUCI(root, "network")
	if network == nil {
		return n, err
	}
	firewall, firewallErr := loadUCI(root, "firewall")
	uplinks := []string{"wan", "wan6"}
	if firewall != nil {
		for _, s := range firewall.Sections {
			if s.Type != "zone" {
				continue
			}
			name, _ := s.Get("name")
			masq, _ := s.Get("masq")
			if on, _ := uci.ParseBool(masq); name == "wan" || on && name != "lan" {
				uplinks = append(uplinks, words(s, "network")...)
			}
		}
	}
	for _, s := range network.Sections {
		if s.Type != "interface" || s.Name == "" || s.Name == "loopback" {
			continue
		}
		uplink := slices.Contains(uplinks, s.Name)
		for _, device := range devicesOf(network, s, 0) {
			if uplink {
				n.wan[device] = true
			} else if n.lan[device] == "" {
				n.lan[device] = s.Name
			}
		}
	}
	for device := range n.lan { // one side of a shared interface is ours
		delete(n.wan, device)
	}
	return n, errors.Join(err, firewallErr)
}

// devicesOf are the kernel's interfaces of a section: option device, or ifname
// as before OpenWrt 21, where several make a bridge. "@name" is those of
// another section.
func devicesOf(network *uci.File, s *uci.Section, depth int) []string {
	if depth > 8 {
		return nil // they name each other in a ring
	}
	if kind, _ := s.Get("type"); kind == "bridge" {
		return []string{"br-" + s.Name}
	}
	var devices []string
	for _, name := range append(words(s, "device"), words(s, "ifname")...) {
		other, alias := strings.CutPrefix(name, "@")
		if !alias {
			devices = append(devices, name)
		} else if t := network.Section("interface", other); t != nil {
			devices = append(devices, devicesOf(network, t, depth+1)...)
		}
	}
	return devices
}

// words are the values of a list, or the words of an option.
func words(s *uci.Section, option string) []string {
	var all []string
	for _, value := range s.List(option) {
		all = append(all, strings.Fields(value)...)
	}
	return all
}

// loadUCI reads one of the router's configuration files; nil without an error
// if there is none.
func loadUCI(root, name string) (*uci.File, error) {
	f, err := uci.Load(filepath.Join(root, "/etc/config", name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return f, err
}
