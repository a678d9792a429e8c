package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/netpilot/netpilot/agent/config"
	"github.com/netpilot/netpilot/agent/live"
	"github.com/netpilot/netpilot/agent/local"
	"github.com/netpilot/netpilot/agent/method"
	"github.com/netpilot/netpilot/pkg/usage"
)

// rpcdPath ends the name under which rpcd runs this program: the object on
// ubus is called as the file.
const rpcdPath = "/rpcd/netpilot"

const (
	maxRPCDCall = 64 << 10
	// maxRPCDAnswer keeps an answer below the 1 MiB of a message on ubus,
	// which writes JSON less tightly.
	maxRPCDAnswer = 256 << 10
	// rpcdWithin stays below the 30 s that rpcd gives a call.
	rpcdWithin = 25 * time.Second
	// liveWithin is how long usage_live waits: the stream sends every 2 s.
	liveWithin = 3 * live.Every
)

// rpcdMethod is what a name on ubus stands for.
type rpcdMethod struct {
	method string // of the table
	params []method.Param
	call   func(ctx context.Context, r *router, params json.RawMessage) (json.RawMessage, error)
}

func (p *program) rpcd() *cli.Command {
	return &cli.Command{
		Name:  "rpcd",
		Usage: "be rpcd's plugin: the agent's methods on ubus, for LuCI",
		Description: examples(
			"ubus -v list netpilot", "what there is, once rpcd was reloaded",
			"ubus call netpilot usage_current '{\"limit\":5}'", "as LuCI asks",
			"netpilot-agent rpcd list", "what rpcd reads",
			"echo '{\"limit\":5}' | netpilot-agent rpcd call usage_current", "what rpcd runs",
		) + "\n\nAnswers go to stdout. So do errors, with exit code 0, for rpcd shows nobody the others:" +
			"\n{\"error\":{\"kind\",\"message\"}}.",
		Subcommands: []*cli.Command{
			{Name: "list", Usage: "print the methods and the types of their parameters", Action: p.runRPCDList},
			{Name: "call", ArgsUsage: "METHOD", Usage: "read parameters from stdin, print the answer", Action: p.runRPCDCall},
		},
	}
}

// rpcdMethods are the methods by their names on ubus, where a dot is part of
// an object's name and so none of a method's.
//
// Missing are what only the router's shell may do, and nlbw, whose rights hang
// on its arguments: rpcd grants methods by name. router.text tells from afar
// what ubus has at hand.
func (p *program) rpcdMethods() map[string]rpcdMethod {
	table := method.New(&method.Agent{})
	all := map[string]rpcdMethod{
		"enroll": {params: []method.Param{{Name: "relay"}, {Name: "token"}}, call: p.enrollByRPCD},
	}
	for _, name := range table.Names(method.AccessWrite) {
		m := rpcdMethod{method: name, params: table.Params(name), call: answerOf(name)}
		switch name {
		case "nlbw", "router.text":
			continue
		case live.Method:
			m.params, m.call = nil, liveOnce
		}
		all[strings.ReplaceAll(name, ".", "_")] = m
	}
	return all
}

func (p *program) runRPCDList(*cli.Context) error {
	// rpcd takes a parameter's type from that of the value; a number's value
	// is its size in bits.
	types := map[method.ParamType]any{method.Text: "", method.Number: 32, method.Flag: false, method.List: []string{}}
	list := make(map[string]map[string]any)
	for name, m := range p.rpcdMethods() {
		list[name] = make(map[string]any)
		for _, param := range m.params {
			list[name][param.Name] = types[param.Type]
		}
	}
	return json.NewEncoder(p.stdout).Encode(list)
}

func (p *program) runRPCDCall(c *cli.Context) error {
	if c.NArg() != 1 {
		return misuse{errors.New("call takes METHOD; see: netpilot-agent rpcd call --help")}
	}
	ctx, cancel := context.WithTimeout(c.Context, rpcdWithin)
	defer cancel()
	reply, err := p.byRPCD(ctx, c, c.Args().First())
	if err == nil && len(reply) > maxRPCDAnswer {
		err = usage.Errorf(usage.Invalid, "the answer has %d bytes and ubus takes %d; ask for less with limit and offset", len(reply), maxRPCDAnswer)
	}
	if err != nil {
		reply = rpcdError(err)
	}
	_, err = fmt.Fprintf(p.stdout, "%s\n", reply)
	return err
}

// rpcdError is an error as an answer. Of a bug a person sees one word.
func rpcdError(err error) json.RawMessage {
	var known *usage.Error
	kind, message := usage.KindOf(err), err.Error()
	switch {
	case errors.Is(err, local.ErrNoDaemon):
		kind = usage.Unavailable
	case errors.Is(err, context.DeadlineExceeded):
		kind, message = usage.Timeout, "the agent did not answer in time; see: logread -e netpilot-agent"
	case errors.As(err, &known) && kind == usage.Internal:
		message = usage.Internal.String()
	}
	text := usage.AppendQuoted([]byte(`{"error":{"kind":`), kind.String())
	text = usage.AppendQuoted(append(text, `,"message":`...), usage.Clean(message, 1000))
	return append(text, `}}`...)
}

func (p *program) byRPCD(ctx context.Context, c *cli.Context, name string) (json.RawMessage, error) {
	methods := p.rpcdMethods()
	m, ok := methods[name]
	if !ok {
		return nil, usage.Errorf(usage.Invalid, "no method %q; there are %s", usage.Clean(name, 64), strings.Join(slices.Sorted(maps.Keys(methods)), ", "))
	}
	params, err := p.rpcdParams(m.params)
	if err != nil {
		return nil, err
	}
	r, err := p.router(c)
	if err != nil {
		return nil, usage.Errorf(usage.Unavailable, "%w", err)
	}
	return m.call(ctx, r, params)
}

// rpcdParams reads the parameters from stdin. What rpcd adds for itself, the
// caller's session, is a secret and goes no further.
func (p *program) rpcdParams(known []method.Param) (json.RawMessage, error) {
	if terminal(p.stdin) {
		return json.RawMessage(`{}`), nil
	}
	text, err := io.ReadAll(io.LimitReader(p.stdin, maxRPCDCall+1))
	if err != nil {
		return nil, fmt.Errorf("read parameters from stdin: %w", err)
	}
	if len(text) > maxRPCDCall {
		return nil, usage.Errorf(usage.Invalid, "the parameters pass %d bytes", maxRPCDCall)
	}
	params := make(map[string]json.RawMessage)
	if len(strings.TrimSpace(string(text))) > 0 {
		if err := json.Unmarshal(text, &params); err != nil {
			return nil, usage.Errorf(usage.Invalid, "the parameters are no JSON object")
		}
	}
	delete(params, "ubus_rpc_session")
	for _, name := range slices.Sorted(maps.Keys(params)) {
		if !slices.ContainsFunc(known, func(k method.Param) bool { return k.Name == name }) {
			var names []string
			for _, k := range known {
				names = append(names, k.Name)
			}
			return nil, usage.Errorf(usage.Invalid, "no parameter %q; there are: %s", usage.Clean(name, 64), strings.Join(names, ", "))
		}
	}
	return json.Marshal(params)
}

// answerOf has the daemon answer a method of the table, or this process where
// none runs.
func answerOf(name string) func(context.Context, *router, json.RawMessage) (json.RawMessage, error) {
	return func(ctx context.Context, r *router, params json.RawMessage) (json.RawMessage, error) {
		reply, err := local.Call(ctx, r.path(local.Path), name, params)
		if errors.Is(err, local.ErrNoDaemon) {
			return method.New(r.agent).Call(ctx, method.AccessWrite, name, params)
		}
		return reply, err
	}
}

// liveOnce is the next of the daemon's live notifications: ubus carries no
// stream.
func liveOnce(ctx context.Context, r *router, _ json.RawMessage) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, liveWithin)
	defer cancel()
	conn, err := local.Dial(ctx, r.path(local.Path))
	if err != nil {
		return nil, err
	}
	defer conn.Close() // ends the subscription
	if _, err := conn.Call(ctx, live.Method, json.RawMessage(`{"action":"start"}`)); err != nil {
		return nil, err
	}
	for {
		m, err := conn.Next(ctx)
		if err != nil {
			return nil, err
		}
		if m.Method == live.Method {
			return m.Params, nil
		}
	}
}

// enrollByRPCD enrols this router. It is no method of the table: only who
// stands on the router may hand it to a relay. The token comes through stdin
// as all parameters do, so that it is on no command line.
func (p *program) enrollByRPCD(ctx context.Context, r *router, params json.RawMessage) (json.RawMessage, error) {
	var q struct{ Relay, Token string }
	if err := json.Unmarshal(params, &q); err != nil {
		return nil, usage.Errorf(usage.Invalid, "relay and token must be texts")
	}
	relay, err := config.ParseRelay(strings.TrimSpace(q.Relay))
	if err != nil {
		return nil, usage.Errorf(usage.Invalid, "relay: %w", err)
	}
	token, err := checkToken(q.Token, "the field")
	if err != nil {
		return nil, usage.Errorf(usage.Invalid, "%w", err)
	}
	id, err := p.redeem(ctx, r, relay, token)
	if err != nil {
		return nil, err
	}
	installed, err := restartService(ctx, r)
	if err != nil {
		return nil, usage.Errorf(usage.Unavailable, "%w", err)
	}
	return json.Marshal(struct {
		RouterID  string `json:"router_id"`
		Relay     string `json:"relay"`
		Restarted bool   `json:"restarted"` // the service; false where none is installed
	}{string(id), relay.String(), installed})
}
