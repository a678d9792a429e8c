package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/netpilot/netpilot/scripts/adb"
	"github.com/netpilot/netpilot/scripts/ipk"
	"github.com/netpilot/netpilot/scripts/target"
)

// The two kinds of feed, as folders: FEED/opkg/ARCH and FEED/apk/ARCH.
const (
	opkgDir = "opkg"
	apkDir  = "apk"
)

// marker says that a folder may be replaced: it was made here.
const marker = "SHA256SUMS"

type options struct {
	binaries, source, out, keys, url, version string
	epoch                                     int64
	revision                                  int
	fast                                      bool
	archs                                     []string // nil for all
}

// feed is one that is being made.
type feed struct {
	options
	signers *keys // nil: unsigned
	agent   recipe
	vendors recipe
	luci    recipe
	gzip    func([]byte) []byte // see ipk.Package

	mu        sync.Mutex // guards below
	out       io.Writer
	sums      map[string][sha256.Size]byte // by path below the feed
	page      page
	installed int // bytes of the largest agent with its vendor table
}

func (o options) build(ctx context.Context, stdout io.Writer) error {
	f := &feed{options: o, out: stdout, sums: make(map[string][sha256.Size]byte)}
	if o.epoch <= 0 {
		return errors.New("--epoch is missing: the packages carry the commit's time, so that two builds are equal")
	}
	if u, err := url.Parse(o.url); err != nil || o.url != "" && (u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.RawQuery != "" ||
		strings.ContainsAny(o.url, " '\"\\$`")) {
		return fmt.Errorf("--url %q: want an address like https://downloads.example.net/netpilot", o.url)
	}
	f.url = strings.TrimSuffix(o.url, "/")
	if !o.fast {
		f.gzip = newPacker().gzip
	}
	var err error
	if f.signers, err = readKeys(o.keys); err != nil {
		return err
	}
	if f.agent, err = agentRecipe(o.source); err != nil {
		return err
	}
	if f.agent.opkg, f.agent.apk, err = versions(o.version, o.epoch, o.revision); err != nil {
		return err
	}
	if f.vendors, err = ouiRecipe(o.source, o.revision); err != nil {
		return err
	}
	if f.luci, err = luciRecipe(o.source); err != nil {
		return err
	}
	f.luci.opkg, f.luci.apk = f.agent.opkg, f.agent.apk
	for _, r := range []*recipe{&f.agent, &f.vendors, &f.luci} {
		r.time = time.Unix(o.epoch, 0).UTC()
	}
	if err := f.clear(); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	wanted := slices.Clone(o.archs)
	for _, t := range target.All() {
		for _, arch := range t.Archs {
			if o.archs != nil && !slices.Contains(o.archs, arch) {
				continue
			}
			wanted = slices.DeleteFunc(wanted, func(s string) bool { return s == arch })
			group.Go(func() error {
				if err := ctx.Err(); err != nil {
					return err
				}
				return f.arch(t, arch)
			})
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if len(wanted) > 0 {
		return fmt.Errorf("no architecture is called %q", wanted[0])
	}
	if err := f.people(); err != nil {
		return err
	}
	return f.finish()
}

// clear removes the feed made before, and nothing else.
func (f *feed) clear() error {
	entries, err := os.ReadDir(f.options.out)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	} else if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(f.options.out, marker)); err != nil {
		return fmt.Errorf("%s holds something else than a whole feed; remove it or choose another --out", f.options.out)
	}
	return os.RemoveAll(f.options.out)
}

// arch makes the packages and both indexes of one architecture.
func (f *feed) arch(t target.Target, arch string) error {
	binary, err := os.ReadFile(filepath.Join(f.binaries, "netpilot-agent-"+t.Name))
	if err != nil {
		return fmt.Errorf("%w; build it first: make cross", err)
	}
	row := archRow{Arch: arch, Target: t.Name}
	agent := f.agent.with(arch, binary)
	var entries []ipk.Entry
	var containers []adb.Entry
	for _, r := range []*recipe{&agent, &f.vendors, &f.luci} {
		name, content, err := r.ipk(f.gzip)
		if err != nil {
			return fmt.Errorf("%s for %s: %w", r.name, arch, err)
		}
		entry, err := ipk.NewEntry(name, content)
		if err != nil {
			return err
		}
		entries = append(entries, entry)
		p, err := f.write(filepath.Join(opkgDir, arch, name), content)
		if err != nil {
			return err
		}
		row.Files = append(row.Files, p)

		name, c, err := r.container()
		if err != nil {
			return fmt.Errorf("%s for %s: %w", r.name, arch, err)
		}
		if err := f.sign(c); err != nil {
			return err
		}
		if content, err = c.Compressed(); err != nil {
			return err
		}
		containers = append(containers, adb.Entry{Package: c, Size: int64(len(content))})
		if p, err = f.write(filepath.Join(apkDir, arch, name), content); err != nil {
			return err
		}
		row.Files = append(row.Files, p)
	}
	if err := f.opkgIndex(arch, entries); err != nil {
		return err
	}
	if err := f.apkIndex(arch, containers); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.page.Archs = append(f.page.Archs, row)
	size := 0
	for _, r := range []*recipe{&agent, &f.vendors} {
		for _, file := range r.files {
			size += len(file.content)
		}
	}
	f.installed = max(f.installed, size)
	_, err = fmt.Fprintf(f.out, "%-26s ipk %8d  apk %8d\n", arch, row.Files[0].Size, row.Files[1].Size)
	return err
}

// sign signs an apk file if there are keys.
func (f *feed) sign(c *adb.Container) error {
	if f.signers == nil {
		return nil
	}
	return c.Sign(f.signers.apk)
}

func (f *feed) opkgIndex(arch string, entries []ipk.Entry) error {
	list, err := ipk.Packages(entries)
	if err != nil {
		return err
	}
	packed, err := ipk.PackagesGz(list)
	if err != nil {
		return err
	}
	dir := filepath.Join(opkgDir, arch)
	if _, err := f.write(filepath.Join(dir, "Packages"), list); err != nil {
		return err
	}
	if _, err := f.write(filepath.Join(dir, "Packages.gz"), packed); err != nil {
		return err
	}
	if f.signers != nil {
		_, err = f.write(filepath.Join(dir, "Packages.sig"), f.signers.usign.Sign(list))
	}
	return err
}

func (f *feed) apkIndex(arch string, entries []adb.Entry) error {
	c, err := adb.NewIndex("netpilot", entries)
	if err != nil {
		return err
	}
	if err := f.sign(c); err != nil {
		return err
	}
	content, err := c.Compressed()
	if err != nil {
		return err
	}
	_, err = f.write(filepath.Join(apkDir, arch, "packages.adb"), content)
	return err
}

// write writes a file of the feed and notes its sum.
func (f *feed) write(path string, content []byte) (pageFile, error) {
	full := filepath.Join(f.options.out, path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		return pageFile{}, err
	}
	if err := os.WriteFile(full, content, 0o644); err != nil {
		return pageFile{}, err
	}
	f.mu.Lock()
	f.sums[filepath.ToSlash(path)] = sha256.Sum256(content)
	f.mu.Unlock()
	return pageFile{Path: filepath.ToSlash(path), Size: len(content)}, nil
}

// finish writes the sums, which make the feed whole.
func (f *feed) finish() error {
	paths := make([]string, 0, len(f.sums))
	for path := range f.sums {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	var b bytes.Buffer
	for _, path := range paths {
		fmt.Fprintf(&b, "%x  %s\n", f.sums[path], path)
	}
	if err := os.WriteFile(filepath.Join(f.options.out, marker), b.Bytes(), 0o644); err != nil {
		return err
	}
	if f.signers == nil {
		_, err := fmt.Fprintf(f.out, "%s: %d files, NOT SIGNED: routers refuse it; next: make keys, then again\n", f.options.out, len(paths))
		return err
	}
	_, err := fmt.Fprintf(f.out, "%s: %d files, signed by opkg key %s and apk key %s\n",
		f.options.out, len(paths), f.signers.usign.ID.Fingerprint(), filepath.Join(f.options.keys, apkPublic))
	return err
}
