package truth

import (
	"context"
	"errors"

	"github.com/netpilot/netpilot/agent/config"
	"github.com/netpilot/netpilot/pkg/uci"
)

// checkConfig reads the configuration files that decide what is counted, kept
// and named.
func checkConfig(_ context.Context, r *Router) ([]Finding, error) {
	_, _, own := config.Load(string(r.Root))
	_, nlbwmon := config.ReadNlbwmon(string(r.Root))
	errs := []error{own, nlbwmon}
	for _, path := range []string{networkConfig, "/etc/config/dhcp", firewallConfig} {
		_, err := r.Root.UCI(path)
		errs = append(errs, err)
	}
	evidence := ""
	var unread []error
	for _, err := range errs {
		var wrong *uci.Error
		switch {
		case errors.As(err, &wrong) && evidence != "":
			evidence += "; " + err.Error()
		case errors.As(err, &wrong):
			evidence = err.Error()
		default:
			unread = append(unread, err)
		}
	}
	err := errors.Join(unread...)
	if evidence == "" {
		return nil, err
	}
	return []Finding{{ID: "config-damaged", Severity: Error, Text: "a configuration file cannot be read: netpilot-agent does not start with it, or does without what stands in it",
		Evidence: sprintf("%s", evidence), Cure: "correct the line that is named, with a text editor (not automated: only you know what should stand there)"}}, err
}
