// Package api is the relay's door for backends: REST over the routers that
// are enrolled. Every answer is JSON in one envelope, whatever was asked and
// whatever went wrong, and comes within 25 seconds.
package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"path"
	"runtime/debug"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/hub"
	"github.com/netpilot/netpilot/relay/legacy"
	"github.com/netpilot/netpilot/relay/store"
)

const (
	// answerWithin leaves a second of the 25 that callers are promised for
	// the way there. It is longer than hub.CallWithin.
	answerWithin = 24 * time.Second
	// bodyWithin is how long a request's body may take to arrive.
	bodyWithin = 10 * time.Second
)

// Hub reaches routers; see hub.Local.
type Hub interface {
	Call(ctx context.Context, router usage.RouterID, method string, params json.RawMessage) (json.RawMessage, error)
	Online(router usage.RouterID) (hub.Presence, bool)
	Subscribe(filter func(*hub.Event) bool) (<-chan hub.Event, func())
}

// Store knows routers, keys and sessions, and has a copy of the routers'
// history; see store.Store.
type Store interface {
	Router(ctx context.Context, id usage.RouterID) (store.Router, error)
	Routers(ctx context.Context, q store.RouterQuery) ([]store.Router, int, error)
	KeyByHash(ctx context.Context, hash store.Hash, now time.Time) (store.Key, error)
	KeyUsed(ctx context.Context, id string, now time.Time) error
	Sessions(ctx context.Context) ([]store.Session, error)
	SaveSessions(ctx context.Context, sessions []store.Session) error
	DropSessions(ctx context.Context, sessions []store.Session) error

	Replica(ctx context.Context, router usage.RouterID) (store.Replica, error)
	History(ctx context.Context, router usage.RouterID, q store.HistoryQuery, visit func(usage.Slot) error) (store.HistoryInfo, error)
	Gaps(ctx context.Context, router usage.RouterID, r usage.Range) ([]usage.Gap, error)
	KeepAnswer(router usage.RouterID, method string, a store.Answer)
	LastAnswer(ctx context.Context, router usage.RouterID, method string) (store.Answer, error)
}

// API is the http.Handler. Make it with New; set its fields before it serves.
type API struct {
	// Now is the clock of timestamps and of the keys' expiry.
	Now func() time.Time
	// Answered, if set, is told of every answer. It must return at once.
	Answered func(Done)

	// Legacy, if set, answers what the relay has no path for.
	Legacy *legacy.Upstream
	// Shadow, if set, compares our answers on the drop-in paths with Legacy's.
	Shadow *legacy.Shadow

	always   http.Header // of every answer
	limits   limits
	hub      Hub
	store    Store
	log      *slog.Logger
	keys     *keyring
	known    *known
	sessions *sessions
	checks   checks
	streams  *streams
	fleet    fleet
	mux      *http.ServeMux
	huma     huma.API
	docs     document
}

// New makes the API.
func New(s Store, h Hub, log *slog.Logger) *API {
	a := &API{Now: time.Now, hub: h, store: s, log: log, keys: newKeyring(s), known: newKnown(), limits: newLimits(0, 0), mux: http.NewServeMux()}
	a.always = http.Header{"Content-Type": {"application/json"}, "Cache-Control": {"no-store"}, "X-Content-Type-Options": {"nosniff"}}
	a.sessions = newSessions(s)
	a.streams = newStreams()
	a.huma = huma.NewAPI(humaConfig(), mounter{a})
	a.mountOpen()
	a.mountKey()
	a.mountRouters()
	a.mountFleet()
	a.mountUsage()
	a.mountHistory()
	a.mountChanges()
	a.mountSessions()
	a.mountMonitor()
	a.mountExecute()
	a.mountStream()
	a.finishRoutes()
	return a
}

// ServeHTTP implements http.Handler.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// The mux would redirect a path like //api, with a page of HTML.
	if p := r.URL.Path; p == "" || path.Clean(p) != strings.TrimSuffix(p, "/") && p != "/" {
		a.elsewhere(w, r)
		return
	}
	a.mux.ServeHTTP(w, r)
}

// Run does what goes on beside requests until ctx ends: it ends idle sessions,
// writes down what was used and looks at the relay's own health.
func (a *API) Run(ctx context.Context) error {
	tick := time.NewTicker(healthEvery)
	defer tick.Stop()
	swept := a.Now()
	failing := false
	for {
		a.checks.look(ctx, a)
		err := a.writeUses(ctx)
		if now := a.Now(); now.Sub(swept) >= sweepEvery {
			swept = now
			err = errors.Join(err, a.sessions.sweep(ctx, now))
		}
		if failed := err != nil && ctx.Err() == nil; failed != failing {
			failing = failed
			if failed {
				a.log.Error("uses of keys and sessions are not written down; it is tried again", "err", err)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkWithin)
			defer cancel()
			if err := errors.Join(a.keys.writeUses(last), a.sessions.sweep(last, a.Now())); err != nil {
				a.log.Error("uses of keys and sessions are not written down", "err", err)
			}
			return nil
		}
	}
}

func (a *API) writeUses(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkWithin)
	defer cancel()
	return a.keys.writeUses(ctx)
}

// exchange is one request and what is known of it so far.
type exchange struct {
	*http.Request
	route   *route
	reply   http.Header // header of the answer
	bodyEnd func()      // the body has arrived: lifts its deadline
	body    []byte      // once read
	bodyIn  bool        // it was read
	began   time.Time
	session string // as asked for, "" if not
	router  usage.RouterID
	key     store.Key // it came with; zero if none was needed
	facts   facts
	// stream, if set, writes the answer instead of the envelope. It has not
	// written anything if it fails at once; what breaks later ends the
	// connection, so that nobody takes half an answer for a whole one.
	stream func(w http.ResponseWriter) error

	data json.RawMessage // what the handler answered, for the envelope
	err  error
}

// facts are our own additions to an answer's metadata; zero ones are left out.
type facts struct {
	source string    // who answered: router or store
	cached bool      // the answer is one given before, at most cacheFor old
	stale  bool      // the router could not be asked; the answer is the last known
	asOf   time.Time // when the answer was true, where that is not now
	total  *int      // length of the list of which the answer is a part
}

// handler answers one request with JSON for the envelope's data, or fails. It
// writes nothing itself.
type handler func(x *exchange) (json.RawMessage, error)

// endpoint makes a handler an http.Handler: bounded in time, safe from
// panics, answering in the envelope.
func (a *API) endpoint(rt *route, answer handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		if !rt.lasting {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, answerWithin)
			defer cancel()
		}
		control := http.NewResponseController(w)
		if r.ContentLength != 0 { // also ends a body that nobody reads, when the server discards it
			_ = control.SetReadDeadline(time.Now().Add(bodyWithin)) // not every writer has a socket
		}
		x := &exchange{
			Request: r.WithContext(ctx), route: rt, reply: w.Header(), began: a.Now(),
			// A deadline left on the socket would look like a client that hung up.
			bodyEnd: func() { _ = control.SetReadDeadline(time.Time{}) },
		}
		maps.Copy(x.reply, a.always)
		data, err := a.guarded(answer, x)
		a.tell(x, err)
		a.shadow(x, data, err)
		if err == nil && x.stream != nil {
			a.writeStream(w, x)
			return
		}
		a.write(w, x, data, err)
	})
}

// guarded runs the handler and makes a panic an error.
func (a *API) guarded(answer handler, x *exchange) (data json.RawMessage, err error) {
	defer func() {
		if p := recover(); p != nil {
			data, err = nil, fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return answer(x)
}

// keyed lets only requests with a key in force that has the route's scope
// through to the handler.
func (a *API) keyed(next handler) handler {
	return func(x *exchange) (json.RawMessage, error) {
		key, err := a.admit(x)
		x.key = key
		if err != nil {
			return nil, err
		}
		if err := mayDo(&key, x.route.needs); err != nil {
			return nil, err
		}
		return next(x)
	}
}

// unknownPath answers what nothing else does.
func (a *API) unknownPath(x *exchange) (json.RawMessage, error) {
	if err := a.openTo(x); err != nil {
		return nil, err
	}
	return nil, &failure{status: http.StatusNotFound, code: "NOT_FOUND",
		message: fmt.Sprintf("there is nothing at %s", usage.Clean(x.URL.Path, 200))}
}

// notAllowed answers methods that a path does not have.
func notAllowed(allow string) handler {
	return func(x *exchange) (json.RawMessage, error) {
		x.reply.Set("Allow", allow) // RFC 9110 section 15.5.6
		return nil, &failure{status: http.StatusMethodNotAllowed, code: "METHOD_NOT_ALLOWED",
			message: fmt.Sprintf("this path answers %s only", allow)}
	}
}
