package method

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/netpilot/netpilot/agent/history"
	"github.com/netpilot/netpilot/agent/nlbw"
	"github.com/netpilot/netpilot/agent/source"
	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
)

// Bounds of the nlbw method's command line (PROTOCOL.md section 5).
const (
	maxArgs   = 32
	maxArgLen = 256
)

// stock is the agent as nlbw's options see it (agent/nlbw's Daemon).
type stock struct {
	source.Stock
	agent *Agent
}

// Nlbw is the agent's router as nlbw's options see it.
func (a *Agent) Nlbw() nlbw.Daemon {
	return stock{source.Stock{Router: a.Router, ProtocolsPath: a.Protocols}, a}
}

// Live counts from the last reset.
func (s stock) Live(ctx context.Context, sink usage.Sink) error {
	_, err := s.agent.Baseline.Read(sink, false, func(sink usage.Sink) (nlbwmon.Period, error) { return s.Stock.Live(ctx, sink) })
	return err
}

// Reset counts from now on, under an id of its own.
func (s stock) Reset(ctx context.Context) error {
	if s.agent.Baseline == nil {
		return errNoHistory()
	}
	return s.agent.Do(ctx, &Reset{ID: rand.Text()})
}

// File reads any database file.
func (s stock) File(ctx context.Context, path string, sink usage.Sink) (nlbwmon.AddrOrder, error, error) {
	if !strings.ContainsRune(path, '/') {
		path = "./" + path // a file, whatever its name
	}
	reading, err := s.agent.Router.Read(ctx, source.Request{Source: path}, sink)
	return reading.Order, reading.Damage, err
}

// Names tells who the devices are.
func (s stock) Names() usage.Names {
	names, err := s.agent.Names()
	if err != nil {
		return nil
	}
	return names
}

// History delivers rows of the last hours. A device's row has the address it
// holds now, if that is known, since the history keeps none; a service's the
// least protocol and port of its name.
func (s stock) History(ctx context.Context, hours int, subject string, sink usage.Sink) error {
	a := s.agent
	if a.History == nil {
		return errNoHistory()
	}
	now := a.Now().In(a.Router.Location)
	q := history.Query{
		Range: usage.Range{From: now.Add(-time.Duration(hours) * time.Hour), To: now}, Resolution: usage.Day, By: subjects[subject],
	}
	names := s.Names()
	services, _ := a.Services() // without it every service is other
	sink.Begin(0)
	_, err := a.History.Query(ctx, q, func(slot usage.Slot) error {
		r := usage.Record{
			Family: usage.FamilyIPv4, MAC: slot.MAC,
			Conns: slot.Conns, RxBytes: slot.RxBytes, RxPackets: slot.RxPackets, TxBytes: slot.TxBytes, TxPackets: slot.TxPackets,
		}
		switch subject {
		case "family":
			r.Family = slot.Family
		case "service":
			r.Proto, r.Port, _ = services.Find(slot.Service)
		default:
			if names != nil {
				for _, ip := range names.IPs(slot.MAC) {
					if ip.Is4() {
						r.SetIP(ip)
						break
					}
				}
			}
		}
		sink.Add(&r)
		return nil
	})
	return err
}

func (a *Agent) callNlbw(ctx context.Context, access Access, params json.RawMessage) (json.RawMessage, error) {
	var p struct {
		Args []string `json:"args"`
	}
	if err := decode(params, &p); err != nil {
		return nil, err
	}
	if len(p.Args) > maxArgs {
		return nil, usage.Errorf(usage.Invalid, "nlbw takes at most %d arguments here", maxArgs)
	}
	for _, arg := range p.Args {
		if len(arg) > maxArgLen {
			return nil, usage.Errorf(usage.Invalid, "an argument of nlbw has at most %d bytes here", maxArgLen)
		}
	}
	needs := nlbw.NeedsOf(p.Args)
	if needs.Files && access < AccessOwner {
		return nil, usage.Errorf(usage.Forbidden, "-S, -p and -d name files of the router and are for its own shell")
	}
	if needs.Write && access < AccessWrite {
		return nil, usage.Errorf(usage.Forbidden, "-z resets, commit makes nlbwmon write, and the router's owner allows reading only (uci: netpilot.agent.remote_access)")
	}
	var stdout, stderr bounded
	exit := nlbw.Run(ctx, p.Args, a.Nlbw(), &stdout, &stderr)
	if stdout.full {
		return nil, usage.Errorf(usage.Invalid, "nlbw's output passes the %d bytes of an answer; group it, for example with -g mac", wire.MaxResult)
	}
	result := append([]byte(`{"stdout":`), usage.AppendQuoted(nil, string(stdout.text))...)
	result = append(result, `,"stderr":`...)
	result = usage.AppendQuoted(result, string(stderr.text))
	result = append(result, `,"exit_code":`...)
	code, _ := json.Marshal(exit) // a number always marshals
	return fits(append(append(result, code...), '}'))
}

// bounded keeps what fits an answer and fails beyond.
type bounded struct {
	text []byte
	full bool
}

var errFull = errors.New("output passes the size of an answer")

func (b *bounded) Write(p []byte) (int, error) {
	if len(b.text)+len(p) > wire.MaxResult {
		b.full = true
		return 0, errFull
	}
	b.text = append(b.text, p...)
	return len(p), nil
}
