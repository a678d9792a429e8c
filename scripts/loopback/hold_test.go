package loopback

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/netpilot/netpilot/agent/netfilter/netfiltertest"
)

// A held address is refused to callers and given to nobody who asks for any,
// and who was told it may listen there, again and again.
func TestHold(t *testing.T) {
	address, release, err := Hold()
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if conn, err := net.Dial("tcp", address); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("nobody listens: got %v, %v", conn, err)
	}
	for range 2 {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		_ = l.Close()
	}
}

// TestHoldAgainstAll has every free port of a small range taken by others.
func TestHoldAgainstAll(t *testing.T) {
	if !netfiltertest.InNamespace(t) {
		return
	}
	const ports = 21
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte("40000 40020"), 0o644); err != nil {
		t.Skip(err)
	}
	address, release, err := Hold()
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	taken := 0
	for {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			break
		}
		defer l.Close()
		if l.Addr().String() == address {
			t.Fatalf("%s was given away", address)
		}
		taken++
	}
	if taken != ports-1 {
		t.Errorf("%d others got a port, want all but the one", taken)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
}
