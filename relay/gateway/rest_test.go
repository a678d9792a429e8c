package gateway_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/netpilot/netpilot/pkg/wire"
	"github.com/netpilot/netpilot/relay/hub"
	"github.com/netpilot/netpilot/relay/store"
)

// Backends send a body with everything. Its deadline must not end a call that
// takes longer, and a router that never answers must not keep the backend.
func TestSlowAnswerOverREST(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		key, hash := store.NewSecret(store.KeyPrefix)
		if err := r.db.CreateKey(t.Context(), store.Key{ID: "1", Scope: store.ScopeRead, Name: "test", CreatedAt: time.Now()}, hash); err != nil {
			t.Fatal(err)
		}
		a := r.connect(r.enrol(router1), router1)
		go a.answer(func(m wire.Message) []byte {
			if m.Method != "usage.current" {
				return nil
			}
			time.Sleep(hub.CallWithin - time.Second)
			return wire.AppendResult(nil, m.ID, []byte(`{}`))
		})
		for _, test := range []struct {
			path   string
			took   time.Duration
			status int
		}{
			{"current", hub.CallWithin - time.Second, 200},
			{"status", hub.CallWithin, 504},
		} {
			req, err := http.NewRequestWithContext(t.Context(), "GET",
				"http://relay/api/device-usage/"+test.path+"?routerId="+string(router1), strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			req.SetBasicAuth("netpilot", key)
			began := time.Now()
			resp, err := r.client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if took := time.Since(began); resp.StatusCode != test.status || took != test.took || err != nil {
				t.Errorf("%s: got %d %s, %v after %v, want %d after %v", test.path, resp.StatusCode, body, err, took, test.status, test.took)
			}
		}
	})
}
