package usage

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Presence tells whether a device is on the network.
type Presence uint8

// The presences; nobody may have looked.
const (
	PresenceUnknown Presence = iota
	Away
	Online
)

// The sources of a name, the best first.
const (
	NameAlias  = "alias"  // the owner's word
	NameStatic = "static" // a host section of /etc/config/dhcp
	NameLease  = "lease"  // dnsmasq's lease file: what the device called itself
	NameOdhcpd = "odhcpd" // odhcpd's lease file: the same
	NameEthers = "ethers" // /etc/ethers
	NameFile   = "file"   // the file that was read for the numbers
)

// Categories are what a device can be for, by its use or the owner's word. The
// first is none; they are appended, never renumbered.
var Categories = [...]string{"", "streaming", "gaming", "iot", "server", "backup", "work", "printer", "idle"}

// IsCategory tells whether a device can have that category.
func IsCategory(name string) bool { return name != "" && slices.Contains(Categories[:], name) }

// CategoryList names the categories for a message.
func CategoryList() string { return strings.Join(Categories[1:], ", ") }

// Identity is who a device is, as far as the router knows. Every text is clean
// and at most MaxName bytes long; "" is unknown.
type Identity struct {
	Hostname   string // what the router's files or the device itself say
	Alias      string // what the owner calls it
	NameSource string // who gave Name: one of the Name constants
	Vendor     string // to whom the IEEE gave the block of the MAC
	Category   string // streaming, gaming, work ...
	Group      string // the owner's, such as "kids"
	Presence   Presence
	LastSeen   time.Time // zero if unknown
	Primary    MAC       // the device whose second interface this is; zero for most
}

// Name is what to call the device: the owner's alias, else its hostname.
func (i *Identity) Name() string {
	if i.Alias != "" {
		return i.Alias
	}
	return i.Hostname
}

// maxLabel is the longest Label in bytes: three names and what joins them.
const maxLabel = 3*MaxName + len(" (, )")

// Label is the name for a person, with group and category where there are any.
func (i *Identity) Label() string {
	label, what := i.Name(), i.Group
	if i.Category != "" {
		if what != "" {
			what += ", "
		}
		what += i.Category
	}
	switch {
	case what == "":
		return label
	case label == "":
		return "(" + what + ")"
	}
	return label + " (" + what + ")"
}

// Names tells who a MAC is. A nil Names knows nobody.
type Names interface {
	// Identity is who the device is; with an instant other than zero, under
	// the hostname it had then.
	Identity(mac MAC, at time.Time) Identity
	// Hostname is Identity's, of now.
	Hostname(MAC) string
	// IPs are the addresses the device is known to hold, those in use first.
	IPs(MAC) []netip.Addr
}

// identityOf is who mac is by names, which may be nil.
func identityOf(names Names, mac MAC, at time.Time) Identity {
	if names == nil || mac.IsZero() {
		return Identity{}
	}
	return names.Identity(mac, at)
}
