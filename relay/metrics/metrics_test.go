package metrics

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/api"
	"github.com/netpilot/netpilot/relay/audit"
	"github.com/netpilot/netpilot/relay/hub"
	"github.com/netpilot/netpilot/relay/legacy"
	"github.com/netpilot/netpilot/relay/store"
	"github.com/netpilot/netpilot/relay/store/sqlite"
	"github.com/netpilot/netpilot/relay/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// counting is a real store whose router 1 said that it counts.
type counting struct{ *sqlite.DB }

func (c counting) Replica(ctx context.Context, id usage.RouterID) (store.Replica, error) {
	if id == storetest.RouterID(1) {
		return store.Replica{Counting: json.RawMessage(`{"ok":false,"accuracy":0.25,"reasons":[]}`)}, nil
	}
	return c.DB.Replica(ctx, id)
}

func rig(t *testing.T) (*Metrics, *sqlite.DB) {
	t.Helper()
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "relay.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	for n := range 2 {
		token, secret := store.HashOf(fmt.Sprint("t", n)), store.HashOf(fmt.Sprint("s", n))
		now := time.Now()
		err := db.CreateToken(t.Context(), store.Token{CreatedAt: now, ExpiresAt: now.Add(time.Hour)}, token)
		if err == nil {
			err = db.Redeem(t.Context(), token, store.Router{ID: storetest.RouterID(n), Name: "r\"\n" + fmt.Sprint(n)}, secret, now)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return New(Options{Version: "1.2.3", Store: counting{db}, Hub: hub.NewLocal(),
		Audit:   audit.New(audit.Options{Store: db, Log: slog.New(slog.DiscardHandler)}),
		Waiting: func() int { return 3 }, Ended: func() int64 { return 4 }, Size: func() int64 { return 5 },
		Pushing: func() int { return 6 }}), db
}

func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	text, err := io.ReadAll(w.Result().Body)
	if err != nil || w.Code != 200 {
		t.Fatalf("got %d %s, %v", w.Code, text, err)
	}
	return string(text)
}

// used gives every series at least one value.
func used(t *testing.T, m *Metrics) {
	t.Helper()
	h := m.Calls(hub.NewLocal())
	for i := range maxMethods + 10 { // a method nobody bounded does not grow the table
		if _, err := h.Call(t.Context(), storetest.RouterID(1), fmt.Sprint("method", i), nil); usage.KindOf(err) != usage.Offline {
			t.Errorf("call: got %v, want offline", err)
		}
	}
	m.Answered(&api.Done{Path: "/api/routers", Status: 200, Took: time.Millisecond})
	m.Answered(&api.Done{Status: 404})
	m.Recorded(&audit.Entry{Method: "link.open", Result: audit.OK})
	m.Shadow(func() legacy.Counts { return legacy.Counts{Same: 7, Different: 8, Failed: 9, Skipped: 10} })
}

func TestMetrics(t *testing.T) {
	m, _ := rig(t)
	used(t, m)
	text := scrape(t, m)
	for _, want := range []string{
		`netpilot_build_info{go="go1.`,
		`netpilot_links 0`,
		`netpilot_calls_total{method="method0",result="offline"} 1`,
		`netpilot_calls_total{method="other",result="offline"} 10`,
		`netpilot_call_seconds_count{method="other"} 10`,
		`netpilot_requests_total{path="/api/routers",status="200"} 1`,
		`netpilot_requests_total{path="unknown",status="404"} 1`,
		`netpilot_router_events_total{event="link.open",result="ok"} 1`,
		`netpilot_routers{state="offline"} 2`,
		`netpilot_router_counting_ok{name="r\"\n1",router="` + string(storetest.RouterID(1)) + `"} 0`,
		`netpilot_router_counting_accuracy{name="r\"\n1",router="` + string(storetest.RouterID(1)) + `"} 0.25`,
		`netpilot_store_up 1`,
		`netpilot_connections_waiting 3`,
		`netpilot_connections_ended_total 4`,
		`netpilot_store_bytes 5`,
		`netpilot_pushes_waiting 6`,
		`netpilot_shadow_comparisons_total{result="same"} 7`,
		`netpilot_shadow_comparisons_total{result="different"} 8`,
		`netpilot_shadow_comparisons_total{result="failed"} 9`,
		`netpilot_shadow_comparisons_total{result="skipped"} 10`,
	} {
		if !strings.Contains(text, want) && !strings.Contains(text, strings.ReplaceAll(want, "r\"", "r\\\"")) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}

// A store that fails costs its own metrics and no others.
func TestStoreDown(t *testing.T) {
	m, db := rig(t)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if text := scrape(t, m); !strings.Contains(text, "netpilot_store_up 0") || !strings.Contains(text, "netpilot_links 0") {
		t.Errorf("got\n%s", text)
	}
}

// Every metric that the dashboard names exists, and every one of ours is on it.
func TestDashboard(t *testing.T) {
	text, err := os.ReadFile("../../scripts/relay/grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil || len(dashboard.Panels) == 0 {
		t.Fatalf("%d panels, %v", len(dashboard.Panels), err)
	}
	m, db := rig(t)
	used(t, m)
	exposed := scrape(t, m) + scrapeUsage(t, db)
	shown := make(map[string]bool)
	name := regexp.MustCompile(`\b(netpilot|process|go)_[a-z_]+\b`)
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			names := name.FindAllString(target.Expr, -1)
			if len(names) == 0 {
				t.Errorf("panel %q: no metric in %q", panel.Title, target.Expr)
			}
			for _, n := range names {
				shown[strings.TrimSuffix(n, "_bucket")] = true
				if !regexp.MustCompile(`(?m)^` + n + `[ {]`).MatchString(exposed) {
					t.Errorf("panel %q: the relay has no metric %s", panel.Title, n)
				}
			}
		}
	}
	families := regexp.MustCompile(`(?m)^# TYPE (netpilot_[a-z_]+) `).FindAllStringSubmatch(exposed, -1)
	if len(families) < 20 {
		t.Errorf("%d metrics of ours found", len(families))
	}
	for _, f := range families {
		if !shown[f[1]] {
			t.Errorf("%s is on no panel", f[1])
		}
	}
}
