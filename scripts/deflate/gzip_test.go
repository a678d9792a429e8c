package deflate

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// smallChunk lets little input have many chunks.
const smallChunk = maxStored

// check compresses data in small chunks, and has the standard library read it.
func check(t testing.TB, data []byte) []byte {
	t.Helper()
	packed := pack(data, smallChunk)
	reads(t, packed, data)
	return packed
}

func reads(t testing.TB, packed, data []byte) {
	t.Helper()
	in := bytes.NewReader(packed)
	r, err := gzip.NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	r.Multistream(false)
	got, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("%d bytes: %v", len(data), err)
	}
	if !bytes.Equal(got, data) {
		t.Fatalf("%d bytes come back as %d others", len(data), len(got))
	}
	if in.Len() > 0 {
		t.Errorf("%d bytes after the end", in.Len())
	}
	if most := 18 + len(data) + 5*max(1, (len(data)+maxStored-1)/maxStored); len(packed) > most {
		t.Errorf("%d bytes became %d, more than %d", len(data), len(packed), most)
	}
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// text is of words that come as often as words do.
func text(n int) []byte {
	words := strings.Fields("the router of a device and its owner that rates counts bytes over every link which nobody reads again")
	source := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	for b.Len() < n {
		b.WriteString(words[min(source.IntN(len(words)), source.IntN(len(words)))] + " ")
	}
	return b.Bytes()[:n]
}

// program is the beginning of the test's own binary.
func program(t testing.TB, n int) []byte {
	t.Helper()
	b, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	return b[:min(n, len(b))]
}

func TestRoundTrip(t *testing.T) {
	far := func(distance, length int) []byte { // a match at this distance that ends where the input does
		b := random(distance)
		return append(b, b[:length]...)
	}
	cases := map[string][]byte{
		"empty": nil, "one byte": {7}, "two": {7, 7}, "three": []byte("aaa"), "four": []byte("aaaa"),
		"every byte once": func() (b []byte) {
			for c := range 256 {
				b = append(b, byte(c))
			}
			return b
		}(),
		"equal bytes":   make([]byte, 2*smallChunk+1),
		"a period of 7": bytes.Repeat([]byte("\x00\x01\x02\x03\x00\x01\xff"), 10_000),
		"random":        random(100_000),
		"text":          text(100_000), "a program": program(t, 300_000),
		"random in text":          append(append(text(20_000), random(30_000)...), text(20_000)...),
		"longest, farthest match": far(window, maxMatch), "one over the longest": far(window, maxMatch+1),
		"one too far": far(window+1, maxMatch), "shortest, farthest match": far(window, minMatch),
	}
	for _, n := range []int{2, 3, 257, 258, 259, 260, 516, 517} {
		cases["equal bytes, "+strconv.Itoa(n)] = bytes.Repeat([]byte{'z'}, n)
	}
	for name, b := range cases {
		t.Run(name, func(t *testing.T) { t.Logf("%d bytes became %d", len(b), len(check(t, b))) })
	}
}

// TestStoredBlocks goes to both sides of what one stored block and one chunk
// can have.
func TestStoredBlocks(t *testing.T) {
	all := random(2*smallChunk + 1)
	for _, n := range []int{1, 2, 3, 100, maxStored - 1, maxStored, maxStored + 1, 2 * maxStored, 2*maxStored + 1} {
		if got, want := len(check(t, all[:n])), 18+n+5*((n+maxStored-1)/maxStored); got > want {
			t.Errorf("%d bytes became %d, want at most %d", n, got, want)
		}
	}
}

// TestReach says by the size that the longest match is taken at the largest
// distance, also from one chunk into the one before, and none farther away.
func TestReach(t *testing.T) {
	seven := func(n int) []byte { // never stored
		b := random(n)
		for i := range b {
			b[i] &= 0x7f
		}
		return b
	}
	for _, c := range []struct{ before, distance, least, most int }{
		{0, window, 1, 15}, {smallChunk - window - maxMatch/2, window, 1, 50}, {smallChunk - window, window, 1, 30}, {0, window + 1, 200, 240},
	} {
		head := seven(c.before + c.distance)
		again := check(t, append(bytes.Clone(head), head[c.before:c.before+maxMatch]...))
		if more := len(again) - len(check(t, head)); more < c.least || more > c.most {
			t.Errorf("after %d bytes: %d that were there %d before take %d, want %d to %d", c.before, maxMatch, c.distance, more, c.least, c.most)
		}
	}
}

// TestSmallerThanGzip compares with what the standard library does at best.
func TestSmallerThanGzip(t *testing.T) {
	for name, b := range map[string][]byte{"a program": program(t, chunkSize+100_000), "text": text(100_000), "a line": text(120)} {
		var theirs bytes.Buffer
		w, err := gzip.NewWriterLevel(&theirs, gzip.BestCompression)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(b); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		ours := Gzip(b)
		reads(t, ours, b)
		t.Logf("%s: %d bytes, %d with compress/gzip, %d here", name, len(b), theirs.Len(), len(ours))
		limit := theirs.Len()
		if name == "a program" {
			limit = limit * 97 / 100
		}
		if len(ours) > limit {
			t.Errorf("%s: %d bytes, want at most %d", name, len(ours), limit)
		}
	}
}

// TestSameBytes compresses with one core and with several.
func TestSameBytes(t *testing.T) {
	b := append(program(t, 3*smallChunk), text(smallChunk)...)
	before := runtime.GOMAXPROCS(1)
	one := pack(b, smallChunk)
	runtime.GOMAXPROCS(4)
	several := pack(b, smallChunk)
	runtime.GOMAXPROCS(before)
	if !bytes.Equal(one, several) {
		t.Error("the bytes depend on the number of cores")
	}
}

// TestCodeLengths compares with what can be counted by hand, and checks that
// every code is complete and not too long.
func TestCodeLengths(t *testing.T) {
	for _, c := range []struct {
		counts []uint32
		limit  int
		want   []uint8
	}{
		{[]uint32{0, 0, 0}, 15, []uint8{1, 1, 0}},
		{[]uint32{0, 9, 0}, 15, []uint8{1, 1, 0}},
		{[]uint32{1, 1, 2, 4}, 15, []uint8{3, 3, 2, 1}},
		{[]uint32{1, 1, 2, 4}, 2, []uint8{2, 2, 2, 2}},
		{[]uint32{1, 1, 2, 4, 8, 0}, 3, []uint8{3, 3, 3, 3, 1, 0}},
	} {
		if got := codeLengths(c.counts, c.limit); !bytes.Equal(got, c.want) {
			t.Errorf("%v, limit %d: got %v, want %v", c.counts, c.limit, got, c.want)
		}
	}
	steep := make([]uint32, 30) // Fibonacci's numbers make the longest codes
	steep[0], steep[1] = 1, 1
	for i := 2; i < len(steep); i++ {
		steep[i] = steep[i-1] + steep[i-2]
	}
	for limit := 5; limit <= 15; limit++ {
		sum := 0
		for _, n := range codeLengths(steep, limit) {
			if n == 0 || int(n) > limit {
				t.Fatalf("limit %d: a code of %d bits", limit, n)
			}
			sum += 1 << (limit - int(n))
		}
		if sum != 1<<limit {
			t.Errorf("limit %d: the code is filled to %d of %d", limit, sum, 1<<limit)
		}
	}
}

// TestLog compares with logarithms known to many digits.
func TestLog(t *testing.T) {
	logs := newLogTable()
	for n, want := range map[uint32]float64{1: 0, 2: 1, 3: 1.584962500721156, 1000: 9.965784284662087, 1 << 20: 20, 3 << 20: 21.584962500721156} {
		if got := float64(logs.log(n)) / (1 << logBits); got > want || got < want-0.001 {
			t.Errorf("log of %d: got %v, want %v", n, got, want)
		}
	}
}

func FuzzGzip(f *testing.F) {
	f.Add([]byte(nil), uint16(0))
	f.Add([]byte("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaabcaaaaaaaaabc"), uint16(700))
	f.Add(text(500), uint16(3))
	f.Add(random(300), uint16(40_000))
	f.Add(binary.LittleEndian.AppendUint64(nil, 0x0123456789abcdef), uint16(65535))
	f.Fuzz(func(t *testing.T, b []byte, gap uint16) {
		check(t, b)
		check(t, append(append(bytes.Clone(b), make([]byte, gap)...), b...)) // far matches
	})
}
