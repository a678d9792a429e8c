package gateway

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
)

// comeBack is when a router may try again after the relay had no room or
// could not reach its own store.
const comeBack = 10 * time.Second

// refuse answers a router with an error body (PROTOCOL.md section 2).
func refuse(w http.ResponseWriter, status int, err *usage.Error) {
	if err.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(err.RetryAfter.Seconds()))))
	}
	answer(w, status, wire.Refusal{Error: wire.RefusalError{Kind: err.Kind.String(), Message: err.Message}})
}

// answer writes v as the JSON answer.
func answer(w http.ResponseWriter, status int, v any) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the peer may be gone, and then nobody is left to tell
}

// errBusy says to come back later.
func errBusy(after time.Duration, message string) *usage.Error {
	return &usage.Error{Kind: usage.Busy, Message: message, RetryAfter: after}
}
