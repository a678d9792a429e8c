package uplink

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
)

// maxEnrolReply bounds the relay's answer, in bytes.
const maxEnrolReply = 4 << 10

// Enrol exchanges a one-time token for the router's secret (PROTOCOL.md
// section 2). The relay's certificate is verified as for the link, and a
// redirect is an error: the token goes to the address that was typed. An error
// is a *usage.Error of kind Forbidden (token), Invalid, Busy (with RetryAfter)
// or Offline (no relay was reached).
func Enrol(ctx context.Context, c Client, relay *url.URL, req wire.EnrolRequest) (wire.EnrolReply, error) {
	c = c.withDefaults()
	ctx, cancel := context.WithTimeout(ctx, dialWithin)
	defer cancel()
	resp, text, err := c.post(ctx, relay.JoinPath(wire.EnrolPath), req)
	if err != nil {
		f := c.explain(ctx, relay, err)
		kind := usage.Offline
		if f.Cause == CauseConfig {
			kind = usage.Invalid
		}
		return wire.EnrolReply{}, &usage.Error{Kind: kind, Message: "enrol: " + f.Message, Err: f}
	}
	if resp.StatusCode != http.StatusOK {
		return wire.EnrolReply{}, enrolRefused(resp)
	}
	var reply wire.EnrolReply
	if json.Unmarshal(text, &reply) != nil || reply.Secret == "" {
		return wire.EnrolReply{}, usage.Errorf(usage.Invalid, "enrol: the answer of %s is not of a netpilot relay; is the address right?", relay.Host)
	}
	if reply.RouterID != req.RouterID {
		return wire.EnrolReply{}, usage.Errorf(usage.Invalid, "enrol: %s answered for another router", relay.Host)
	}
	return reply, nil
}

// post sends one request on a connection of its own and reads the answer to
// its end. The body of resp can be read again.
func (c Client) post(ctx context.Context, u *url.URL, body any) (resp *http.Response, text []byte, err error) {
	payload, err := json.Marshal(body)
	if err != nil {
		return nil, nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(payload))
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "netpilot-agent/"+c.Version)
	req.Close = true
	conn, raw, err := c.connect(ctx, u)
	if err != nil {
		return nil, nil, err
	}
	defer raw.Close()
	defer raw.release()
	if err := req.Write(conn); err != nil {
		return nil, nil, err
	}
	resp, err = http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	text, err = io.ReadAll(io.LimitReader(resp.Body, maxEnrolReply))
	if err != nil {
		return nil, nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(text))
	return resp, text, nil
}

// enrolRefused says why the relay gave no secret.
func enrolRefused(resp *http.Response) *usage.Error {
	f := refused(resp)
	e := &usage.Error{Kind: f.kind, Message: "enrol: " + f.Message, Err: errors.Unwrap(f)}
	switch resp.StatusCode {
	case http.StatusForbidden:
		e.Kind = usage.Forbidden
		e.Message = "enrol: the token is wrong, used or expired (it lives 15 minutes); ask the relay's owner for a new one"
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		e.Kind, e.RetryAfter = usage.Busy, f.Wait.For
		if f.Wait.For > 0 {
			e.Message += fmt.Sprintf("; try again in %v", f.Wait.For)
		}
	default:
		if e.Kind == usage.Internal { // not the agent's own bug
			e.Kind = usage.Invalid
		}
	}
	return e
}
