package main

import (
	"fmt"
	"regexp"
)

// release is what git describe says of a commit: X.Y.Z, X.Y.Z-rcN, either with
// -COMMITS-gHASH behind it, or 0.0.0-gHASH before the first tag.
var release = regexp.MustCompile(`^(\d+\.\d+\.\d+)(?:-rc(\d+))?(?:-(\d+))?(?:-g[0-9a-f]+)?$`)

// versions maps a version to what opkg and apk sort right: opkg sorts _rc
// after the release, apk does not take ~rc. A commit after a tag comes after
// it; epoch, the commit's time, orders those before the first tag.
func versions(version string, epoch int64, revision int) (opkg, apk string, err error) {
	m := release.FindStringSubmatch(version)
	if m == nil {
		return "", "", fmt.Errorf("version %q is not like 1.2.3 or 1.2.3-rc1", version)
	}
	opkg, apk = m[1], m[1]
	if m[2] != "" {
		opkg += "~rc" + m[2]
		apk += "_rc" + m[2]
	}
	commits := m[3]
	if commits == "" && version != m[1] && m[2] == "" { // 0.0.0-gHASH
		commits = fmt.Sprint(epoch)
	}
	if commits != "" {
		opkg += "+git" + commits
		apk += "_git" + commits
	}
	suffix := fmt.Sprintf("-r%d", revision)
	return opkg + suffix, apk + suffix, nil
}
