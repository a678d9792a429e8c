package metrics

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/store"
	"github.com/netpilot/netpilot/relay/store/sqlite"
	"github.com/netpilot/netpilot/relay/store/storetest"
)

// scrapeUsage has the counters of a device that moved something.
func scrapeUsage(t *testing.T, db *sqlite.DB) string {
	t.Helper()
	db.CountDevices()
	b := storetest.Bucket(time.Unix(1_795_000_200, 0), usage.FiveMinutes, 1, 900)
	if _, err := db.Push(t.Context(), &store.Push{Router: storetest.RouterID(1), Cursor: 1, Buckets: []usage.Bucket{b}}); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	UsageHandler(db, 10).ServeHTTP(w, httptest.NewRequest("GET", "/metrics/usage", nil))
	return w.Body.String()
}

// Each device has its counters, up to the limit, and a store that fails fails
// the scrape instead of hiding counters.
func TestUsage(t *testing.T) {
	_, db := rig(t)
	db.CountDevices()
	at := time.Unix(1_795_000_200, 0)
	b := storetest.Bucket(at, usage.FiveMinutes, 1, 900)
	b.Devices = append(b.Devices, usage.DeviceSum{Counters: usage.Counters{RxBytes: 5, TxBytes: 6}})
	if _, err := db.Push(t.Context(), &store.Push{Router: storetest.RouterID(1), Cursor: 1, Buckets: []usage.Bucket{b}}); err != nil {
		t.Fatal(err)
	}
	ask := func(most, want int) string {
		t.Helper()
		w := httptest.NewRecorder()
		UsageHandler(db, most).ServeHTTP(w, httptest.NewRequest("GET", "/metrics/usage", nil))
		if w.Code != want {
			t.Fatalf("got %d %s, want %d", w.Code, w.Body, want)
		}
		return w.Body.String()
	}
	labels := func(device string) string {
		return `{device="` + device + `",router="` + string(storetest.RouterID(1)) + `"} `
	}
	text := ask(10, 200)
	for _, want := range []string{
		"# TYPE netpilot_usage_rx_bytes_total counter",
		"netpilot_usage_rx_bytes_total" + labels("02:00:00:00:00:01") + "900\n",
		"netpilot_usage_tx_bytes_total" + labels("02:00:00:00:00:01") + "300\n",
		"netpilot_usage_rx_bytes_total" + labels("other") + "5\n",
		"netpilot_usage_devices_left_out 0\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	text = ask(1, 200)
	if !strings.Contains(text, "netpilot_usage_devices_left_out 1\n") || strings.Contains(text, `device="other"`) || !strings.Contains(text, "02:00:00:00:00:01") {
		t.Errorf("one of two: got\n%s", text)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	ask(10, 500)
}
