package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/netpilot/netpilot/relay/store"
)

// scopeOpen is of routes that need no key.
const scopeOpen store.Scope = ""

// wanted says which ids a request must name.
type wanted uint8

const (
	noIDs     wanted = iota // none; a session is checked where one is given
	routerID                // a router; a session is checked where one is given
	bothIDs                 // both, and the session must be active
	sessionID               // both, the session in whatever state
)

// route is one line of the table of what the API answers. The same line makes
// the handler and its description in the OpenAPI document.
type route struct {
	method, path string
	needs        store.Scope
	ids          wanted
	dropIn       bool // timestamps and refusals as the old commands server's
	commandCodes bool // and its one code for what goes wrong behind it
	lasting      bool // may take longer than answerWithin, as a stream does
	tag          string
	id           string // operationId
	summary      string
	about        string
	body         any               // an example of the request's body, for its schema
	also         map[string]string // other media types it answers with, and what they hold
}

// mount adds a route. huma parses and checks the parameters by the tags of In
// and describes them; Out is only described: data goes out as answer made it.
func mount[In, Out any](a *API, rt route, answer func(x *exchange, in *In) (json.RawMessage, error)) {
	op := huma.Operation{
		Method: rt.method, Path: rt.path, OperationID: rt.id, Summary: rt.summary, Description: rt.about,
		Tags: []string{rt.tag}, DefaultStatus: http.StatusOK,
		Responses: a.responses(&rt, reflect.TypeFor[Out]()),
		Metadata:  map[string]any{routeKey: &rt},
	}
	if rt.needs == scopeOpen {
		op.Security = []map[string][]string{{}}
	}
	huma.Register(a.huma, op, func(ctx context.Context, in *In) (*struct{}, error) {
		x := ctx.Value(exchangeKey{}).(*exchange)
		x.data, x.err = answer(x, in)
		return nil, nil
	})
	if rt.body != nil { // described here and read by readBody, which forgives what backends send
		a.describeBody(&rt)
	}
}

// routeKey is where an operation keeps its route.
const routeKey = "route"

// exchangeKey is the key of the exchange in a request's context.
type exchangeKey struct{}

// mounter is huma's way to our mux.
type mounter struct{ *API }

// Handle implements huma.Adapter: parse reads and checks the parameters and
// calls the route's answer.
func (m mounter) Handle(op *huma.Operation, parse func(huma.Context)) {
	rt := op.Metadata[routeKey].(*route)
	m.mux.Handle(op.Method+" "+op.Path, m.endpoint(rt, m.admitted(func(x *exchange) (json.RawMessage, error) {
		parse(&call{humago.NewContext(op, x.Request, nil), x})
		return x.data, x.err
	})))
}

// finishRoutes answers the methods that a path does not have.
func (a *API) finishRoutes() {
	for path, item := range a.huma.OpenAPI().Paths {
		var allow []string
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Put, item.Delete} {
			if op == nil {
				continue
			}
			if allow = append(allow, op.Method); op.Method == http.MethodGet {
				allow = append(allow, http.MethodHead)
			}
		}
		rt := &route{path: path}
		if item.Get != nil {
			rt = item.Get.Metadata[routeKey].(*route)
		}
		refuse := a.endpoint(rt, notAllowed(strings.Join(allow, ", ")))
		a.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			if a.Legacy != nil && rt.dropIn && path != "/health" {
				a.elsewhere(w, r) // the old server may have the method
				return
			}
			refuse.ServeHTTP(w, r)
		})
	}
	a.mux.HandleFunc("/", a.elsewhere)
	a.finishDocument()
}

// call is the request as huma sees it. What huma would write goes nowhere:
// the envelope is ours.
type call struct {
	humaContext
	x *exchange
}

// humaContext can be embedded beside a method Context.
type humaContext huma.Context

func (c *call) Context() context.Context {
	return context.WithValue(c.x.Request.Context(), exchangeKey{}, c.x)
}
func (c *call) SetStatus(int)                   {}
func (c *call) SetHeader(string, string)        {}
func (c *call) AppendHeader(string, string)     {}
func (c *call) BodyWriter() io.Writer           { return io.Discard }
func (c *call) Param(name string) string        { return c.x.PathValue(name) }
func (c *call) EachHeader(func(string, string)) {}

// humaConfig has huma check requests and leave the writing to us.
func humaConfig() huma.Config {
	nothing := huma.Format{Marshal: func(io.Writer, any) error { return nil }, Unmarshal: json.Unmarshal}
	config := huma.Config{
		OpenAPI:       newDocument(),
		DefaultFormat: "application/json",
		Formats:       map[string]huma.Format{"application/json": nothing, "json": nothing}, // json is also that of its errors
		// The one thing huma writes by itself is what is wrong with a request.
		Transformers: []huma.Transformer{func(ctx huma.Context, _ string, v any) (any, error) {
			if wrong, ok := v.(*huma.ErrorModel); ok {
				ctx.(*call).x.err = badRequest(whatIsWrong(wrong))
			}
			return nil, nil
		}},
	}
	return config
}

// whatIsWrong says which parameters are not as they should be.
func whatIsWrong(e *huma.ErrorModel) string {
	var parts []string
	for _, detail := range e.Errors {
		if detail == nil {
			continue
		}
		_, name, _ := strings.Cut(detail.Location, ".")
		if part := fmt.Sprintf("%s: %s", name, detail.Message); !slices.Contains(parts, part) {
			parts = append(parts, part)
		}
	}
	if len(parts) == 0 {
		return e.Detail
	}
	return strings.Join(parts, "; ")
}

// admitted lets through what has a key for the route and names the ids that
// it wants.
func (a *API) admitted(next handler) handler {
	inner := func(x *exchange) (json.RawMessage, error) {
		if err := a.readIDs(x); err != nil {
			return nil, err
		}
		return next(x)
	}
	keyed := a.keyed(inner)
	return func(x *exchange) (json.RawMessage, error) {
		if x.route.needs == scopeOpen {
			if x.route.path != "/health" { // backends fail all their calls when it fails
				if err := a.openTo(x); err != nil {
					return nil, err
				}
			}
			return next(x)
		}
		return keyed(x)
	}
}
