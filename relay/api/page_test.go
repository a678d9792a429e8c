package api

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/store/storetest"
)

// list gives one member of each row of a list, and the list's total: that of
// the metadata where the answer is the bare list.
func (r *rig) list(target, member, row, total string) string {
	r.t.Helper()
	e := want(r.t, target, r.do("GET", target, "{}", nil), 200, "")
	whole := map[string]json.RawMessage{"": e.Data}
	if member != "" {
		if err := json.Unmarshal(e.Data, &whole); err != nil {
			r.t.Fatal(err)
		}
	} else if e.Metadata.Total != nil {
		whole[""], whole[total] = e.Data, fmt.Append(nil, *e.Metadata.Total)
	}
	var rows []map[string]any
	if err := json.Unmarshal(whole[member], &rows); err != nil || rows == nil {
		r.t.Fatalf("%s: %v in %s", target, err, e.Data)
	}
	text := ""
	for _, one := range rows {
		text += fmt.Sprint(one[row], " ")
	}
	return text + "of " + string(whole[total])
}

// Every list has limit, offset, sort and total, and without them is as it
// always was.
func TestLists(t *testing.T) {
	r := newRig(t)
	hour := start.Truncate(time.Hour)
	moved := func(n byte, at time.Time, rx, tx uint64) usage.Bucket {
		b := storetest.Bucket(at, usage.FiveMinutes, n, 0)
		c := usage.Counters{RxBytes: rx, TxBytes: tx}
		b.Devices[0].Counters, b.Services[0].Counters, b.Families[0].Counters = c, c, c
		return b
	}
	buckets := []usage.Bucket{moved(1, hour, 500, 0), moved(2, hour.Add(usage.FiveMinutes), 100, 700), moved(3, hour.Add(2*usage.FiveMinutes), 300, 0)}
	r.push(offline, start, "", buckets...)
	live := &counted{span: usage.Range{From: hour, To: start}, page: 2}
	for _, b := range buckets {
		live.slots = append(live.slots, usage.Slot{Start: b.Start, Length: b.Length, MAC: b.Devices[0].MAC, Counters: b.Devices[0].Counters})
	}
	r.routers.answer = func(ctx context.Context, method string, params json.RawMessage) (json.RawMessage, error) {
		switch method {
		case "usage.history", "usage.summary":
			return live.answer(ctx, method, params)
		case "usage.device":
			return json.RawMessage(`{"device":{"mac":"02:00:00:00:00:01"},"services":[{"service":"a","bytes_rx":1,"bytes_tx":9,"new":1},{"service":"b","bytes_rx":5},{"service":"c","bytes_rx":3}],"total_services":3}`), nil
		}
		return lan(ctx, method, params)
	}
	r.inSession()
	r.now = r.now.Add(time.Second)
	want(t, "start", r.do("POST", "/api/session/start?sessionId=s2&routerId="+id(connected), "{}", nil), 200, "")
	r.now = r.now.Add(time.Second)
	want(t, "use", r.do("POST", "/api/session/refresh?sessionId=s1&routerId="+id(connected), "{}", nil), 200, "")
	ids := "&sessionId=s1&routerId=" + id(connected)
	for _, from := range []int{offline, connected} { // from the store, and from the router in pages
		at := "&timeframe=24h&routerId=" + id(from)
		for query, rows := range map[string]string{
			"":                      "500 100 300 of 3",
			"sort=start":            "500 100 300 of 3",
			"sort=total":            "100 500 300 of 3",
			"sort=rx&limit=2":       "500 300 of 3",
			"sort=tx&limit=1":       "100 of 3",
			"sort=rx&offset=1":      "300 100 of 3",
			"sort=rx&offset=9":      "of 3",
			"sort=start&offset=2":   "300 of 3",
			"by=device&sort=rx":     "500 300 100 of 3",
			"by=device&sort=conns":  "500 100 300 of 3",
			"limit=1&offset=1":      "100 of 3",
			"sort=total&resolution": "100 500 300 of 3",
		} {
			if from == connected && (query == "" || strings.HasPrefix(query, "sort=start")) {
				continue // as the router gives them, two at a time
			}
			target := "/api/device-usage/history?" + query + at
			if got := r.list(target, "buckets", "bytes_rx", "total_buckets"); got != rows {
				t.Errorf("%s: got %s, want %s", target, got, rows)
			}
		}
		got := r.rowsOfCSV("/api/device-usage/history?format=csv&by=device&sort=rx&limit=2" + at)
		if len(got) != 2 || !strings.HasSuffix(got[0], mac(1).String()+" 500\n") || !strings.HasSuffix(got[1], mac(3).String()+" 300\n") {
			t.Errorf("CSV: got %q", got)
		}
		for query, rows := range map[string]string{
			"":                      "02:00:00:00:00:02 02:00:00:00:00:01 02:00:00:00:00:03 of 3",
			"sort=rx":               "02:00:00:00:00:01 02:00:00:00:00:03 02:00:00:00:00:02 of 3",
			"sort=rx&limit=1":       "02:00:00:00:00:01 of 3",
			"offset=1&limit=1":      "02:00:00:00:00:01 of 3",
			"sort=tx&offset=2":      "02:00:00:00:00:03 of 3",
			"sort=total&offset=100": "of 3",
		} {
			target := "/api/device-usage/summary?" + query + at
			if got := r.list(target, "top_devices", "mac", "total_devices"); got != rows {
				t.Errorf("%s: got %s, want %s", target, got, rows)
			}
		}
	}
	if got := r.list("/api/device-usage/summary?sort=rx&offset=1&timeframe=24h&routerId="+id(offline), "top_services", "service", "total_services"); got != "service 3 service 2 of 3" {
		t.Errorf("services: got %s", got)
	}
	r.push(connected, start, "", moved(9, hour, 10, 10_000))
	for _, test := range []struct{ target, member, row, total, want string }{
		{"/api/device-usage/device/02:00:00:00:00:01?" + ids, "services", "service", "total_services", "a b c of 3"},
		{"/api/device-usage/device/02:00:00:00:00:01?sort=rx" + ids, "services", "service", "total_services", "b c a of 3"},
		{"/api/device-usage/device/02:00:00:00:00:01?limit=1&offset=1" + ids, "services", "service", "total_services", "b of 3"},
		{"/api/device-usage/device/02:00:00:00:00:01?limit=1&sort=tx" + ids, "services", "new", "total_services", "1 of 3"},

		{"/api/fleet/summary?", "top_devices", "bytes_rx", "total_devices", "10 100 500 300 of 4"},
		{"/api/fleet/summary?sort=rx&limit=2", "top_devices", "bytes_rx", "total_devices", "500 300 of 4"},
		{"/api/fleet/summary?sort=rx&limit=2&offset=2", "top_devices", "bytes_rx", "total_devices", "100 10 of 4"},
		{"/api/fleet/summary?limit=2&offset=1", "top_devices", "bytes_rx", "total_devices", "100 500 of 4"},
		{"/api/fleet/summary?", "top_routers", "bytes_rx", "total_top_routers", "10 900 of 2"},
		{"/api/fleet/summary?sort=rx&offset=1", "top_routers", "bytes_rx", "total_top_routers", "10 of 2"},
		{"/api/fleet/summary?offset=1", "broken", "name", "total_broken", "of 0"},

		{"/api/session/status", "", "session_id", "total", "s1 s2 of 2"},
		{"/api/session/status?sort=started", "", "session_id", "total", "s2 s1 of 2"},
		{"/api/session/status?sort=session_id&offset=1&limit=1", "", "session_id", "total", "s2 of 2"},
		{"/api/session/status?limit=1", "", "session_id", "total", "s1 of 2"},
		{"/api/session/status?offset=7", "", "session_id", "total", "of 2"},

		{"/api/monitor/current?" + ids, "", "download", "total", "5 3 0 of 3"},
		{"/api/monitor/current?sort=tx&limit=2" + ids, "", "upload", "total", "1 0.5 of 3"},
		{"/api/monitor/current?offset=3" + ids, "", "upload", "total", "of 3"},
		{"/api/network/scan?" + ids, "", "ip", "total", "192.168.1.5 192.168.2.7 of 2"},
		{"/api/network/scan?sort=hostname&offset=1" + ids, "", "hostname", "total", "Unknown of 2"},
		{"/api/network/scan?sort=usage&limit=1" + ids, "", "ip", "total", "192.168.1.5 of 2"},
		{"/api/network/scan?sort=mac&limit=1&offset=1" + ids, "", "ip", "total", "192.168.2.7 of 2"},
	} {
		if got := r.list(test.target, test.member, test.row, test.total); got != test.want {
			t.Errorf("%s: got %s %s, want %s", test.target, test.member, got, test.want)
		}
	}
}

// What answers a list says in its description that it can be paged and sorted.
func TestListsAreDescribed(t *testing.T) {
	r := newRig(t)
	lists := 0
	for path, item := range r.huma.OpenAPI().Paths {
		if item.Get == nil || !slices.Contains([]string{"routers", "fleetSummary", "usageCurrent", "usageRecords", "usageDevice", "usageHistory", "usageSummary",
			"sessionStatus", "monitorCurrent", "monitorWeek", "monitorMonth", "networkScan"}, item.Get.OperationID) {
			continue
		}
		lists++
		for _, name := range []string{"limit", "offset", "sort"} {
			if !slices.ContainsFunc(item.Get.Parameters, func(p *huma.Param) bool { return p.Name == name && p.In == "query" }) {
				t.Errorf("GET %s has no parameter %s", path, name)
			}
		}
	}
	if lists != 12 {
		t.Errorf("%d lists found, want 12", lists)
	}
}
