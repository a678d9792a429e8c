package nlbwmon

import (
	"bufio"
	"bytes"
	"fmt"
	"io"

	"github.com/netpilot/netpilot/pkg/usage"
)

const (
	// maxProtocolName is the width in protocol.h's scan format.
	maxProtocolName = 32

	// maxProtocols bounds the table; stock's file has about 60 entries.
	maxProtocols = 1 << 16
)

// Protocols names services by protocol and port, like nlbwmon's file
// /usr/share/nlbwmon/protocols. Names are bytes as found: clean them before
// showing them.
type Protocols struct {
	names map[uint32]string
}

// ParseProtocols reads lines "PROTO PORT NAME" exactly as nlbwmon does with
// fscanf(in, "%hhu %hu %32[^\n]\n") in protocol.c: reading ends without an
// error at the first line that does not parse, a comment for example; an empty
// name takes the next line as its name; of a name longer than 32 bytes the
// rest is read as the next line; numbers wrap; the first of two entries wins.
// The only errors are those of r.
func ParseProtocols(r io.Reader) (*Protocols, error) {
	in := &errReader{r: r}
	br := bufio.NewReader(in)
	p := &Protocols{names: make(map[uint32]string)}
	for len(p.names) < maxProtocols {
		proto, ok := scanUint(br, 0)
		if !ok {
			break
		}
		port, ok := scanUint(br, 0)
		if !ok {
			break
		}
		skipSpace(br)
		name, ok := scanLine(br, maxProtocolName)
		if !ok {
			break
		}
		skipSpace(br)
		if i := bytes.IndexByte(name, 0); i >= 0 {
			name = name[:i] // a C string ends there
		}
		key := protocolKey(uint8(proto), uint16(port))
		if _, double := p.names[key]; !double && len(name) > 0 {
			p.names[key] = string(name)
		}
	}
	if in.err != nil {
		return nil, fmt.Errorf("read nlbwmon protocols: %w", in.err)
	}
	return p, nil
}

// LoadProtocols reads a protocols file. A missing one wraps fs.ErrNotExist.
func LoadProtocols(path string) (*Protocols, error) {
	f, _, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ParseProtocols(f)
}

// Lookup finds the name for a protocol and port; nlbw prints null if there is
// none. A nil table is empty. It does not allocate.
func (p *Protocols) Lookup(proto uint8, port uint16) (name string, ok bool) {
	if p == nil {
		return "", false
	}
	name, ok = p.names[protocolKey(proto, port)]
	return name, ok
}

// Find is the least protocol and port with that name, cleaned as a person sees
// it; false if there is none.
func (p *Protocols) Find(name string) (proto uint8, port uint16, ok bool) {
	if p == nil {
		return 0, 0, false
	}
	least := uint32(1<<32 - 1)
	for key, n := range p.names {
		if key < least && usage.Clean(n, usage.MaxName) == name {
			least, ok = key, true
		}
	}
	if !ok {
		return 0, 0, false
	}
	return uint8(least >> 16), uint16(least), true
}

// Len is the number of entries.
func (p *Protocols) Len() int { return len(p.names) }

func protocolKey(proto uint8, port uint16) uint32 { return uint32(proto)<<16 | uint32(port) }

// scanLine is scanf's %N[^\n]: at least one byte, at most limit.
func scanLine(r io.ByteScanner, limit int) (line []byte, ok bool) {
	for len(line) < limit {
		c, err := r.ReadByte()
		if err != nil {
			break
		}
		if c == '\n' {
			_ = r.UnreadByte()
			break
		}
		line = append(line, c)
	}
	return line, len(line) > 0
}

// errReader keeps the error that ended reading, which scanning takes for the
// end of the file.
type errReader struct {
	r   io.Reader
	err error
}

func (e *errReader) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	if err != nil && err != io.EOF {
		e.err = err
	}
	return n, err
}
