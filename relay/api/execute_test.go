package api

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/store"
	"github.com/netpilot/netpilot/relay/store/storetest"
)

// inSession opens session s1 of the connected router with the rig's key, and
// gives the query that names both.
func (r *rig) inSession() string {
	r.t.Helper()
	ids := "?sessionId=s1&routerId=" + id(connected)
	want(r.t, "start", r.do("POST", "/api/session/start"+ids, "{}", nil), 200, "")
	return ids
}

func TestExecute(t *testing.T) {
	r := newRig(t)
	ids := r.inSession()
	var sent string
	r.routers.answer = func(_ context.Context, method string, params json.RawMessage) (json.RawMessage, error) {
		sent = method + " " + string(params)
		if method == "nlbw" {
			return json.RawMessage(`{"stdout":"out\n","stderr":"err\n","exit_code":1}`), nil
		}
		return json.RawMessage(`{"text":"lines\n"}`), nil
	}
	execute := func(command string) (*executeItem, string) {
		t.Helper()
		sent = ""
		body, _ := json.Marshal(map[string]any{"routerId": id(connected), "command": command, "timeout": 30})
		status, answer := answerOf(r.do("POST", "/api/router/execute"+ids, string(body), nil))
		var e struct {
			Data  *executeItem
			Error struct{ Code string }
		}
		if err := json.Unmarshal([]byte(answer), &e); err != nil || (status == 200) != (e.Data != nil) {
			t.Fatalf("%q: got %d %s", command, status, answer)
		}
		return e.Data, e.Error.Code
	}
	for command, want := range map[string]struct{ sent, output, stderr string }{
		"nlbw -c json -g mac":        {`nlbw {"args":["-c","json","-g","mac"]}`, "out\n", "err\n"},
		"nlbw":                       {`nlbw {"args":[]}`, "out\n", "err\n"},
		"nlbw -c commit":             {`nlbw {"args":["-c","commit"]}`, "out\n", "err\n"},
		"/etc/init.d/nlbwmon status": {`router.text {"what":"nlbwmon"}`, "lines\n", ""},
		"cat /tmp/dhcp.leases":       {`router.text {"what":"leases"}`, "lines\n", ""},
		" cat  /proc/net/arp ":       {`router.text {"what":"arp"}`, "lines\n", ""},
		"cat /proc/net/dev":          {`router.text {"what":"dev"}`, "lines\n", ""},
		"ip neigh":                   {`router.text {"what":"neigh"}`, "lines\n", ""},
		"uptime":                     {`router.text {"what":"uptime"}`, "lines\n", ""},
		"echo SSH_OK  1":             {"", "SSH_OK 1\n", ""},
		"echo":                       {"", "\n", ""},
	} {
		got, code := execute(command)
		if got == nil || got.Output != want.output || got.Stderr != want.stderr || got.Command != command || got.RouterID != storetest.RouterID(connected) || sent != want.sent {
			t.Errorf("%q: got %+v %s, the router got %s, want %+v", command, got, code, sent, want)
		}
	}
	for _, command := range []string{
		"reboot", "sh", "cat /etc/shadow", "cat /tmp/dhcp.leases /etc/shadow", "cat /tmp/../etc/shadow", "ip neigh flush all", "uptime -p", "/etc/init.d/nlbwmon stop",
		"nlbw; reboot", "nlbw | sh", "nlbw && reboot", "echo $(id)", "echo `id`", "echo a > /etc/passwd", "uptime\nreboot", "nlbw -c json\x00", "echo \"a\"", "NLBW", "nlbwx",
		"/usr/sbin/nlbw", "echo " + strings.Repeat("x", maxCommand),
	} {
		if got, code := execute(command); got != nil || code != "COMMAND_NOT_ALLOWED" || sent != "" {
			t.Errorf("%.40q: got %+v %s, the router got %s", command, got, code, sent)
		}
	}
	for _, body := range []string{"", "{}", `{"command":5}`, `{"command":" "}`, `[]`, `{"command":`} {
		want(t, body, r.do("POST", "/api/router/execute"+ids, body, nil), 400, "BAD_REQUEST")
	}
	want(t, "no session", r.do("POST", "/api/router/execute?sessionId=s2&routerId="+id(connected), `{"command":"uptime"}`, nil), 401, "SESSION_INVALID")
	want(t, "no router", r.do("POST", "/api/router/execute?sessionId=s1", `{"command":"uptime"}`, nil), 400, "BAD_REQUEST")
	want(t, "offline", r.do("POST", "/api/router/execute?sessionId=s1&routerId="+id(offline), `{"command":"echo"}`, nil), 500, "COMMAND_FAILED")

	// What nlbw may change is for keys that may.
	reader := with(r.grantKey("reader", store.ScopeRead, nil))
	want(t, "start", r.do("POST", "/api/session/start"+ids, "{}", reader), 200, "")
	for _, command := range []string{"nlbw -z", "nlbw -iz", "nlbw -c commit", "nlbw -ccommit"} {
		want(t, command, r.do("POST", "/api/router/execute"+ids, `{"command":"`+command+`"}`, reader), 403, "FORBIDDEN")
	}
	want(t, "nlbw of a reader", r.do("POST", "/api/router/execute"+ids, `{"command":"nlbw -c json"}`, reader), 200, "")
	r.answer("", usage.Errorf(usage.Unavailable, "x"))
	want(t, "router fails", r.do("POST", "/api/router/execute"+ids, `{"command":"uptime"}`, nil), 500, "COMMAND_FAILED")
	r.answer(`[]`, nil)
	want(t, "router says nonsense", r.do("POST", "/api/router/execute"+ids, `{"command":"uptime"}`, nil), 500, "COMMAND_FAILED")
}
