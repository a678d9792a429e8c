package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/netpilot/netpilot/agent/config"
	"github.com/netpilot/netpilot/pkg/uci"
	"github.com/netpilot/netpilot/scripts/home"
)

const app0 = "../../" + app

// began is the router's time at the start: 21:15 on a Thursday in its zone.
var began = time.Date(2026, 11, 26, 20, 15, 0, 0, time.UTC)

// startEnv holds, for an agent in a process of its own, when the router's clock
// began.
const startEnv = "LUCI_TEST_START"

// bridge serves the page and plays uhttpd's ubus over HTTP: calls of object
// netpilot go to the real plugin, those of uci to the router's file, and the
// package's own ACL says who may what.
type bridge struct {
	*home.Router
	*httptest.Server
	t *testing.T

	mu     sync.Mutex // guards below
	absent bool       // the plugin is not installed
}

func serve(t *testing.T, r *home.Router) *bridge {
	b := &bridge{Router: r, t: t}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /ubus", b.ubus)
	mux.Handle("GET /luci-static/", http.FileServer(http.Dir(app0+"/htdocs")))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, req *http.Request) { http.ServeFile(w, req, "testdata/standin.html") })
	mux.HandleFunc("GET /standin.js", func(w http.ResponseWriter, req *http.Request) { http.ServeFile(w, req, "testdata/standin.js") })
	b.Server = httptest.NewServer(mux)
	t.Cleanup(b.Close)
	return b
}

// setAbsent takes the plugin away, or puts it back.
func (b *bridge) setAbsent(absent bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.absent = absent
}

// page is the address of a view as a role sees it.
func (b *bridge) page(view, role string) string {
	return b.URL + "/?view=netpilot/" + view + "&as=" + role
}

// ubus' own codes.
const (
	ubusOK       = 0
	ubusNoObject = 4
	ubusDenied   = 6
	ubusFailed   = 9
)

func (b *bridge) ubus(w http.ResponseWriter, req *http.Request) {
	var call struct {
		ID     int
		Params [4]json.RawMessage
	}
	if err := json.NewDecoder(req.Body).Decode(&call); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var role, object, method string
	for i, v := range []*string{&role, &object, &method} {
		if err := json.Unmarshal(call.Params[i], v); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	code, data := b.answer(req.Context(), role, object, method, call.Params[3])
	result := []any{code}
	if data != nil {
		result = append(result, data)
	}
	w.Header().Set("Content-Type", "application/json")
	// A page that was left meanwhile takes no answer; one that waits for it
	// tells by what it shows.
	_ = json.NewEncoder(w).Encode(map[string]any{"jsonrpc": "2.0", "id": call.ID, "result": result})
}

// acl is what the package grants.
type acl struct {
	Read, Write struct {
		Ubus map[string][]string
		UCI  []string
	}
}

func readACL(t *testing.T) acl {
	t.Helper()
	text, err := os.ReadFile(app0 + "/root/usr/share/rpcd/acl.d/luci-app-netpilot.json")
	if err != nil {
		t.Fatal(err)
	}
	var file map[string]acl
	if err := json.Unmarshal(text, &file); err != nil || len(file) != 1 {
		t.Fatalf("%v: %s", err, text)
	}
	return file["luci-app-netpilot"]
}

func (b *bridge) may(role, object, method string) bool {
	a := readACL(b.t)
	if object == "uci" {
		return method == "get" && slices.Contains(a.Read.UCI, "netpilot") || role == "owner" && slices.Contains(a.Write.UCI, "netpilot")
	}
	return slices.Contains(a.Read.Ubus[object], method) || role == "owner" && slices.Contains(a.Write.Ubus[object], method)
}

func (b *bridge) answer(ctx context.Context, role, object, method string, params json.RawMessage) (int, any) {
	b.mu.Lock()
	absent := b.absent
	b.mu.Unlock()
	switch {
	case !b.may(role, object, method):
		return ubusDenied, nil
	case object == "uci":
		return b.uci(method, params)
	case absent:
		return ubusNoObject, nil
	}
	// rpcd adds who asks.
	with := strings.Replace(string(params), "{", `{"ubus_rpc_session":"0123456789abcdef0123456789abcdef",`, 1)
	if string(params) == "{}" {
		with = `{"ubus_rpc_session":"0123456789abcdef0123456789abcdef"}`
	}
	// A process for each call, as rpcd starts one.
	self, err := os.Executable()
	if err != nil {
		b.t.Error(err)
		return ubusFailed, nil
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, self, "--root", b.Root, "rpcd", "call", method)
	cmd.Env = append(os.Environ(), startEnv+"="+strconv.FormatInt(b.From.UnixNano(), 10))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(with), &stdout, &stderr
	if err := cmd.Run(); ctx.Err() != nil {
		return ubusFailed, nil // the page was left
	} else if err != nil || stderr.Len() > 0 {
		b.t.Errorf("%s %s: %v: %s", method, params, err, stderr.String())
		return ubusFailed, nil
	}
	return ubusOK, json.RawMessage(stdout.Bytes())
}

// uci plays what rpcd's uci object does with /etc/config/netpilot.
func (b *bridge) uci(method string, params json.RawMessage) (int, any) {
	var p struct {
		Config, Section, Option string
		Values                  map[string]string
	}
	if err := json.Unmarshal(params, &p); err != nil || p.Config != "netpilot" {
		return ubusFailed, nil
	}
	path := b.Path(config.Path)
	switch method {
	case "get":
		file, err := uci.Load(path)
		if err != nil {
			return ubusFailed, nil
		}
		values := make(map[string]map[string]string)
		for _, s := range file.Sections {
			values[s.Name] = make(map[string]string)
			for _, o := range s.Options {
				values[s.Name][o.Name] = o.Values[len(o.Values)-1]
			}
		}
		return ubusOK, map[string]any{"values": values}
	case "set", "delete":
		if method == "delete" {
			p.Values = map[string]string{p.Option: ""}
		}
		err := uci.Revise(path, func(text *uci.Text) error {
			for option, value := range p.Values {
				if err := text.Set(text.File.Section("agent", p.Section), option, value); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.t.Errorf("uci %s: %v", params, err)
			return ubusFailed, nil
		}
	}
	return ubusOK, nil
}
