package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/store"
)

// executeBody is what POST /api/router/execute takes.
type executeBody struct {
	Command string   `json:"command" example:"nlbw -c json -g mac" doc:"nlbw with its options, /etc/init.d/nlbwmon status, cat /tmp/dhcp.leases, cat /proc/net/arp, cat /proc/net/dev, ip neigh, uptime, echo TEXT."`
	Timeout float64  `json:"timeout,omitempty" doc:"Seconds; taken for the old server's sake. The answer comes within 25 s."`
	_       struct{} `additionalProperties:"true"`
}

type executeItem struct {
	Command       string         `json:"command"`
	Output        string         `json:"output"`
	Stderr        string         `json:"stderr"`
	ExecutionTime float64        `json:"executionTime" doc:"Seconds it took."`
	RouterID      usage.RouterID `json:"routerId"`
}

// maxCommand bounds a command in bytes.
const maxCommand = 4096

func (a *API) mountExecute() {
	mount[IDs, executeItem](a, route{method: http.MethodPost, path: "/api/router/execute", needs: store.ScopeRead, ids: bothIDs, dropIn: true,
		commandCodes: true, tag: "drop-in", id: "routerExecute", summary: "Answer one of a fixed list of commands", body: executeBody{},
		about: "Nothing is executed: each command of the list stands for a method of the router, and there is no shell. Anything else is COMMAND_NOT_ALLOWED."},
		a.execute)
}

// routerText are the commands that router.text answers, word for word.
func routerText(words []string) (what string, ok bool) {
	what, ok = map[string]string{
		"/etc/init.d/nlbwmon status": "nlbwmon",
		"cat /tmp/dhcp.leases":       "leases",
		"cat /proc/net/arp":          "arp",
		"cat /proc/net/dev":          "dev",
		"ip neigh":                   "neigh",
		"ip neigh show":              "neigh",
		"uptime":                     "uptime",
	}[strings.Join(words, " ")]
	return what, ok
}

// shellMeta are the characters by which a shell does more than take words.
// Whoever sends them expects a shell, and there is none.
const shellMeta = "|&;<>()$`\\\"'*?[]{}#~!%\n\r\t\x00"

// execute answers POST /api/router/execute.
func (a *API) execute(x *exchange, _ *IDs) (json.RawMessage, error) {
	members, err := x.readObject()
	if err != nil {
		return nil, err
	}
	var command string
	if json.Unmarshal(members["command"], &command) != nil || strings.TrimSpace(command) == "" {
		return nil, badRequest("command is required, as text in a JSON body")
	}
	item := executeItem{Command: usage.Clean(command, maxCommand), RouterID: x.router}
	words := strings.Fields(command)
	what, isText := routerText(words)
	switch {
	case len(command) > maxCommand || strings.ContainsAny(command, shellMeta):
		return nil, errNotAllowed()
	case words[0] == "echo":
		if _, online := a.hub.Online(x.router); !online { // callers take it for a sign of life
			return nil, a.whyOffline(x, errOffline(x.router))
		}
		item.Output = strings.Join(words[1:], " ") + "\n"
	case words[0] == "nlbw":
		err = a.executeNlbw(x, words[1:], &item)
	case isText:
		err = a.executeText(x, what, &item)
	default:
		return nil, errNotAllowed()
	}
	if err != nil {
		return nil, err
	}
	item.ExecutionTime = a.Now().Sub(x.began).Seconds()
	return json.Marshal(item)
}

func (a *API) executeNlbw(x *exchange, args []string, item *executeItem) error {
	if changesRouter(args) {
		if err := mayDo(&x.key, store.ScopeWrite); err != nil {
			return err
		}
		defer a.known.forget(x.router)
	}
	raw, err := json.Marshal(map[string][]string{"args": args})
	if err != nil {
		return err
	}
	data, err := a.send(x, "nlbw", raw, false)
	if err != nil {
		return err
	}
	var reply struct{ Stdout, Stderr string }
	if err := json.Unmarshal(data, &reply); err != nil {
		return fmt.Errorf("read nlbw of router %s: %w", x.router.Short(), err)
	}
	item.Output, item.Stderr = reply.Stdout, reply.Stderr
	return nil
}

// changesRouter tells whether nlbw's arguments may change anything: -z resets
// and commit has nlbwmon write. Options stand alone or together, as in -iz, so
// every z after a dash counts; a key of scope read is refused one too many
// rather than one too few.
func changesRouter(args []string) bool {
	return slices.ContainsFunc(args, func(arg string) bool {
		return strings.Contains(arg, "commit") || strings.HasPrefix(arg, "-") && strings.Contains(arg, "z")
	})
}

func (a *API) executeText(x *exchange, what string, item *executeItem) error {
	data, err := a.send(x, "router.text", json.RawMessage(`{"what":"`+what+`"}`), false)
	if err != nil {
		return err
	}
	var reply struct{ Text string }
	if err := json.Unmarshal(data, &reply); err != nil {
		return fmt.Errorf("read router.text of router %s: %w", x.router.Short(), err)
	}
	item.Output = reply.Text
	return nil
}

func errNotAllowed() error {
	return &failure{status: http.StatusForbidden, code: "COMMAND_NOT_ALLOWED", message: "this command is not one of those answered here: nlbw with its options, " +
		"/etc/init.d/nlbwmon status, cat /tmp/dhcp.leases, cat /proc/net/arp, cat /proc/net/dev, ip neigh, uptime, echo TEXT"}
}

func errOffline(router usage.RouterID) error {
	return usage.Errorf(usage.Offline, "router %s is not connected; check its power and its internet access, then try again", router.Short())
}
