// Package front is what every request passes before the relay looks at it: the
// listener that bounds connections, TLS and its certificates, the client's
// address, and the headers that all answers have.
package front

import (
	"maps"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
)

// hstsFor is how long browsers remember that the relay speaks HTTPS only.
const hstsFor = 365 * 24 * time.Hour

// Handler passes requests on to next with the headers of all answers set and
// RemoteAddr the client's. secure tells that clients come over TLS, here or at
// a proxy. With proxies, requests from other addresses are refused: they would
// carry secrets over plain HTTP.
func Handler(next http.Handler, secure bool, proxies Proxies) http.Handler {
	always := http.Header{
		"X-Content-Type-Options":  {"nosniff"},
		"X-Frame-Options":         {"DENY"},
		"Referrer-Policy":         {"no-referrer"},
		"Content-Security-Policy": {"default-src 'none'; frame-ancestors 'none'"}, // pages set their own
	}
	if secure {
		always.Set("Strict-Transport-Security", "max-age="+strconv.Itoa(int(hstsFor.Seconds()))) // RFC 6797 section 6.1
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		maps.Copy(h, always)
		if len(proxies) > 0 {
			client, err := proxies.client(r)
			if err != nil {
				h.Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusForbidden)
				body := append([]byte(`{"success":false,"data":null,"error":{"code":"FORBIDDEN","message":`), usage.AppendQuoted(nil, err.Error())...)
				_, _ = w.Write(append(body, `,"details":null},"metadata":{}}`...)) // whoever asked may be gone
				return
			}
			r = r.WithContext(r.Context()) // a copy, to write to
			r.RemoteAddr = client
		}
		next.ServeHTTP(w, r)
	})
}

// Proxies are the addresses of the reverse proxies that may speak for clients.
type Proxies []netip.Prefix

// ParseProxies reads addresses and networks, separated by commas.
func ParseProxies(text string) (Proxies, error) {
	var list Proxies
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		prefix, err := netip.ParsePrefix(part)
		if err != nil {
			addr, addrErr := netip.ParseAddr(part)
			if addrErr != nil {
				return nil, usage.Errorf(usage.Invalid, "%q is neither an address nor a network like 10.0.0.0/8", usage.Clean(part, 64))
			}
			prefix = netip.PrefixFrom(addr, addr.BitLen())
		}
		list = append(list, prefix.Masked())
	}
	return list, nil
}

func (p Proxies) has(addr netip.Addr) bool {
	for _, prefix := range p {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// client is the address and port of who asked: of X-Forwarded-For the last one
// that no proxy of ours has. What stands before that anyone may have written.
func (p Proxies) client(r *http.Request) (string, error) {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !p.has(peer.Addr().Unmap()) {
		return "", usage.Errorf(usage.Forbidden, "this relay answers its reverse proxy only; ask through that")
	}
	client := peer
	chain := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(chain) - 1; i >= 0; i-- {
		addr, err := netip.ParseAddr(strings.TrimSpace(chain[i]))
		if err != nil {
			break // some proxies write a word for what they do not know
		}
		client = netip.AddrPortFrom(addr.Unmap().WithZone(""), 0)
		if !p.has(client.Addr()) {
			break
		}
	}
	return client.String(), nil
}
