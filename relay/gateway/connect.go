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
	"github.com/netpilot/netpilot/relay/store"
)

// lookupWithin bounds a look into the store while a router waits.
const lookupWithin = 5 * time.Second

// ServeConnect answers GET wire.ConnectPath with a WebSocket and serves it to
// its end.
func (g *Gateway) ServeConnect(w http.ResponseWriter, r *http.Request) {
	if status, err := checkUpgrade(r); err != nil {
		if status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", http.MethodGet)
		}
		refuse(w, status, err)
		return
	}
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") { // RFC 9110 section 11.1: case-insensitive
		secret = ""
	}
	hash := store.HashOf(strings.TrimSpace(secret))
	router, status, err := g.authenticate(r.Context(), hash)
	if err != nil {
		if status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", "Bearer")
		}
		refuse(w, status, err)
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
	g.serve(newConn(ws, router.ID, hash, g.log.With("router", router.ID, "from", r.RemoteAddr)))
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

// authenticate finds the router that a secret lets in, or the answer that
// refuses it.
func (g *Gateway) authenticate(ctx context.Context, secret store.Hash) (store.Router, int, *usage.Error) {
	ctx, cancel := context.WithTimeout(ctx, lookupWithin)
	defer cancel()
	router, _, err := g.store.RouterBySecret(ctx, secret, time.Now())
	switch {
	case usage.KindOf(err) == usage.NotFound && err != nil:
		return router, http.StatusUnauthorized, usage.Errorf(usage.Unauthenticated,
			"no router has this secret; enrol it with netpilot-agent enroll")
	case err != nil:
		g.log.Error("look up a router's secret", "err", err)
		return router, http.StatusServiceUnavailable, errBusy(comeBack, "the relay cannot look up secrets now; try again later")
	case !router.RevokedAt.IsZero():
		return router, http.StatusForbidden, usage.Errorf(usage.Forbidden,
			"this router was revoked; to let it in again, enrol it with netpilot-agent enroll")
	}
	return router, 0, nil
}
