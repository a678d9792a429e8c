package main

import (
	"github.com/netpilot/netpilot/scripts/ipk"
)

// The scripts that opkg runs are OpenWrt's own for every package: they leave
// at once where its functions are missing, as in a build of an image.
const (
	ipkHead = `#!/bin/sh
[ "${IPKG_NO_SCRIPT}" = "1" ] && exit 0
[ -s "${IPKG_INSTROOT}/lib/functions.sh" ] || exit 0
. "${IPKG_INSTROOT}/lib/functions.sh"
`
	ipkPostinst = ipkHead + "default_postinst $0 $@\n"
	ipkPrerm    = ipkHead + "default_prerm $0 $@\n"
)

// ipk returns the package for opkg, its files compressed by gzip, and the name
// of its file.
func (r *recipe) ipk(gzip func([]byte) []byte) (name string, content []byte, err error) {
	p := ipk.Package{
		Control: ipk.Control{
			Package: r.name, Version: r.opkg, Depends: r.depends, Section: r.section, RequireUser: r.user,
			License: license, URL: homepage, Maintainer: maintainer, Architecture: r.arch, Description: r.description,
		},
		Time: r.time, Conffiles: r.conffiles, Gzip: gzip,
		Scripts: map[string]string{"postinst": ipkPostinst, "prerm": ipkPrerm},
	}
	if r.postinst != "" {
		p.Scripts["postinst-pkg"] = r.postinst
	}
	for _, f := range r.files {
		p.Files = append(p.Files, ipk.File{Path: f.path, Mode: f.mode, Content: f.content, Target: f.target})
	}
	content, err = p.Bytes()
	return p.FileName(), content, err
}
