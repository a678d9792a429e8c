package legacy

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/netpilot/netpilot/pkg/usage"
)

const (
	// atOnce bounds the comparisons under way; beyond, they are left out.
	atOnce = 4
	// maxSaid bounds the differences of one comparison that are logged.
	maxSaid = 10
	// Both servers ask the router, one after the other, while it counts on:
	// numbers within a twentieth or a megabyte of each other are the same.
	tolerance      = 0.05
	toleranceUnits = 1.0
)

// Shadow asks the old server what the relay was asked and compares the
// answers. The caller has had its own long before.
type Shadow struct {
	up  *Upstream
	log *slog.Logger

	stop  context.Context
	end   context.CancelFunc
	slots chan struct{}
	tasks sync.WaitGroup // each ends with its request, or with stop

	same, different, failed, skipped atomic.Int64

	silent atomic.Bool // the old server did not answer last, which is in the log
}

// Counts are what became of the comparisons so far.
type Counts struct {
	Same      int64 `json:"same"`
	Different int64 `json:"different"`
	Failed    int64 `json:"failed"`  // the old server could not be asked
	Skipped   int64 `json:"skipped"` // too many at once
}

// NewShadow makes a Shadow. Close it.
func NewShadow(up *Upstream, log *slog.Logger) *Shadow {
	s := &Shadow{up: up, log: log, slots: make(chan struct{}, atOnce)}
	s.stop, s.end = context.WithCancel(context.Background())
	return s
}

// Close ends all comparisons and waits for them.
func (s *Shadow) Close() {
	s.end()
	s.tasks.Wait()
}

// Wait waits for the comparisons under way.
func (s *Shadow) Wait() { s.tasks.Wait() }

// Counts are what became of the comparisons so far.
func (s *Shadow) Counts() Counts {
	return Counts{s.same.Load(), s.different.Load(), s.failed.Load(), s.skipped.Load()}
}

// rules are how the answers of a path are compared.
type rules struct {
	row       string   // the member by which rows are told apart
	mayDiffer []string // members that are no difference
	onlyRows  bool     // nor is any other but the row itself
	broken    bool     // the old server is known to fail there, which is none either
}

// rulesOf are those of docs/migrate.md.
func rulesOf(path string) rules {
	if path == "/api/session/status" {
		return rules{row: "session_id", onlyRows: true, broken: true}
	}
	return rules{row: "mac", mayDiffer: []string{"timestamp"}}
}

// Compare has the old server asked the same GET and compares its answer with
// ours. It returns at once.
func (s *Shadow) Compare(path, query string, body []byte, ours Answer) {
	select {
	case s.slots <- struct{}{}:
	default:
		s.skipped.Add(1)
		return
	}
	s.tasks.Go(func() {
		defer func() { <-s.slots }()
		s.compare(path, query, body, ours)
	})
}

func (s *Shadow) compare(path, query string, body []byte, ours Answer) {
	if len(body) == 0 {
		body = []byte("{}")
	}
	theirs, err := s.up.Ask(s.stop, "GET", path, query, body)
	if err != nil {
		s.failed.Add(1)
		if s.stop.Err() == nil && !s.silent.Swap(true) {
			s.log.Warn("shadow: the old server does not answer", "path", path, "err", err)
		}
		return
	}
	if s.silent.Swap(false) {
		s.log.Info("shadow: the old server answers again")
	}
	found := Differences(path, ours, theirs)
	if len(found) == 0 {
		s.same.Add(1)
		return
	}
	s.different.Add(1)
	more := len(found) - maxSaid
	if more > 0 {
		found = append(found[:maxSaid], fmt.Sprintf("and %d more", more))
	}
	s.log.Warn("shadow: answers differ", "path", path, "differences", found)
}

// said is an answer of either server.
type said struct {
	Success bool            `json:"success"`
	Data    json.RawMessage `json:"data"`
	Error   struct {
		Code string `json:"code"`
	} `json:"error"`
}

// Differences lists in what our answer to a path differs from theirs: first
// ours, then theirs. Members that only ours has are additions and no
// differences.
func Differences(path string, ours, theirs Answer) []string {
	rule := rulesOf(path)
	if rule.broken && theirs.Status >= 400 {
		return nil
	}
	if ours.Status != theirs.Status {
		return []string{fmt.Sprintf("status: %d, not %d", ours.Status, theirs.Status)}
	}
	var a, b said
	if err := json.Unmarshal(ours.Body, &a); err != nil {
		return []string{"our answer is no JSON"}
	}
	if err := json.Unmarshal(theirs.Body, &b); err != nil {
		return []string{"their answer is no JSON"}
	}
	if a.Success != b.Success || a.Error.Code != b.Error.Code {
		return []string{fmt.Sprintf("success: %v %s, not %v %s", a.Success, clean(a.Error.Code), b.Success, clean(b.Error.Code))}
	}
	x, y := rule.rowsOf(a.Data), rule.rowsOf(b.Data)
	var list []string
	for _, key := range sortedKeys(x, y) {
		mine, ok := x[key]
		if !ok {
			list = append(list, clean(key)+": only theirs")
			continue
		}
		other, ok := y[key]
		if !ok {
			list = append(list, clean(key)+": only ours")
			continue
		}
		if rule.onlyRows {
			continue
		}
		for _, member := range sortedKeys(other, nil) {
			if !slices.Contains(rule.mayDiffer, member) && !alike(mine[member], other[member]) {
				list = append(list, fmt.Sprintf("%s %s: %s, not %s", clean(key), clean(member), clean(fmt.Sprint(mine[member])), clean(fmt.Sprint(other[member]))))
			}
		}
	}
	return list
}

func clean(s string) string { return usage.Clean(s, 80) }

// rowsOf finds the rows in an answer's data: a list, or one row.
func (r rules) rowsOf(data json.RawMessage) map[string]map[string]any {
	var list []map[string]any
	if json.Unmarshal(data, &list) != nil {
		var one map[string]any
		if json.Unmarshal(data, &one) != nil {
			return nil
		}
		list = append(list, one)
	}
	rows := make(map[string]map[string]any, len(list))
	for _, row := range list {
		key, _ := row[r.row].(string)
		rows[strings.ToLower(key)] = row
	}
	return rows
}

func sortedKeys[V any](a, b map[string]V) []string {
	var keys []string
	for k := range a {
		keys = append(keys, k)
	}
	for k := range b {
		if _, ok := a[k]; !ok {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}

// alike compares two values of JSON.
func alike(a, b any) bool {
	x, ok := a.(float64)
	y, also := b.(float64)
	if ok && also {
		return math.Abs(x-y) <= max(toleranceUnits, tolerance*max(math.Abs(x), math.Abs(y)))
	}
	s, ok := a.(string)
	t, also := b.(string)
	if ok && also {
		return strings.EqualFold(s, t) // the case of a MAC
	}
	return fmt.Sprint(a) == fmt.Sprint(b)
}
