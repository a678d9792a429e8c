// Package deflate compresses what is made once and carried often: it takes
// seconds for a megabyte and needs fewer bytes than compress/flate, which any
// inflate reads. The format is DEFLATE (RFC 1951) in gzip (RFC 1952).
//
// All matches in the window are found first (match.go). Which of them to take
// is a shortest path whose lengths are what each step costs in the code in
// force (path.go); the code then follows from what was taken, and so on, a few
// times. Where one code should end and the next begin is a shortest path, too
// (split.go). All arithmetic is of integers, so the bytes depend on the input
// alone, not on the machine or how many of its cores are free.
package deflate

import (
	"encoding/binary"
	"hash/crc32"
	"runtime"
	"sync"
	"sync/atomic"
)

// chunkSize bounds a block, in bytes of input; whole stored blocks make it up.
// Chunks are worked on side by side; matches reach back into the one before.
const chunkSize = 16 * maxStored

// Gzip returns data as one gzip member without name and time. It is never
// larger than data stored: 18 bytes, and five for each 65,535 of data begun.
func Gzip(data []byte) []byte { return pack(data, chunkSize) }

// pack is Gzip with chunks of another size, a multiple of maxStored.
func pack(data []byte, chunkSize int) []byte {
	chunks := make([][]block, max(1, (len(data)+chunkSize-1)/chunkSize))
	logs := newLogTable()
	var next atomic.Int64
	var wait sync.WaitGroup
	for range min(len(chunks), runtime.GOMAXPROCS(0)) {
		wait.Go(func() {
			e := encoder{logs: logs}
			for i := int(next.Add(1)) - 1; i < len(chunks); i = int(next.Add(1)) - 1 {
				from := i * chunkSize
				chunks[i] = e.chunk(data, from, min(from+chunkSize, len(data)))
			}
		})
	}
	wait.Wait()

	// RFC 1952, 2.3: magic, method 8, no flags, no time, slowest method, OS unknown.
	w := bitWriter{out: []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255}}
	for i, blocks := range chunks {
		for j := range blocks {
			b := &blocks[j]
			b.write(&w, data[b.from:b.to], i == len(chunks)-1 && j == len(blocks)-1)
		}
	}
	w.align()
	w.out = binary.LittleEndian.AppendUint32(w.out, crc32.ChecksumIEEE(data))
	return binary.LittleEndian.AppendUint32(w.out, uint32(len(data)))
}

// bitWriter packs bits into bytes, the lowest first (RFC 1951, 3.1.1).
type bitWriter struct {
	out   []byte
	bits  uint64
	count uint // of bits, below 32 between calls
}

// write appends the lowest n bits of v, which has no others; n is at most 32.
func (w *bitWriter) write(v uint32, n uint) {
	w.bits |= uint64(v) << w.count
	if w.count += n; w.count >= 32 {
		w.out = binary.LittleEndian.AppendUint32(w.out, uint32(w.bits))
		w.bits >>= 32
		w.count -= 32
	}
}

// align goes to the next byte.
func (w *bitWriter) align() {
	for ; w.count > 0; w.count -= min(8, w.count) {
		w.out = append(w.out, byte(w.bits))
		w.bits >>= 8
	}
}
