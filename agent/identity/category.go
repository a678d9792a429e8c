package identity

import (
	"fmt"
	"slices"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
)

// Use is what a device did in the last days, as far as its category needs it.
// The hours are those of the router's zone.
type Use struct {
	Total    usage.Counters
	Hours    int               // in which it moved anything
	Span     int               // hours from its first to its last
	Night    uint64            // bytes from midnight to six
	Office   uint64            // bytes on working days from eight to six
	Weekdays map[int]bool      // days of the year on which it moved something in the office hours
	Heavy    int               // hours with half a GiB or more received
	Play     int               // hours of many small packets both ways, outside office hours
	Service  map[string]uint64 // bytes of the running period by what they are for: print, tunnel, game
	Known    uint64            // bytes of the running period by any service, named or not

	first, last time.Time
}

const (
	mib = 1 << 20
	gib = 1 << 30
)

// Add takes in an hour.
func (u *Use) Add(s *usage.Slot, zone *time.Location) {
	if s.Total() == 0 {
		return
	}
	at := s.Start.In(zone)
	if u.first.IsZero() {
		u.first = at
	}
	u.last = at
	u.Span = int(u.last.Sub(u.first)/time.Hour) + 1
	u.Hours++
	u.Total.Add(s.Counters)
	office := at.Weekday() != time.Saturday && at.Weekday() != time.Sunday && at.Hour() >= 8 && at.Hour() < 18
	if at.Hour() < 6 {
		u.Night += s.Total()
	}
	if office {
		u.Office += s.Total()
		if u.Weekdays == nil {
			u.Weekdays = make(map[int]bool)
		}
		u.Weekdays[at.YearDay()] = true
	}
	if s.RxBytes >= gib/2 {
		u.Heavy++
	}
	// A game exchanges some tens of packets a second, of 100 to 200 bytes.
	const many, small = 100_000, 300
	if !office && s.RxPackets >= many && s.TxPackets >= s.RxPackets/2 && s.RxBytes/s.RxPackets < small && s.TxBytes/s.TxPackets < small {
		u.Play++
	}
}

// serviceUse tells what a service of nlbwmon's protocols file is for, by its IP
// protocol and port; "" is nothing that tells devices apart.
func serviceUse(proto uint8, port uint16) string {
	switch {
	case proto == 6 && (port == 515 || port == 631 || port == 9100):
		return "print"
	case proto == 50 || proto == 47 || proto == 115, port == 1194, proto == 17 && (port == 500 || port == 4500 || port == 51820), port == 3389:
		return "tunnel" // ESP, GRE, L2TP, OpenVPN, IKE, WireGuard, RDP
	case port == 3074, proto == 17 && port >= 27000 && port <= 27100, proto == 6 && port == 25565, proto == 17 && port >= 3478 && port <= 3480:
		return "game" // Xbox, Steam, Minecraft, PlayStation
	}
	return ""
}

// AddService takes in a row of nlbwmon's.
func (u *Use) AddService(r *usage.Record) {
	n := r.RxBytes + r.TxBytes
	u.Known += n
	if what := serviceUse(r.Proto, r.Port); what != "" {
		if u.Service == nil {
			u.Service = make(map[string]uint64)
		}
		u.Service[what] += n
	}
}

// printerMakers make little else that has a network.
var printerMakers = [...]string{"Brother", "Canon", "Seiko Epson", "Kyocera", "Lexmark", "Oki Electric", "Ricoh", "Xerox"}

// rule tells a category by a device's use. The first that holds wins; why says
// it with the numbers, and text without.
type rule struct {
	category string
	text     string
	holds    func(u *Use, vendor string) (why string, ok bool)
}

// rules are ordered from the plainest sign to the vaguest; the documentation
// lists them (docs/decisions/0015-categories.md).
func rules() []rule {
	percent := func(part, whole uint64) uint64 {
		if whole == 0 {
			return 0
		}
		return uint64(float64(part) / float64(whole) * 100)
	}
	return []rule{
		{"printer", "it prints over the network, or its maker makes printers and it moves little", func(u *Use, vendor string) (string, bool) {
			if p := percent(u.Service["print"], u.Known); p >= 5 {
				return fmt.Sprintf("%d %% of its bytes are printing", p), true
			}
			maker := slices.ContainsFunc(printerMakers[:], func(m string) bool { return len(vendor) >= len(m) && vendor[:len(m)] == m })
			return fmt.Sprintf("%s makes printers, and it moved only %s", vendor, usage.Bytes(u.Total.Total())), maker && u.Total.Total() < 100*mib
		}},
		{"idle", "it was there for days and moved next to nothing", func(u *Use, _ string) (string, bool) {
			return fmt.Sprintf("it moved %s in %d hours", usage.Bytes(u.Total.Total()), u.Span), u.Span >= 72 && u.Total.Total() < mib
		}},
		{"gaming", "game services, or hours of many small packets both ways", func(u *Use, _ string) (string, bool) {
			if p := percent(u.Service["game"], u.Known); p >= 10 {
				return fmt.Sprintf("%d %% of its bytes are of game services", p), true
			}
			return fmt.Sprintf("%d hours of many small packets both ways", u.Play), u.Play >= 3
		}},
		{"backup", "it sends, and mostly at night", func(u *Use, _ string) (string, bool) {
			sent, night := percent(u.Total.TxBytes, u.Total.Total()), percent(u.Night, u.Total.Total())
			return fmt.Sprintf("%d %% of %s were sent, %d %% at night", sent, usage.Bytes(u.Total.Total()), night),
				u.Total.TxBytes >= gib && sent >= 70 && night >= 60
		}},
		{"server", "it sends around the clock", func(u *Use, _ string) (string, bool) {
			sent := percent(u.Total.TxBytes, u.Total.Total())
			return fmt.Sprintf("%d %% of %s were sent, in %d of %d hours", sent, usage.Bytes(u.Total.Total()), u.Hours, u.Span),
				u.Span >= 48 && u.Hours*10 >= u.Span*9 && sent >= 60 && u.Total.Total() >= gib
		}},
		{"iot", "it talks around the clock, and little", func(u *Use, _ string) (string, bool) {
			return fmt.Sprintf("%s in %d of %d hours", usage.Bytes(u.Total.Total()), u.Hours, u.Span),
				u.Span >= 48 && u.Hours*10 >= u.Span*8 && u.Total.Total()/uint64(u.Hours) < 3*mib
		}},
		{"work", "tunnels, or little outside office hours", func(u *Use, _ string) (string, bool) {
			if p := percent(u.Service["tunnel"], u.Known); p >= 30 {
				return fmt.Sprintf("%d %% of its bytes are tunnels and remote desktops", p), true
			}
			office := percent(u.Office, u.Total.Total())
			return fmt.Sprintf("%d %% of %s in office hours of %d working days", office, usage.Bytes(u.Total.Total()), len(u.Weekdays)),
				office >= 75 && len(u.Weekdays) >= 3 && u.Total.Total() >= 200*mib
		}},
		{"streaming", "hours of half a GiB or more, nearly all received", func(u *Use, _ string) (string, bool) {
			got := percent(u.Total.RxBytes, u.Total.Total())
			return fmt.Sprintf("%d hours of half a GiB or more, %d %% received", u.Heavy, got), u.Heavy >= 3 && got >= 90
		}},
	}
}

// classify tells a device's category by its use, and why; 0 where no rule
// holds, then with no reason.
func classify(u *Use, vendor string) (category uint8, bits uint16, why string) {
	for i, r := range rules() {
		if why, ok := r.holds(u, vendor); ok {
			return uint8(slices.Index(usage.Categories[:], r.category)), 1 << i, why
		}
	}
	return 0, 0, ""
}

// Categorize tells the category of every device that was used.
func (k *Keeper) Categorize(uses map[usage.MAC]*Use) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for mac, u := range uses {
		if seen := k.memory.devices[mac]; seen != nil {
			seen.category, seen.reasons, seen.why = classify(u, k.vendorLocked(mac))
		}
	}
}

// reasonsLocked are why mac has the category it has by its use.
func (k *Keeper) reasonsLocked(mac usage.MAC) []string {
	seen := k.memory.devices[mac]
	if seen == nil || seen.category == 0 || k.owner[mac].Category != "" {
		return nil
	}
	if seen.why != "" {
		return []string{seen.why}
	}
	var all []string
	for i, r := range rules() {
		if seen.reasons&(1<<i) != 0 {
			all = append(all, r.text)
		}
	}
	return all
}
