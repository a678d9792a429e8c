package usage

import "time"

// View is what the rows of an answer are.
type View uint8

// The views.
const (
	ByDevice View = iota
	ByHost
	ByService
	ByRecord
	ByGroup
	ByCategory
)

var viewNames = [...]string{"device", "host", "service", "record", "group", "category"}

// String is the view's name, as ParseView takes it.
func (v View) String() string { return viewNames[v] }

// ParseView reads a view's name; "" is ByDevice.
func ParseView(name string) (View, error) {
	if name == "" {
		return ByDevice, nil
	}
	for v, n := range viewNames {
		if n == name {
			return View(v), nil
		}
	}
	return 0, Errorf(Invalid, "cannot list by %q; choose device, host, service, group, category or record", Clean(name, 32))
}

// Answer is usage as it stood at one instant: who answered, how old that is,
// and one list of rows.
type Answer struct {
	Timestamp    time.Time // when the answer was made
	Source       string    // what it was read from: snapshot, socket, nlbw, or a file's path
	AsOf         time.Time // when nlbwmon last brought the numbers up to date, as far as known
	Period       string    // its first day, YYYY-MM-DD; "" if unknown
	ResetAt      time.Time // what was counted from; zero: the start of the period
	AddressOrder string    // how IPv4 was stored where that was not the machine's own order, and whether it was guessed
	Damage       string    // why rows may be missing; "" if whole
	Counting     *Counting // whether the numbers can be trusted; nil if nobody looked

	View       View
	Devices    []Device
	Unresolved []Host
	Hosts      []Host
	Services   []Service
	Records    []Record
	Shares     []Share     // by group or category
	Interfaces []Interface // what stands in where nothing counts devices
	Known      Services    // names the services of Records; may be nil
	Total      Counters    // of all rows, on this page or not
	Page       Page
}

// Len is how many rows there are, whatever the page.
func (a *Answer) Len() int {
	switch a.View {
	case ByHost:
		return len(a.Hosts)
	case ByService:
		return len(a.Services)
	case ByRecord:
		return len(a.Records)
	case ByGroup, ByCategory:
		return len(a.Shares)
	}
	return len(a.Devices)
}
