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

	mu       sync.Mutex // guards below
	reader   reader
	book     *Book
	err      error // of the last reading: what could not be read
	readAt   time.Time
	owner    config.Devices
	members  map[usage.MAC][]usage.MAC // further interfaces of a device
	memory   *Memory
	flashed  time.Time // when the Memory last went to flash
	saved    uint64    // what it then said, see Memory.digest
	trouble  string    // the failure that stands in the log
	complain string    // the flash's failure that stands in the log
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
		k.reader.netlink = dumpTable
	}
	k.reader.collect.known = func(mac usage.MAC) bool { _, mine := k.owner[mac]; return mine || k.memory.knows(mac) }
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
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.opts.Blobs != nil {
		k.keepLocked(k.opts.Now(), flashApart)
	}
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
	k.mu.Lock()
	defer k.mu.Unlock()
	k.readLocked()
	if k.opts.Blobs != nil {
		k.keepLocked(k.opts.Now(), flashEvery)
	}
}

// readLocked makes a new Book, and has the Memory take it in.
func (k *Keeper) readLocked() {
	now := k.opts.Now()
	owner, err := config.LoadDevices(k.opts.Root)
	if err == nil || k.owner == nil { // a file that is half written leaves the last good one
		k.own(owner)
	}
	book, readErr := k.reader.read(now)
	k.book, k.err, k.readAt = book, errors.Join(err, readErr), now
	if !now.Before(k.opts.NotBefore) {
		k.memory.observe(book, now, k.pinned)
	}
	text := ""
	if k.err != nil {
		text = k.err.Error()
	}
	if text != k.trouble {
		if k.trouble = text; text != "" {
			k.opts.Log.Warn("not all is known of the devices", "err", k.err)
		}
	}
}

func (k *Keeper) own(owner config.Devices) {
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

// freshLocked reads again what was read too long ago.
func (k *Keeper) freshLocked() {
	if age := k.opts.Now().Sub(k.readAt); k.readAt.IsZero() || age < 0 || age >= fresh {
		k.readLocked()
	}
}

// keepLocked puts the Memory where a restart finds it, and on flash if the
// last copy is older than that.
func (k *Keeper) keepLocked(now time.Time, older time.Duration) {
	if now.Before(k.opts.NotBefore) {
		return
	}
	if err := k.opts.Blobs.PutBlob(blobName, k.memory.state(nil, nil)); err != nil {
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
	digest := k.memory.digest()
	if digest == k.saved {
		return
	}
	k.flashed = now // also if it fails: a full flash is not asked every time
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		err = atomicfile.Write(path, k.memory.state(nil, worthFlash), 0o600)
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
	if err := config.SetDevice(k.opts.Root, mac, func(d *config.Device) { *d = config.Device{} }); err != nil {
		return fmt.Errorf("forget %s: %w", mac, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.memory.forget([]usage.MAC{mac})
	k.readAt = time.Time{}
	if k.opts.Blobs != nil {
		k.keepLocked(k.opts.Now(), 0)
	}
	return nil
}

// Set has change change the owner's word on a device.
func (k *Keeper) Set(mac usage.MAC, change func(*config.Device)) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := config.SetDevice(k.opts.Root, mac, change); err != nil {
		return err
	}
	k.readAt = time.Time{}
	return nil
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
	Since   time.Time
	MACs    int    // in its worst ten minutes
	Network string // where the last one was seen
}

// State is how the Keeper fares.
type State struct {
	Known      int    // devices remembered
	Limit      int    // and how many can be
	Online     int    // seen in the last minutes
	Neighbours string // netlink, arp, or "" if neither can be read
	Vendors    bool   // the vendor table is there
	Flood      *Flood // nil without one
}

// State tells how the Keeper fares.
func (k *Keeper) State() State {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.freshLocked()
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
