package api

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/store"
)

// Done is one request that was answered, for the audit log and the metrics.
type Done struct {
	Method  string
	Path    string // as the table of routes has it, so of a bounded number; "" for an unknown one
	Status  int
	Code    string // of the error, "" for none
	Key     store.Key
	Router  usage.RouterID // "" if it was about none
	Address string
	Changes bool // it needs more than the scope read
	Took    time.Duration
}

// Keyed lets only requests with a key of the scope through to next, which
// answers by itself; others are refused as on every path.
func (a *API) Keyed(path string, need store.Scope, next http.Handler) http.Handler {
	return a.endpoint(&route{path: path, needs: need}, a.keyed(func(x *exchange) (json.RawMessage, error) {
		x.stream = func(w http.ResponseWriter) error {
			next.ServeHTTP(w, x.Request)
			return nil
		}
		return nil, nil
	}))
}

// Open lets requests without a key through to next, which answers GET and HEAD
// by itself; the API counts them with all others that need no key.
func (a *API) Open(path string, next http.Handler) http.Handler {
	refuse := notAllowed(http.MethodGet + ", " + http.MethodHead)
	return a.endpoint(&route{path: path}, func(x *exchange) (json.RawMessage, error) {
		if err := a.openTo(x); err != nil {
			return nil, err
		}
		if x.Method != http.MethodGet && x.Method != http.MethodHead {
			return refuse(x)
		}
		x.stream = func(w http.ResponseWriter) error {
			next.ServeHTTP(w, x.Request)
			return nil
		}
		return nil, nil
	})
}

// tell tells Answered of an exchange that ended so.
func (a *API) tell(x *exchange, err error) {
	if a.Answered == nil {
		return
	}
	d := Done{Method: x.Method, Path: x.route.path, Status: http.StatusOK, Key: x.key, Router: x.router, Address: x.RemoteAddr,
		Changes: x.route.needs == store.ScopeWrite, Took: a.Now().Sub(x.began)}
	if err != nil {
		f := x.fail(err)
		d.Status, d.Code = f.status, f.code
	}
	a.Answered(d)
}
