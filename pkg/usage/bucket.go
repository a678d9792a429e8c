package usage

import "time"

// Range is a query's time span, half-open: From belongs to it, To does not.
type Range struct {
	From, To time.Time
}

// Contains tells whether t lies in the range.
func (r Range) Contains(t time.Time) bool { return !t.Before(r.From) && t.Before(r.To) }

// Slot is what one subject moved in one bucket of time: a device, a service
// or an address family, whichever is set.
type Slot struct {
	Start   time.Time
	Length  time.Duration // 23 or 25 hours for a day on which the zone's clock jumps
	MAC     MAC           // zero for what no device could be found for
	Service string        // "" where the slot is a device's
	Family  uint8         // 0 where the slot is a device's or a service's
	Label   string        // the group or category of the devices it sums, "" for those without
	Counters
}

// Gap is a span in which traffic passed that nobody can attribute any more:
// it was counted and destroyed before it could be read.
type Gap struct {
	Range
	Reason string
}

// Bucket is all that a router moved in one fixed slot of time, told three
// ways: by device, by service and by address family. Each of the three sums up
// to the whole.
type Bucket struct {
	Start       time.Time
	Length      time.Duration
	Devices     []DeviceSum
	Services    []ServiceSum
	Families    []FamilySum
	Quarantined []DeviceSum // what cannot be true and is in no other sum
}

// DeviceSum is one device's part of a bucket; the zero MAC is what no device
// could be found for.
type DeviceSum struct {
	MAC MAC
	Counters
}

// ServiceSum is one service's part of a bucket.
type ServiceSum struct {
	Name string
	Counters
}

// FamilySum is one address family's part of a bucket.
type FamilySum struct {
	Family uint8 // FamilyIPv4 or FamilyIPv6
	Counters
}
