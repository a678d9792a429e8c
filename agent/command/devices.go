package command

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/netpilot/netpilot/agent/local"
	"github.com/netpilot/netpilot/agent/method"
	"github.com/netpilot/netpilot/pkg/usage"
)

// filterFlags ask for some of the devices.
func filterFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "group", Usage: "only devices of the group `G`"},
		&cli.StringFlag{Name: "category", Usage: "only devices that are for `C`: " + usage.CategoryList()},
		&cli.StringFlag{Name: "name", Usage: "only the device with the alias or hostname `NAME`"},
	}
}

func filterOf(c *cli.Context) usage.Filter {
	return usage.Filter{Group: c.String("group"), Category: c.String("category"), Name: c.String("name")}
}

func listFlags() []cli.Flag {
	return append(filterFlags(),
		&cli.BoolFlag{Name: "online", Usage: "only devices that are there now"},
		&cli.StringFlag{Name: "mac", Usage: "the device with this `MAC`, with its earlier names and addresses"},
		&cli.StringFlag{Name: "sort", Usage: "by `WHAT`: name, mac, ip or last_seen (default: name)"},
		&cli.IntFlag{Name: "limit", Usage: "at most `N` devices; 0: all"},
		&cli.IntFlag{Name: "offset", Usage: "skip the first `N` devices"},
		formatFlag("table, json or csv"),
	)
}

func (p *program) devices() *cli.Command {
	word := func(name, what, example string) *cli.Command {
		return &cli.Command{
			Name: name, ArgsUsage: "MAC [WORD]", Usage: "set a device's " + what + "; without a word, clear it",
			Description: examples("netpilot-agent devices "+name+" 02:77:00:00:00:11 "+example, "set it", "netpilot-agent devices "+name+" 02:77:00:00:00:11", "clear it"),
			Action:      p.setDevice(name),
		}
	}
	return &cli.Command{
		Name:  "devices",
		Usage: "list the devices this router knows, and say what they are",
		Description: examples(
			"netpilot-agent devices", "all of them",
			"netpilot-agent devices --online --group kids", "who of a group is there",
			"netpilot-agent devices --mac 02:77:00:00:00:11", "one, with its earlier names and addresses",
			"netpilot-agent devices alias 02:77:00:00:00:11 'Anna: laptop'", "name it",
			"netpilot-agent devices merge 02:77:00:00:00:12 02:77:00:00:00:11", "its Wi-Fi and its cable are one device",
		),
		Flags:  listFlags(),
		Action: p.runDevices,
		Subcommands: []*cli.Command{
			{Name: "list", Usage: "list the devices, as without a word", Flags: listFlags(), Action: p.runDevices},
			word("alias", "name", "laptop"), word("group", "group", "kids"), word("category", "category ("+usage.CategoryList()+")", "work"),
			{
				Name: "merge", ArgsUsage: "MAC INTO", Usage: "count a device's second interface as that device",
				Description: examples(
					"netpilot-agent devices merge 02:77:00:00:00:12 02:77:00:00:00:11", "...12 counts as ...11, back in time too",
					"netpilot-agent devices merge --undo 02:77:00:00:00:12", "part them again",
				),
				Flags:  []cli.Flag{&cli.BoolFlag{Name: "undo", Usage: "part MAC from the device it was merged into"}},
				Action: p.mergeDevices,
			},
			{
				Name: "forget", ArgsUsage: "MAC", Usage: "forget a device's names, addresses and what you said of it; its bytes stay",
				Description: examples("netpilot-agent devices forget 02:77:00:00:00:11", "it is known again when it is seen again"),
				Action:      p.forgetDevice,
			},
		},
	}
}

// do answers a method by the daemon, or in this process where none runs.
func (p *program) do(c *cli.Context, name string, params map[string]any, v any) (json.RawMessage, error) {
	reply, err := p.ask(c, name, params, v)
	if !errors.Is(err, local.ErrNoDaemon) {
		return reply, err
	}
	r, err := p.router(c)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(params)
	if err != nil {
		return nil, err
	}
	if reply, err = method.New(r.agent).Call(c.Context, method.AccessOwner, name, text); err != nil || v == nil {
		return reply, err
	}
	return reply, json.Unmarshal(reply, v)
}

// deviceRow is a device as devices.list and network.scan give it.
type deviceRow struct {
	MAC usage.MAC
	who
	Other      []usage.MAC `json:"other_macs"`
	IP         string
	IPs        []string
	Network    string
	NameSource string `json:"name_source"`
	Vendor     string
	Randomized bool
	Online     *bool
	LastSeen   *time.Time `json:"last_seen"`
	FirstSeen  *time.Time `json:"first_seen"`
	Reasons    []string   `json:"category_reasons"`
}

// maker is the vendor, or why there is none.
func (d *deviceRow) maker() string {
	if d.Vendor == "" && d.Randomized {
		return "(random MAC)"
	}
	return orDash(d.Vendor)
}

func (d *deviceRow) seen(now time.Time) string {
	switch {
	case d.Online != nil && *d.Online:
		return "now"
	case d.LastSeen == nil:
		return "-"
	}
	return usage.Age(now.Sub(*d.LastSeen)) + " ago"
}

type deviceList struct {
	Timestamp  time.Time
	Devices    []deviceRow
	NextOffset int `json:"next_offset"`
	Total      int `json:"total_devices"`
}

func (p *program) runDevices(c *cli.Context) error {
	format, err := p.formatOf(c, "table", "json", "csv")
	if err != nil {
		return err
	}
	params := make(map[string]any)
	for _, name := range []string{"group", "category", "name", "sort", "mac"} {
		if c.IsSet(name) {
			params[name] = c.String(name)
		}
	}
	for _, name := range []string{"limit", "offset"} {
		if c.IsSet(name) {
			params[name] = c.Int(name)
		}
	}
	if c.Bool("online") {
		params["online"] = true
	}
	if c.IsSet("mac") {
		return p.showDevice(c, params, format)
	}
	var l deviceList
	reply, err := p.do(c, "devices.list", params, &l)
	if err != nil {
		return err
	}
	if err := p.writeDevices(&l, reply, format); err != nil {
		return err
	}
	if l.NextOffset > 0 && !c.IsSet("limit") {
		return fmt.Errorf("the answer is cut after %d devices; go on with --offset %d", len(l.Devices), l.NextOffset)
	}
	return nil
}

func (p *program) writeDevices(l *deviceList, reply json.RawMessage, format string) error {
	switch format {
	case "json":
		_, err := fmt.Fprintf(p.stdout, "%s\n", reply)
		return err
	case "csv":
		w := csv.NewWriter(p.stdout)
		rows := [][]string{{"mac", "ip", "ips", "hostname", "alias", "group", "category", "vendor", "name_source", "network", "randomized", "online", "last_seen", "first_seen"}}
		for i := range l.Devices {
			d := &l.Devices[i]
			online := ""
			if d.Online != nil {
				online = fmt.Sprint(*d.Online)
			}
			rows = append(rows, []string{d.MAC.String(), d.IP, strings.Join(d.IPs, " "), usage.SafeCell(d.Hostname), usage.SafeCell(d.Alias), usage.SafeCell(d.Group),
				d.Category, usage.SafeCell(d.Vendor), d.NameSource, d.Network, fmt.Sprint(d.Randomized), online, instant(d.LastSeen), instant(d.FirstSeen)})
		}
		return errors.Join(w.WriteAll(rows), w.Error())
	}
	t := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "MAC\tIP\tseen\tname\tvendor\tnetwork\n")
	for i := range l.Devices {
		d := &l.Devices[i]
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", d.MAC, orDash(d.IP), d.seen(l.Timestamp), orDash(usage.Clean(d.label(), 200)),
			usage.Clean(d.maker(), usage.MaxName), orDash(usage.Clean(d.Network, usage.MaxName)))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(p.stdout, "\n%d of %d devices\n", len(l.Devices), l.Total)
	return err
}

func instant(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.Format(time.RFC3339)
}

// oneDevice is a device with its past.
type oneDevice struct {
	Timestamp time.Time
	Device    deviceRow
	Names     []struct {
		Hostname   string
		NameSource string `json:"name_source"`
		From       time.Time
	}
	Addresses []struct {
		IP       string
		From, To time.Time
	}
}

func (p *program) showDevice(c *cli.Context, params map[string]any, format string) error {
	var one oneDevice
	reply, err := p.do(c, "devices.list", params, &one)
	if err != nil {
		return err
	}
	if format != "table" {
		return p.writeDevices(&deviceList{Timestamp: one.Timestamp, Devices: []deviceRow{one.Device}, Total: 1}, reply, format)
	}
	d := &one.Device
	t := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(t, "%s\t%s\n", name, usage.Clean(fmt.Sprintf(format, args...), 300))
	}
	row("MAC", "%s", d.MAC)
	for _, m := range d.Other {
		row("also", "%s", m)
	}
	name := orDash(d.label())
	if d.NameSource != "" {
		name += ", by " + d.NameSource
	}
	row("name", "%s", name)
	if d.Alias != "" && d.Hostname != "" {
		row("hostname", "%s", d.Hostname)
	}
	row("addresses", "%s", orDash(strings.Join(d.IPs, " ")))
	row("network", "%s", orDash(d.Network))
	row("vendor", "%s", d.maker())
	row("seen", "%s", d.seen(one.Timestamp))
	if d.FirstSeen != nil {
		row("first seen", "%s", d.FirstSeen.Format(time.RFC3339))
	}
	for _, r := range d.Reasons {
		row(d.Category, "%s", r)
	}
	for _, n := range one.Names {
		row("was called", "%s, by %s, from %s", n.Hostname, n.NameSource, n.From.Format(time.RFC3339))
	}
	for _, a := range one.Addresses {
		row("was at", "%s, %s to %s", a.IP, a.From.Format(time.RFC3339), a.To.Format(time.RFC3339))
	}
	return t.Flush()
}

// deviceArg reads the MAC a verb is about, and the words behind it.
func deviceArg(c *cli.Context, least, most int) (usage.MAC, []string, error) {
	args := c.Args().Slice()
	if len(args) < least || len(args) > most {
		return usage.MAC{}, nil, misuse{fmt.Errorf("%s takes %s; see: %s --help", c.Command.Name, c.Command.ArgsUsage, c.Command.HelpName)}
	}
	mac, err := usage.ParseMAC(args[0])
	if err != nil {
		return usage.MAC{}, nil, misuse{err}
	}
	return mac, args[1:], nil
}

// setDevice is a verb that sets one option of a device.
func (p *program) setDevice(option string) cli.ActionFunc {
	return func(c *cli.Context) error {
		mac, words, err := deviceArg(c, 1, 2)
		if err != nil {
			return err
		}
		params := map[string]any{"mac": mac.String(), option: nil}
		if len(words) > 0 {
			params[option] = words[0]
		}
		_, err = p.do(c, "devices.set", params, nil)
		return err
	}
}

func (p *program) mergeDevices(c *cli.Context) error {
	want := 2
	if c.Bool("undo") {
		want = 1
	}
	mac, words, err := deviceArg(c, want, want)
	if err != nil {
		return err
	}
	params := map[string]any{"mac": mac.String(), "same_as": nil}
	if len(words) > 0 {
		into, err := usage.ParseMAC(words[0])
		if err != nil {
			return misuse{err}
		}
		params["same_as"] = into.String()
	}
	if _, err = p.do(c, "devices.set", params, nil); err == nil && len(words) > 0 {
		fmt.Fprintf(p.stderr, "%s counts as %s; take it back: netpilot-agent devices merge --undo %s\n", mac, params["same_as"], mac)
	}
	return err
}

// forgetDevice has the daemon forget a device: what it remembers is in its own
// memory, and would be written again.
func (p *program) forgetDevice(c *cli.Context) error {
	mac, _, err := deviceArg(c, 1, 1)
	if err != nil {
		return err
	}
	_, err = p.ask(c, "devices.set", map[string]any{"mac": mac.String(), "forget": true}, nil)
	return err
}

func (p *program) scan() *cli.Command {
	return &cli.Command{
		Name:  "scan",
		Usage: "list who is on the networks now, as the kernel's neighbour table has them",
		Description: examples(
			"netpilot-agent scan", "every LAN, not the uplinks",
			"netpilot-agent scan --format csv", "for a spreadsheet",
		),
		Flags: []cli.Flag{formatFlag("table, json or csv")},
		Action: func(c *cli.Context) error {
			format, err := p.formatOf(c, "table", "json", "csv")
			if err != nil {
				return err
			}
			var l deviceList
			reply, err := p.do(c, "network.scan", map[string]any{}, &l)
			if err != nil {
				return err
			}
			return p.writeDevices(&l, reply, format)
		},
	}
}
