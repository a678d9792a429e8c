package gateway

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
	"github.com/netpilot/netpilot/relay/audit"
	"github.com/netpilot/netpilot/relay/limit"
	"github.com/netpilot/netpilot/relay/store"
)

// Limits of an enrolment request.
const (
	maxEnrolBody = 4 << 10 // bytes
	bodyWithin   = 10 * time.Second
	maxText      = 128 // bytes kept of a model, a release, a version
)

// Limits of failed enrolments from one address. A token cannot be guessed; this
// keeps a confused or hostile program from keeping the database busy.
const (
	maxFailures   = 20
	failureWindow = time.Minute
	maxAddresses  = 4096 // remembered at once
)

// ServeEnrol answers POST wire.EnrolPath: a token for a secret.
func (g *Gateway) ServeEnrol(w http.ResponseWriter, r *http.Request) {
	// A body that trickles in ends here, or when the server discards it.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyWithin)) // not every writer has a socket
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		refuse(w, http.StatusMethodNotAllowed, usage.Errorf(usage.Invalid, "enrolment is a POST"))
		return
	}
	if r.Header.Get("Origin") != "" {
		refuse(w, http.StatusForbidden, usage.Errorf(usage.Forbidden, "browsers may not enrol routers"))
		return
	}
	if wait := g.failures.Wait(limit.Network(r.RemoteAddr), time.Now()); wait > 0 {
		refuse(w, http.StatusTooManyRequests, errBusy(wait, "too many failed enrolments from this address; try again later"))
		return
	}
	req, err := decodeEnrol(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	g.enrol(w, r, req)
}

// decodeEnrol reads and checks the body.
func decodeEnrol(r *http.Request) (wire.EnrolRequest, *usage.Error) {
	var req wire.EnrolRequest
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return req, usage.Errorf(usage.Invalid, "Content-Type must be application/json")
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxEnrolBody+1))
	if err != nil {
		return req, usage.Errorf(usage.Invalid, "the body did not arrive: %w", err)
	}
	if len(body) > maxEnrolBody {
		return req, usage.Errorf(usage.Invalid, "the body is larger than %d bytes", maxEnrolBody)
	}
	if err := json.Unmarshal(body, &req); err != nil {
		return req, usage.Errorf(usage.Invalid, "the body is not an enrolment request in JSON")
	}
	if req.Token == "" {
		return req, usage.Errorf(usage.Invalid, "token is missing")
	}
	if _, err := usage.ParseRouterID(req.RouterID); err != nil {
		return req, usage.Errorf(usage.Invalid, "router_id: %w", err)
	}
	return req, nil
}

// enrol redeems the token. The router's live link, if any, is under a secret
// that is worthless now; Run closes it.
func (g *Gateway) enrol(w http.ResponseWriter, r *http.Request, req wire.EnrolRequest) {
	router := store.Router{
		ID:           usage.RouterID(req.RouterID),
		Name:         usage.Clean(req.Name, usage.MaxName),
		Model:        usage.Clean(req.Model, maxText),
		AgentVersion: usage.Clean(req.AgentVersion, maxText),
	}
	secret, hash := store.NewSecret(store.RouterPrefix)
	err := g.store.Redeem(r.Context(), store.HashOf(req.Token), router, hash, time.Now())
	var refused *usage.Error
	switch {
	case errors.As(err, &refused) && refused.Kind == usage.Forbidden:
		g.failures.Take(limit.Network(r.RemoteAddr), time.Now())
		g.record(audit.Entry{Who: audit.Nobody, Router: router.ID, Method: "enrol", Result: refused.Kind.String(), Address: r.RemoteAddr, Often: true})
		g.log.Info("enrolment refused", "router", router.ID, "from", r.RemoteAddr)
		refuse(w, http.StatusForbidden, refused)
	case err != nil:
		g.log.Error("enrolment failed", "router", router.ID, "err", err)
		refuse(w, http.StatusServiceUnavailable, errBusy(comeBack, "the relay cannot enrol routers now; try again later"))
	default:
		g.wake()
		g.record(audit.Entry{Who: audit.Router, Router: router.ID, Method: "enrol", Result: audit.OK, Address: r.RemoteAddr, Detail: router.Name})
		g.log.Info("router enrolled", "router", router.ID, "name", router.Name, "from", r.RemoteAddr)
		answer(w, http.StatusOK, wire.EnrolReply{RouterID: req.RouterID, Secret: secret})
	}
}
