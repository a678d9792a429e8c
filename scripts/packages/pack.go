package main

import (
	"crypto/sha256"
	"sync"

	"github.com/netpilot/netpilot/scripts/deflate"
)

// packer compresses each content once, however many packages have it: most
// architectures share their agent with others.
type packer struct {
	mu   sync.Mutex // guards below
	made map[[sha256.Size]byte]func() []byte
}

func newPacker() *packer { return &packer{made: make(map[[sha256.Size]byte]func() []byte)} }

// gzip returns content as deflate.Gzip makes it, for all to read. Who comes
// while it is being made waits for it.
func (p *packer) gzip(content []byte) []byte {
	sum := sha256.Sum256(content)
	p.mu.Lock()
	once := p.made[sum]
	if once == nil {
		once = sync.OnceValue(func() []byte { return deflate.Gzip(content) })
		p.made[sum] = once
	}
	p.mu.Unlock()
	return once()
}
