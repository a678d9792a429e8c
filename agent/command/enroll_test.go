package command

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/netpilot/netpilot/agent/local"
	"github.com/netpilot/netpilot/agent/method"
)

// TestWaitForLink asks a service that comes up slowly, one that is refused,
// and one that never starts.
func TestWaitForLink(t *testing.T) {
	type answer struct {
		status method.UplinkStatus
		err    error
	}
	down := func(why string) answer { return answer{status: method.UplinkStatus{Running: true, Error: why}} }
	for _, c := range []struct {
		name    string
		answers []answer // the last one stays
		after   time.Duration
		want    string
	}{
		{"at once", []answer{{status: method.UplinkStatus{Connected: true}}}, 0, ""},
		{"slowly", []answer{{err: local.ErrNoDaemon}, down(""), down("no such host"), {status: method.UplinkStatus{Connected: true}}}, 1500 * time.Millisecond, ""},
		{"refused", []answer{down(""), down("relay answers 401")}, linkWithin, "no link yet: relay answers 401; the service goes on trying"},
		{"never", []answer{{err: local.ErrNoDaemon}}, linkWithin, "no link yet: the netpilot-agent daemon does not run"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began, asked := time.Now(), 0
				err := waitForLink(t.Context(), func(context.Context) (method.UplinkStatus, error) {
					a := c.answers[min(asked, len(c.answers)-1)]
					asked++
					return a.status, a.err
				})
				if took := time.Since(began); took != c.after {
					t.Errorf("took %v, want %v", took, c.after)
				}
				if got := errText(err); (c.want == "") != (err == nil) || !strings.Contains(got, c.want) {
					t.Errorf("error %q, want %q", got, c.want)
				}
			})
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := waitForLink(ctx, func(context.Context) (method.UplinkStatus, error) {
		return method.UplinkStatus{}, errors.New("gone")
	}); err == nil {
		t.Error("a wait that was given up is no success")
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
