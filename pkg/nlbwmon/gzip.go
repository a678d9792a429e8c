package nlbwmon

import (
	"bufio"
	"compress/gzip"
	"errors"
	"io"
)

// gzipReader reads gzip as zlib's gzread does: members are joined, and bytes
// after a member that begin no further one end the data without an error.
type gzipReader struct {
	in *bufio.Reader
	z  *gzip.Reader // nil before the first member
}

// gzipNext tells whether a gzip member follows (RFC 1952 section 2.3.1).
func gzipNext(in *bufio.Reader) bool {
	b, _ := in.Peek(2)
	return len(b) == 2 && b[0] == 0x1f && b[1] == 0x8b
}

func (g *gzipReader) Read(p []byte) (int, error) {
	if g.z == nil {
		z, err := gzip.NewReader(g.in)
		if err != nil {
			return 0, cutOff(err)
		}
		g.z = z
		g.z.Multistream(false)
	}
	for {
		n, err := g.z.Read(p)
		if n > 0 || !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return n, keepData(n, err)
		}
		if !gzipNext(g.in) {
			return 0, io.EOF
		}
		if err := g.z.Reset(g.in); err != nil {
			return 0, cutOff(err)
		}
		g.z.Multistream(false)
	}
}

// keepData leaves the end of a member to the next call when bytes came with it.
func keepData(n int, err error) error {
	if n > 0 && err == io.EOF {
		return nil
	}
	return err
}

// cutOff makes the end of input inside a member's header an unexpected one.
func cutOff(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
