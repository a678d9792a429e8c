package config

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/netpilot/netpilot/pkg/uci"
	"github.com/netpilot/netpilot/pkg/usage"
)

// DeviceType is the type of the sections that hold the owner's word on a
// device, one a MAC:
//
//	config device
//		option mac '02:77:00:00:00:11'
//		option alias 'laptop of Anna'
//		option group 'kids'
//		option category 'work'
//		option same_as '02:77:00:00:00:12'
const DeviceType = "device"

// Device is what the owner says of a device.
type Device struct {
	Alias    string
	Group    string
	Category string    // one of usage.Categories; "" leaves it to the device's use
	SameAs   usage.MAC // the device whose second interface this is; zero for none
}

// Devices are the owner's words, by MAC.
type Devices map[usage.MAC]Device

// Primary is the device that mac is an interface of, as a rule itself.
func (d Devices) Primary(mac usage.MAC) usage.MAC {
	for range d { // a ring ends too
		next := d[mac].SameAs
		if next.IsZero() {
			break
		}
		mac = next
	}
	return mac
}

// LoadDevices reads the device sections of ROOT/etc/config/netpilot, as
// strictly as Load does.
func LoadDevices(root string) (Devices, error) {
	file, err := uci.Load(filepath.Join(root, Path))
	if errors.Is(err, fs.ErrNotExist) {
		return Devices{}, nil
	}
	if err != nil {
		return nil, err
	}
	devices, _, err := readDevices(file)
	return devices, err
}

// deviceOption is one option of a device section.
type deviceOption struct {
	name    string
	accepts string
	set     func(d *Device, mac *usage.MAC, value string) bool
}

func deviceOptions() []deviceOption {
	name := func(field func(*Device) *string) func(*Device, *usage.MAC, string) bool {
		return func(d *Device, _ *usage.MAC, v string) bool {
			*field(d) = v
			return usage.Clean(v, usage.MaxName) == v
		}
	}
	accepts := fmt.Sprintf("printable text of at most %d bytes", usage.MaxName)
	return []deviceOption{
		{"mac", "a MAC address like 02:77:00:00:00:11", func(_ *Device, mac *usage.MAC, v string) bool { return parseDevice(mac, v) }},
		{"alias", accepts, name(func(d *Device) *string { return &d.Alias })},
		{"group", accepts, name(func(d *Device) *string { return &d.Group })},
		{"category", "one of " + usage.CategoryList(), func(d *Device, _ *usage.MAC, v string) bool {
			d.Category = v
			return usage.IsCategory(v)
		}},
		{"same_as", "the MAC address of another device", func(d *Device, _ *usage.MAC, v string) bool { return parseDevice(&d.SameAs, v) }},
	}
}

func parseDevice(mac *usage.MAC, text string) bool {
	var err error
	*mac, err = usage.ParseMAC(text)
	return err == nil && !mac.IsZero() && mac[0]&1 == 0
}

// readDevices reads the device sections of a file.
func readDevices(file *uci.File) (Devices, []Warning, error) {
	devices := make(Devices)
	var warnings []Warning
	warn := func(line int, format string, args ...any) {
		warnings = append(warnings, Warning{file.Name, line, fmt.Sprintf(format, args...)})
	}
	known := deviceOptions()
	groups := make(map[string]string) // as it is written first, by its lower-case letters
	for _, s := range file.Sections {
		if s.Type != DeviceType {
			continue
		}
		var d Device
		var mac usage.MAC
		for _, o := range s.Options {
			var k *deviceOption
			for i := range known {
				if known[i].name == o.Name {
					k = &known[i]
				}
			}
			if k == nil {
				warn(o.Line, "option %s of a device is unknown to this version", o.Name)
				continue
			}
			if o.IsList {
				return nil, warnings, &uci.Error{File: file.Name, Line: o.Line,
					Msg: fmt.Sprintf("%s is a list; it takes one option of %s", o.Name, k.accepts)}
			}
			if v := o.Values[0]; v != "" && !k.set(&d, &mac, v) {
				return nil, warnings, &uci.Error{File: file.Name, Line: o.Line,
					Msg: fmt.Sprintf("option %s is %q; it takes %s", o.Name, usage.Clean(v, 80), k.accepts)}
			}
		}
		_, twice := devices[mac]
		switch {
		case mac.IsZero():
			warn(s.Line, "device without option mac is not used")
		case twice:
			warn(s.Line, "device %s has a section already; this one is not used", mac)
		case d.SameAs == mac:
			warn(s.Line, "device %s cannot be an interface of itself; same_as is not used", mac)
			d.SameAs = usage.MAC{}
			fallthrough
		default:
			lower := strings.ToLower(d.Group)
			if first, ok := groups[lower]; ok {
				d.Group = first // "Kids" and "kids" are one group, in sums as in filters
			}
			groups[lower] = d.Group
			devices[mac] = d
		}
	}
	for mac := range devices {
		if p := devices.Primary(mac); !devices[p].SameAs.IsZero() {
			warn(0, "device %s: same_as leads in a ring and is not used", mac)
		}
	}
	for mac, d := range devices {
		if p := devices.Primary(mac); !devices[p].SameAs.IsZero() {
			d.SameAs = usage.MAC{}
			devices[mac] = d // breaks the ring; the others hang on it
		}
	}
	return devices, warnings, nil
}

// SetDevice has change change the owner's word on a device, and writes it to
// ROOT/etc/config/netpilot. Where nothing is left to say the section goes.
// Nothing else in the file changes, and a file that stays as it is is not
// written.
func SetDevice(root string, mac usage.MAC, change func(*Device)) error {
	path := filepath.Join(root, Path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return uci.Revise(path, func(t *uci.Text) error {
		devices, _, err := readDevices(t.File)
		if err != nil {
			return err
		}
		d := devices[mac]
		change(&d)
		var section *uci.Section
		for _, s := range t.File.Sections {
			text, _ := s.Get("mac")
			if m, err := usage.ParseMAC(text); s.Type == DeviceType && err == nil && m == mac {
				section = s
				break
			}
		}
		switch {
		case section == nil && d == (Device{}):
			return nil
		case d == (Device{}):
			return t.Remove(section)
		case section == nil:
			if section, err = t.Add(DeviceType, "d"+hex.EncodeToString(mac[:])); err != nil {
				return err
			}
			if err := t.Set(section, "mac", mac.String()); err != nil {
				return err
			}
		}
		sameAs := ""
		if !d.SameAs.IsZero() {
			sameAs = d.SameAs.String()
		}
		for _, o := range [...][2]string{{"alias", d.Alias}, {"group", d.Group}, {"category", d.Category}, {"same_as", sameAs}} {
			if old, _ := section.Get(o[0]); old == o[1] {
				continue
			}
			if err := t.Set(section, o[0], o[1]); err != nil {
				return err
			}
		}
		_, _, err = readDevices(t.File) // what the next start would refuse is not written
		return err
	})
}
