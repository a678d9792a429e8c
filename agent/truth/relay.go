package truth

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/netpilot/netpilot/agent/config"
	"github.com/netpilot/netpilot/agent/uplink"
	"github.com/netpilot/netpilot/pkg/usage"
)

// authorities is where Go, and OpenWrt's package ca-bundle, have the public
// certificate authorities.
const authorities = "/etc/ssl/certs/ca-certificates.crt"

// answerWithin is how long the running agent may take to tell of its link: the
// rest of a check's time is for a look of our own.
const answerWithin = 1 * time.Second

// checkRelay says how far the way to the relay leads. The running agent knows
// best; a whole try of our own would take its link's place. Where it does not
// say, the way is gone as far as no link feels it.
func checkRelay(ctx context.Context, r *Router) ([]Finding, error) {
	if r.Relay == "" {
		return []Finding{{ID: "not-enrolled", Severity: Note, Text: "this router belongs to no relay",
			Evidence: "no " + r.Root.Path(config.IdentityPath), Cure: "netpilot-agent enroll --relay URL --token-file FILE"}}, nil
	}
	var found []Finding
	bundle, _, err := r.Root.Optional(authorities)
	if err == nil && r.Secure && r.CAFile == "" && !strings.Contains(bundle, "-----BEGIN CERTIFICATE-----") {
		found = append(found, Finding{ID: "ca-bundle", Severity: Error, Text: "no certificate authorities are installed, so no relay can be verified",
			Evidence: sprintf("%s holds no certificate", r.Root.Path(authorities)), Cure: "opkg install ca-bundle (apk add ca-bundle), or option ca_file for a private authority",
			Undo: "opkg remove ca-bundle (apk del ca-bundle)"})
	}
	var failure *uplink.Failure
	asking, cancel := context.WithTimeout(ctx, answerWithin)
	d := r.Daemon(asking)
	cancel()
	var look func(context.Context) error
	switch {
	case d.Link:
		return found, err
	case d.Silent:
		look = r.Reach
	case d.Running:
		failure = d.LinkError
	default:
		look = r.Probe
	}
	if look != nil {
		if lookErr := look(ctx); lookErr != nil && !errors.As(lookErr, &failure) {
			return found, lookErr
		}
	}
	if failure == nil {
		return found, err
	}
	id, cure := relayCure(failure)
	return append(found, Finding{ID: id, Severity: Error, Text: "the relay cannot be reached: " + usage.Clean(failure.Message, 300),
		Evidence: sprintf("relay %s, it failed at: %s", r.Relay, failure.Cause), Cure: cure}), err
}

// relayCure is what helps against a cause; none can be automated, since each
// lies outside of the router's configuration or needs a secret.
func relayCure(f *uplink.Failure) (id, cure string) {
	switch f.Cause {
	case uplink.CauseDNS:
		return "relay-dns", "ifstatus wan; nslookup the relay's name; service dnsmasq restart"
	case uplink.CauseConnect, uplink.CauseSilent, uplink.CauseSlow, uplink.CauseClosed:
		return "relay-connect", "ifstatus wan; ask the relay's owner whether it runs and its port is open"
	case uplink.CauseTLS:
		return "relay-tls", "install ca-bundle, or set option ca_file; compare the relay's name and certificate with its owner"
	case uplink.CauseClock:
		return "relay-clock", "service sysntpd restart; date"
	case uplink.CauseRefused:
		return "relay-token", "netpilot-agent enroll --relay URL --token-file FILE, with a new token of the relay's owner"
	case uplink.CauseConfig:
		return "relay-config", "correct option ca_file in /etc/config/netpilot"
	}
	return "relay-other", "logread -e netpilot-agent; ask the relay's owner"
}
