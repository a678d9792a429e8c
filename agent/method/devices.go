package method

import (
	"cmp"
	"context"
	"encoding/json"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/netpilot/netpilot/agent/config"
	"github.com/netpilot/netpilot/agent/identity"
	"github.com/netpilot/netpilot/pkg/sorting"
	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
)

func errNoDevices() error {
	return usage.Errorf(usage.Unavailable, "devices are not known here; try: service netpilot-agent restart")
}

// deviceOrders are what devices can be sorted by.
var deviceOrders = map[string]func(a, b *identity.Device) int{
	"":          byName,
	"name":      byName,
	"mac":       func(a, b *identity.Device) int { return slices.Compare(a.MAC[:], b.MAC[:]) },
	"ip":        func(a, b *identity.Device) int { return firstIP(a).Compare(firstIP(b)) },
	"last_seen": func(a, b *identity.Device) int { return b.LastSeen.Compare(a.LastSeen) },
}

// byName puts the nameless last.
func byName(a, b *identity.Device) int {
	x, y := a.Name(), b.Name()
	if (x == "") != (y == "") {
		return cmp.Compare(y, x)
	}
	return cmp.Compare(x, y)
}

// firstIP is the IPv4 address a device holds, else its first one.
func firstIP(d *identity.Device) netip.Addr {
	for _, a := range d.IPs {
		if a.Is4() {
			return a
		}
	}
	if len(d.IPs) > 0 {
		return d.IPs[0]
	}
	return netip.Addr{}
}

func (a *Agent) callDevices(_ context.Context, _ Access, params json.RawMessage) (json.RawMessage, error) {
	var p struct {
		usage.Filter
		MAC    string `json:"mac"`
		Online *bool  `json:"online"`
		Sort   string `json:"sort"`
		Limit  int    `json:"limit"`
		Offset int    `json:"offset"`
	}
	if err := decode(params, &p); err != nil {
		return nil, err
	}
	order, ok := deviceOrders[p.Sort]
	switch {
	case a.Devices == nil:
		return nil, errNoDevices()
	case !ok:
		return nil, usage.Errorf(usage.Invalid, "cannot sort devices by %q; choose name, mac, ip or last_seen", usage.Clean(p.Sort, 32))
	case p.Limit < 0 || p.Offset < 0:
		return nil, usage.Errorf(usage.Invalid, "limit and offset must not be negative")
	}
	if err := p.Filter.Check(); err != nil {
		return nil, err
	}
	keeper := a.Devices()
	all := keeper.Devices()
	if p.MAC != "" {
		mac, err := usage.ParseMAC(p.MAC)
		if err != nil {
			return nil, err
		}
		return a.oneDevice(keeper, all, mac)
	}
	kept := all[:0]
	for i := range all {
		d := &all[i]
		if p.Matches(&d.Identity) && (p.Online == nil || *p.Online == (d.Presence == usage.Online)) {
			kept = append(kept, *d)
		}
	}
	sorting.Stable(kept, func(x, y identity.Device) int { return order(&x, &y) })
	return fits(appendDevices(make([]byte, 0, answerSize), a.Now(), kept, usage.Page{Limit: p.Limit, Offset: p.Offset}, appendDevice))
}

// oneDevice is a device with its past.
func (a *Agent) oneDevice(keeper *identity.Keeper, all []identity.Device, mac usage.MAC) (json.RawMessage, error) {
	i := slices.IndexFunc(all, func(d identity.Device) bool { return d.MAC == mac || slices.Contains(d.MACs, mac) })
	if i < 0 {
		return nil, usage.Errorf(usage.NotFound, "no device %s; see devices.list", mac)
	}
	past := keeper.Past(all[i].MAC)
	dst := appendJSONTime([]byte(`{"timestamp":`), a.Now())
	dst = append(dst, `,"device":`...)
	dst = append(appendDevice(dst, &all[i]), `,"names":[`...)
	for i, n := range past.Names {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = usage.AppendQuoted(append(dst, `{"hostname":`...), n.Text)
		dst = usage.AppendQuoted(append(dst, `,"name_source":`...), n.Source)
		dst = append(appendJSONTime(append(dst, `,"from":`...), n.From), '}')
	}
	dst = append(dst, `],"addresses":[`...)
	for i, h := range past.Addresses {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = usage.AppendQuoted(append(dst, `{"ip":`...), h.IP.String())
		dst = appendJSONTime(append(dst, `,"from":`...), h.From)
		dst = append(appendJSONTime(append(dst, `,"to":`...), h.To), '}')
	}
	return fits(append(dst, `]}`...))
}

// appendDevices appends a list of devices that fits a frame.
func appendDevices(dst []byte, now time.Time, devices []identity.Device, page usage.Page, row func([]byte, *identity.Device) []byte) []byte {
	const tail = 128
	dst = appendJSONTime(append(dst, `{"timestamp":`...), now)
	dst = append(dst, `,"devices":[`...)
	from, to := page.Bounds(len(devices))
	next := from
	for ; next < to; next++ {
		before := len(dst)
		if next > from {
			dst = append(dst, ',')
		}
		if dst = row(dst, &devices[next]); len(dst)+tail > wire.MaxResult && next > from {
			dst = dst[:before]
			break
		}
	}
	dst = append(dst, ']')
	if next < len(devices) {
		dst = strconv.AppendInt(append(dst, `,"next_offset":`...), int64(next), 10)
	}
	dst = strconv.AppendInt(append(dst, `,"total_devices":`...), int64(len(devices)), 10)
	return append(dst, '}')
}

// maxListed bounds the addresses of a device in a list.
const maxListed = 100

func appendDevice(dst []byte, d *identity.Device) []byte {
	dst = append(d.MAC.Append(append(dst, `{"mac":"`...)), '"')
	if len(d.MACs) > 0 {
		dst = append(dst, `,"other_macs":[`...)
		for i, m := range d.MACs[:min(len(d.MACs), maxListed)] {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(m.Append(append(dst, '"')), '"')
		}
		dst = append(dst, ']')
	}
	dst = appendJSONAddr(append(dst, `,"ip":`...), firstIP(d))
	dst = append(dst, `,"ips":[`...)
	for i, ip := range d.IPs[:min(len(d.IPs), maxListed)] {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendJSONAddr(dst, ip)
	}
	dst = append(dst, `],"network":`...)
	dst = appendJSONText(dst, d.Network)
	dst = usage.AppendIdentity(dst, d.MAC, &d.Identity)
	dst = appendJSONTime(append(dst, `,"first_seen":`...), d.First)
	dst = append(dst, `,"category_reasons":[`...)
	for i, r := range d.Reasons {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = usage.AppendQuoted(dst, r)
	}
	return append(dst, `]}`...)
}

func appendJSONText(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, "null"...)
	}
	return usage.AppendQuoted(dst, s)
}

func appendJSONAddr(dst []byte, a netip.Addr) []byte {
	if !a.IsValid() {
		return append(dst, "null"...)
	}
	return append(a.AppendTo(append(dst, '"')), '"')
}

func appendJSONTime(dst []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(dst, "null"...)
	}
	return append(t.Truncate(time.Millisecond).AppendFormat(append(dst, '"'), time.RFC3339Nano), '"')
}

// callScan lists who is on the networks now.
func (a *Agent) callScan(context.Context, Access, json.RawMessage) (json.RawMessage, error) {
	if a.Devices == nil {
		return nil, errNoDevices()
	}
	devices := a.Devices().Neighbours()
	sorting.Stable(devices, func(x, y identity.Device) int { return firstIP(&x).Compare(firstIP(&y)) })
	return fits(appendDevices(make([]byte, 0, answerSize), a.Now(), devices, usage.Page{}, appendDevice))
}

// callSetDevice changes what the owner says of a device.
func (a *Agent) callSetDevice(_ context.Context, _ Access, params json.RawMessage) (json.RawMessage, error) {
	var p struct {
		MAC      string          `json:"mac"`
		Alias    json.RawMessage `json:"alias"`
		Group    json.RawMessage `json:"group"`
		Category json.RawMessage `json:"category"`
		SameAs   json.RawMessage `json:"same_as"`
		Forget   bool            `json:"forget"`
	}
	if err := decode(params, &p); err != nil {
		return nil, err
	}
	if a.Devices == nil {
		return nil, errNoDevices()
	}
	mac, err := usage.ParseMAC(p.MAC)
	switch {
	case err != nil:
		return nil, err
	case mac.IsZero() || mac[0]&1 != 0:
		return nil, usage.Errorf(usage.Invalid, "%s is no device's address", mac)
	}
	keeper := a.Devices()
	if p.Forget {
		if p.Alias != nil || p.Group != nil || p.Category != nil || p.SameAs != nil {
			return nil, usage.Errorf(usage.Invalid, "forget goes alone: it drops alias, group, category and same_as too")
		}
		if !slices.ContainsFunc(keeper.Devices(), func(d identity.Device) bool { return d.MAC == mac || slices.Contains(d.MACs, mac) }) {
			return nil, usage.Errorf(usage.NotFound, "no device %s; see devices.list", mac)
		}
		if err := keeper.Forget(mac); err != nil {
			return nil, err
		}
		return json.RawMessage(`{"forgotten":"` + mac.String() + `"}`), nil
	}
	var sets []func(*config.Device)
	text := func(name string, value json.RawMessage, set func(*config.Device, string)) error {
		if value == nil {
			return nil
		}
		var s *string
		if err := json.Unmarshal(value, &s); err != nil {
			return usage.Errorf(usage.Invalid, "%s must be a string or null", name)
		}
		if s == nil {
			s = new(string)
		}
		if usage.Clean(*s, usage.MaxName) != *s {
			return usage.Errorf(usage.Invalid, "%s must be printable text of at most %d bytes", name, usage.MaxName)
		}
		if name == "category" && *s != "" && !usage.IsCategory(*s) {
			return usage.Errorf(usage.Invalid, "no category %q; choose one of %s", *s, usage.CategoryList())
		}
		sets = append(sets, func(d *config.Device) { set(d, *s) })
		return nil
	}
	if err := cmp.Or(
		text("alias", p.Alias, func(d *config.Device, s string) { d.Alias = s }),
		text("group", p.Group, func(d *config.Device, s string) { d.Group = s }),
		text("category", p.Category, func(d *config.Device, s string) { d.Category = s }),
	); err != nil {
		return nil, err
	}
	if p.SameAs != nil {
		other, err := a.sameAs(keeper, mac, p.SameAs)
		if err != nil {
			return nil, err
		}
		sets = append(sets, func(d *config.Device) { d.SameAs = other })
	}
	if len(sets) == 0 {
		return nil, usage.Errorf(usage.Invalid, "devices.set needs alias, group, category, same_as or forget")
	}
	if err := keeper.Set(mac, func(d *config.Device) {
		for _, set := range sets {
			set(d)
		}
	}); err != nil {
		return nil, err
	}
	return a.oneDevice(keeper, keeper.Devices(), mac)
}

// sameAs reads the device whose second interface mac is to be.
func (a *Agent) sameAs(keeper *identity.Keeper, mac usage.MAC, value json.RawMessage) (usage.MAC, error) {
	var s *string
	if err := json.Unmarshal(value, &s); err != nil {
		return usage.MAC{}, usage.Errorf(usage.Invalid, "same_as must be a MAC address or null")
	}
	if s == nil || *s == "" {
		return usage.MAC{}, nil
	}
	other, err := usage.ParseMAC(*s)
	if err != nil {
		return usage.MAC{}, err
	}
	if other.IsZero() || other[0]&1 != 0 {
		return usage.MAC{}, usage.Errorf(usage.Invalid, "%s is no device's address", other)
	}
	if other == mac {
		return usage.MAC{}, usage.Errorf(usage.Invalid, "%s cannot be an interface of itself; name the device it belongs to", mac)
	}
	if keeper.Primary(other) == mac {
		return usage.MAC{}, usage.Errorf(usage.Invalid, "%s is an interface of %s already; part them first: netpilot-agent devices merge --undo %s", other, mac, other)
	}
	return other, nil
}
