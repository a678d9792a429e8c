package truth

import (
	"context"
	"fmt"
	"net"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/netpilot/netpilot/agent/netfilter"
	"github.com/netpilot/netpilot/agent/uplink"
	"github.com/netpilot/netpilot/pkg/usage"
)

// fault is something that goes wrong on a router, and what doctor must say.
type fault struct {
	name   string
	stage  func(s *staged)
	want   string // IDs, sorted
	skews  bool   // every usage answer must say so too
	within string // of the finding's text or evidence
}

func faults() []fault {
	set := func(path, text string) func(*staged) { return func(s *staged) { s.write(path, text) } }
	failing := func(cause uplink.Cause) func(*staged) {
		return func(s *staged) {
			s.agent.Link, s.agent.LinkError = false, &uplink.Failure{Cause: cause, Message: "said by the uplink"}
		}
	}
	return []fault{
		{"healthy", func(*staged) {}, "", false, ""},

		{"nlbwmon not installed", func(s *staged) {
			_ = s.daemon.Close()
			s.remove("/s")
			s.remove("/usr/sbin/nlbwmon")
			s.remove("/proc/1234")
		}, "nlbwmon-missing", false, "not installed"},
		{"nlbwmon never started", func(s *staged) {
			_ = s.daemon.Close()
			s.remove("/s")
		}, "nlbwmon-stopped", false, "no nlbwmon socket"},
		{"nlbwmon died", func(s *staged) { _ = s.daemon.Close() }, "nlbwmon-stopped", false, "does not run"},
		{"nlbwmon frozen", func(s *staged) {
			_ = s.daemon.Close()
			s.remove("/s")
			// Takes connections and says nothing, as a daemon that waits for
			// another client does.
			ln, err := net.Listen("unix", s.Root.Path("/s"))
			if err != nil {
				s.t.Fatal(err)
			}
			s.t.Cleanup(func() { _ = ln.Close() })
			s.Source.SocketPath, s.Source.SocketWithin = s.Root.Path("/s"), 0 // as it is by default
		}, "nlbwmon-frozen", false, "hangs"},
		{"nlbwmon says nonsense", func(s *staged) {
			_ = s.daemon.Close()
			s.remove("/s")
			ln, err := net.Listen("unix", s.Root.Path("/s"))
			if err != nil {
				s.t.Fatal(err)
			}
			done := make(chan struct{})
			s.t.Cleanup(func() { _ = ln.Close(); <-done })
			go func() { // ends when the listener closes
				defer close(done)
				for {
					conn, err := ln.Accept()
					if err != nil {
						return
					}
					_, _ = conn.Write([]byte("abc"))
					_ = conn.Close()
				}
			}()
		}, "nlbwmon-failing", false, ""},

		{"no conntrack", func(s *staged) { s.remove(conntrackDir) }, "conntrack-missing", true, ""},
		{"accounting off", set(conntrackDir+"nf_conntrack_acct", "0\n"), "conntrack-acct", true, "is 0"},
		{"events off", set(conntrackDir+"nf_conntrack_events", "0\n"), "conntrack-events-off", true, "is 0"},
		{"events swallowed", func(s *staged) { s.kernel.silent = true }, "conntrack-events", false, "5 connections; a new one to 127.0.0.1:40000"},
		{"loopback not tracked", func(s *staged) {
			s.kernel.silent = true
			s.write(conntrackTable, "")
		}, "conntrack-events", false, "is not known"},
		{"nothing tracked", func(s *staged) {
			s.kernel.silent = true
			s.write(conntrackDir+"nf_conntrack_count", "0\n")
		}, "", false, ""},

		{"drops", set("/proc/net/netlink", strings.Replace(netlinkText, "2 0 1", "2 42 1", 1)), "netlink-drops", true, "lost 42 messages"},
		{"drops of a second socket", set("/proc/net/netlink", netlinkText+fmt.Sprintf("0 12 %d 00000007 0 0 0 2 9 1\n", 1234+1<<22)), "netlink-drops", true, "lost 9 messages"},
		{"small rmem_max", set("/proc/sys/net/core/rmem_max", "212992\n"), "rmem-max", false, "212992"},

		{"hardware offload", set(firewallConfig, "config defaults\n option flow_offloading 1\n option flow_offloading_hw 1\n"), "", false, ""},
		{"hardware offload, live", func(s *staged) {
			s.kernel.tables = []netfilter.Flowtable{{Table: "fw4", Name: "ft", Hardware: true, Counted: true}}
		}, "offload-hardware", true, "live: fw4 ft"},
		{"hardware offload, kernel not asked", func(s *staged) {
			s.write(firewallConfig, "config defaults\n option flow_offloading 1\n option flow_offloading_hw 1\n")
			s.kernel.tablesErr = os.ErrPermission
		}, "offload-hardware", true, "not looked at"},
		{"software offload without counters", func(s *staged) {
			s.kernel.tables = []netfilter.Flowtable{{Table: "fw4", Name: "ft"}}
		}, "offload-software", true, ""},
		{"software offload with counters", func(s *staged) {
			s.kernel.tables = []netfilter.Flowtable{{Table: "fw4", Name: "ft", Counted: true}}
		}, "", false, ""},
		{"software offload of 23.05, kernel not asked", func(s *staged) {
			s.write(firewallConfig, "config defaults\n option flow_offloading 1\n")
			s.write("/etc/openwrt_release", "DISTRIB_RELEASE='23.05.5'\n")
			s.kernel.tablesErr = os.ErrPermission
		}, "offload-software", true, "not looked at"},
		{"software offload of 24.10, kernel not asked", func(s *staged) {
			s.write(firewallConfig, "config defaults\n option flow_offloading 1\n")
			s.kernel.tablesErr = os.ErrPermission
		}, "", false, ""},

		{"LAN not local", set(nlbwmonConfig, strings.Replace(nlbwmonText, "192.168.0.0/16", "10.0.0.0/8", 1)), "local-network", true, "192.168.1.0/24 is on br-lan"},
		{"no local network", set(nlbwmonConfig, "config nlbwmon\n option database_directory /mnt/usb\n"), "local-network", true, "(nothing)"},
		{"LAN local by name", set(nlbwmonConfig, strings.Replace(nlbwmonText, "192.168.0.0/16", "lan", 1)), "", false, ""},
		{"IPv6 of the LAN not local", set("/proc/net/if_inet6", "fd770000000000000000000000000001 02 40 00 80 br-lan\n"), "local-network", true, "fd77::/64"},
		{"WAN local", set("/proc/net/route", routeTable("192.168.178.0")), "wan-local", false, "192.168.178.0/24"},

		{"table full", func(s *staged) {
			s.write(nlbwmonConfig, strings.Replace(nlbwmonText, "10000", "50", 1))
			s.rows(50)
		}, "table-full", true, "50 rows"},
		{"interval nobody can read", set(nlbwmonConfig, strings.Replace(nlbwmonText, "interval '1'", "interval 'monthly'", 1)), "period-interval", false, `"monthly"`},
		{"interval not taken up", set(nlbwmonConfig, strings.Replace(nlbwmonText, "interval '1'", "interval '15'", 1)), "period-interval", false, "not restarted since"},
		{"database in RAM", func(s *staged) {
			s.write(nlbwmonConfig, strings.Replace(nlbwmonText, "/mnt/usb", "/var/lib/nlbwmon", 1))
			s.mkdir("/tmp/lib/nlbwmon")
		}, "database-ram", false, "tmpfs at /tmp"},
		{"stale gz", func(s *staged) {
			s.write("/mnt/usb/20261001.db.gz", "old")
			s.write("/mnt/usb/20261001.db", "new")
			if err := os.Chtimes(s.Root.Path("/mnt/usb/20261001.db.gz"), s.now.Add(-time.Hour), s.now.Add(-time.Hour)); err != nil {
				s.t.Fatal(err)
			}
		}, "stale-gz", false, "20261001.db.gz"},
		{"disk full", func(s *staged) { s.kernel.free = 4096 }, "disk-full", false, "4096 of"},
		{"clock unset", func(s *staged) { s.now = time.Date(1970, 1, 1, 0, 1, 0, 0, time.UTC) }, "clock-unset", true, "1970-01-01"},

		{"half-written firewall", set(firewallConfig, "config defaults\n option input 'REJ"), "config-damaged offload-unread", false, "firewall:2: ' is never closed"},
		{"unreadable option", set("/etc/config/netpilot", "config agent 'agent'\n option remote_access 'maybe'\n"), "config-damaged", false, `netpilot:2: option remote_access is "maybe"`},

		{"no authorities", func(s *staged) { s.remove(authorities) }, "ca-bundle", false, ""},
		{"empty authorities", set(authorities, "\n"), "ca-bundle", false, ""},
		{"a private authority", func(s *staged) { s.remove(authorities); s.CAFile = "/etc/netpilot/ca.pem" }, "", false, ""},
		{"not enrolled", func(s *staged) { s.Relay = "" }, "not-enrolled", false, ""},
		{"DNS", failing(uplink.CauseDNS), "relay-dns", false, "said by the uplink"},
		{"TCP", failing(uplink.CauseConnect), "relay-connect", false, ""},
		{"silent", failing(uplink.CauseSilent), "relay-connect", false, ""},
		{"TLS", failing(uplink.CauseTLS), "relay-tls", false, ""},
		{"certificate before its time", failing(uplink.CauseClock), "relay-clock", false, ""},
		{"token", failing(uplink.CauseRefused), "relay-token", false, ""},
		{"ca_file", failing(uplink.CauseConfig), "relay-config", false, ""},
		{"protocol", failing(uplink.CauseProtocol), "relay-other", false, ""},
		{"dialling", func(s *staged) { s.agent.Link = false }, "", false, ""},

		{"agent down", func(s *staged) { s.agent = Daemon{} }, "agent-stopped", false, ""},
		{"agent hangs", func(s *staged) { s.agent = Daemon{Running: true, Silent: true} }, "agent-silent", false, "does not say how it is"},
		{"history in trouble", func(s *staged) { s.agent.History = "no space left" }, "history", false, "no space left"},
		{"MAC flood", func(s *staged) { s.agent.Flood = "300 MACs" }, "mac-flood", false, "300 MACs"},
		{"too little counted", func(s *staged) {
			s.agent.Counting = &usage.Counting{Reasons: []usage.Reason{{ID: reasonLow, Text: "10 %", Cure: "doctor"}}}
		}, "accuracy", false, "10 %"},
	}
}

// TestFaults: each fault is told by its name, with evidence, and no other one.
func TestFaults(t *testing.T) {
	seen := make(map[string]bool)
	for _, f := range faults() {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel() // most of the time is the disk's, and a frozen nlbwmon's
			s := healthy(t)
			f.stage(s)
			report := s.Examine(t.Context())
			if got := strings.Join(s.idsOf(report), " "); got != f.want {
				t.Fatalf("got %q, want %q: %+v", got, f.want, report.Findings)
			}
			if f.want == "" {
				if !report.Healthy || len(report.Findings) != 0 {
					t.Errorf("got %+v", report)
				}
				return
			}
			found := report.Findings[0]
			if report.Healthy != (found.Severity == Note) {
				t.Errorf("healthy %t with %+v", report.Healthy, found)
			}
			if !strings.Contains(found.Text+found.Evidence, f.within) {
				t.Errorf("got %q, %q, want %q in it", found.Text, found.Evidence, f.within)
			}
			c := &usage.Counting{OK: true}
			Reasons(c, s.Quick(t.Context()))
			if c.OK == f.skews && f.want != "clock-unset" {
				t.Errorf("counting is said to be ok: %t, %+v", c.OK, c.Reasons)
			}
		})
		for _, id := range strings.Fields(f.want) {
			seen[id] = true
		}
	}
	for _, id := range IDs() {
		// A test runs as root, whom no socket refuses: TestPermission has its own process.
		if !seen[id] && id != "nlbwmon-permission" {
			t.Errorf("no fault stages %s", id)
		}
	}
}

// TestProbe: without a daemon one try of its own says how far the way leads.
func TestProbe(t *testing.T) {
	s := healthy(t)
	s.agent = Daemon{}
	s.Router.Probe = func(context.Context) error { return &uplink.Failure{Cause: uplink.CauseDNS, Message: "no address"} }
	if got := s.ids(); !slices.Equal(got, []string{"agent-stopped", "relay-dns"}) {
		t.Errorf("got %q", got)
	}
	s.Router.Probe = func(context.Context) error { return nil }
	if got := s.ids(); !slices.Equal(got, []string{"agent-stopped"}) {
		t.Errorf("got %q", got)
	}
	s.Router.Probe = func(context.Context) error { return errBroken }
	if got := s.ids(); !slices.Equal(got, []string{"agent-stopped", "relay-unread"}) {
		t.Errorf("got %q", got)
	}
}

// TestReach: beside an agent that does not say how its link is, the way is
// looked at only so far that a link that may be there stays.
func TestReach(t *testing.T) {
	s := healthy(t)
	s.agent = Daemon{Running: true, Silent: true}
	s.Router.Probe = func(context.Context) error {
		t.Error("a try that takes a link's place")
		return nil
	}
	for _, tt := range []struct {
		err  error
		want []string
	}{
		{nil, []string{"agent-silent"}},
		{&uplink.Failure{Cause: uplink.CauseDNS, Message: "no address"}, []string{"agent-silent", "relay-dns"}},
		{errBroken, []string{"agent-silent", "relay-unread"}},
	} {
		s.Router.Reach = func(context.Context) error { return tt.err }
		if got := s.ids(); !slices.Equal(got, tt.want) {
			t.Errorf("%v: got %q, want %q", tt.err, got, tt.want)
		}
	}
}

// TestReachInTime: an agent that hangs leaves the look at the relay most of the
// check's time.
func TestReachInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &Router{Root: Root(t.TempDir()), Relay: "relay.example", Daemon: func(ctx context.Context) Daemon {
			<-ctx.Done()
			return Daemon{Running: true, Silent: true}
		}}
		var left time.Duration
		r.Reach = func(ctx context.Context) error {
			until, _ := ctx.Deadline()
			left = time.Until(until)
			<-ctx.Done()
			return &uplink.Failure{Cause: uplink.CauseConnect, Message: "relay.example did not answer in time"}
		}
		table := slices.DeleteFunc(checks(), func(c check) bool { return c.name != "relay" && c.name != "agent" })
		began := time.Now()
		var ids []string
		for _, f := range r.examine(t.Context(), table) {
			ids = append(ids, f.ID)
		}
		slices.Sort(ids)
		if took := time.Since(began); !slices.Equal(ids, []string{"agent-silent", "relay-connect"}) || left < 3*time.Second || took > within {
			t.Errorf("got %q in %v, with %v for the look", ids, took, left)
		}
	})
}

// TestFilesGoneOrUnreadable: a check whose file is missing or cannot be read
// says that it could not look, or nothing, and never accuses.
func TestFilesGoneOrUnreadable(t *testing.T) {
	// What the absence of a file proves by itself.
	gone := map[string]string{
		conntrackDir + "nf_conntrack_acct": "conntrack-missing", authorities: "ca-bundle", "/usr/sbin/nlbwmon": "",
		"/proc/net/route": "networks-unread", "/proc/mounts": "database-unread",
		nlbwmonConfig: "database-ram", // its default
	}
	unread := map[string]string{
		"/proc/net/route": "networks-unread", "/proc/net/if_inet6": "networks-unread", "/proc/net/ipv6_route": "networks-unread", "/proc/net/netlink": "netlink-unread",
		"/proc/mounts": "database-unread", conntrackDir + "nf_conntrack_acct": "conntrack-unread", conntrackDir + "nf_conntrack_events": "conntrack-unread",
		"/proc/sys/net/core/rmem_max": "netlink-unread", nlbwmonConfig: "config-unread database-unread interval-unread netlink-unread networks-unread table-unread",
		networkConfig: "config-unread networks-unread", firewallConfig: "config-unread offload-unread", authorities: "relay-unread",
	}
	for path := range baseFiles() {
		s := healthy(t)
		s.remove(path)
		if got := strings.Join(s.ids(), " "); got != gone[path] {
			t.Errorf("%s is gone: got %q, want %q", path, got, gone[path])
		}
		s.mkdir(path) // no text can be read of it
		if got := strings.Join(s.ids(), " "); got != unread[path] {
			t.Errorf("%s cannot be read: got %q, want %q", path, got, unread[path])
		}
	}
	// Files that only tell more where another thing is wrong.
	s := healthy(t)
	s.kernel.silent = true
	s.remove(conntrackTable)
	if f := s.Examine(t.Context()).Findings; len(f) != 1 || f[0].ID != "conntrack-events" || f[0].Severity != Note {
		t.Errorf("no conntrack table: got %+v", f)
	}
	s.mkdir(conntrackTable)
	if got := s.ids(); !slices.Equal(got, []string{"events-unread"}) {
		t.Errorf("conntrack table unreadable: got %q", got)
	}
	s.mkdir(conntrackDir + "nf_conntrack_count2")
	s.remove(conntrackDir + "nf_conntrack_count")
	s.mkdir(conntrackDir + "nf_conntrack_count")
	if got := s.ids(); !slices.Equal(got, []string{"events-unread"}) {
		t.Errorf("count unreadable: got %q", got)
	}
}

// TestTextThatIsNone: half-written and hostile texts of every file.
func TestTextThatIsNone(t *testing.T) {
	for path, text := range baseFiles() {
		s := healthy(t)
		for _, bad := range []string{"", text[:len(text)/2], "\x00\xff\x1b[31m", strings.Repeat("9", 300_000), "config", strings.Repeat("x\ty z 1 2 3 4 5 6 7 8 9 10\n", 1000)} {
			s.write(path, bad)
			for _, f := range s.Examine(t.Context()).Findings {
				if text := f.Text + f.Evidence + f.Cure; len(text) > 2000 || strings.ContainsAny(text, "\x1b\x00") {
					t.Errorf("%s: %s says %q", path, f.ID, text)
				}
			}
		}
	}
}

// TestKernelRefuses: a kernel that does not answer is a note.
func TestKernelRefuses(t *testing.T) {
	s := healthy(t)
	s.kernel.tablesErr, s.kernel.eventErr, s.kernel.spaceErr = errBroken, errBroken, errBroken
	report := s.Examine(t.Context())
	if got := s.ids(); !slices.Equal(got, []string{"disk-unread", "events-unread", "offload-unread"}) || !report.Healthy {
		t.Errorf("got %q, healthy %t", got, report.Healthy)
	}
	s.Kernel = nil // a copy of another router's files
	if got := s.ids(); len(got) != 0 {
		t.Errorf("got %q", got)
	}
}

// TestWithinFiveSeconds: checks that hang until they are told to stop do not
// make the whole longer than five seconds.
func TestWithinFiveSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := make([]check, len(checks()))
		for i := range table {
			table[i] = check{name: fmt.Sprint(i), run: func(ctx context.Context, _ *Router) ([]Finding, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}}
		}
		began := time.Now()
		found := new(Router).examine(t.Context(), table)
		if took := time.Since(began); took > 5*time.Second || len(found) != len(table) {
			t.Errorf("took %v, %d findings", took, len(found))
		}
	})
}

// TestHangs: a check that hangs where no deadline reaches, as in statfs on a
// mount whose server is gone, costs its own finding. It is not begun again
// before it is over.
func TestHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var runs atomic.Int32
		table := []check{
			{name: "disk", ids: "disk-full", run: func(context.Context, *Router) ([]Finding, error) {
				runs.Add(1)
				<-release
				return nil, nil
			}},
			{name: "clock", run: func(context.Context, *Router) ([]Finding, error) {
				return []Finding{{ID: "clock-unset", Severity: Error}}, nil
			}},
		}
		r := new(Router)
		for range 2 {
			began := time.Now()
			found := r.examine(t.Context(), table)
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("took %v", took)
			}
			if len(found) != 2 || found[0].ID != "clock-unset" || found[1].ID != "disk-unread" || !strings.Contains(found[1].Evidence, "does not answer") {
				t.Errorf("got %+v", found)
			}
		}
		if n := runs.Load(); n != 1 {
			t.Errorf("the look that hangs was begun %d times", n)
		}
		close(release)
		synctest.Wait()
		if found := r.examine(t.Context(), table); len(found) != 1 || runs.Load() != 2 {
			t.Errorf("after it is over: got %+v, %d runs", found, runs.Load())
		}
	})
}

// TestDocumented: docs/doctor.md has a row for everything doctor may find.
func TestDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/doctor.md")
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for line := range strings.Lines(string(text)) {
		if cells := strings.Split(line, "`"); strings.HasPrefix(line, "| `") && len(cells) > 2 {
			have = append(have, cells[1])
		}
	}
	want := IDs()
	slices.Sort(have)
	slices.Sort(want)
	if !reflect.DeepEqual(have, want) {
		t.Errorf("got rows %q\nwant %q", have, want)
	}
}
