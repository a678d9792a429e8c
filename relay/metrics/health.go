package metrics

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/netpilot/netpilot/relay/store"
)

// words lets a bounded number of words through, the first ones it sees, and
// calls all others "other".
type words struct {
	most int

	mu    sync.Mutex // guards known
	known map[string]bool
}

func newWords(most int) *words { return &words{most: most, known: make(map[string]bool)} }

func (w *words) bound(word string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.known[word] {
		if len(w.known) >= w.most {
			return "other"
		}
		w.known[word] = true
	}
	return word
}

// health tells of all routers what the store knows.
type health struct {
	store                           Store
	up, routers, counting, accuracy *prometheus.Desc
	untold                          *prometheus.Desc

	mu   sync.Mutex // guards below
	read time.Time
	told []prometheus.Metric
}

func newHealth(s Store) *health {
	return &health{
		store:    s,
		up:       prometheus.NewDesc("netpilot_store_up", "1 if the store answers.", nil, nil),
		routers:  prometheus.NewDesc("netpilot_routers", "Enrolled routers by state.", []string{"state"}, nil),
		counting: prometheus.NewDesc("netpilot_router_counting_ok", "1 if the router said last that it counts right.", []string{"router", "name"}, nil),
		accuracy: prometheus.NewDesc("netpilot_router_counting_accuracy", "Part of the WAN traffic that it counts, as it said last.", []string{"router", "name"}, nil),
		untold:   prometheus.NewDesc("netpilot_routers_untold", "Routers beyond those whose counting is told one by one.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (h *health) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{h.up, h.routers, h.counting, h.accuracy, h.untold} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (h *health) Collect(out chan<- prometheus.Metric) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now := time.Now(); h.told == nil || now.Sub(h.read) >= healthFor {
		h.read = now
		ctx, cancel := context.WithTimeout(context.Background(), collectWithin)
		defer cancel()
		told, err := h.look(ctx, now)
		up := 1.0
		if err != nil { // the relay's log has it from those who need the store
			up = 0
		}
		h.told = append(told, prometheus.MustNewConstMetric(h.up, prometheus.GaugeValue, up))
	}
	for _, m := range h.told {
		out <- m
	}
}

// look reads the routers and what each said of its counting.
func (h *health) look(ctx context.Context, now time.Time) ([]prometheus.Metric, error) {
	list, _, err := h.store.Routers(ctx, store.RouterQuery{})
	if err != nil {
		return nil, err
	}
	var told []prometheus.Metric
	states := map[string]int{"online": 0, "offline": 0, "revoked": 0}
	one := 0
	untold := 0
	for _, r := range list {
		switch {
		case !r.RevokedAt.IsZero():
			states["revoked"]++
			continue
		case r.Online(now):
			states["online"]++
		default:
			states["offline"]++
		}
		if one >= maxRouters {
			untold++
			continue
		}
		one++
		replica, err := h.store.Replica(ctx, r.ID)
		if err != nil {
			return told, err
		}
		var counting struct {
			OK       *bool    `json:"ok"`
			Accuracy *float64 `json:"accuracy"`
		}
		if json.Unmarshal(replica.Counting, &counting) != nil || counting.OK == nil {
			continue // it has not said
		}
		ok := 0.0
		if *counting.OK {
			ok = 1
		}
		told = append(told, prometheus.MustNewConstMetric(h.counting, prometheus.GaugeValue, ok, string(r.ID), r.Name))
		if counting.Accuracy != nil {
			told = append(told, prometheus.MustNewConstMetric(h.accuracy, prometheus.GaugeValue, *counting.Accuracy, string(r.ID), r.Name))
		}
	}
	for state, n := range states {
		told = append(told, prometheus.MustNewConstMetric(h.routers, prometheus.GaugeValue, float64(n), state))
	}
	return append(told, prometheus.MustNewConstMetric(h.untold, prometheus.GaugeValue, float64(untold))), nil
}
