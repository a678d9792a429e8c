package identity

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/netpilot/netpilot/agent/config"
	"github.com/netpilot/netpilot/pkg/atomicfile"
	"github.com/netpilot/netpilot/pkg/oui"
	"github.com/netpilot/netpilot/pkg/usage"
)

// Where things lie below the root.
const (
	VendorPath = "/usr/share/netpilot/oui"     // optional
	KnownPath  = "/etc/netpilot/known-devices" // the Memory's copy on flash
)

const (
	// fresh is how long a Book answers before the files are read again: short
	// enough that a new lease shows on the next look.
	fresh = 2 * time.Second
	// lookEvery is how often the neighbours are looked at when nobody asks.
	lookEvery = 30 * time.Second
	// onlineFor is how long a device counts as online after it was last seen:
	// the kernel asks an idle neighbour after a minute or more.
	onlineFor = 5 * time.Minute
	// flashEvery is how often the Memory goes to flash, if it changed. With
	// 60 devices that is some 30 KB a day.
	flashEvery = 6 * time.Hour
	// flashApart is the least time between two copies, whatever restarts.
	flashApart = 10 * time.Minute

	blobName = "identity"
)

// Blobs keep the Memory over a restart of the agent; a history.Store does.
type Blobs interface {
	Blob(name string) []byte
	PutBlob(name string, data []byte) error
}

// Options are a Keeper's parts; Root and Now must be set.
type Options struct {
	Root      string
	Now       func() time.Time
	NotBefore time.Time // a clock before it is not set: nothing is remembered
	Blobs     Blobs     // nil: only what flash has is known of the past
	Log       *slog.Logger
}

// Keeper knows the devices. Its methods may be called by many goroutines.
type Keeper struct {
	opts    Options
	vendors *oui.Table // nil without the file

	files    sync.Mutex // held while files are read or written, and before mu; guards to the blank line
	reader   reader
	flashed  time.Time // when the Memory last went to flash
	saved    uint64    // what it then said, see Memory.digest
	trouble  string    // the failure that stands in the log
	complain string    // the flash's failure that stands in the log

	mu      sync.Mutex // guards below, and is never held for long: nlbwmon may wait for who asks
	book    *Book
	err     error // of the last reading: what could not be read
	readAt  time.Time
	owner   config.Devices
	members map[usage.MAC][]usage.MAC // further interfaces of a device
	memory  *Memory
}

// Open reads what is known of the devices. Nothing that is missing or damaged
// keeps it from working; the log has it.
func Open(o Options) *Keeper {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	k := &Keeper{opts: o, memory: newMemory(), book: &Book{}}
	k.reader.root = o.Root
	if o.Root == "/" {
		k.reader.netlink = kernelTable
	}
	k.reader.collect.known = func(mac usage.MAC) bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		return k.pinned(mac) || k.memory.knows(mac)
	}
	var err error
	if k.vendors, err = oui.Open(filepath.Join(o.Root, VendorPath)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		o.Log.Warn("no vendors", "err", err)
	}
	if !k.recall(o.Blobs) {
		k.recallFlash()
	}
	return k
}

// recall takes the Memory the last agent of this boot left.
func (k *Keeper) recall(blobs Blobs) bool {
	if blobs == nil {
		return false
	}
	data := blobs.Blob(blobName)
	if data == nil {
		return false
	}
	m, err := restore(data)
	if err != nil {
		k.opts.Log.Warn("devices are learnt anew", "err", err)
		return false
	}
	k.memory = m
	return true
}

// recallFlash takes the Memory of an earlier boot.
func (k *Keeper) recallFlash() {
	path := filepath.Join(k.opts.Root, KnownPath)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil {
		defer f.Close()
		var data []byte
		if data, err = io.ReadAll(io.LimitReader(f, maxState+1)); err == nil {
			var m *Memory
			if m, err = restore(data); err == nil {
				k.memory = m
				k.saved = m.digest()
				return
			}
		}
	}
	k.opts.Log.Warn("devices are learnt anew", "file", path, "err", err)
}

// Close saves the Memory and closes the vendor table.
func (k *Keeper) Close() error {
	k.files.Lock()
	defer k.files.Unlock()
	k.keepLocked(flashApart)
	return k.vendors.Close()
}

// Run looks at the neighbours until ctx ends. No failure ends it.
func (k *Keeper) Run(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		k.Look()
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Look reads the files and the neighbours now, and keeps what is new.
func (k *Keeper) Look() {
	k.files.Lock()
	defer k.files.Unlock()
	k.readFiles()
	k.keepLocked(flashEvery)
}

// refresh reads again what was read too long ago.
func (k *Keeper) refresh() {
	k.files.Lock()
	defer k.files.Unlock()
	k.mu.Lock()
	age := k.opts.Now().Sub(k.readAt)
	old := k.readAt.IsZero() || age < 0 || age >= fresh
	k.mu.Unlock()
	if old {
		k.readFiles()
	}
}

// readFiles makes a new Book, and has the Memory take it in. The lock files is
// held.
func (k *Keeper) readFiles() {
	now := k.opts.Now()
	owner, ownerErr := config.LoadDevices(k.opts.Root)
	book, err := k.reader.read(now)
	err = errors.Join(ownerErr, err)
	k.mu.Lock()
	if ownerErr == nil || k.owner == nil { // a file that is half written leaves the last good one
		k.ownLocked(owner)
	}
	k.book, k.err, k.readAt = book, err, now
	if !now.Before(k.opts.NotBefore) {
		k.memory.observe(book, now, k.pinned)
	}
	k.mu.Unlock()
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != k.trouble {
		if k.trouble = text; text != "" {
			k.opts.Log.Warn("not all is known of the devices", "err", err)
		}
	}
}

func (k *Keeper) ownLocked(owner config.Devices) {
	k.owner = owner
	k.members = nil
	for mac := range owner {
		if primary := owner.Primary(mac); primary != mac {
			if k.members == nil {
				k.members = make(map[usage.MAC][]usage.MAC)
			}
			k.members[primary] = append(k.members[primary], mac)
		}
	}
}

func (k *Keeper) pinned(mac usage.MAC) bool { _, ok := k.owner[mac]; return ok }

// keepLocked puts the Memory where a restart finds it, and on flash if the
// last copy is older than that. The lock files is held.
func (k *Keeper) keepLocked(older time.Duration) {
	now := k.opts.Now()
	if k.opts.Blobs == nil || now.Before(k.opts.NotBefore) {
		return
	}
	k.mu.Lock()
	state, digest := k.memory.state(nil, nil), k.memory.digest()
	k.mu.Unlock()
	if err := k.opts.Blobs.PutBlob(blobName, state); err != nil {
		k.complainLocked(err)
	}
	path := filepath.Join(k.opts.Root, KnownPath)
	if k.flashed.IsZero() {
		k.flashed = now.Add(-older)
		if info, err := os.Stat(path); err == nil && info.ModTime().Before(now) {
			k.flashed = info.ModTime()
		}
	}
	if age := now.Sub(k.flashed); age >= 0 && age < older {
		return
	}
	if digest == k.saved {
		return
	}
	k.mu.Lock()
	state = k.memory.state(nil, worthFlash)
	k.mu.Unlock()
	k.flashed = now // also if it fails: a full flash is not asked every time
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		err = atomicfile.Write(path, state, 0o600)
	}
	if err == nil {
		k.saved, k.complain = digest, ""
		return
	}
	k.complainLocked(err)
}

func (k *Keeper) complainLocked(err error) {
	if text := err.Error(); text != k.complain {
		k.complain = text
		k.opts.Log.Warn("devices not kept", "err", err)
	}
}

// Moved takes in what nlbwmon counted up to an instant: who sent something was
// there, at that address.
func (k *Keeper) Moved(at time.Time, deltas []usage.Record) {
	if at.Before(k.opts.NotBefore) {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.memory.moved(deltas, at, k.pinned)
}

// Attribute is the device that held an address at an instant; ok is false
// where that is not certain.
func (k *Keeper) Attribute(addr netip.Addr, at time.Time) (mac usage.MAC, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	mac, ok = k.memory.attribute(addr, at)
	if !ok {
		return usage.MAC{}, false
	}
	return mac, true
}

// Forget drops what was seen of a device, with the owner's word on it. It is
// known again when it is seen again.
func (k *Keeper) Forget(mac usage.MAC) error {
	k.files.Lock()
	defer k.files.Unlock()
	if err := config.SetDevice(k.opts.Root, mac, func(d *config.Device) { *d = config.Device{} }); err != nil {
		return fmt.Errorf("forget %s: %w", mac, err)
	}
	k.mu.Lock()
	k.memory.forget([]usage.MAC{mac})
	k.readAt = time.Time{}
	k.mu.Unlock()
	k.keepLocked(0)
	return nil
}

// Set has change change the owner's word on a device.
func (k *Keeper) Set(mac usage.MAC, change func(*config.Device)) error {
	k.files.Lock()
	defer k.files.Unlock()
	if err := config.SetDevice(k.opts.Root, mac, change); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.readAt = time.Time{}
	return nil
}

// Primary is the device that mac is an interface of, as a rule itself.
func (k *Keeper) Primary(mac usage.MAC) usage.MAC {
	k.refresh()
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.owner.Primary(mac)
}

// Err is what of the router's files could not be read at the last look.
func (k *Keeper) Err() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.err
}

// Flood is a host that makes devices up: so many MACs that were never seen
// before, in ten minutes.
type Flood struct {
	Since   time.Time `json:"since"`
	MACs    int       `json:"macs"`    // in its worst ten minutes
	Network string    `json:"network"` // where the last one was seen
}

// State is how the Keeper fares.
type State struct {
	Known      int    `json:"known"` // devices remembered
	Limit      int    `json:"limit"` // and how many can be
	Online     int    `json:"online"`
	Neighbours string `json:"neighbours"` // netlink, arp, or "" if neither can be read
	Vendors    bool   `json:"vendors"`    // the vendor table is there
	Flood      *Flood `json:"flood"`      // nil without one
}

// State tells how the Keeper fares.
func (k *Keeper) State() State {
	k.refresh()
	k.mu.Lock()
	defer k.mu.Unlock()
	s := State{Known: len(k.memory.devices), Limit: maxKnown, Neighbours: k.book.source, Vendors: k.vendors != nil}
	for mac := range k.memory.devices {
		if p, _ := k.presenceLocked(mac); p == usage.Online {
			s.Online++
		}
	}
	if f := &k.memory.flood; f.since != 0 {
		s.Flood = &Flood{Since: time.Unix(f.since, 0), MACs: f.most, Network: f.network}
	}
	return s
}
