package main

import (
	"bytes"
	_ "embed" // the page and the installer
	"html/template"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

//go:embed page.html
var pageText string

// page is what index.html shows.
type page struct {
	Version, URL, Fingerprint string
	Signed                    bool
	Archs                     []archRow
}

type archRow struct {
	Arch, Target string
	Files        []pageFile // ipk and apk of the agent, of the vendors and of the page for LuCI
}

type pageFile struct {
	Path string
	Size int // bytes
}

// Base is the file's name.
func (f pageFile) Base() string { return f.Path[strings.LastIndexByte(f.Path, '/')+1:] }

// people writes what is for people: the page, the installer and the keys.
func (f *feed) people() error {
	f.page.Version, f.page.URL, f.page.Signed = f.version, f.url, f.signers != nil
	slices.SortFunc(f.page.Archs, func(a, b archRow) int { return strings.Compare(a.Arch, b.Arch) })
	replace := []string{"@FEED_URL@", f.url, "@OPKG_FINGERPRINT@", "", "@OPKG_KEY@", "", "@APK_KEY@", "",
		"@ARCHS@", "", "@INSTALLED_KIB@", strconv.Itoa(f.installed >> 10)}
	if f.signers != nil {
		public := f.signers.usign.Public()
		f.page.Fingerprint = public.ID.Fingerprint()
		if _, err := f.write("netpilot.usign.pub", public.Text()); err != nil {
			return err
		}
		if _, err := f.write("netpilot.pem", f.signers.apkText); err != nil {
			return err
		}
		replace[3], replace[5], replace[7] = f.page.Fingerprint, strings.TrimSpace(string(public.Text())), strings.TrimSpace(string(f.signers.apkText))
	}
	for _, row := range f.page.Archs {
		replace[9] += " " + row.Arch
	}
	replace[9] = strings.TrimSpace(replace[9])
	script, err := os.ReadFile(filepath.Join(f.source, "install.sh"))
	if err != nil {
		return err
	}
	if _, err := f.write("install.sh", []byte(strings.NewReplacer(replace...).Replace(string(script)))); err != nil {
		return err
	}
	t, err := template.New("page").Parse(pageText)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, &f.page); err != nil {
		return err
	}
	_, err = f.write("index.html", b.Bytes())
	return err
}
