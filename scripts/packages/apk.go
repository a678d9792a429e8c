package main

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/netpilot/netpilot/scripts/adb"
)

// apkNoArch is what apk says where opkg says all.
const apkNoArch = "noarch"

// apkHead begins every script, as OpenWrt's own build writes it.
func apkHead(name string) string {
	return `#!/bin/sh
[ "${IPKG_NO_SCRIPT}" = "1" ] && exit 0
[ -s "${IPKG_INSTROOT}/lib/functions.sh" ] || exit 0
. "${IPKG_INSTROOT}/lib/functions.sh"
export root="${IPKG_INSTROOT}"
export pkgname="` + name + `"
`
}

// records are the files below /lib/apk/packages by which OpenWrt's functions
// find what the package has; apk keeps none of them itself.
func (r *recipe) records() []file {
	const dir = "lib/apk/packages/"
	var list, static []string
	for _, f := range r.files {
		if !f.mode.IsDir() {
			list = append(list, "/"+f.path)
		}
		if slices.Contains(r.conffiles, "/"+f.path) {
			static = append(static, fmt.Sprintf("/%s %x", f.path, sha256.Sum256(f.content)))
		}
	}
	text := func(suffix string, lines []string) file {
		slices.Sort(lines)
		return file{path: dir + r.name + suffix, mode: 0o644, content: []byte(strings.Join(lines, "\n") + "\n")}
	}
	files := []file{text(".list", list)}
	if len(r.conffiles) > 0 {
		files = append(files, text(".conffiles", slices.Clone(r.conffiles)), text(".conffiles_static", static))
	}
	if r.user != "" {
		files = append(files, text(".rusers", []string{r.user}))
	}
	return files
}

// container returns the package for apk, unsigned, and the name of its file.
// The order of calls in its scripts is that of OpenWrt's build; with an
// upgrade only the new package's script runs.
func (r *recipe) container() (name string, c *adb.Container, err error) {
	arch := r.arch
	if arch == allArchs {
		arch = apkNoArch
	}
	head := apkHead(r.name)
	own := strings.TrimPrefix(r.postinst, "#!/bin/sh\n")
	p := adb.Package{
		Info: adb.Info{
			Name: r.name, Version: r.apk, Arch: arch, Description: r.description, License: license, Origin: r.name,
			Maintainer: maintainer, URL: homepage, Depends: r.depends, BuildTime: uint64(r.time.Unix()),
			Tags: []string{"openwrt:section=" + r.section},
		},
		Scripts: adb.Scripts{
			PostInstall:  head + "add_group_and_user\ndefault_postinst\n" + own,
			PostUpgrade:  head + "export PKG_UPGRADE=1\nadd_group_and_user\ndefault_postinst\n" + own,
			PreDeinstall: head + "default_prerm\n",
		},
	}
	for _, f := range slices.Concat(r.files, r.records()) {
		p.Files = append(p.Files, adb.File{Path: f.path, Mode: f.mode, Content: f.content, Target: f.target, ModTime: r.time})
	}
	c, err = p.Container()
	return r.name + "-" + r.apk + ".apk", c, err
}
