package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
)

// failure is an error as a backend reads it. The codes are matched by
// programs: they are added to, never changed.
type failure struct {
	status     int
	code       string
	message    string
	retryAfter time.Duration
	err        error // for the log
	theirs     bool  // no fault of ours, whatever the status says
}

func (f *failure) Error() string { return f.message }
func (f *failure) Unwrap() error { return f.err }

func badRequest(message string) *failure {
	return &failure{status: http.StatusBadRequest, code: "BAD_REQUEST", message: message}
}

// fail gives err its code on this exchange's path. The old commands server
// knew one code for all that goes wrong behind it; backends match it.
func (x *exchange) fail(err error) *failure {
	f := fail(err)
	switch {
	case !x.route.dropIn:
	case f.code == "UNAUTHENTICATED":
		f.code = "SESSION_INVALID"
	case !x.route.commandCodes:
	case slices.Contains([]string{"BAD_REQUEST", "SESSION_INVALID", "FORBIDDEN", "METHOD_NOT_ALLOWED", "RATE_LIMITED", "COMMAND_FAILED", "COMMAND_NOT_ALLOWED"}, f.code) &&
		!isKind(err, usage.Invalid):
	default:
		f = &failure{status: http.StatusInternalServerError, code: "COMMAND_FAILED", message: "Command failed: " + f.message,
			err: f.err, theirs: f.status != http.StatusInternalServerError}
	}
	return f
}

// retryBusy is when to try again after an answer that did not say when.
const retryBusy = time.Second

// fail is the table from kinds to codes.
func fail(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	f = &failure{message: err.Error(), err: err}
	var known *usage.Error
	if errors.As(err, &known) {
		f.message = known.Message // without what was wrapped around it on the way
		f.retryAfter = known.RetryAfter
	}
	switch usage.KindOf(err) {
	case usage.Invalid:
		f.status, f.code = http.StatusBadRequest, "BAD_REQUEST"
	case usage.Unauthenticated:
		f.status, f.code = http.StatusUnauthorized, "UNAUTHENTICATED"
	case usage.Forbidden:
		f.status, f.code = http.StatusForbidden, "FORBIDDEN"
	case usage.NotFound:
		f.status, f.code = http.StatusNotFound, "NOT_FOUND"
	case usage.Offline:
		f.status, f.code = http.StatusServiceUnavailable, "ROUTER_OFFLINE"
	case usage.Timeout:
		f.status, f.code = http.StatusGatewayTimeout, "ROUTER_TIMEOUT"
	case usage.Busy:
		f.status, f.code = http.StatusTooManyRequests, "ROUTER_BUSY"
		if f.retryAfter <= 0 {
			f.retryAfter = retryBusy
		}
	case usage.Unavailable:
		f.status, f.code = http.StatusBadGateway, "NLBWMON_UNAVAILABLE"
	default:
		f.status, f.code = http.StatusInternalServerError, "INTERNAL"
		f.message = "internal error; the relay's log says more"
	}
	if errors.Is(err, context.Canceled) { // whoever asked has gone
		f.status, f.code = http.StatusGatewayTimeout, "ROUTER_TIMEOUT"
	}
	return f
}
