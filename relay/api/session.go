package api

import (
	"cmp"
	"encoding/json"
	"net/http"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/store"
)

type sessionStartBody struct {
	Restart bool `json:"restart,omitempty" doc:"Begin anew if the session is active."`
}

type sessionStartItem struct {
	SessionID           string `json:"session_id"`
	RouterReachable     bool   `json:"router_reachable"`
	InfrastructureReady bool   `json:"infrastructure_ready"`
	Message             string `json:"message"`
}

type messageItem struct {
	Message string `json:"message"`
}

// sessionItem is an active session.
type sessionItem struct {
	SessionID   string    `json:"session_id"`
	Key         string    `json:"key" doc:"Id of the API key that opened it."`
	StartedAt   time.Time `json:"started_at"`
	UsedAt      time.Time `json:"used_at"`
	IdleSeconds int       `json:"idle_seconds" doc:"It ends after 1800."`
}

func (a *API) mountSessions() {
	rt := func(method, path, id, summary string, ids wanted, body any) route {
		return route{method: method, path: "/api/session/" + path, needs: store.ScopeRead, ids: ids, dropIn: true, tag: "drop-in",
			id: id, summary: summary, body: body}
	}
	start := rt(http.MethodPost, "start", "sessionStart", "Open a session", sessionID, sessionStartBody{})
	start.about = "It ends after 30 minutes without a request. A router that cannot be reached opens none."
	mount[IDs, sessionStartItem](a, start, a.sessionStart)
	mount[IDs, messageItem](a, rt(http.MethodPost, "end", "sessionEnd", "End a session", sessionID, nil), a.sessionEnd)
	mount[IDs, messageItem](a, rt(http.MethodPost, "refresh", "sessionRefresh", "Keep a session from ending", sessionID, nil), a.sessionRefresh)
	status := rt(http.MethodGet, "status", "sessionStatus", "The active sessions", noIDs, nil)
	status.about = "Those of the key, or of all keys for one of scope admin."
	mount[sessionsIn, []sessionItem](a, status, a.sessionStatus)
}

type sessionsIn struct {
	Sort string `query:"sort" enum:"used,started,session_id" doc:"Most recent first, or by id; used if absent."`
	Paging
}

// sessionStart answers POST /api/session/start.
func (a *API) sessionStart(x *exchange, _ *IDs) (json.RawMessage, error) {
	body, err := x.readBody()
	if err != nil {
		return nil, err
	}
	var start sessionStartBody
	if json.Unmarshal(body, &start) != nil {
		start = sessionStartBody{} // a broken body is as good as none
	}
	if len(x.session) > maxSessionID || usage.Clean(x.session, maxSessionID) != x.session {
		return nil, badRequest("sessionId is at most 128 printable bytes")
	}
	err = maySee(&x.key, x.router)
	if _, online := a.hub.Online(x.router); err == nil && !online {
		err = a.whyOffline(x, errOffline(x.router))
	}
	if err != nil {
		return nil, &failure{status: http.StatusInternalServerError, code: "ROUTER_UNREACHABLE", message: fail(err).message, err: err, theirs: true}
	}
	err = a.sessions.start(x.Context(), x.key.ID, x.session, start.Restart, a.Now())
	if err != nil && fail(err).code != "SESSION_ALREADY_ACTIVE" {
		return nil, err
	}
	// Ours may be active when the old server's has ended: the backend starts
	// it again, and it must not be told that there is nothing to start.
	if !a.mirrored(x, "start", map[string]any{"restart": start.Restart}) && err != nil {
		return nil, err
	}
	return json.Marshal(sessionStartItem{SessionID: x.session, RouterReachable: true, InfrastructureReady: true,
		Message: "Session established successfully"})
}

// sessionEnd answers POST /api/session/end.
func (a *API) sessionEnd(x *exchange, _ *IDs) (json.RawMessage, error) {
	if err := a.sessions.end(x.Context(), x.key.ID, x.session, a.Now()); err != nil {
		return nil, err
	}
	a.mirrored(x, "end", nil)
	return json.Marshal(messageItem{"Session ended"})
}

// sessionRefresh answers POST /api/session/refresh.
func (a *API) sessionRefresh(x *exchange, _ *IDs) (json.RawMessage, error) {
	err := a.sessions.use(x.Context(), x.key.ID, x.session, a.Now())
	if err != nil {
		if f := fail(err); f.code == "SESSION_INVALID" {
			err = &failure{status: http.StatusNotFound, code: "SESSION_NOT_FOUND", message: "Session not found"}
		}
		return nil, err
	}
	a.mirrored(x, "refresh", nil)
	return json.Marshal(messageItem{"Session " + usage.Clean(x.session, maxSessionID) + " refreshed"})
}

// sessionStatus answers GET /api/session/status.
func (a *API) sessionStatus(x *exchange, in *sessionsIn) (json.RawMessage, error) {
	of := x.key.ID
	if x.key.Scope.Includes(store.ScopeAdmin) && x.key.Routers == nil {
		of = ""
	}
	now := a.Now()
	list, err := a.sessions.list(x.Context(), of, now)
	if err != nil {
		return nil, err
	}
	list = pageOf(x, list, in.page(), map[string]func(a, b store.Session) int{
		"started":    func(a, b store.Session) int { return b.StartedAt.Compare(a.StartedAt) },
		"session_id": func(a, b store.Session) int { return cmp.Compare(a.ID, b.ID) },
	}[in.Sort])
	items := make([]sessionItem, 0, len(list))
	for _, s := range list {
		items = append(items, sessionItem{SessionID: s.ID, Key: s.Key, StartedAt: s.StartedAt.UTC(), UsedAt: s.UsedAt.UTC(),
			IdleSeconds: int(now.Sub(s.UsedAt).Seconds())})
	}
	return json.Marshal(items)
}
