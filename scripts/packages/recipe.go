package main

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/netpilot/netpilot/pkg/oui"
)

// What every package says of itself.
const (
	license    = "Apache-2.0"
	homepage   = "https://github.com/netpilot/netpilot"
	maintainer = "netpilot <netpilot@users.noreply.github.com>"
	user       = "netpilot=477:netpilot=477" // free in OpenWrt's feeds
)

// allArchs is the architecture of a package without programs, as opkg says.
const allArchs = "all"

// file is a file, a directory or a symbolic link of a package. All are root's.
type file struct {
	path    string // no leading slash
	mode    fs.FileMode
	content []byte
	target  string // of a link
}

// recipe is a package before it has a format.
type recipe struct {
	name        string
	opkg, apk   string // the version for each
	arch        string
	section     string
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
		section:     "net",
		description: "Reads what nlbwmon counts and answers which device used how much, here and through a relay.",
		depends:     []string{"libc", "ca-bundle", "nlbwmon"},
		user:        user,
		conffiles:   []string{"/etc/config/netpilot"},
		files: []file{
			{path: "etc/netpilot", mode: fs.ModeDir | 0o700},
			{path: "usr/libexec/rpcd/netpilot", mode: fs.ModeSymlink | 0o777, target: "/usr/sbin/netpilot-agent"},
		},
	}
	for _, p := range agentFiles() {
		text, err := os.ReadFile(filepath.Join(dir, p.source))
		if err != nil {
			return r, err
		}
		r.files = append(r.files, file{path: p.path, mode: p.mode, content: text})
	}
	text, err := os.ReadFile(filepath.Join(dir, "netpilot-agent.postinst"))
	r.postinst = string(text)
	return r, err
}

// with returns the recipe for one architecture.
func (r recipe) with(arch string, binary []byte) recipe {
	r.arch = arch
	r.files = append(slices.Clip(r.files), file{path: "usr/sbin/netpilot-agent", mode: 0o755, content: binary})
	return r
}

// ouiRecipe is the vendor table. Its version is the day the registry was
// taken.
func ouiRecipe(source string, revision int) (recipe, error) {
	place := filepath.Join(source, "netpilot-oui", "files", "oui")
	table, err := oui.Open(place)
	if err != nil {
		return recipe{}, err
	}
	date := table.Info().Date.UTC()
	if err := table.Close(); err != nil {
		return recipe{}, err
	}
	text, err := os.ReadFile(place)
	version := fmt.Sprintf("%d.%d.%d-r%d", date.Year(), date.Month(), date.Day(), revision)
	return recipe{
		name: "netpilot-oui", opkg: version, apk: version, arch: allArchs, section: "net",
		description: "Vendor names for netpilot-agent, from the registry of the IEEE.",
		depends:     []string{"libc"},
		files:       []file{{path: "usr/share/netpilot/oui", mode: 0o644, content: text}},
	}, err
}

// luciRecipe is the page for LuCI without its version: htdocs/ goes to where
// the web server's files are and root/ to the root, as luci.mk has it.
func luciRecipe(source string) (recipe, error) {
	dir := filepath.Join(source, "luci-app-netpilot")
	r := recipe{
		name: "luci-app-netpilot", arch: allArchs, section: "luci",
		description: "LuCI page for netpilot-agent: usage of devices, the link to the relay, what is wrong with the counting.",
		depends:     []string{"libc", "luci-base", "netpilot-agent"},
	}
	for from, to := range map[string]string{"htdocs": "www", "root": ""} {
		tree := os.DirFS(filepath.Join(dir, from))
		err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			text, err := fs.ReadFile(tree, name)
			r.files = append(r.files, file{path: path.Join(to, name), mode: 0o644, content: text})
			return err
		})
		if err != nil {
			return r, err
		}
	}
	slices.SortFunc(r.files, func(a, b file) int { return strings.Compare(a.path, b.path) })
	text, err := os.ReadFile(filepath.Join(dir, "postinst"))
	r.postinst = string(text)
	return r, err
}
