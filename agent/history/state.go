package history

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"

	"github.com/netpilot/netpilot/agent/checksum"
	"github.com/netpilot/netpilot/pkg/usage"
)

// The state file in RAM says which bytes of which segments count, and holds
// what is in no segment yet: open buckets, gaps and blobs. Replacing it is
// what commits all of them together. See FORMAT.md section 5.
const (
	stateName  = "state"
	stateNew   = "state.new"
	stateMagic = "NPSTAT\x01\n"
	stateHead  = magicLen + 8 // magic, length, CRC

	maxState    = 16 << 20
	maxBlob     = 4 << 20 // bytes
	maxBlobs    = 8
	maxBlobName = 64
)

// PutBlob keeps data under the name, for Blob to find after a restart of the
// agent. It is on disk with the next Save or Advance, in the same instant as
// the buckets, so that who puts the state from which the next deltas are
// made, after adding the last ones, neither loses nor repeats any. It is gone
// after a reboot. The Store keeps data, which must not be changed; nil removes.
func (s *Store) PutBlob(name string, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if data == nil {
		delete(s.blobs, name)
		return nil
	}
	if len(name) == 0 || len(name) > maxBlobName || len(data) > maxBlob {
		return usage.Errorf(usage.Invalid, "blob %q of %d bytes: at most %d, with a name of 1 to %d", usage.Clean(name, maxBlobName), len(data), maxBlob, maxBlobName)
	}
	if _, ok := s.blobs[name]; !ok && len(s.blobs) >= maxBlobs {
		return usage.Errorf(usage.Invalid, "blob %q would be one more than %d", usage.Clean(name, maxBlobName), maxBlobs)
	}
	s.blobs[name] = data
	return nil
}

// Blob gives what was put under the name, nil if nothing was.
func (s *Store) Blob(name string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.blobs[name]
}

// Save writes the open buckets, gaps and blobs to the directory in RAM, all
// or none of them.
func (s *Store) Save() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	return s.save()
}

func (s *Store) save() error {
	// Blobs are large and go to the file from where they are.
	parts := make([][]byte, 1, 2+2*len(s.blobs))
	frame := s.appendState(make([]byte, 0, 4<<10))
	for _, name := range slices.Sorted(maps.Keys(s.blobs)) {
		frame = appendText(frame, name)
		frame = binary.AppendUvarint(frame, uint64(len(s.blobs[name])))
		parts = append(parts, frame, s.blobs[name])
		frame = nil
	}
	if frame != nil {
		parts = append(parts, frame)
	}
	size, sum := 0, uint32(0)
	for _, p := range parts {
		size, sum = size+len(p), checksum.Extend(sum, p)
	}
	head := []byte(stateMagic)
	head = binary.LittleEndian.AppendUint32(head, uint32(size))
	parts[0] = binary.LittleEndian.AppendUint32(head, sum)
	f, err := s.fs.Open(s.path(stateNew), true)
	if err != nil {
		return fmt.Errorf("save history: %w", err)
	}
	err = errors.Join(f.Truncate(0), writeAll(f, parts...), f.Close())
	if err == nil {
		err = s.fs.Rename(s.path(stateNew), s.path(stateName))
	}
	if err != nil {
		return fmt.Errorf("save history: %w", err)
	}
	return nil
}

func writeAll(f File, parts ...[]byte) error {
	var off int64
	for _, p := range parts {
		n, err := f.WriteAt(p, off)
		if err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}

func appendText[T string | []byte](p []byte, text T) []byte {
	p = binary.AppendUvarint(p, uint64(len(text)))
	return append(p, text...)
}

// appendState is all but the blobs.
func (s *Store) appendState(p []byte) []byte {
	p = binary.AppendUvarint(p, s.seq)
	p = binary.AppendVarint(p, s.clock.last)
	p = binary.AppendVarint(p, s.clock.hold)
	attached := byte(0)
	if s.flash.attached {
		attached = 1
	}
	p = append(p, attached)
	n := 0
	for _, g := range s.segs {
		if g.written > 0 {
			n++
		}
	}
	p = binary.AppendUvarint(p, uint64(n))
	for _, g := range s.segs {
		if g.written == 0 {
			continue
		}
		p = append(p, byte(g.kind), g.turn)
		p = binary.AppendVarint(p, g.start)
		p = binary.AppendUvarint(p, uint64(g.written))
		p = binary.AppendUvarint(p, uint64(g.flashed))
	}
	p = binary.AppendUvarint(p, uint64(len(s.open)))
	for _, start := range slices.Sorted(maps.Keys(s.open)) {
		d := newDict()
		d.forAppending(0, 0)
		payloads := appendBucket(nil, typeAdd, start, span{start, start + slotSecs}, 0, s.open[start], d)
		p = binary.AppendVarint(p, start)
		p = binary.AppendUvarint(p, uint64(len(payloads)))
		for _, b := range payloads {
			p = appendText(p, b)
		}
	}
	p = binary.AppendUvarint(p, uint64(len(s.gaps)))
	for _, gap := range s.gaps {
		p = appendText(p, appendGap(nil, typeGap, 0, 0, gap))
	}
	return binary.AppendUvarint(p, uint64(len(s.blobs)))
}

// saved is a decoded state file.
type saved struct {
	seq      uint64
	clock    clock
	attached bool
	segs     map[string]savedSize
	open     map[int64]*bucket
	gaps     []usage.Gap
	blobs    map[string][]byte
}

// savedSize is how much of a segment counts, in RAM and on flash.
type savedSize struct{ size, flashed int64 }

// readState reads the state file; nil and no error if there is none.
func (s *Store) readState() (*saved, error) {
	f, err := s.fs.Open(s.path(stateName), false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size < stateHead || size > maxState {
		return nil, fmt.Errorf("%d bytes", size)
	}
	data := make([]byte, size)
	if _, err := f.ReadAt(data, 0); err != nil && err != io.EOF {
		return nil, err
	}
	return parseState(data)
}

func parseState(data []byte) (*saved, error) {
	if len(data) < stateHead || !bytes.HasPrefix(data, []byte(stateMagic)) {
		return nil, errors.New("not of this version")
	}
	body := data[stateHead:]
	if binary.LittleEndian.Uint32(data[magicLen:]) != uint32(len(body)) ||
		binary.LittleEndian.Uint32(data[magicLen+4:]) != checksum.Of(body) {
		return nil, errors.New("checksum")
	}
	return parseStateBody(body)
}

func parseStateBody(body []byte) (*saved, error) {
	f := fields{p: body}
	st := &saved{segs: make(map[string]savedSize), open: make(map[int64]*bucket), blobs: make(map[string][]byte)}
	st.seq, st.clock.last, st.clock.hold = f.uvarint(), f.varint(), f.varint()
	st.attached = f.below(2) == 1
	for range f.below(uint64(len(f.p)) + 1) {
		g := segment{kind: kind(f.below(numKinds)), turn: uint8(f.below(maxTurn + 1)), span: span{start: f.varint()}}
		size := savedSize{f.below(1 << 40), f.below(1 << 40)}
		if f.err != nil {
			return nil, f.err
		}
		st.segs[g.name()] = size
	}
	for range f.below(uint64(len(f.p)) + 1) {
		start := f.varint()
		b := &bucket{}
		d := newDict()
		for range f.below(uint64(len(f.p)) + 1) {
			if err := b.addPayload(d, start, f.bytes(f.below(maxPayload+1))); err != nil {
				return nil, err
			}
		}
		st.open[start] = b
		if start%slotSecs != 0 {
			f.fail("start of a bucket")
		}
	}
	for range f.below(uint64(len(f.p)) + 1) {
		p := f.bytes(f.below(maxPayload + 1))
		if len(p) == 0 {
			f.fail("gap")
			break
		}
		gap, _, err := parseGap(0, p)
		if err != nil {
			return nil, err
		}
		st.gaps = append(st.gaps, gap)
	}
	for range f.below(maxBlobs + 1) {
		name := string(f.bytes(f.below(maxBlobName + 1)))
		st.blobs[name] = bytes.Clone(f.bytes(f.below(maxBlob + 1)))
	}
	if len(f.p) > 0 {
		f.fail("bytes after the last blob")
	}
	return st, f.err
}

// addPayload books what appendBucket made, with its own dictionary.
func (b *bucket) addPayload(d *dict, base int64, payload []byte) error {
	if len(payload) == 0 {
		return fmt.Errorf("%w: bucket", errFrame)
	}
	fr, err := parseBucket(base, payload)
	if err != nil {
		return err
	}
	rows, err := fr.appendTo(nil, allSections)
	if err != nil {
		return err
	}
	d.define(&fr)
	b.addRows(d, rows)
	return nil
}
