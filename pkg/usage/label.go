package usage

import (
	"cmp"
	"strconv"

	"github.com/netpilot/netpilot/pkg/sorting"
)

// LabelBy gives the label that devices are summed by for the word "group" or
// "category"; nil for another word.
func LabelBy(word string) func(*Identity) string {
	switch word {
	case "group":
		return func(id *Identity) string { return id.Group }
	case "category":
		return func(id *Identity) string { return id.Category }
	}
	return nil
}

// labelLists are what a list by a label is called.
var labelLists = map[string]string{"group": "groups", "category": "categories"}

// Share is what the devices of one label moved together.
type Share struct {
	Label   string // "" of the devices that have none, and of what no device was found for
	Devices int
	Counters
}

// Shares sums devices by a word that LabelBy knows, largest first.
func Shares(devices []Device, by string, order Order) []Share {
	label := LabelBy(by)
	at := make(map[string]int)
	shares := []Share{}
	for i := range devices {
		d := &devices[i]
		name := label(&d.Identity)
		n, ok := at[name]
		if !ok {
			n = len(shares)
			at[name] = n
			shares = append(shares, Share{Label: name})
		}
		if !d.MAC.IsZero() {
			shares[n].Devices++
		}
		shares[n].Counters.Add(d.Counters)
	}
	sorting.Func(shares, func(a, b Share) int {
		return cmp.Or(order.Compare(a.Counters, b.Counters), cmp.Compare(a.Label, b.Label))
	})
	return shares
}

// labelled tells whether a device has that label at all.
func labelled(shares []Share) bool {
	return len(shares) > 1 || len(shares) == 1 && shares[0].Label != ""
}

// Unlabelled is what those without a label are called for a person.
func Unlabelled(by string) string { return "(no " + by + ")" }

// name is the label for a person.
func (s *Share) name(by string) string {
	if s.Label == "" {
		return Unlabelled(by)
	}
	return Clean(s.Label, MaxName)
}

// appendJSON appends the share as members of a JSON object that is not closed.
func (s *Share) appendJSON(dst []byte, by string) []byte {
	dst = append(append(append(dst, `{"`...), by...), `":`...)
	dst = strconv.AppendInt(append(appendTextOrNull(dst, s.Label), `,"devices":`...), int64(s.Devices), 10)
	return appendCounters(dst, s.Counters)
}
