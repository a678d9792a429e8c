package uplink

import (
	"encoding/json"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/netpilot/netpilot/pkg/wire"
)

func TestLastGood(t *testing.T) {
	build := time.Date(1999, 12, 1, 0, 0, 0, 0, time.UTC) // bubbles begin in 2000
	for _, tt := range []struct {
		name           string
		clock, relay   time.Duration // against the true time
		stored         time.Time
		want           []time.Duration // stored times after the start of the bubble
		links, lasting int
	}{
		{name: "once a day", links: 5, lasting: 10, want: []time.Duration{0, 30 * time.Hour}},
		{name: "stored lately", stored: time.Date(1999, 12, 31, 23, 0, 0, 0, time.UTC), links: 1},
		{name: "clock ahead", clock: 1e5 * time.Hour, links: 1, want: []time.Duration{0}},
		{name: "relay ahead", relay: 1e5 * time.Hour, links: 1, want: []time.Duration{0}},
		{name: "clock unset", clock: -1e5 * time.Hour, links: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				r := &relay{t: t, link: func(ws *websocket.Conn, _ int) {
					_, _, _ = ws.ReadMessage()
					welcome, _ := json.Marshal(wire.Welcome{ServerTime: time.Now().Add(tt.relay)})
					_ = ws.WriteMessage(websocket.TextMessage, wire.AppendResult(nil, 1, welcome))
					closeAfter(ws, 10*time.Hour-time.Second)
					_ = readUntilClosed(ws, nil)
				}}
				o, stopRelay := serveMemory(t, r, echo)
				o.BuildTime, o.Client.LastGood = build, tt.stored
				o.Now = func() time.Time { return time.Now().Add(tt.clock) }
				var got []time.Duration
				o.SaveLastGood = func(at time.Time) error {
					got = append(got, at.Sub(begin).Round(time.Minute))
					return nil
				}
				_, stop := start(t, o)
				time.Sleep(time.Duration(tt.links) * (10*time.Hour - time.Minute))
				stop()
				stopRelay()
				if !slices.Equal(got, tt.want) {
					t.Errorf("stored %v, want %v", got, tt.want)
				}
			})
		})
	}
}
