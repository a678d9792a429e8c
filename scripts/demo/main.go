// Demo shows the whole product on one machine: a relay on loopback, a
// simulated nlbwmon that plays a recording of a real one, an agent on a fake
// router, and the REST calls a backend makes, with their real answers.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/netpilot/netpilot/pkg/nlbwmon/nlbwmontest"
	"github.com/netpilot/netpilot/pkg/usage"
)

const recording = "pkg/nlbwmon/testdata/recordings/live-lab"

// ready bounds each wait for a program to come up.
const ready = time.Minute

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	f := flag.NewFlagSet("demo", flag.ContinueOnError)
	bin := f.String("bin", "bin", "folder of the two binaries")
	once := f.Bool("once", false, "check the answers and end")
	if err := f.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "netpilot-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	d := &demo{bin: *bin, dir: dir, root: filepath.Join(dir, "router"), data: filepath.Join(dir, "relay"), out: out}
	defer func() { err = errors.Join(err, d.stopAll()) }()
	if err := d.start(ctx); err != nil {
		return err
	}
	if err := d.show(ctx); err != nil {
		return err
	}
	if *once {
		return d.check(ctx)
	}
	d.say("From here on the simulated laptop and tv go on with traffic that is made up, so that there is something to see;\nthe first bar of it comes within two minutes.")
	fmt.Fprintf(out, "\nThe dashboard is at %s/ until Ctrl-C. It asks for a key: paste the line of\n%s. The router is below %s.\n", d.url, d.header, d.root)
	d.play(ctx)
	fmt.Fprintln(out)
	return nil
}

type demo struct {
	bin, dir, root, data string
	out                  io.Writer
	nlbwmon              *nlbwmontest.Daemon
	children             []*child
	url, header          string // of the relay; file with the key as a header line
	key, router          string
}

func (d *demo) start(ctx context.Context) error {
	d.say("A simulated nlbwmon plays what the real one recorded of three clients in a lab\n(%s). It is a recording, not this network.", recording)
	if err := d.startRouter(); err != nil {
		return err
	}
	d.say("The relay starts on loopback with a fresh data directory.")
	readyFile := filepath.Join(d.dir, "relay.url")
	relay, err := d.spawn("netpilot-relay", "serve", "--data", d.data, "--listen", "127.0.0.1:0", "--ready-file", readyFile, "--log-level", "warn")
	if err != nil {
		return err
	}
	if err := await(ctx, "the relay", relay, func() bool {
		text, err := os.ReadFile(readyFile)
		d.url = strings.TrimSpace(string(text))
		return err == nil && d.url != ""
	}); err != nil {
		return err
	}
	token, err := d.command(ctx, nil, "netpilot-relay", "enrolment", "create", "--data", d.data)
	if err != nil {
		return err
	}
	key, err := d.command(ctx, nil, "netpilot-relay", "key", "create", "--data", d.data, "--name", "demo")
	if err != nil {
		return err
	}
	d.key = strings.TrimSpace(key)
	d.header = filepath.Join(d.dir, "key.header")
	if err := os.WriteFile(d.header, []byte("Authorization: Bearer "+d.key+"\n"), 0o600); err != nil {
		return err
	}
	d.say("The agent is enrolled with a one-time token, and connects.")
	said, err := d.command(ctx, strings.NewReader(token), "netpilot-agent", "--root", d.root, "--byte-order", "little", "enroll", "--relay", d.url)
	if err != nil {
		return err
	}
	fmt.Fprint(d.out, indent(said))
	agent, err := d.spawn("netpilot-agent", "--root", d.root, "--byte-order", "little", "run", "--log-level", "warn")
	if err != nil {
		return err
	}
	return await(ctx, "the link", agent, func() bool {
		var list struct {
			Data struct {
				Routers []struct {
					ID     string `json:"id"`
					Online bool   `json:"online"`
				} `json:"routers"`
			} `json:"data"`
		}
		body, err := d.get(ctx, "/api/routers")
		if err != nil || json.Unmarshal(body, &list) != nil || len(list.Data.Routers) != 1 {
			return false
		}
		d.router = list.Data.Routers[0].ID
		if !list.Data.Routers[0].Online {
			return false
		}
		// Its health tells what the relay found when it last looked at itself.
		body, err = d.get(ctx, "/health")
		return err == nil && bytes.Contains(body, []byte(`"online":1`))
	})
}

// startRouter makes the fake router's files and the simulated nlbwmon on it.
func (d *demo) startRouter() error {
	for path, text := range map[string]string{
		"sys/class/net/br-lan/address": "02:77:00:00:00:01\n",
		"etc/TZ":                       "UTC0\n",
		"etc/openwrt_release":          "DISTRIB_ID='OpenWrt'\nDISTRIB_RELEASE='24.10.4'\nDISTRIB_ARCH='x86_64'\n",
		"etc/config/system":            "config system\n\toption hostname 'lab'\n\toption timezone 'UTC0'\n",
		"etc/config/nlbwmon":           "config nlbwmon\n\toption refresh_interval '10s'\n",
		"tmp/sysinfo/model":            "Network namespaces\n",
		"tmp/dhcp.leases": "4102444800 02:77:00:00:00:11 192.168.77.11 laptop 01:02:77:00:00:00:11\n" +
			"4102444800 02:77:00:00:00:12 192.168.77.12 tv *\n",
		"proc/net/arp": "IP address       HW type     Flags       HW address            Mask     Device\n" +
			"192.168.77.11    0x1         0x2         02:77:00:00:00:11     *        br-lan\n" +
			"192.168.77.13    0x1         0x2         02:77:00:00:00:13     *        br-lan\n",
		"proc/net/route":      "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n", // no WAN
		"proc/net/ipv6_route": "",
	} {
		if err := write(filepath.Join(d.root, path), []byte(text)); err != nil {
			return err
		}
	}
	protocols, err := os.ReadFile(filepath.Join(recording, "..", "protocols"))
	if err != nil {
		return err
	}
	if err := write(filepath.Join(d.root, "usr/share/nlbwmon/protocols"), protocols); err != nil {
		return err
	}
	database := filepath.Join(d.root, "var/lib/nlbwmon")
	for _, sub := range []string{database, filepath.Join(d.root, "var/run")} {
		if err := os.MkdirAll(sub, 0o755); err != nil {
			return err
		}
	}
	opts, err := nlbwmontest.FromRecording(recording, database)
	if err != nil {
		return err
	}
	snapshot := filepath.Join(d.root, "tmp/0.db")
	if err := os.Rename(opts.SnapshotPath, snapshot); err != nil {
		return err
	}
	// The recording's addresses are little-endian: hence --byte-order below.
	opts.SnapshotPath, opts.Socket = snapshot, filepath.Join(d.root, "var/run/nlbwmon.sock")
	opts.Now = time.Now
	opts.RefreshEvery = 10 * time.Second
	if d.nlbwmon, err = nlbwmontest.Start(opts); err != nil {
		return err
	}
	return d.nlbwmon.Refresh()
}

// play has the simulated nlbwmon count on until ctx ends.
func (d *demo) play(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for second := uint64(0); ; second++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		wave := second % 60 * 20_000
		row := func(last byte, rx, tx uint64) usage.Record {
			r := usage.Record{Proto: 6, Port: 443, MAC: usage.MAC{0x02, 0x77, 0, 0, 0, last}, RxBytes: rx, RxPackets: rx / 1400, TxBytes: tx, TxPackets: tx / 1400}
			r.SetIP(netip.AddrFrom4([4]byte{192, 168, 77, last - 0x11 + 11}))
			return r
		}
		d.nlbwmon.Add([]usage.Record{row(0x11, 200_000+wave, 30_000), row(0x12, 900_000, 12_000)})
	}
}

func write(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}

// show prints what the technician and the backend see.
func (d *demo) show(ctx context.Context) error {
	d.say("On the router, a technician sees:")
	fmt.Fprintf(d.out, "\n  $ netpilot-agent dump --format table\n\n")
	table, err := d.command(ctx, nil, "netpilot-agent", "--root", d.root, "--byte-order", "little", "dump", "--format", "table")
	if err != nil {
		return err
	}
	fmt.Fprint(d.out, indent(table))
	d.say("The backend asks the relay:")
	for _, path := range []string{
		"/health",
		"/api/routers",
		"/api/device-usage/current?limit=2&routerId=" + d.router,
		"/api/device-usage/device/02:77:00:00:00:12?routerId=" + d.router,
		"/api/device-usage/status?routerId=" + d.router,
		"/api/device-usage/current?routerId=" + strings.Repeat("0", 64),
	} {
		body, err := d.get(ctx, path)
		if err != nil {
			return err
		}
		fmt.Fprintf(d.out, "\n  $ curl -s -H @%s '%s%s'\n", d.header, d.url, path)
		var pretty bytes.Buffer
		if err := json.Indent(&pretty, body, "  ", "  "); err != nil {
			return fmt.Errorf("%s answered no JSON: %q", path, body)
		}
		fmt.Fprintf(d.out, "  %s\n", pretty.String())
	}
	return nil
}

// check holds the answers against what the recording's README says the
// counters of the kernel showed.
func (d *demo) check(ctx context.Context) error {
	var usage struct {
		Success bool
		Data    struct {
			Source       string
			TotalDevices int    `json:"total_devices"`
			TotalBytes   uint64 `json:"total_bytes"`
			Devices      []struct {
				MAC, Hostname string
				BytesRx       uint64 `json:"bytes_rx"`
			}
		}
	}
	body, err := d.get(ctx, "/api/device-usage/current?routerId="+d.router)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, &usage); err != nil {
		return err
	}
	data := usage.Data
	// The sums of the recorded `nlbw -c json -g mac`.
	if !usage.Success || data.TotalDevices != 4 || data.TotalBytes != 16816186 ||
		data.Devices[0].MAC != "02:77:00:00:00:11" || data.Devices[0].BytesRx != 7857378 || data.Devices[0].Hostname != "laptop" {
		return fmt.Errorf("the relay's answer is not what was recorded: %s", body)
	}
	d.say("Checked: 4 devices, 16,816,186 bytes, the laptop's 7,857,378 received: as recorded. Done.")
	return nil
}

func (d *demo) get(ctx context.Context, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, ready)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+d.key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(io.LimitReader(resp.Body, 4<<20))
}

func (d *demo) say(format string, args ...any) {
	fmt.Fprintf(d.out, "\n# "+strings.ReplaceAll(format, "\n", "\n# ")+"\n", args...)
}

func indent(text string) string {
	var out strings.Builder
	for line := range strings.Lines(strings.TrimRight(text, "\n") + "\n") {
		if line != "\n" {
			out.WriteString("  ")
		}
		out.WriteString(line)
	}
	return out.String()
}

// command runs one of the binaries to its end and returns its output.
func (d *demo) command(ctx context.Context, stdin io.Reader, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(d.bin, name), args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, args[0], err, stderr.String())
	}
	return stdout.String(), nil
}

// child is a program that runs beside the demo.
type child struct {
	name string
	cmd  *exec.Cmd
	done chan struct{}
	err  error // after done
}

func (d *demo) spawn(name string, args ...string) (*child, error) {
	c := &child{name: name, cmd: exec.Command(filepath.Join(d.bin, name), args...), done: make(chan struct{})}
	c.cmd.Stdout, c.cmd.Stderr = os.Stderr, os.Stderr
	// Ctrl-C is for the demo, which then ends its children in order.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w; make build first", name, err)
	}
	go func() { // ends with the child; stopAll waits for it
		c.err = c.cmd.Wait()
		close(c.done)
	}()
	d.children = append(d.children, c)
	return c, nil
}

// stopAll ends the agent, then the relay, then nlbwmon.
func (d *demo) stopAll() error {
	var failed error
	for i := len(d.children) - 1; i >= 0; i-- {
		c := d.children[i]
		if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			failed = errors.Join(failed, err)
		}
		select {
		case <-c.done:
		case <-time.After(ready):
			_ = c.cmd.Process.Kill()
			<-c.done
			failed = errors.Join(failed, fmt.Errorf("%s did not end on SIGTERM", c.name))
		}
		if c.err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", c.name, c.err))
		}
	}
	if d.nlbwmon != nil {
		if err := d.nlbwmon.Close(); err != nil && !errors.Is(err, fs.ErrClosed) {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

// await polls until done is true, the child ends or the time is up.
func await(ctx context.Context, what string, c *child, done func() bool) error {
	deadline := time.After(ready)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-c.done:
			return fmt.Errorf("%s ended before %s was up: %v", c.name, what, c.err)
		case <-deadline:
			return fmt.Errorf("%s was not up within %s", what, ready)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
