package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/netpilot/netpilot/agent/local"
)

// tidy makes the router's files those of a router in order, as far as doctor
// looks at files.
func (r *router) tidy() {
	r.t.Helper()
	for path, text := range map[string]string{
		"usr/sbin/nlbwmon":  "",
		"proc/1234/comm":    "nlbwmon\n",
		"proc/mounts":       "overlayfs:/overlay / overlay rw 0 0\n",
		"proc/net/route":    "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n",
		"proc/net/if_inet6": "", "proc/net/ipv6_route": "",
		"proc/net/netlink":                           "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n",
		"proc/sys/net/core/rmem_max":                 "1048576\n",
		"proc/sys/net/netfilter/nf_conntrack_acct":   "1\n",
		"proc/sys/net/netfilter/nf_conntrack_events": "2\n",
		"etc/openwrt_release":                        "DISTRIB_RELEASE='24.10.1'\n",
		"etc/config/firewall":                        "config defaults\n",
		"etc/config/network":                         "config interface 'lan'\n\toption device 'br-lan'\n\toption proto 'static'\n",
		"etc/config/nlbwmon":                         "config nlbwmon\n\toption refresh_interval '1s'\n\tlist local_network '192.168.0.0/16'\n",
	} {
		path = filepath.Join(r.root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			r.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			r.t.Fatal(err)
		}
	}
}

// hang puts another socket in the place of the running agent's, which takes
// questions and never answers: as an agent that hangs, while its link stays.
func (r *router) hang() {
	r.t.Helper()
	path := filepath.Join(r.root, local.Path)
	if err := os.Remove(path); err != nil {
		r.t.Fatal(err)
	}
	door, err := net.Listen("unix", path)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = door.Close() }) // nobody takes what is in its queue
}

// finds waits until doctor finds these and nothing else.
func (r *router) finds(what, want string) {
	r.t.Helper()
	var exit int
	var ids string
	until(r.t, what, func() bool {
		if err := r.daemon.Refresh(); err != nil { // a snapshot is believed for two refreshes
			r.t.Fatal(err)
		}
		var stdout, stderr string
		exit, stdout, stderr = r.command("", "doctor", "--json")
		var report struct {
			Healthy  bool
			Findings []struct{ ID, Severity string }
		}
		if err := json.Unmarshal([]byte(stdout), &report); err != nil || report.Healthy != (exit == 0) {
			r.t.Fatalf("exit code %d, %v: %s%s", exit, err, stdout, stderr)
		}
		var all []string
		for _, f := range report.Findings {
			all = append(all, f.ID)
		}
		slices.Sort(all)
		ids = strings.Join(all, " ")
		return ids == want
	})
	if (exit == 0) != (want == "") {
		r.t.Errorf("%s: exit code %d with %q", what, exit, ids)
	}
}

// TestDoctor: the verb beside a real daemon and a real relay ends with 0 where
// all is well, and with 1 and the right name where it is not.
func TestDoctor(t *testing.T) {
	s, r := newServer(t), newRouter(t, lab, "live-lab")
	r.tidy()
	r.enrol(s)
	r.run()
	s.online(1)
	r.finds("all is well", "")
	s.stop()
	r.finds("the relay is gone", "relay-connect")
	var flood strings.Builder // 10,000 devices that a host makes up
	for i := range 10_000 {
		fmt.Fprintf(&flood, "10.%d.%d.9 0x1 0x2 06:00:00:00:%02x:%02x * br-lan\n", i>>8, i&255, i>>8, i&255)
	}
	if err := os.WriteFile(filepath.Join(r.root, "proc/net/arp"), []byte(flood.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	r.finds("a host floods the network", "mac-flood relay-connect")
	if exit, stdout, stderr := r.command("", "devices", "--mac", "02:77:00:00:00:11"); exit != 0 || !strings.Contains(stdout, `"hostname":"laptop"`) {
		t.Errorf("the laptop in the flood: exit code %d, %s%s", exit, stdout, stderr)
	}
	r.stop()
	r.finds("the agent is gone too, and doctor dials itself", "agent-stopped relay-connect")
	s.start()
	r.finds("the relay is back", "agent-stopped")
	s.admin("router", "revoke", r.id())
	r.finds("the relay refuses the secret", "agent-stopped relay-token")
}

// TestDoctorBesideAnAgentThatHangs: doctor looks at the way to the relay by
// itself, and the link of the agent that hangs stays.
func TestDoctorBesideAnAgentThatHangs(t *testing.T) {
	s, r := newServer(t), newRouter(t, lab, "live-lab")
	r.tidy()
	r.enrol(s)
	r.run()
	s.online(1)
	id := r.id()
	r.hang()
	r.finds("the relay is there", "agent-silent")
	if a := s.get("/api/device-usage/records?routerId=" + id); a.status != 200 {
		t.Errorf("after doctor: %d %v", a.status, a.Error)
	}
	if log := r.log.String(); strings.Count(log, "link up") != 1 || strings.Contains(log, "link closed") {
		t.Errorf("want the one link:\n%s", log)
	}
	s.stop()
	if log := s.admin("audit", "--format=json"); strings.Count(log, `"link.open"`) != 1 {
		t.Errorf("want the one link and no try of another:\n%s", log)
	}
	r.finds("the relay is gone", "agent-silent relay-connect")
}
