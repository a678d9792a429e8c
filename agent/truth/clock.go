package truth

import (
	"context"
	"time"
)

// checkClock tells a clock that was never set.
func checkClock(_ context.Context, r *Router) ([]Finding, error) {
	now := r.Now()
	if !now.Before(r.Build) {
		return nil, nil
	}
	return []Finding{{ID: "clock-unset", Severity: Error, Text: "the clock is not set: nlbwmon counts into a wrong period, and no certificate is valid yet",
		Evidence: sprintf("it says %s, this program was made %s", now.UTC().Format(time.RFC3339), r.Build.UTC().Format(time.RFC3339)),
		Cure:     "service sysntpd restart, with the WAN up; or: date -s 'YYYY-MM-DD HH:MM'", Undo: "nothing to undo",
		fix: &fix{Services: []serviceRun{{"sysntpd", "restart", ""}}}}}, nil
}
