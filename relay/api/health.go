package api

import "encoding/json"

// healthItem is the answer of /health.
type healthItem struct {
	Message string `json:"message" example:"Server is healthy"`
}

// health answers GET /health. Backends ask it before their calls and fail all
// of them when it fails, so it needs no key and depends on nothing.
func (a *API) health(_ *exchange, _ *struct{}) (json.RawMessage, error) {
	return json.RawMessage(`{"message":"Server is healthy"}`), nil
}
