package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/netpilot/netpilot/pkg/oui"
)

// What every package says of itself.
const (
	license    = "Apache-2.0"
	homepage   = "https://github.com/netpilot/netpilot"
	maintainer = "netpilot <netpilot@users.noreply.github.com>"
	section    = "net"
	user       = "netpilot=477:netpilot=477" // free in OpenWrt's feeds
)

// allArchs is the architecture of a package without programs, as opkg says.
const allArchs = "all"

// file is a file or, without content, a directory of a package. All are root's.
type file struct {
	path    string // no leading slash
	mode    fs.FileMode
	content []byte
}

// recipe is a package before it has a format.
type recipe struct {
	name        string
	opkg, apk   string // the version for each
	arch        string
	description string
	depends     []string
	user        string // created at installation, "" for none
	conffiles   []string
	files       []file
	postinst    string // own steps at the end of the installation, "" for none
	time        time.Time
}

// placed says where a file of openwrt-package goes.
type placed struct {
	source, path string
	mode         fs.FileMode
}

// agentFiles are the agent's but for its binary; netpilot-agent/Makefile
// installs the same.
func agentFiles() []placed {
	return []placed{
		{"netpilot.config", "etc/config/netpilot", 0o600},
		{"netpilot-agent.init", "etc/init.d/netpilot-agent", 0o755},
		{"netpilot.defaults", "etc/uci-defaults/80-netpilot", 0o755},
		{"netpilot.capabilities.json", "etc/capabilities/netpilot.json", 0o644},
		{"netpilot.hotplug-ntp", "etc/hotplug.d/ntp/80-netpilot", 0o755},
		{"netpilot.hotplug-iface", "etc/hotplug.d/iface/80-netpilot", 0o755},
		{"netpilot.keep", "lib/upgrade/keep.d/netpilot", 0o644},
		{"netpilot.acl.json", "usr/share/acl.d/netpilot.json", 0o644},
	}
}

// agentRecipe is netpilot-agent without architecture and binary.
func agentRecipe(source string) (recipe, error) {
	dir := filepath.Join(source, "netpilot-agent", "files")
	r := recipe{
		name:        "netpilot-agent",
		description: "Reads what nlbwmon counts and answers which device used how much, here and through a relay.",
		depends:     []string{"libc", "ca-bundle", "nlbwmon"},
		user:        user,
		conffiles:   []string{"/etc/config/netpilot"},
		files:       []file{{path: "etc/netpilot", mode: fs.ModeDir | 0o700}},
	}
	for _, p := range agentFiles() {
		text, err := os.ReadFile(filepath.Join(dir, p.source))
		if err != nil {
			return r, err
		}
		r.files = append(r.files, file{p.path, p.mode, text})
	}
	text, err := os.ReadFile(filepath.Join(dir, "netpilot-agent.postinst"))
	r.postinst = string(text)
	return r, err
}

// with returns the recipe for one architecture.
func (r recipe) with(arch string, binary []byte) recipe {
	r.arch = arch
	r.files = append(slices.Clip(r.files), file{"usr/sbin/netpilot-agent", 0o755, binary})
	return r
}

// ouiRecipe is the vendor table. Its version is the day the registry was
// taken.
func ouiRecipe(source string, revision int) (recipe, error) {
	path := filepath.Join(source, "netpilot-oui", "files", "oui")
	table, err := oui.Open(path)
	if err != nil {
		return recipe{}, err
	}
	date := table.Info().Date.UTC()
	if err := table.Close(); err != nil {
		return recipe{}, err
	}
	text, err := os.ReadFile(path)
	version := fmt.Sprintf("%d.%d.%d-r%d", date.Year(), date.Month(), date.Day(), revision)
	return recipe{
		name: "netpilot-oui", opkg: version, apk: version, arch: allArchs,
		description: "Vendor names for netpilot-agent, from the registry of the IEEE.",
		depends:     []string{"libc"},
		files:       []file{{"usr/share/netpilot/oui", 0o644, text}},
	}, err
}
