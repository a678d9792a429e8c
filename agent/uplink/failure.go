package uplink

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gorilla/websocket"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
)

// Cause says in one word how far the uplink came.
type Cause string

// The causes, in the order of a link's life.
const (
	CauseConfig   Cause = "config"   // ca_file cannot be used
	CauseDNS      Cause = "dns"      // the relay's name has no address
	CauseConnect  Cause = "connect"  // no TCP connection
	CauseTLS      Cause = "tls"      // no verified TLS
	CauseClock    Cause = "clock"    // no verified TLS, since the router's clock is not set
	CauseRefused  Cause = "refused"  // the relay answered, with an HTTP status
	CauseProtocol Cause = "protocol" // one side broke the protocol
	CauseClosed   Cause = "closed"   // the link was closed or lost
	CauseSilent   Cause = "silent"   // nothing arrived any more
	CauseSlow     Cause = "slow"     // the relay did not take its frames
	CauseInternal Cause = "internal"
)

// Failure is why there is no link. Its message is for the technician and says
// what to do, where something can be done.
type Failure struct {
	Cause   Cause
	Message string
	Wait    Wait
	Err     error // may be nil

	kind   usage.Kind // of a refused enrolment
	status int        // of an HTTP answer that refuses; 0 for another failure
	close  int        // code to hang up with; 0: the peer is gone, or has hung up
}

// Error is the message.
func (f *Failure) Error() string { return f.Message }

// Unwrap is the error below.
func (f *Failure) Unwrap() error { return f.Err }

func protocolFailure(format string, args ...any) *Failure {
	return &Failure{Cause: CauseProtocol, Message: fmt.Sprintf(format, args...), close: wire.CloseProtocol}
}

// handshakeError is an error of TLS, which has no type of its own for most.
type handshakeError struct{ error }

func (e *handshakeError) Unwrap() error { return e.error }

// explain says what a failed attempt to connect means. Its texts are the same
// for the same failure: no ports and times that change with every attempt.
func (c Client) explain(ctx context.Context, relay *url.URL, err error) *Failure {
	host := relay.Host
	fail := func(cause Cause, format string, args ...any) *Failure {
		return &Failure{Cause: cause, Message: fmt.Sprintf(format, args...), Err: err}
	}
	var (
		failure   *Failure
		dns       *net.DNSError
		invalid   x509.CertificateInvalidError
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		roots     x509.SystemRootsError
		record    tls.RecordHeaderError
		handshake *handshakeError
		op        *net.OpError
	)
	switch {
	case errors.As(err, &failure):
		return failure
	case errors.As(err, &dns):
		return fail(CauseDNS, "cannot find the address of %s (%s); try: nslookup %s", host, reason(dns), relay.Hostname())
	case errors.Is(err, syscall.ECONNREFUSED):
		return fail(CauseConnect, "%s refuses the connection; is the relay running?", host)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return c.explainDates(host, invalid, err)
	case errors.As(err, &authority), errors.As(err, &roots):
		return fail(CauseTLS, "certificate of %s is signed by nobody this router trusts; is ca-bundle installed? for a private CA set option ca_file", host)
	case errors.As(err, &hostname):
		return fail(CauseTLS, "certificate of %s is for another name; enrol with the name it has", host)
	case errors.As(err, &record):
		return fail(CauseTLS, "%s does not speak TLS; is the port right?", host)
	case errors.Is(err, errHandshakeTooLong):
		return fail(CauseProtocol, "%s sent over %d bytes before the link was up; is it a netpilot relay?", host, maxHandshake)
	case errors.Is(ctx.Err(), context.DeadlineExceeded), isTimeout(err):
		return fail(CauseConnect, "%s did not answer in time", host)
	case errors.As(err, &op) && op.Op == "dial":
		return fail(CauseConnect, "no connection to %s (%s); is the WAN up?", host, reason(op.Err))
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, net.ErrClosed):
		return fail(CauseConnect, "%s hung up before the link was up", host)
	case errors.As(err, &handshake):
		return fail(CauseTLS, "no TLS with %s: %s", host, usage.Clean(reason(err), 200))
	}
	return fail(CauseConnect, "no link to %s: %s", host, usage.Clean(err.Error(), 200))
}

// reason is the innermost text of err: the outer ones name addresses.
func reason(err error) string {
	var dns *net.DNSError
	if errors.As(err, &dns) {
		switch {
		case dns.IsNotFound:
			return "no such host"
		case dns.IsTimeout:
			return "the name server does not answer"
		}
		return "the name server fails"
	}
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return usage.Clean(err.Error(), 100)
}

func isTimeout(err error) bool {
	var t net.Error // gorilla keeps only this much of the error
	return errors.As(err, &t) && t.Timeout()
}

// explainDates tells a clock that is not set from a certificate that is bad.
func (c Client) explainDates(host string, invalid x509.CertificateInvalidError, err error) *Failure {
	at, now := c.certTime(), c.Now()
	cert := invalid.Cert
	f := &Failure{Cause: CauseTLS, Err: err}
	switch {
	case at.Before(cert.NotBefore) && now.Before(c.BuildTime):
		f.Cause = CauseClock
		f.Message = fmt.Sprintf("the router's clock is not set (it says %s), so the certificate of %s is not yet valid; waiting for the time; try: service sysntpd restart",
			now.UTC().Format(time.DateOnly), host)
	case at.Before(cert.NotBefore):
		f.Message = fmt.Sprintf("certificate of %s is valid from %s, the router's clock says %s; compare with: date",
			host, cert.NotBefore.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	default:
		f.Message = fmt.Sprintf("certificate of %s expired on %s (checked at %s); renew it on the relay, or compare the clock with: date",
			host, cert.NotAfter.UTC().Format(time.RFC3339), at.UTC().Format(time.RFC3339))
	}
	return f
}

// refused says what an HTTP answer other than success means (PROTOCOL.md
// section 2). The body of resp must be bounded already.
func refused(resp *http.Response) *Failure {
	var body wire.Refusal
	text, _ := io.ReadAll(resp.Body)
	_ = json.Unmarshal(text, &body) // another kind of body has no message
	said := usage.Clean(body.Error.Message, 200)
	if said == "" {
		said = "no reason given"
	}
	f := &Failure{Cause: CauseRefused, kind: usage.ParseKind(body.Error.Kind), status: resp.StatusCode}
	f.Message = fmt.Sprintf("relay answers %d: %s", resp.StatusCode, said)
	switch code := resp.StatusCode; {
	case code == http.StatusUnauthorized:
		f.Wait = Wait{Rule: WaitSpread, For: revokedWait}
		f.Message += "; this router must be enrolled again: netpilot-agent enroll --relay URL --token-file FILE"
	case code == http.StatusForbidden:
		f.Wait = Wait{Rule: WaitSpread, For: revokedWait}
		f.Message += "; ask the relay's owner, or enrol again"
	case code == http.StatusServiceUnavailable || code == http.StatusTooManyRequests:
		if seconds, ok := parseSeconds(resp.Header.Get("Retry-After")); ok {
			f.Wait = Wait{Rule: WaitExact, For: seconds}
		}
	case code == http.StatusSwitchingProtocols:
		f.Cause = CauseProtocol
		f.Message = "the answer is no WebSocket (RFC 6455); is there a proxy between?"
	case code >= 300 && code < 400:
		f.Message = fmt.Sprintf("relay answers %d, a redirect to %q, which is not followed; enrol with that address if it is right",
			code, usage.Clean(resp.Header.Get("Location"), 200))
	case code == http.StatusNotFound:
		f.Message = "relay answers 404: no netpilot relay at this address"
	}
	return f
}

// closed says what the end of a link's reading means (PROTOCOL.md section 6).
func closed(err error, limit int) *Failure {
	var f *Failure
	var c *websocket.CloseError
	switch {
	case errors.As(err, &f):
		return f
	case errors.Is(err, websocket.ErrReadLimit): // gorilla has sent the code itself
		return &Failure{Cause: CauseProtocol, Message: fmt.Sprintf("relay sent a frame over %d bytes", limit),
			Err: err, close: websocket.CloseMessageTooBig}
	case isTimeout(err):
		return &Failure{Cause: CauseSilent, Message: "nothing arrived from the relay in time", Err: err}
	case !errors.As(err, &c) && strings.HasPrefix(err.Error(), "websocket: "):
		// gorilla has no type for a frame that breaks RFC 6455; it has sent
		// 1002 itself.
		return &Failure{Cause: CauseProtocol, Message: "relay sent a bad frame: " + usage.Clean(err.Error(), 100),
			Err: err, close: websocket.CloseProtocolError}
	case c == nil || c.Code == websocket.CloseAbnormalClosure:
		return &Failure{Cause: CauseClosed, Message: "the connection to the relay was lost", Err: err}
	}
	f = &Failure{Cause: CauseClosed, Err: err}
	said := usage.Clean(c.Text, 125)
	switch c.Code {
	case wire.CloseReplaced:
		f.Message = "relay closed the link: a newer link of this router took over; does another router use a copy of its identity?"
		f.Wait = Wait{Rule: WaitSpread, For: replacedWait}
	case wire.CloseRevoked:
		f.Cause = CauseRefused
		f.Message = "relay revoked this router; ask the relay's owner, or enrol again: netpilot-agent enroll --relay URL --token-file FILE"
		f.Wait = Wait{Rule: WaitSpread, For: revokedWait}
	case wire.CloseWait:
		f.Message = "relay asks to come back later"
		if text, ok := strings.CutPrefix(c.Text, "wait="); ok {
			if seconds, ok := parseSeconds(text); ok {
				f.Wait = Wait{Rule: WaitAtLeast, For: seconds}
			}
		}
	default:
		f.Message = fmt.Sprintf("relay closed the link with code %d: %s", c.Code, said)
	}
	return f
}

// parseSeconds reads a whole number of seconds, bounded to maxWait: nobody
// may send a router away for ever. Zero waits a second, so that no answer
// makes the agent dial without a pause.
func parseSeconds(s string) (time.Duration, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0, false
	}
	return max(min(time.Duration(n)*time.Second, maxWait), time.Second), true
}
