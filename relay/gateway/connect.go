package gateway

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
	"github.com/netpilot/netpilot/relay/audit"
	"github.com/netpilot/netpilot/relay/store"
)

// lookupWithin bounds a look into the store while a router waits.
const lookupWithin = 5 * time.Second

// ServeConnect answers GET wire.ConnectPath with a WebSocket and makes it
// a link, which then lives on its own.
func (g *Gateway) ServeConnect(w http.ResponseWriter, r *http.Request) {
	if status, err := checkUpgrade(r); err != nil {
		if status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", http.MethodGet)
		}
		refuse(w, status, err)
		return
	}
	p := proofOf(r)
	router, _, status, err := g.authenticate(r.Context(), p)
	if err != nil {
		if status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", "Bearer")
		}
		e := audit.Entry{Who: audit.Nobody, Router: router.ID, Method: "link.open", Result: err.Kind.String(), Address: r.RemoteAddr, Often: true}
		if router.ID != "" {
			e.Who = audit.Router
		}
		g.record(e)
		refuse(w, status, err)
		return
	}
	if wait := g.pace.wait(time.Now()); wait > 0 {
		refuse(w, http.StatusServiceUnavailable, errBusy(wait, "many routers connect at once; this one's turn comes"))
		return
	}
	if !g.room(router.ID) {
		refuse(w, http.StatusServiceUnavailable, errBusy(comeBack, "the relay takes no more links of this router now"))
		return
	}
	ws, upErr := g.upgrader.Upgrade(w, r, nil)
	if upErr != nil {
		return // the upgrader has answered
	}
	c := newConn(ws, router.ID, r.RemoteAddr, p, &g.buffers, g.log)
	if !g.add(c) {
		c.refuse()
		return
	}
	stays := false
	defer func() {
		if !stays {
			c.end()
			g.remove(c)
		}
	}()
	link := g.greet(c)
	if link == nil {
		return
	}
	stays = true
	// Not in this goroutine: a link lives for months, and would hold on to what
	// only an HTTP request and its TLS handshake need.
	go g.stay(c, link) // ends with the link; Drain waits for it
}

// proof is what a router shows for itself: its secret, a certificate, or both.
type proof struct {
	hasSecret bool
	secret    store.Hash
	cert      usage.RouterID // whose the certificate is; "" for none
}

// proofOf reads it from a request. TLS has verified the certificate; whose it
// is stands in its common name.
func proofOf(r *http.Request) proof {
	var p proof
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if secret = strings.TrimSpace(secret); strings.EqualFold(scheme, "Bearer") && secret != "" { // RFC 9110 section 11.1: case-insensitive
		p.hasSecret, p.secret = true, store.HashOf(secret)
	}
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		if id, err := usage.ParseRouterID(r.TLS.VerifiedChains[0][0].Subject.CommonName); err == nil {
			p.cert = id
		}
	}
	return p
}

// checkUpgrade refuses what is no agent's request.
func checkUpgrade(r *http.Request) (status int, err *usage.Error) {
	switch {
	case r.Method != http.MethodGet:
		return http.StatusMethodNotAllowed, usage.Errorf(usage.Invalid, "connecting is a GET")
	case r.Header.Get("Origin") != "":
		return http.StatusForbidden, usage.Errorf(usage.Forbidden, "browsers may not connect as routers")
	case !websocket.IsWebSocketUpgrade(r):
		return http.StatusBadRequest, usage.Errorf(usage.Invalid, "this address speaks WebSocket (RFC 6455) only")
	case !slices.Contains(websocket.Subprotocols(r), wire.Subprotocol):
		return http.StatusBadRequest, usage.Errorf(usage.Invalid, "Sec-WebSocket-Protocol must offer %s", wire.Subprotocol)
	}
	return 0, nil
}

// authenticate finds the router that a proof lets in, or the answer that
// refuses it. A router is found with some refusals, too.
func (g *Gateway) authenticate(ctx context.Context, p proof) (router store.Router, standing store.Standing, status int, _ *usage.Error) {
	ctx, cancel := context.WithTimeout(ctx, lookupWithin)
	defer cancel()
	var err error
	switch {
	case p.hasSecret:
		router, standing, err = g.store.RouterBySecret(ctx, p.secret, time.Now())
	case p.cert != "":
		router, err = g.store.Router(ctx, p.cert)
	default:
		err = usage.Errorf(usage.NotFound, "no secret")
	}
	switch {
	case usage.KindOf(err) == usage.NotFound && err != nil:
		return store.Router{}, standing, http.StatusUnauthorized, usage.Errorf(usage.Unauthenticated,
			"no router has this secret; enrol it with netpilot-agent enroll")
	case err != nil:
		g.log.Error("look up a router's secret", "err", err)
		return store.Router{}, standing, http.StatusServiceUnavailable, errBusy(comeBack, "the relay cannot look up secrets now; try again later")
	case !router.RevokedAt.IsZero():
		return router, standing, http.StatusForbidden, usage.Errorf(usage.Forbidden,
			"this router was revoked; to let it in again, enrol it with netpilot-agent enroll")
	case p.cert != "" && p.cert != router.ID:
		return router, standing, http.StatusForbidden, usage.Errorf(usage.Forbidden, "the certificate is another router's than the secret")
	case g.RequireCert && (p.cert == "" || !p.hasSecret):
		return router, standing, http.StatusForbidden, usage.Errorf(usage.Forbidden,
			"this relay wants a client certificate and the secret; see options client_cert and client_key of the agent")
	}
	return router, standing, 0, nil
}
