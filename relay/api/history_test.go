package api

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
	"github.com/netpilot/netpilot/relay/store"
	"github.com/netpilot/netpilot/relay/store/storetest"
)

// mac is that of storetest's n-th device.
func mac(n byte) usage.MAC { return usage.MAC{2, 0, 0, 0, 0, n} }

// push keeps buckets of the n-th router, all there is up to asOf.
func (r *rig) push(n int, asOf time.Time, counting string, buckets ...usage.Bucket) {
	r.t.Helper()
	p := &store.Push{Router: storetest.RouterID(n), At: r.now, Cursor: uint64(len(buckets)), Buckets: buckets, Open: []usage.Bucket{}, AsOf: asOf}
	if counting != "" {
		p.Counting = json.RawMessage(counting)
	}
	if cursor, err := r.db.Push(r.t.Context(), p); err != nil || cursor != p.Cursor {
		r.t.Fatalf("push: got %d, %v", cursor, err)
	}
}

// counted is a router that has a history of its own and answers from it as an
// agent does, in pages of at most page rows.
type counted struct {
	span  usage.Range
	slots []usage.Slot // in order of time, by device
	page  int
	calls []string
	// params are those of the first call since it was emptied.
	params string
	// between is called after each page: the router counts on.
	between func()
}

func (c *counted) answer(_ context.Context, method string, raw json.RawMessage) (json.RawMessage, error) {
	c.calls = append(c.calls, method)
	if c.params == "" {
		c.params = string(raw)
	}
	var p struct {
		usage.SpanQuery
		Limit, Offset int
		By            string
	}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &p); err != nil {
			return nil, err
		}
	}
	span, err := p.Span(c.span.To)
	if err != nil {
		return nil, err
	}
	var chosen []usage.Slot
	for _, s := range c.slots {
		if !s.Start.Before(span.From) && s.Start.Before(span.To) {
			chosen = append(chosen, s)
		}
	}
	switch method {
	case "usage.history":
		if c.page > 0 && (p.Limit == 0 || p.Limit > c.page) {
			p.Limit = c.page
		}
		t := usage.Timeline{Timestamp: c.span.To, Span: span, By: p.By, Slots: chosen, Page: usage.Page{Limit: p.Limit, Offset: p.Offset}}
		for _, s := range chosen {
			t.Total.Add(s.Counters)
		}
		answer := t.AppendJSON(nil, wire.MaxResult)
		if c.between != nil {
			c.between()
		}
		return answer, nil
	case "usage.summary":
		s := usage.Summary{Timestamp: c.span.To, Span: span}
		err := s.Gather(func(by string, visit func(usage.Slot) error) error {
			for _, slot := range chosen {
				switch by {
				case "total":
					slot.MAC = usage.MAC{}
				case "service":
					continue
				}
				if err := visit(slot); err != nil {
					return err
				}
			}
			return nil
		}, func(usage.MAC) usage.Identity { return usage.Identity{} })
		return s.AppendJSON(nil, p.Limit), err
	}
	return nil, usage.Errorf(usage.Invalid, "no method %q", method)
}

// past answers metadata and the bytes an answer counts.
func (r *rig) past(target string) (m metadataItem, total uint64) {
	r.t.Helper()
	status, body := answerOf(r.do("GET", "/api/device-usage/"+target, "", nil))
	if status != http.StatusOK {
		r.t.Fatalf("%s: got %d %s", target, status, body)
	}
	var e struct {
		Data struct {
			Total uint64 `json:"total_bytes"`
		}
	}
	if err := json.Unmarshal([]byte(body), &e); err != nil {
		r.t.Fatalf("%s: %v in %s", target, err, body)
	}
	return metadataOf(r.t, []byte(body)), e.Data.Total
}

// The store answers if it has the span, else the router, else the store and a
// word on how old that is; without either the router is offline.
func TestWhoAnswersForThePast(t *testing.T) {
	hour := start.Truncate(time.Hour).Add(-2 * time.Hour) // 12:00
	inStore := storetest.Bucket(hour, usage.FiveMinutes, 1, 300)
	for _, path := range []string{"history?timeframe=24h", "summary?timeframe=24h", "export?timeframe=24h&format=json"} {
		r := newRig(t)
		live := &counted{span: usage.Range{From: hour, To: start}, slots: []usage.Slot{
			{Start: hour, Length: usage.FiveMinutes, MAC: mac(1), Counters: usage.Counters{RxBytes: 1000}}}}
		r.routers.answer = live.answer
		get := func(step string, n int, source string, stale bool, want uint64) {
			t.Helper()
			m, total := r.past(path + "&routerId=" + id(n))
			if m.Source != source || m.Stale != stale || total != want || stale != (m.AsOf != "") {
				t.Errorf("%s, %s: got %d bytes and %+v, want %d of %s, stale %v", path, step, total, m, want, source, stale)
			}
		}
		get("nothing kept", connected, fromRouter, false, 1000)
		r.push(connected, start.Add(time.Second-freshWithin), "", inStore)
		live.calls = nil
		get("fresh", connected, fromStore, false, 400)
		if live.calls != nil {
			t.Errorf("%s: the router was asked %v though the store is fresh", path, live.calls)
		}
		r.now = start.Add(2 * time.Second)
		get("behind", connected, fromRouter, false, 1000)
		r.push(offline, start.Add(-time.Hour), "", inStore)
		get("behind and offline", offline, fromStore, true, 400)
		r.answer("", usage.Errorf(usage.Timeout, "x"))
		get("behind and silent", connected, fromStore, true, 400)
		r.answer("", usage.Errorf(usage.Unavailable, "x"))
		want(t, path, r.do("GET", "/api/device-usage/"+path+"&routerId="+id(connected), "", nil), 502, "NLBWMON_UNAVAILABLE")
		// A span that ended long ago needs nothing newer than its end.
		past := "history?from=" + hour.Format(time.RFC3339) + "&to=" + hour.Add(30*time.Minute).Format(time.RFC3339)
		if m, total := r.past(past + "&routerId=" + id(connected)); m.Source != fromStore || m.Stale || total != 400 {
			t.Errorf("an old span: got %d, %+v", total, m)
		}
	}
	r := newRig(t)
	want(t, "neither", r.do("GET", "/api/device-usage/history?routerId="+id(offline), "", nil), 503, "ROUTER_OFFLINE")
	want(t, "unknown", r.do("GET", "/api/device-usage/history?routerId="+id(unknown), "", nil), 404, "ROUTER_NOT_FOUND")
}

// A relay that keeps nothing asks the router for all.
func TestPastWithoutStore(t *testing.T) {
	r := newRig(t)
	live := &counted{span: usage.Range{From: start.Add(-time.Hour), To: start}, slots: []usage.Slot{
		{Start: start.Add(-time.Hour), Length: usage.FiveMinutes, MAC: mac(1), Counters: usage.Counters{RxBytes: 7}}}}
	r.routers.answer = live.answer
	a := New(store.WithoutHistory(r.db), r.routers, slog.New(slog.DiscardHandler))
	a.Now = r.Now
	r.API = a
	if m, total := r.past("history?timeframe=24h&routerId=" + id(connected)); total != 7 || m.Source != fromRouter {
		t.Errorf("got %d, %+v", total, m)
	}
	want(t, "offline", r.do("GET", "/api/device-usage/history?routerId="+id(offline), "", nil), 503, "ROUTER_OFFLINE")
	a.checks.look(t.Context(), a)
	if _, body := answerOf(r.do("GET", "/health", "", nil)); !strings.Contains(body, `"store":{"ok":true}`) {
		t.Errorf("health of a relay that keeps nothing: %s", body)
	}
}

// TestPastByLabel: what depends on names, groups or categories is for the
// router alone, however fresh the store is; without it the error says so.
func TestPastByLabel(t *testing.T) {
	hour := start.Truncate(time.Hour).Add(-2 * time.Hour)
	r := newRig(t)
	for _, n := range []int{connected, offline} {
		r.push(n, start.Add(time.Second-freshWithin), "", storetest.Bucket(hour, usage.FiveMinutes, 1, 300))
	}
	live := &counted{span: usage.Range{From: hour, To: start}, slots: []usage.Slot{
		{Start: hour, Length: usage.FiveMinutes, Label: "kids", Counters: usage.Counters{RxBytes: 1000}},
		{Start: hour, Length: usage.FiveMinutes, Counters: usage.Counters{RxBytes: 1}}}, page: 1}
	r.routers.answer = live.answer
	for query, asked := range map[string]string{
		"history?by=group": `{"timeframe":"24h","by":"group"}`, "history?group=kids": `{"timeframe":"24h","group":"kids"}`,
		"history?by=device&category=work&name=Anna": `{"timeframe":"24h","by":"device","category":"work","name":"Anna"}`,
		"summary?by=category":                       `{"timeframe":"24h","by":"category","limit":10}`, "summary?name=Anna": `{"timeframe":"24h","name":"Anna","limit":10}`,
		"export?by=group": "", "export?group=kids": "", "report?category=work": "", "history?by=group&format=csv": "",
	} {
		target := "/api/device-usage/" + query + "&timeframe=24h&routerId="
		live.params = ""
		if status, body := answerOf(r.do("GET", target+id(connected), "", nil)); status != http.StatusOK || asked != "" && live.params != asked || live.params == "" {
			t.Errorf("%s: got %d %s, the router was asked %q, want %q", query, status, body, live.params, asked)
		}
		status, body := answerOf(r.do("GET", target+id(offline), "", nil))
		if status != 503 || !strings.Contains(body, "ROUTER_OFFLINE") || !strings.Contains(body, "it alone knows names, groups and categories") {
			t.Errorf("%s, offline: got %d %s", query, status, body)
		}
	}
	// Each page of the router's has one row; the file has both, each once.
	_, body := answerOf(r.do("GET", "/api/device-usage/export?by=group&timeframe=24h&routerId="+id(connected), "", nil))
	if want := "connections,group,category\r\n"; !strings.Contains(body, want) || strings.Count(body, ",kids,\r\n") != 1 || strings.Count(body, ",0,,\r\n") != 1 {
		t.Errorf("got %q", body)
	}
	_, body = answerOf(r.do("GET", "/api/device-usage/export?by=group&format=json&timeframe=24h&routerId="+id(connected), "", nil))
	if !strings.Contains(body, `"group":"kids"`) || !strings.Contains(body, `"group":null`) || !strings.Contains(body, `"total_bytes":1001`) {
		t.Errorf("got %s", body)
	}
	want(t, "current", r.do("GET", "/api/device-usage/current?category=nix&routerId="+id(connected), "", nil), 400, "BAD_REQUEST")
}

// rowsOfCSV gives start, MAC and received bytes of each row.
func (r *rig) rowsOfCSV(target string) []string {
	r.t.Helper()
	resp := r.do("GET", target, "", nil)
	rows, err := csv.NewReader(resp.Body).ReadAll()
	if err != nil || resp.StatusCode != http.StatusOK || len(rows) == 0 || !slices.Equal(rows[0][:3], []string{"start", "seconds", "mac"}) {
		r.t.Fatalf("%s: got %d %v, %v", target, resp.StatusCode, rows, err)
	}
	var list []string
	for _, row := range rows[1:] {
		list = append(list, fmt.Sprintln(row[0], row[2], row[7]))
	}
	return list
}

// An export has each row once though the router counts on between its pages:
// devices come to the open bucket, before and after where a page ended.
func TestExportWhileTheRouterCounts(t *testing.T) {
	r := newRig(t)
	open := start.Truncate(usage.FiveMinutes)
	var slots []usage.Slot
	for i := range 5 {
		for _, n := range []byte{20, 30, 40, 50} {
			slots = append(slots, usage.Slot{Start: open.Add(time.Duration(i-4) * usage.FiveMinutes), Length: usage.FiveMinutes, MAC: mac(n),
				Counters: usage.Counters{RxBytes: uint64(100*i) + uint64(n)}})
		}
	}
	for _, page := range []int{1, 2, 3, 5, 7, 18, 19, 100} {
		live := &counted{span: usage.Range{From: start.Add(-time.Hour), To: start}, slots: slices.Clone(slots), page: page}
		newcomer := byte(10)
		live.between = func() {
			if newcomer == 14 {
				return
			}
			at := len(live.slots) - 4 - int(newcomer-10)
			live.slots = slices.Insert(live.slots, at, usage.Slot{Start: open, Length: usage.FiveMinutes, MAC: mac(newcomer), Counters: usage.Counters{RxBytes: 1}})
			newcomer++
		}
		r.routers.answer = live.answer
		got := r.rowsOfCSV("/api/device-usage/export?timeframe=1h&routerId=" + id(connected))
		for _, s := range slots {
			line := fmt.Sprintln(s.Start.Format(time.RFC3339), s.MAC, s.RxBytes)
			if n := len(slices.DeleteFunc(slices.Clone(got), func(g string) bool { return g != line })); n != 1 {
				t.Errorf("pages of %d: %s is there %d times in\n%s", page, strings.TrimSpace(line), n, strings.Join(got, ""))
			}
		}
		for i := 1; i < len(got); i++ {
			if got[i][:20] < got[i-1][:20] {
				t.Errorf("pages of %d: out of order:\n%s", page, strings.Join(got, ""))
			}
		}
	}
}

// A router that sends the same page for ever is not listened to for ever.
func TestExportThatDoesNotGoOn(t *testing.T) {
	r := newRig(t)
	r.answer(`{"from":"2026-11-23T13:55:26Z","to":"2026-11-23T14:55:26Z","resolution_seconds":300,"next_offset":7,
		"buckets":[{"start":"2026-11-23T14:00:00Z","seconds":300,"mac":"02:00:00:00:00:01","bytes_rx":1}]}`, nil)
	want(t, "the same page", r.do("GET", "/api/device-usage/export?timeframe=1h&routerId="+id(connected), "", nil), 500, "INTERNAL")
	if !strings.Contains(r.log.String(), "does not go on") {
		t.Errorf("the log lacks the reason:\n%s", r.log.String())
	}
}

// The store's page and the router's page have the same rows, and a limit above
// the router's own page is kept to.
func TestHistoryPages(t *testing.T) {
	r := newRig(t)
	first := start.Truncate(time.Hour).Add(-time.Hour)
	var buckets []usage.Bucket
	live := &counted{span: usage.Range{From: first, To: start}, page: 2}
	for i := range 7 {
		b := storetest.Bucket(first.Add(time.Duration(i)*usage.FiveMinutes), usage.FiveMinutes, byte(i), uint64(3*i+3))
		buckets = append(buckets, b)
		live.slots = append(live.slots, usage.Slot{Start: b.Start, Length: b.Length, MAC: b.Devices[0].MAC, Counters: b.Devices[0].Counters})
	}
	r.push(offline, start, "", buckets...)
	r.routers.answer = live.answer
	for _, page := range []string{"", "&limit=3", "&limit=5&offset=1", "&offset=6", "&offset=7"} {
		target := "/api/device-usage/history?format=csv&by=device&timeframe=24h" + page + "&routerId="
		if kept, asked := r.rowsOfCSV(target+id(offline)), r.rowsOfCSV(target+id(connected)); !slices.Equal(kept, asked) {
			t.Errorf("%s: the store has\n%s\nand the router\n%s", page, kept, asked)
		}
	}
}

// Files say in headers what the metadata says.
func TestFiles(t *testing.T) {
	r := newRig(t)
	evil := "=HYPERLINK(\"x\"),\r\n<script>"
	b := storetest.Bucket(start.Truncate(time.Hour).Add(-time.Hour), usage.FiveMinutes, 1, 300)
	r.push(offline, start.Add(-30*time.Minute), `{"ok":true,"accuracy":0.98,"reasons":[]}`, b)
	r.db.KeepAnswer(storetest.RouterID(offline), "usage.current", store.Answer{At: start,
		Result: fmt.Appendf(nil, `{"devices":[{"mac":%q,"hostname":%q}]}`, mac(1), evil)})
	for target, media := range map[string]string{
		"history?format=csv&by=device&timeframe=24h": "text/csv; charset=utf-8; header=present",
		"export?timeframe=24h":                       "text/csv; charset=utf-8; header=present",
		"export?timeframe=24h&format=json":           "application/json",
		"report?timeframe=24h":                       "text/html; charset=utf-8",
		"report?timeframe=24h&format=md":             "text/markdown; charset=utf-8",
		"report?timeframe=24h&format=text":           "text/plain; charset=utf-8",
	} {
		resp := r.do("GET", "/api/device-usage/"+target+"&routerId="+id(offline), "", nil)
		h := resp.Header
		raw, err := io.ReadAll(resp.Body)
		body := string(raw)
		if err != nil || resp.StatusCode != http.StatusOK || h.Get("Content-Type") != media || !strings.Contains(body, mac(1).String()) {
			t.Errorf("%s: got %d %s %.400s", target, resp.StatusCode, h.Get("Content-Type"), body)
		}
		if media == "application/json" {
			if m := metadataOf(t, raw); !m.Stale || m.AsOf == "" || m.Source != fromStore {
				t.Errorf("%s: got metadata %+v", target, m)
			}
		} else if h.Get("Netpilot-Source") != fromStore || h.Get("Netpilot-Stale") != "true" || h.Get("Netpilot-As-Of") != "2026-11-23T14:25:26Z" {
			t.Errorf("%s: got headers %v", target, h)
		}
		if strings.HasPrefix(media, "text/html") && strings.Contains(body, "<script") || strings.HasPrefix(media, "text/csv") && (strings.Contains(body, ",=HYPER") || !strings.Contains(body, "\r\n")) {
			t.Errorf("%s: a hostile name came through: %.400s", target, body)
		}
	}
}

// A summary counts what the history has, whoever gives it.
func TestSummary(t *testing.T) {
	r := newRig(t)
	hour := start.Truncate(time.Hour)
	b := storetest.Bucket(hour.Add(-24*time.Hour), usage.FiveMinutes, 1, 300)
	b.Quarantined = []usage.DeviceSum{{MAC: mac(1), Counters: usage.Counters{RxBytes: 5}}}
	r.push(offline, start, `{"ok":false,"accuracy":null,"reasons":[]}`, b, storetest.Bucket(hour, usage.FiveMinutes, 2, 900))
	e := want(t, "summary", r.do("GET", "/api/device-usage/summary?days=2&limit=1&routerId="+id(offline), "", nil), 200, "")
	var s struct {
		summaryItem
		Quarantined uint64 `json:"quarantined_bytes"`
		Counting    struct{ OK *bool }
	}
	if err := json.Unmarshal(e.Data, &s); err != nil {
		t.Fatal(err)
	}
	if s.TotalBytes != 1600 || s.TotalDevices != 2 || len(s.TopDevices) != 1 || s.TopDevices[0].MAC != mac(2).String() || s.TopDevices[0].Percentage != 75 ||
		len(s.DailyTotals) != 2 || s.DailyTotals[0].Bytes != 400 || s.TotalServices != 2 || s.PeriodDays != 2 || s.Quarantined != 5 || s.Counting.OK == nil || *s.Counting.OK {
		t.Errorf("got %s", e.Data)
	}
}

func TestBadSpans(t *testing.T) {
	r := newRig(t)
	r.routers.answer = nil // none of these reaches a router
	for _, query := range []string{
		"days=0", "days=401", "days=-1", "days=1e3", "timeframe=2h", "timeframe=24h&days=1", "to=2026-11-23", "from=yesterday",
		"from=2026-11-23&to=2026-11-22", "from=2020-01-01", "resolution=1m", "resolution=1w", "by=mac", "mac=phone", "format=xml",
		"by=service&mac=02:00:00:00:00:01", "by=device&service=HTTP", "limit=10001", "offset=-1",
	} {
		want(t, query, r.do("GET", "/api/device-usage/history?"+query+"&routerId="+id(connected), "", nil), 400, "BAD_REQUEST")
	}
}
