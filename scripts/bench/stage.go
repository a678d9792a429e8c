package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/netpilot/netpilot/relay/store/sqlite"
	"github.com/netpilot/netpilot/scripts/fleet/play"
)

// stage is a relay with its fleet, each a process of its own.
type stage struct {
	dir   string
	relay *play.Relay
	fleet *play.Process
	key   string
	empty int // resident bytes of the relay before the first link
}

// newStage starts a relay, enrols the network and waits until it is linked.
// With tls the relay has a certificate made for the run. The fleet gets more
// arguments, if any.
func (b *bench) newStage(ctx context.Context, tls bool, more ...string) (_ *stage, err error) {
	s := &stage{}
	if s.dir, err = os.MkdirTemp("", "netpilot-bench"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	db, err := sqlite.Open(ctx, filepath.Join(s.dir, "relay.db"))
	if err != nil {
		return nil, err
	}
	err = b.network.Enrol(ctx, db, func(done int) { fmt.Fprintf(os.Stderr, "\r  enrolled %d", done) })
	fmt.Fprintln(os.Stderr)
	if err = errors.Join(err, db.Close()); err != nil {
		return nil, err
	}
	var args []string
	ca := ""
	if tls {
		var key string
		if ca, key, err = certificate(s.dir); err != nil {
			return nil, err
		}
		args = []string{"--tls-cert", ca, "--tls-key", key}
	}
	within, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if s.relay, err = play.StartRelay(within, b.program("netpilot-relay"), s.dir, args...); err != nil {
		return nil, err
	}
	if s.key, err = s.relay.NewKey("bench"); err != nil {
		return nil, err
	}
	if s.empty, err = s.relay.Resident(); err != nil {
		return nil, err
	}
	s.fleet, err = play.Start(b.program("fleet"), append(more, "--relay", s.relay.URL, "--seed", b.network.Seed, "--ca-file", ca,
		fmt.Sprintf("--routers=%d", b.network.Routers), fmt.Sprintf("--devices=%d", b.network.Devices), fmt.Sprintf("--services=%d", b.network.Services))...)
	if err != nil {
		return nil, err
	}
	return s, s.await("up ")
}

// await reads the fleet's lines until one begins so.
func (s *stage) await(prefix string) error {
	_, err := s.line(prefix)
	return err
}

func (s *stage) line(prefix string) (string, error) {
	for {
		line, err := s.fleet.Line()
		if err != nil || strings.HasPrefix(line, prefix) {
			return line, err
		}
	}
}

func (s *stage) close() {
	for _, p := range []*play.Process{s.fleet} {
		if p != nil {
			p.Stop()
		}
	}
	if s.relay != nil {
		s.relay.Stop()
	}
	_ = os.RemoveAll(s.dir) // a leftover in the temporary folder harms nobody
}

// floor is the bare program with its clients.
type floor struct {
	server, clients *play.Process
	url             string
}

func (b *bench) newFloor() (*floor, error) {
	server, err := play.Start(b.program("floor"), "serve")
	if err != nil {
		return nil, err
	}
	f := &floor{server: server}
	addr, err := server.Line()
	if err == nil {
		f.url = "http://" + addr
		if f.clients, err = play.Start(b.program("floor"), "clients", addr, fmt.Sprint(b.routers)); err == nil {
			_, err = f.clients.Line()
		}
	}
	if err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

func (f *floor) close() {
	if f.clients != nil {
		f.clients.Stop()
	}
	f.server.Stop()
}
