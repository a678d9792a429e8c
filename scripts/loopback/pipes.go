package loopback

import (
	"context"
	"net"
	"sync"
)

// Pipes is a listener in this process whose connections are pairs of net.Pipe,
// so that time passes in a testing/synctest bubble.
type Pipes struct {
	fresh  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

// NewPipes makes a listener that Close ends.
func NewPipes() *Pipes { return &Pipes{fresh: make(chan net.Conn), closed: make(chan struct{})} }

func (p *Pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.fresh:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *Pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *Pipes) Addr() net.Addr { return &net.TCPAddr{} }

// Dial connects once somebody accepts, whatever the address. The error is
// net.ErrClosed after Close, or that of ctx.
func (p *Pipes) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p.fresh <- there:
		return here, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
