package truth

import "context"

// checkAgent reports what only the running agent knows.
func checkAgent(ctx context.Context, r *Router) ([]Finding, error) {
	d := r.Daemon(ctx)
	if !d.Running {
		return []Finding{{ID: "agent-stopped", Severity: Warning, Text: "netpilot-agent does not run: no history is kept and nothing is compared with the WAN",
			Evidence: "nobody answers at its local socket", Cure: "service netpilot-agent enable; service netpilot-agent start",
			fix: &fix{Services: []serviceRun{{"netpilot-agent", "start", "stop"}}}}}, nil
	}
	if d.Silent {
		return []Finding{{ID: "agent-silent", Severity: Error, Text: "netpilot-agent runs and does not say how it is: it hangs, or is of another version",
			Evidence: "its local socket takes the question and gives no answer that can be read", Cure: "service netpilot-agent restart; logread -e netpilot-agent",
			Undo: "nothing to undo", fix: &fix{Services: []serviceRun{{"netpilot-agent", "restart", ""}}}}}, nil
	}
	var found []Finding
	if d.History != "" {
		found = append(found, Finding{ID: "history", Severity: Warning, Text: "the history is in trouble: a power cut would take what was not saved",
			Evidence: sprintf("%s", d.History), Cure: "df -h /etc; logread -e netpilot-agent"})
	}
	if d.Flood != "" {
		found = append(found, Finding{ID: "mac-flood", Severity: Warning, Text: "a host floods the network with MAC addresses: names and counts by device cannot be trusted",
			Evidence: sprintf("%s", d.Flood), Cure: "find the port with: bridge fdb show; and unplug it"})
	}
	if c := d.Counting; c != nil {
		for _, reason := range c.Reasons {
			if reason.ID == reasonLow || reason.ID == reasonHigh {
				found = append(found, Finding{ID: "accuracy", Severity: Error, Text: reason.Text, Cure: reason.Cure,
					Evidence: "the agent's own comparison, which every answer carries"})
			}
		}
	}
	return found, nil
}
