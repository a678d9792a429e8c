package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/netpilot/netpilot/pkg/usage"
)

// maxURL bounds a relay's address, in bytes.
const maxURL = 512

// ParseRelay reads a relay's address: https or wss with a host and maybe a
// port and a path before the relay's own paths, or http or ws when the host is
// this machine (loopback address or localhost). The result has the scheme
// https or http and no slash at its end. Every error names what is accepted.
func ParseRelay(s string) (*url.URL, error) {
	shown := usage.Clean(s, 80)
	fail := func(why string) error {
		return usage.Errorf(usage.Invalid, "relay %q: %s; it must be like https://relay.example.net", shown, why)
	}
	if len(s) > maxURL {
		return nil, fail(fmt.Sprintf("over %d bytes", maxURL))
	}
	u, err := url.Parse(strings.TrimSpace(s))
	if err != nil { // url.Error repeats the text, which may hold a password
		return nil, usage.Errorf(usage.Invalid, "relay: not a URL; it must be like https://relay.example.net")
	}
	if u.User != nil {
		return nil, usage.Errorf(usage.Invalid, "relay %s: user and password do not belong into the address", usage.Clean(u.Host, 80))
	}
	switch strings.ToLower(u.Scheme) {
	case "https", "wss":
		u.Scheme = "https"
	case "http", "ws":
		if !isLoopback(u.Hostname()) {
			return nil, fail("without TLS only for a relay on this machine")
		}
		u.Scheme = "http"
	default:
		return nil, fail("the scheme is not https")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return nil, fail("bad port")
		}
	}
	switch {
	case u.Hostname() == "" || u.Opaque != "" || strings.HasSuffix(u.Host, ":"):
		return nil, fail("no host")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(s, "#"):
		return nil, fail("nothing may follow the path")
	}
	return &url.URL{Scheme: u.Scheme, Host: strings.ToLower(u.Host), Path: strings.TrimRight(u.Path, "/")}, nil
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}
