package method

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
)

// auditKept is how many remote calls are remembered; a backend that asks once
// a minute fills four hours.
const auditKept = 256

// Audited is one call that came over the link.
type Audited struct {
	At     time.Time `json:"at"` // router's clock
	Method string    `json:"method"`
	Result string    `json:"result"` // "ok", or the kind of the error
	Bytes  int       `json:"bytes"`  // of the answer
	Millis int64     `json:"millis"`
}

// Audit is the router's own record of what was asked of it from afar, in
// memory, the newest calls only.
type Audit struct {
	mu    sync.Mutex // guards below
	calls [auditKept]Audited
	total int // calls ever; the next goes to total % auditKept
}

// Add records one call.
func (a *Audit) Add(at time.Time, method string, took time.Duration, bytes int, err error) {
	entry := Audited{At: at, Method: usage.Clean(method, 64), Result: "ok", Bytes: bytes, Millis: took.Milliseconds()}
	if err != nil {
		entry.Result = usage.KindOf(err).String()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls[a.total%auditKept] = entry
	a.total++
}

// Calls lists the calls remembered, newest first, and how many there ever
// were since the agent started.
func (a *Audit) Calls() (calls []Audited, total int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	calls = make([]Audited, 0, min(a.total, auditKept))
	for i := a.total - 1; i >= 0 && i >= a.total-auditKept; i-- {
		calls = append(calls, a.calls[i%auditKept])
	}
	return calls, a.total
}

func (a *Audit) call(context.Context, Access, json.RawMessage) (json.RawMessage, error) {
	calls, total := a.Calls()
	return json.Marshal(struct {
		Total int       `json:"total"`
		Calls []Audited `json:"calls"`
	}{total, calls})
}
