// Package loopback is, for tests and trials, where a server listens: a place on
// loopback for one that is started later, or again, and pipes in this process.
package loopback

import (
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// Hold takes a TCP address of loopback at which, until release, nobody may
// listen who was not told it: a port that was only free a moment ago may be
// another program's by now. Who connects while nobody listens is refused.
func Hold() (address string, release func(), err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", nil, fmt.Errorf("hold a port: %w", err)
	}
	defer func() {
		if err != nil {
			_ = unix.Close(fd)
		}
	}()
	// As net.Listen sets it, too: two such sockets may have one address as
	// long as only one of them listens (socket(7), SO_REUSEADDR), but none is
	// given it that asks for any free one.
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	}
	if err != nil {
		return "", nil, fmt.Errorf("hold a port: %w", err)
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		return "", nil, fmt.Errorf("hold a port: %w", err)
	}
	return "127.0.0.1:" + strconv.Itoa(at.(*unix.SockaddrInet4).Port), func() { _ = unix.Close(fd) }, nil
}
