package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/netpilot/netpilot/pkg/uci"
	"github.com/netpilot/netpilot/pkg/usage"
)

// maxFact bounds a fact of the router, in bytes, so that all of them fit into
// the protocol's hello.
const maxFact = 128

// Router is what the router says of itself. All but ID may be empty.
type Router struct {
	ID       usage.RouterID
	Hostname string
	Model    string // as the board says
	Release  string // of OpenWrt: "24.10.1"
	Arch     string // of its packages: "mipsel_24kc"
	Timezone string // POSIX TZ: "CET-1CEST,M3.5.0,M10.5.0/3"
}

// ReadRouter reads the facts below root. Only a missing id is an error; the
// other facts are given also then.
func ReadRouter(root string) (Router, error) {
	release := readSettings(root, "/etc/openwrt_release")
	system := systemSection(root)
	r := Router{
		Hostname: first(option1(system, "hostname"), readFirst(root, "/proc/sys/kernel/hostname")),
		Model:    readFirst(root, "/tmp/sysinfo/model", "/proc/device-tree/model"),
		Release:  release["DISTRIB_RELEASE"],
		Arch:     release["DISTRIB_ARCH"],
		// /etc/TZ is what the C library and so nlbwmon go by.
		Timezone: first(readFirst(root, "/etc/TZ"), option1(system, "timezone"), "UTC"),
	}
	r.Hostname = usage.Clean(r.Hostname, usage.MaxName)
	for _, fact := range []*string{&r.Model, &r.Release, &r.Arch, &r.Timezone} {
		*fact = usage.Clean(*fact, maxFact)
	}
	var err error
	r.ID, err = readID(root)
	return r, err
}

// readID is the id of PROTOCOL.md section 1.
func readID(root string) (usage.RouterID, error) {
	text := readFirst(root, "/sys/class/net/br-lan/address", "/sys/class/net/eth0/address")
	if text == "" {
		return "", fmt.Errorf("no router id: neither %s nor %s can be read; try: ip link",
			filepath.Join(root, "/sys/class/net/br-lan/address"), filepath.Join(root, "/sys/class/net/eth0/address"))
	}
	sum := sha256.Sum256([]byte(text))
	return usage.RouterID(hex.EncodeToString(sum[:])), nil
}

// systemSection is the section of /etc/config/system, nil if there is none.
// A broken file is not the agent's to report: the names it would give are
// only for people.
func systemSection(root string) *uci.Section {
	file, err := uci.Load(filepath.Join(root, "/etc/config/system"))
	if err != nil {
		return nil
	}
	return file.Section("system", "")
}

func option1(s *uci.Section, name string) string {
	v, _ := s.Get(name)
	return v
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// readSettings reads a file of NAME='value' lines, made for a shell, without
// one: quotes are taken off and nothing is expanded. Other lines are skipped.
func readSettings(root, path string) map[string]string {
	text, err := readSmall(root, path)
	if err != nil {
		return nil
	}
	settings := make(map[string]string)
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if ok && name != "" && !strings.HasPrefix(name, "#") {
			settings[name] = unquote(value)
		}
	}
	return settings
}

func unquote(s string) string {
	if n := len(s); n >= 2 && (s[0] == '\'' || s[0] == '"') && s[n-1] == s[0] {
		return s[1 : n-1]
	}
	return s
}
