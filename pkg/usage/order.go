package usage

import "cmp"

// Order is what a list is sorted by, largest first.
type Order uint8

// The orders; ByTotal is the default.
const (
	ByTotal Order = iota
	ByRx
	ByTx
	ByConns
)

// Orders are the names ParseOrder takes, in the order of their numbers.
var Orders = [...]string{"total", "rx", "tx", "conns"}

// ParseOrder reads an order's name; "" is the default.
func ParseOrder(name string) (Order, error) {
	if name == "" {
		return ByTotal, nil
	}
	for o, n := range Orders {
		if n == name {
			return Order(o), nil
		}
	}
	return 0, Errorf(Invalid, "cannot sort by %q; choose total, rx, tx or conns", Clean(name, 32))
}

// Compare puts the larger of a and b first.
func (o Order) Compare(a, b Counters) int {
	switch o {
	case ByRx:
		return cmp.Compare(b.RxBytes, a.RxBytes)
	case ByTx:
		return cmp.Compare(b.TxBytes, a.TxBytes)
	case ByConns:
		return cmp.Compare(b.Conns, a.Conns)
	}
	return cmp.Compare(b.Total(), a.Total())
}

// Page is the part of a list that is asked for. Limit 0 means all.
type Page struct {
	Limit  int
	Offset int
}

// Bounds is the page's range in a list of n.
func (p Page) Bounds(n int) (from, to int) {
	from = min(max(p.Offset, 0), n)
	to = n
	if p.Limit > 0 {
		to = from + min(p.Limit, n-from) // never more than n, which a sum could overflow
	}
	return from, to
}
