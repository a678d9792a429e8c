package api

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/netpilot/netpilot/relay/store"
)

// keyItem is what a caller may know of its own key.
type keyItem struct {
	ID        string      `json:"id" doc:"Names the key without saying it."`
	Name      string      `json:"name"`
	Scope     store.Scope `json:"scope" enum:"read,write,admin" doc:"Each includes those before it."`
	Routers   *int        `json:"routers" doc:"How many routers it may ask about; null for all."`
	ExpiresAt *time.Time  `json:"expires_at" doc:"null for never."`
}

func (a *API) mountKey() {
	mount[struct{}, keyItem](a, route{method: http.MethodGet, path: "/api/key", needs: store.ScopeRead, tag: "relay", id: "key",
		summary: "The key that asks: its name, scope and expiry"}, a.ownKey)
}

// ownKey answers GET /api/key.
func (a *API) ownKey(x *exchange, _ *struct{}) (json.RawMessage, error) {
	item := keyItem{ID: x.key.ID, Name: x.key.Name, Scope: x.key.Scope, ExpiresAt: unlessZero(x.key.ExpiresAt)}
	if x.key.Routers != nil {
		n := len(x.key.Routers)
		item.Routers = &n
	}
	return json.Marshal(item)
}
