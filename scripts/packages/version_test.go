package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/netpilot/netpilot/scripts/adb"
)

// TestVersions lists versions from old to new, as git describe says them.
func TestVersions(t *testing.T) {
	list := []struct {
		version   string
		epoch     int64
		opkg, apk string
	}{
		{"0.0.0-g0a1b2c3", 1764000000, "0.0.0+git1764000000-r1", "0.0.0_git1764000000-r1"},
		{"0.0.0-gffffff0", 1764000999, "0.0.0+git1764000999-r1", "0.0.0_git1764000999-r1"},
		{"1.2.3-rc1", 0, "1.2.3~rc1-r1", "1.2.3_rc1-r1"},
		{"1.2.3-rc1-4-gabc", 0, "1.2.3~rc1+git4-r1", "1.2.3_rc1_git4-r1"},
		{"1.2.3-rc2", 0, "1.2.3~rc2-r1", "1.2.3_rc2-r1"},
		{"1.2.3", 0, "1.2.3-r1", "1.2.3-r1"},
		{"1.2.3-9-gabc", 0, "1.2.3+git9-r1", "1.2.3_git9-r1"},
		{"1.2.3-10-gabc", 0, "1.2.3+git10-r1", "1.2.3_git10-r1"},
		{"1.2.10", 0, "1.2.10-r1", "1.2.10-r1"},
	}
	conf := filepath.Join(t.TempDir(), "opkg.conf")
	if err := os.WriteFile(conf, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	before := ""
	opkgBefore := ""
	for _, v := range list {
		opkg, apk, err := versions(v.version, v.epoch, 1)
		if err != nil || opkg != v.opkg || apk != v.apk {
			t.Errorf("%s: got %s, %s, %v, want %s, %s", v.version, opkg, apk, err, v.opkg, v.apk)
			continue
		}
		if !adb.ValidVersion(apk) || adb.CompareVersions(apk, before) <= 0 && before != "" {
			t.Errorf("apk does not sort %s after %s", apk, before)
		}
		if real, err := exec.LookPath("opkg"); err == nil && opkgBefore != "" {
			if err := exec.Command(real, "-f", conf, "compare-versions", opkg, ">>", opkgBefore).Run(); err != nil {
				t.Errorf("opkg does not sort %s after %s: %v", opkg, opkgBefore, err)
			}
		}
		before, opkgBefore = apk, opkg
	}
	for _, bad := range []string{"", "v1.2.3", "1.2", "1.2.3~rc1", "1.2.3-beta", "1.2.3-r1", strings.Repeat("1", 9) + ".x"} {
		if opkg, _, err := versions(bad, 1, 1); err == nil {
			t.Errorf("%q was taken as %s", bad, opkg)
		}
	}
}
