package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// contract validates answers against the relay's own OpenAPI document.
type contract struct {
	t        *testing.T
	compiler *jsonschema.Compiler
	document map[string]any
	called   map[string]bool // method and path, as the document has them
}

func newContract(t *testing.T, document []byte) *contract {
	t.Helper()
	c := &contract{t: t, compiler: jsonschema.NewCompiler(), called: make(map[string]bool)}
	c.compiler.DefaultDraft(jsonschema.Draft2020)
	c.compiler.AssertFormat()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err == nil {
		err = c.compiler.AddResource("openapi.json", doc)
	}
	if err != nil {
		t.Fatal(err)
	}
	c.document = doc.(map[string]any)
	return c
}

// operations lists method and path of all there are.
func (c *contract) operations() (list []string) {
	for path, item := range c.document["paths"].(map[string]any) {
		for method := range item.(map[string]any) {
			list = append(list, strings.ToUpper(method)+" "+path)
		}
	}
	slices.Sort(list)
	return list
}

// check validates one answer. What has no description is wrong.
func (c *contract) check(method, path string, resp *http.Response, body []byte) error {
	c.called[method+" "+path] = true
	escaped := strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D")
	media, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	at := fmt.Sprintf("openapi.json#/paths/%s/%s/responses/%d", escaped.Replace(path), strings.ToLower(method), resp.StatusCode)
	responses := c.document["paths"].(map[string]any)[path].(map[string]any)[strings.ToLower(method)].(map[string]any)["responses"].(map[string]any)
	response, ok := responses[fmt.Sprint(resp.StatusCode)].(map[string]any)
	if !ok {
		return fmt.Errorf("status %d is not described", resp.StatusCode)
	}
	if ref, ok := response["$ref"].(string); ok {
		at = "openapi.json" + ref
		response = c.document["components"].(map[string]any)["responses"].(map[string]any)[ref[strings.LastIndexByte(ref, '/')+1:]].(map[string]any)
	}
	if content, ok := response["content"].(map[string]any); !ok || content[media] == nil {
		return fmt.Errorf("an answer of %s is not described", media)
	}
	schema, err := c.compiler.Compile(at + "/content/" + escaped.Replace(media) + "/schema")
	if err != nil {
		return err
	}
	var value any = string(body)
	if media == "application/json" {
		if value, err = jsonschema.UnmarshalJSON(bytes.NewReader(body)); err != nil {
			return err
		}
	}
	return schema.Validate(value)
}

// Every path is called, of a real router by a real agent, so that it answers,
// and so that it fails; every answer is as the document says.
func TestContract(t *testing.T) {
	s := newServer(t)
	s.key = strings.TrimSpace(s.admin("key", "create", "--name", "contract", "--scope", "admin"))
	r := newRouter(t, "02:77:00:00:00:01", "live-lab")
	r.enrol(s)
	r.run()
	s.online(1)
	id := r.id()
	client := &http.Client{Timeout: soon}
	defer client.CloseIdleConnections()
	do := func(method, target, body, key string) (*http.Response, []byte) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, method, s.url+target, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+key)
		req.Header.Set("Content-Type", "application/json")
		resp, err := client.Do(req)
		if err != nil {
			t.Fatalf("%s %s: %v", method, target, err)
		}
		defer resp.Body.Close()
		var text []byte
		if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") { // without an end
			text = make([]byte, 16)
			_, err = io.ReadFull(resp.Body, text)
		} else {
			text, err = io.ReadAll(resp.Body)
		}
		if err != nil {
			t.Fatalf("%s %s: %v", method, target, err)
		}
		return resp, text
	}
	_, document := do("GET", "/openapi.json", "", "")
	c := newContract(t, document)
	until(t, "the relay has the router's history", func() bool {
		return strings.Contains(string(s.get("/api/routers/"+id).Data), `"history_as_of":"`)
	})

	ids := "?routerId=" + id
	both := ids + "&sessionId=s1"
	const device = "02:77:00:00:00:11"
	for _, call := range []struct {
		method, path, target, body string
		status                     int
	}{
		{"GET", "/health", "", "", 200},
		{"GET", "/docs", "", "", 200},
		{"GET", "/openapi.json", "", "", 200},
		{"GET", "/openapi.yaml", "", "", 200},
		{"GET", "/api/key", "", "", 200},
		{"GET", "/api/routers", "", "", 200},
		{"GET", "/api/routers", "?days=1", "", 200},
		{"GET", "/api/routers", "?online=true&counting=unknown", "", 200},
		{"GET", "/api/routers/{id}", id, "", 200},
		{"GET", "/api/fleet/summary", "", "", 200},
		{"GET", "/api/fleet/summary", "?sort=tx&offset=1&limit=2", "", 200},
		{"GET", "/api/device-usage/current", ids, "", 200},
		{"GET", "/api/device-usage/current", ids + "&limit=1", "", 200},
		{"GET", "/api/device-usage/records", ids, "", 200},
		{"GET", "/api/device-usage/device/{mac}", device + ids, "", 200},
		{"GET", "/api/device-usage/device/{mac}", device + ids + "&sort=rx&limit=1&offset=1", "", 200},
		{"GET", "/api/device-usage/status", ids, "", 200},
		{"GET", "/api/device-usage/history", ids + "&by=device", "", 200},
		{"GET", "/api/device-usage/history", ids + "&by=service&timeframe=7d", "", 200},
		{"GET", "/api/device-usage/history", ids + "&by=family&resolution=1d&days=3", "", 200},
		{"GET", "/api/device-usage/history", ids + "&format=csv", "", 200},
		{"GET", "/api/device-usage/history", ids + "&by=group", "", 200},
		{"GET", "/api/device-usage/history", ids + "&by=device&category=work&group=kids&name=laptop", "", 200},
		{"GET", "/api/device-usage/current", ids + "&name=laptop", "", 200},
		{"GET", "/api/device-usage/summary", ids, "", 200},
		{"GET", "/api/device-usage/summary", ids + "&by=group", "", 200},
		{"GET", "/api/device-usage/summary", ids + "&by=category", "", 200},
		{"GET", "/api/device-usage/history", ids + "&by=device&sort=total&limit=2", "", 200},
		{"GET", "/api/device-usage/history", ids + "&format=csv&sort=rx", "", 200},
		{"GET", "/api/device-usage/summary", ids + "&sort=tx&offset=1&limit=1", "", 200},
		{"GET", "/api/device-usage/export", ids, "", 200},
		{"GET", "/api/device-usage/export", ids + "&format=json", "", 200},
		{"GET", "/api/device-usage/report", ids, "", 200},
		{"GET", "/api/device-usage/report", ids + "&format=md", "", 200},
		{"GET", "/api/device-usage/report", ids + "&format=text", "", 200},
		{"GET", "/api/device-usage/preferences", ids, "", 200},
		{"PUT", "/api/device-usage/preferences", ids, `{"log_level":"info"}`, 200},
		{"PUT", "/api/device-usage/device/{mac}", device + ids, `{"alias":"Anna's laptop"}`, 200},
		{"POST", "/api/device-usage/reset", ids, `{"id":"contract"}`, 200},
		{"GET", "/api/stream", "?routerId=" + id, "", 200},
		{"POST", "/api/session/start", both, `{"restart":true}`, 200},
		{"POST", "/api/session/refresh", both, "{}", 200},
		{"GET", "/api/session/status", "", "", 200},
		{"GET", "/api/session/status", "?sort=started&limit=1", "", 200},
		{"GET", "/api/monitor/current", both, "{}", 200},
		{"GET", "/api/monitor/current", both + "&sort=tx&limit=1&offset=1", "{}", 200},
		{"GET", "/api/monitor/last-week", both, "{}", 200},
		{"GET", "/api/monitor/last-month", both, "{}", 200},
		{"GET", "/api/monitor/device/{mac}", device + both, "{}", 500}, // nothing since the reset
		{"GET", "/api/network/scan", both, "{}", 200},
		{"GET", "/api/network/scan", both + "&sort=usage&limit=1", "{}", 200},
		{"POST", "/api/router/execute", both, `{"command":"nlbw -c csv -g mac","timeout":30}`, 200},
		{"POST", "/api/router/execute", both, `{"command":"cat /tmp/dhcp.leases"}`, 200},
		{"POST", "/api/router/execute", both, `{"command":"reboot"}`, 403},
		{"POST", "/api/session/end", both, "{}", 200},

		{"GET", "/api/routers", "?limit=x", "", 400},
		{"GET", "/api/routers/{id}", strings.Repeat("0", 64), "", 404},
		{"GET", "/api/fleet/summary", "?days=0", "", 400},
		{"GET", "/api/device-usage/current", "?routerId=" + strings.Repeat("0", 64), "", 404},
		{"GET", "/api/device-usage/records", ids + "&limit=-1", "", 400},
		{"GET", "/api/device-usage/current", ids + "&category=nonsense", "", 400},
		{"GET", "/api/device-usage/summary", ids + "&by=device", "", 400},
		{"GET", "/api/device-usage/device/{mac}", "02:00:00:00:00:99" + ids, "", 404},
		{"GET", "/api/device-usage/status", "", "", 400},
		{"GET", "/api/device-usage/history", ids + "&days=1&timeframe=1h", "", 400},
		{"GET", "/api/device-usage/summary", ids + "&sessionId=none", "", 401},
		{"GET", "/api/device-usage/summary", ids + "&sort=name", "", 400},
		{"GET", "/api/device-usage/history", ids + "&sort=mac", "", 400},
		{"GET", "/api/device-usage/device/{mac}", device + ids + "&sort=name", "", 400},
		{"GET", "/api/fleet/summary", "?sort=name", "", 400},
		{"GET", "/api/session/status", "?limit=-1", "", 400},
		{"GET", "/api/device-usage/export", ids + "&format=xml", "", 400},
		{"GET", "/api/device-usage/report", ids + "&resolution=1s", "", 400},
		{"PUT", "/api/device-usage/preferences", ids, `{"no_such":1}`, 400},
		{"PUT", "/api/device-usage/device/{mac}", device + ids, `{"category":"nonsense"}`, 400},
		{"POST", "/api/device-usage/reset", ids, strings.Repeat(" ", 70_000), 413},
		{"GET", "/api/stream", "?live=true", "", 400},
		{"POST", "/api/session/start", ids, "{}", 400},
		{"POST", "/api/session/refresh", both, "{}", 404},
		{"POST", "/api/session/end", both, "{}", 401},
		{"GET", "/api/monitor/current", both, "{}", 401},
		{"GET", "/api/network/scan", ids, "{}", 400},
		{"POST", "/api/router/execute", both, "{}", 401},
	} {
		target := call.path + call.target
		if base, param, ok := strings.Cut(call.path, "{"); ok && param != "" {
			target = base + call.target
		}
		resp, body := do(call.method, target, call.body, s.key)
		if resp.StatusCode != call.status {
			t.Errorf("%s %s: got %d %.500s, want %d", call.method, target, resp.StatusCode, body, call.status)
			continue
		}
		if err := c.check(call.method, call.path, resp, body); err != nil {
			t.Errorf("%s %s: %v in\n%.2000s", call.method, target, err, body)
		}
		if broken := bytes.Replace(body, []byte(`"executionTime":`), []byte(`"execution":`), 1); !bytes.Equal(broken, body) &&
			strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") && c.check(call.method, call.path, resp, broken) == nil {
			t.Errorf("%s %s: an answer with another member passes", call.method, target)
		}
	}
	for _, operation := range c.operations() {
		if !c.called[operation] {
			t.Errorf("%s was not called", operation)
		}
	}
	// Without a key, and of a router that is gone.
	reader := strings.TrimSpace(s.admin("key", "create", "--name", "reader", "--scope", "read"))
	r.stop()
	until(t, "the router is offline", func() bool { return strings.Contains(string(s.get("/api/routers/"+id).Data), `"online":false`) })
	for _, operation := range c.operations() {
		method, path, _ := strings.Cut(operation, " ")
		target := strings.NewReplacer("{id}", id, "{mac}", device).Replace(path)
		open := path == "/health" || path == "/docs" || strings.HasPrefix(path, "/openapi")
		for name, key := range map[string]string{"no key": "", "a reader's key": reader, "the key": s.key} {
			if path == "/api/stream" && key != "" {
				continue
			}
			resp, body := do(method, target+both, `{"alias":"x"}`, key)
			if err := c.check(method, path, resp, body); err != nil {
				t.Errorf("%s %s with %s: %d: %v in\n%.500s", method, target, name, resp.StatusCode, err, body)
			}
			if key == "" && !open && resp.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s %s without a key: got %d", method, target, resp.StatusCode)
			}
		}
		if open || path == "/api/stream" {
			continue
		}
		// Without a session, so that what is kept of the router answers.
		resp, body := do(method, target+ids, `{"alias":"x"}`, s.key)
		if err := c.check(method, path, resp, body); err != nil {
			t.Errorf("%s %s offline: %d: %v in\n%.500s", method, target, resp.StatusCode, err, body)
		}
	}
}
