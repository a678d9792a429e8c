// Package legacy reaches the old commands server, which the relay takes the
// place of: what the relay does not own is passed on to it unchanged, and its
// answers can be compared with the relay's own (Shadow).
package legacy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
)

const (
	dialWithin = 5 * time.Second
	// answerWithin leaves a second of the 25 that callers are promised for
	// the way to them.
	answerWithin = 24 * time.Second
	// idlePerHost is how many connections are kept open for the next request.
	idlePerHost = 32
	// maxTold bounds the bytes of an answer that is read whole.
	maxTold = 4 << 20
)

// Upstream is the old commands server.
type Upstream struct {
	base      *url.URL
	transport *http.Transport
	proxy     *httputil.ReverseProxy
}

// New makes an Upstream of its base URL. Close it.
func New(base string, log *slog.Logger) (*Upstream, error) {
	u, err := url.Parse(base)
	switch {
	case err != nil:
		return nil, fmt.Errorf("the legacy upstream is no URL: %w", errors.Unwrap(err)) // url.Error repeats the URL, which may have a password
	case u.User != nil:
		return nil, errors.New("the legacy upstream has a user in its URL: secrets have no place on a command line, and the old server knows none")
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("the legacy upstream must be a URL like http://commands-server:5000, without query")
	}
	up := &Upstream{base: u}
	dialer := &net.Dialer{Timeout: dialWithin}
	up.transport = &http.Transport{
		DialContext:           dialer.DialContext,
		TLSHandshakeTimeout:   dialWithin,
		ResponseHeaderTimeout: answerWithin,
		MaxIdleConnsPerHost:   idlePerHost,
		IdleConnTimeout:       time.Minute,
		DisableCompression:    true, // what passes through stays as it is
	}
	up.proxy = &httputil.ReverseProxy{
		Rewrite:       up.rewrite,
		Transport:     up.transport,
		FlushInterval: -1, // a stream passes through as it comes
		ErrorLog:      slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		ErrorHandler: func(_ http.ResponseWriter, r *http.Request, err error) {
			*r.Context().Value(failedKey{}).(*error) = err
		},
		ModifyResponse: up.keepHere,
	}
	return up, nil
}

// Close ends connections that wait for a next request.
func (u *Upstream) Close() { u.transport.CloseIdleConnections() }

// String is the upstream's address.
func (u *Upstream) String() string { return u.base.String() }

// failedKey is where Pass finds why a request could not be passed on.
type failedKey struct{}

// Pass passes the request on and the answer back, all but the caller's
// Authorization, which is the relay's. An error means that nothing was
// answered; if the answer breaks off later, so does the connection.
func (u *Upstream) Pass(w http.ResponseWriter, r *http.Request) error {
	var failed error
	u.proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), failedKey{}, &failed)))
	return u.explain(failed)
}

func (u *Upstream) rewrite(r *httputil.ProxyRequest) {
	r.SetURL(u.base)
	r.Out.URL.RawQuery = r.In.URL.RawQuery // also what we could not parse
	r.SetXForwarded()
	r.Out.Header.Del("Authorization")
}

// keepHere makes a redirect to the upstream's own address one to ours.
func (u *Upstream) keepHere(r *http.Response) error {
	to, err := url.Parse(r.Header.Get("Location"))
	if err != nil || to.Host != u.base.Host {
		return nil
	}
	to.Scheme, to.Host, to.User = "", "", nil
	to.Path = "/" + strings.TrimPrefix(strings.TrimPrefix(to.Path, strings.TrimSuffix(u.base.Path, "/")), "/")
	r.Header.Set("Location", to.String())
	return nil
}

// explain makes a failure one that names the next step.
func (u *Upstream) explain(err error) error {
	var timeout net.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &timeout) && timeout.Timeout():
		return &usage.Error{Kind: usage.Timeout, Message: "the old commands server did not answer in time; see whether it runs", Err: err}
	}
	return &usage.Error{Kind: usage.Unavailable, Message: "the old commands server cannot be reached; see whether it runs, and --legacy-upstream", Err: err}
}

// Answer is an answer read whole.
type Answer struct {
	Status int
	Body   []byte
}

// Ask sends a request with a JSON body, as the backend does, and reads the
// answer.
func (u *Upstream) Ask(ctx context.Context, method, path, query string, body []byte) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	target := u.base.JoinPath(path)
	target.RawQuery = query
	r, err := http.NewRequestWithContext(ctx, method, target.String(), bytes.NewReader(body))
	if err != nil {
		return Answer{}, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "netpilot-relay")
	resp, err := u.transport.RoundTrip(r)
	if err != nil {
		return Answer{}, u.explain(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxTold+1))
	if err == nil && len(text) > maxTold {
		err = fmt.Errorf("the answer is larger than %d bytes", maxTold)
	}
	return Answer{resp.StatusCode, text}, u.explain(err)
}
