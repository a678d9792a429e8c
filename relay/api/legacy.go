package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/legacy"
	"github.com/netpilot/netpilot/relay/store"
)

// elsewhere answers what no route does: by the old commands server if there
// is one, else with 404.
func (a *API) elsewhere(w http.ResponseWriter, r *http.Request) {
	if a.Legacy == nil {
		a.endpoint(&route{}, a.unknownPath).ServeHTTP(w, r)
		return
	}
	rt := &route{needs: store.ScopeWrite, dropIn: true, lasting: true, tag: "drop-in"}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		rt.needs = store.ScopeRead
	}
	a.endpoint(rt, a.keyed(a.passOn)).ServeHTTP(w, r)
}

// passOn passes a request on to the old commands server. Which router it is
// about stands in the query; a key for some routers needs it there.
func (a *API) passOn(x *exchange) (json.RawMessage, error) {
	if x.key.Routers != nil {
		id, err := usage.ParseRouterID(x.URL.Query().Get("routerId"))
		if err != nil {
			return nil, badRequest("this key is for some routers only: routerId is required in the query")
		}
		if err := maySee(&x.key, id); err != nil {
			return nil, err
		}
	}
	x.stream = func(w http.ResponseWriter) error {
		own := make(http.Header)
		for name, values := range x.reply {
			own[name] = values
			x.reply.Del(name)
		}
		body := &steadyBody{ReadCloser: x.Body, control: http.NewResponseController(w)}
		x.Body = body
		err := a.Legacy.Pass(&steadyWriter{ResponseWriter: w}, x.Request)
		if err != nil {
			for name, values := range own {
				x.reply[name] = values
			}
			return errLegacy(err)
		}
		return nil
	}
	return nil, nil
}

func errLegacy(err error) error {
	switch usage.KindOf(err) {
	case usage.Timeout:
		return &failure{status: http.StatusGatewayTimeout, code: "LEGACY_TIMEOUT", message: err.Error(), err: err}
	case usage.Unavailable:
		return &failure{status: http.StatusBadGateway, code: "LEGACY_UNAVAILABLE", message: err.Error(), err: err}
	}
	return err
}

// steadyBody gives the sender of a large body more time as long as something
// comes.
type steadyBody struct {
	io.ReadCloser
	control *http.ResponseController
}

func (b *steadyBody) Read(p []byte) (int, error) {
	_ = b.control.SetReadDeadline(time.Now().Add(bodyWithin)) // not every writer has a socket
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		_ = b.control.SetReadDeadline(time.Time{}) // a deadline left would look like a client that hung up
	}
	return n, err
}

// steadyWriter gives the reader of a long answer more time as long as it
// takes something.
type steadyWriter struct{ http.ResponseWriter }

func (w *steadyWriter) Write(p []byte) (int, error) {
	extend(w.ResponseWriter)
	return w.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (w *steadyWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// shadow has our answer on a drop-in path compared with the old server's.
func (a *API) shadow(x *exchange, data json.RawMessage, err error) {
	if a.Shadow == nil || !x.route.dropIn || x.route.id == "" || x.Method != http.MethodGet {
		return // ours alone, or the old server's own answer passed on
	}
	if query := x.URL.Query(); query.Has("limit") || query.Has("offset") {
		return // the old server knows no pages
	}
	if err == nil {
		ours := append(append([]byte(`{"success":true,"data":`), data...), '}')
		a.Shadow.Compare(x.URL.EscapedPath(), x.URL.RawQuery, x.body, legacy.Answer{Status: http.StatusOK, Body: ours})
		return
	}
	f := x.fail(err)
	if f.status == http.StatusUnauthorized || f.status == http.StatusTooManyRequests || f.status == http.StatusForbidden {
		return // the old server knows no keys
	}
	ours := fmt.Appendf(nil, `{"success":false,"error":{"code":%q}}`, f.code)
	a.Shadow.Compare(x.URL.EscapedPath(), x.URL.RawQuery, x.body, legacy.Answer{Status: f.status, Body: ours})
}

// mirrorWithin bounds what is told to the old server before the caller is
// answered: opening its tunnel to the router takes seconds.
const mirrorWithin = 20 * time.Second

// mirrored tells the old server of a session too, for what is passed on to it
// wants one there. It tells whether the old server did it. That it could not
// is no failure of ours: monitoring works without it.
func (a *API) mirrored(x *exchange, what string, body map[string]any) bool {
	if a.Legacy == nil {
		return false
	}
	if body == nil {
		body = map[string]any{}
	}
	body["sessionId"], body["routerId"] = x.session, x.router
	raw, err := json.Marshal(body)
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(x.Context(), mirrorWithin)
	defer cancel()
	ids := url.Values{"sessionId": {x.session}, "routerId": {string(x.router)}}
	answer, err := a.Legacy.Ask(ctx, http.MethodPost, "/api/session/"+what, ids.Encode(), raw)
	switch {
	case err != nil:
		a.log.Warn("session not told to the old commands server", "what", what, "router", x.router, "err", err)
	case answer.Status != http.StatusOK:
		a.log.Info("the old commands server refused a session", "what", what, "router", x.router, "status", answer.Status)
	}
	return err == nil && answer.Status == http.StatusOK
}
