package api

import (
	"bytes"
	_ "embed" // the page's template
	"encoding/json"
	"html/template"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// document is the OpenAPI description in each form it is served in.
type document struct {
	json, yaml, page []byte
}

func newDocument() *huma.OpenAPI {
	return &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{
			Title:   "netpilot-relay",
			Version: "1",
			Description: "Usage of the devices behind routers, asked over one link that each router opens itself. " +
				"Every answer but a file or a stream is one envelope: success, data, error, metadata.",
			License: &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
		},
		Servers: []*huma.Server{{URL: "/", Description: "this relay"}},
		Tags: []*huma.Tag{
			{Name: "usage", Description: "Who used how much behind one router."},
			{Name: "fleet", Description: "The routers and what they come to together."},
			{Name: "drop-in", Description: "The paths of the old commands server, answered as it did."},
			{Name: "relay", Description: "The relay itself."},
		},
		Components: &huma.Components{
			Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
			SecuritySchemes: map[string]*huma.SecurityScheme{
				"bearer": {Type: "http", Scheme: "bearer", Description: "An API key: netpilot-relay key create."},
				"basic":  {Type: "http", Scheme: "basic", Description: "Any user name, and the API key as password."},
			},
		},
		Security: []map[string][]string{{"bearer": {}}, {"basic": {}}},
	}
}

// metadataItem is what stands beside every answer.
type metadataItem struct {
	SessionID     *string  `json:"sessionId" doc:"The session the request named."`
	RouterID      *string  `json:"routerId" doc:"The router the answer is about."`
	Timestamp     string   `json:"timestamp" doc:"When the answer was made: RFC 3339, but on the drop-in paths local time without zone."`
	ExecutionTime float64  `json:"executionTime" doc:"Seconds it took."`
	Source        string   `json:"source,omitempty" enum:"router,store" doc:"Who answered: the router itself, or what the relay keeps of it."`
	Cached        bool     `json:"cached,omitempty" doc:"The answer was given before, at most 5 s ago."`
	Stale         bool     `json:"stale,omitempty" doc:"The router could not be asked; this is the last known, true at asOf."`
	AsOf          string   `json:"asOf,omitempty" format:"date-time" doc:"When the answer was true, where that is not now."`
	Total         *int     `json:"total,omitempty" doc:"Rows of the whole list, where the answer is a bare list or a part of one."`
	_             struct{} `additionalProperties:"false"`
}

// errorItem is why there is no answer.
type errorItem struct {
	Code    string `json:"code" example:"ROUTER_OFFLINE" doc:"For programs: codes are added to, never changed."`
	Message string `json:"message" doc:"For a person: it names the next step."`
	Details any    `json:"details" doc:"Always null today."`
}

// responses describes a route's answers.
func (a *API) responses(rt *route, data reflect.Type) map[string]*huma.Response {
	schemas := a.huma.OpenAPI().Components.Schemas
	metadata := schemas.Schema(reflect.TypeFor[metadataItem](), true, "")
	object := func(success bool, data, failure *huma.Schema) *huma.Schema {
		return &huma.Schema{
			Type: huma.TypeObject, AdditionalProperties: false, Required: []string{"success", "data", "error", "metadata"},
			Properties: map[string]*huma.Schema{
				"success":  {Type: huma.TypeBoolean, Enum: []any{success}},
				"data":     data,
				"error":    failure,
				"metadata": metadata,
			},
		}
	}
	null := &huma.Schema{Type: "null"}
	content := map[string]*huma.MediaType{}
	if data.Kind() != reflect.Struct || data.NumField() > 0 {
		described := schemas.Schema(data, true, "")
		if data.Kind() == reflect.Slice {
			described.Nullable = false
		}
		content["application/json"] = &huma.MediaType{Schema: object(true, described, null)}
	}
	for media := range rt.also {
		content[media] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString}}
	}
	about := "Done."
	for _, media := range slices.Sorted(mapKeys(rt.also)) {
		about += " " + media + ": " + rt.also[media] + "."
	}
	list := map[string]*huma.Response{"200": {Description: about, Content: content}}
	failed := &huma.Response{Description: "Not done; error says why.", Content: map[string]*huma.MediaType{
		"application/json": {Schema: object(false, null, schemas.Schema(reflect.TypeFor[errorItem](), true, ""))},
	}}
	a.huma.OpenAPI().Components.Responses = map[string]*huma.Response{"Failed": failed}
	for _, status := range rt.failures() {
		list[status] = &huma.Response{Ref: "#/components/responses/Failed"}
	}
	return list
}

// failures are the statuses with which a route can fail.
func (rt *route) failures() []string {
	list := []string{"400", "500"}
	if rt.needs != scopeOpen {
		list = append(list, "401", "403", "429")
	}
	switch {
	case rt.ids == routerID:
		list = append(list, "404", "413", "502", "503", "504")
	case rt.tag == "fleet":
		list = append(list, "404")
	}
	if rt.id == "sessionRefresh" {
		list = append(list, "404")
	}
	return list
}

func mapKeys[V any](m map[string]V) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// describeBody adds the request's body to a route's description.
func (a *API) describeBody(rt *route) {
	api := a.huma.OpenAPI()
	item := api.Paths[rt.path]
	op := map[string]*huma.Operation{http.MethodGet: item.Get, http.MethodPost: item.Post, http.MethodPut: item.Put}[rt.method]
	op.RequestBody = &huma.RequestBody{
		Description: "Optional where the query says all.",
		Content: map[string]*huma.MediaType{
			"application/json": {Schema: api.Components.Schemas.Schema(reflect.TypeOf(rt.body), true, "")},
		},
	}
}

//go:embed docs.html
var docsPage string

// finishDocument writes the description down in each form, once.
func (a *API) finishDocument() {
	api := a.huma.OpenAPI()
	delete(api.Components.Schemas.Map(), "ErrorModel") // huma's own, which we do not send
	delete(api.Components.Schemas.Map(), "ErrorDetail")
	a.docs.json, _ = json.MarshalIndent(api, "", "  ") // of our own types: tested
	a.docs.yaml, _ = api.YAML()
	var page bytes.Buffer
	if err := template.Must(template.New("docs").Parse(docsPage)).Execute(&page, describe(api)); err == nil {
		a.docs.page = page.Bytes()
	}
}

// docsGroup is one section of the page.
type docsGroup struct {
	Name, About string
	Operations  []docsOperation
}

type docsOperation struct {
	ID, Method, Path, Summary, About, Needs string
	Params                                  []docsParam
	Body                                    []docsParam
	Answers                                 []docsParam
	Others                                  []string
}

type docsParam struct{ Name, In, Type, About string }

// describe is the document as the page shows it.
func describe(api *huma.OpenAPI) []docsGroup {
	groups := make([]docsGroup, len(api.Tags))
	for i, tag := range api.Tags {
		groups[i] = docsGroup{Name: tag.Name, About: tag.Description}
	}
	paths := make([]string, 0, len(api.Paths))
	for p := range api.Paths {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	for _, p := range paths {
		item := api.Paths[p]
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Put} {
			if op == nil {
				continue
			}
			at := slices.IndexFunc(groups, func(g docsGroup) bool { return g.Name == op.Tags[0] })
			groups[at].Operations = append(groups[at].Operations, describeOperation(api, op))
		}
	}
	return groups
}

func describeOperation(api *huma.OpenAPI, op *huma.Operation) docsOperation {
	d := docsOperation{ID: op.OperationID, Method: op.Method, Path: op.Path, Summary: op.Summary, About: op.Description,
		Needs: string(op.Metadata[routeKey].(*route).needs)}
	for _, p := range op.Parameters {
		d.Params = append(d.Params, docsParam{p.Name, p.In, typeText(p.Schema), p.Description})
	}
	if op.RequestBody != nil {
		d.Body = members(api, op.RequestBody.Content["application/json"].Schema)
	}
	for media, content := range op.Responses["200"].Content {
		if media == "application/json" && content.Schema.Properties["data"] != nil {
			d.Answers = members(api, content.Schema.Properties["data"])
		} else {
			d.Others = append(d.Others, media)
		}
	}
	slices.Sort(d.Others)
	return d
}

// members lists an object's members, or those of a list's rows.
func members(api *huma.OpenAPI, s *huma.Schema) []docsParam {
	if s.Ref != "" {
		s = api.Components.Schemas.SchemaFromRef(s.Ref)
	}
	if s.Type == huma.TypeArray {
		return members(api, s.Items)
	}
	names := slices.Sorted(mapKeys(s.Properties))
	list := make([]docsParam, 0, len(names))
	for _, name := range names {
		p := s.Properties[name]
		list = append(list, docsParam{Name: name, Type: typeText(p), About: p.Description})
	}
	return list
}

// typeText says what a value is, in a few words.
func typeText(s *huma.Schema) string {
	text := s.Type
	switch {
	case s.Ref != "":
		text = s.Ref[strings.LastIndexByte(s.Ref, '/')+1:]
	case s.Type == huma.TypeArray && s.Items != nil:
		text = "list of " + typeText(s.Items)
	case len(s.Enum) > 0:
		choices := make([]string, 0, len(s.Enum))
		for _, choice := range s.Enum {
			if c, ok := choice.(string); ok {
				choices = append(choices, c)
			}
		}
		text = strings.Join(choices, " | ")
	case s.Format != "":
		text = s.Format
	}
	if s.Nullable {
		text += " or null"
	}
	return text
}

// mountOpen adds what needs no key: it says nothing of any router.
func (a *API) mountOpen() {
	mount[struct{}, healthItem](a, route{method: http.MethodGet, path: "/health", dropIn: true, tag: "relay", id: "health",
		summary: "Whether the relay is healthy",
		about:   "Backends ask it before their calls and fail all of them when it fails: it depends on no router and answers from memory."},
		a.health)
	for _, form := range []struct{ path, id, media, summary string }{
		{"/openapi.json", "openapiJSON", "application/openapi+json", "This description as JSON"},
		{"/openapi.yaml", "openapiYAML", "application/openapi+yaml", "This description as YAML"},
		{"/docs", "docs", "text/html; charset=utf-8", "This description as a page that needs nothing else"},
	} {
		media, _, _ := strings.Cut(form.media, ";")
		mount[struct{}, struct{}](a, route{method: http.MethodGet, path: form.path, tag: "relay", id: form.id, summary: form.summary,
			also: map[string]string{media: "OpenAPI 3.1"}}, func(x *exchange, _ *struct{}) (json.RawMessage, error) {
			text := map[string][]byte{"openapiJSON": a.docs.json, "openapiYAML": a.docs.yaml, "docs": a.docs.page}[form.id]
			x.reply.Set("Content-Type", form.media)
			x.reply.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
			x.stream = func(w http.ResponseWriter) error {
				_, err := w.Write(text)
				return err
			}
			return nil, nil
		})
	}
}

// Document is the API's OpenAPI description as JSON.
func (a *API) Document() []byte { return a.docs.json }
