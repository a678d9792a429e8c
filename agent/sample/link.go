package sample

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
)

// LinkSpeed is how many bytes a second the router's fastest link can carry
// each way, as the kernel says (sysfs, /sys/class/net/*/speed, in Mbit/s). 0
// where that does not bound what comes in: no link tells, or one that has no
// fixed speed, a radio or a tunnel over one, may be the way out.
func LinkSpeed(root string) uint64 {
	if wirelessWAN(root) {
		return 0
	}
	names, err := filepath.Glob(filepath.Join(root, "/sys/class/net/*/speed"))
	if err != nil {
		return 0
	}
	most := 0
	for _, name := range names {
		text, err := os.ReadFile(name) // EINVAL where the link is down
		if err != nil {
			continue
		}
		if mbit, err := strconv.Atoi(string(bytes.TrimSpace(text))); err == nil {
			most = max(most, mbit)
		}
	}
	return uint64(most) * 1_000_000 / 8
}

// wirelessWAN tells whether a default route leaves through a radio: a Wi-Fi
// client or a modem (/proc/net/route, RTN destination 0 with mask 0).
func wirelessWAN(root string) bool {
	table, err := os.ReadFile(filepath.Join(root, "/proc/net/route"))
	if err != nil {
		return false
	}
	for line := range bytes.Lines(table) {
		f := bytes.Fields(line)
		if len(f) < 8 || string(f[1]) != "00000000" || string(f[7]) != "00000000" {
			continue
		}
		device := string(f[0])
		if bytes.HasPrefix(f[0], []byte("wwan")) {
			return true
		}
		if _, err := os.Stat(filepath.Join(root, "/sys/class/net", device, "phy80211")); err == nil {
			return true
		}
	}
	return false
}
