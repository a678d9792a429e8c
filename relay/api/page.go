package api

import (
	"encoding/json"
	"slices"

	"github.com/netpilot/netpilot/pkg/usage"
)

// Paging are the parameters of every list.
type Paging struct {
	Limit  int `query:"limit" minimum:"0" maximum:"10000" doc:"Rows at most; 0 for all that fit."`
	Offset int `query:"offset" minimum:"0" maximum:"1073741824" doc:"Rows to leave out at the start."`
}

func (p Paging) page() usage.Page { return usage.Page{Limit: p.Limit, Offset: p.Offset} }

// Sorting is the order of a list of what was moved.
type Sorting struct {
	Sort string `query:"sort" enum:"total,rx,tx,conns" doc:"Largest first by this; total if absent."`
}

// pageOf is the page's part of a list that is in its usual order, or sorted by
// what compare says if that is not nil. The list's length goes into the
// metadata: the answer is a bare list, as it was on the old commands server.
func pageOf[T any](x *exchange, items []T, page usage.Page, compare func(a, b T) int) []T {
	if compare != nil {
		slices.SortStableFunc(items, compare)
	}
	total := len(items)
	x.facts.total = &total
	from, to := page.Bounds(total)
	return items[from:to]
}

// pageMembers leaves, of the lists in the members of an answer, the rows of the
// page, largest first by sort. The rows stay as they came.
func pageMembers(data json.RawMessage, sort string, page usage.Page, members ...string) (json.RawMessage, error) {
	order, err := usage.ParseOrder(sort)
	if err != nil {
		return nil, err
	}
	var whole map[string]json.RawMessage
	if err := json.Unmarshal(data, &whole); err != nil {
		return nil, err
	}
	for _, member := range members {
		var rows []countedRow
		if whole[member] == nil {
			continue // not in this answer
		}
		if err := json.Unmarshal(whole[member], &rows); err != nil {
			return nil, err
		}
		slices.SortStableFunc(rows, func(a, b countedRow) int { return order.Compare(a.counters, b.counters) })
		from, to := page.Bounds(len(rows))
		part := make([]json.RawMessage, 0, to-from)
		for _, row := range rows[from:to] {
			part = append(part, row.text)
		}
		if whole[member], err = json.Marshal(part); err != nil {
			return nil, err
		}
	}
	return json.Marshal(whole)
}

// countedRow is a row of a router's answer, as it came, and its numbers.
type countedRow struct {
	text     json.RawMessage
	counters usage.Counters
}

// UnmarshalJSON implements json.Unmarshaler.
func (r *countedRow) UnmarshalJSON(text []byte) error {
	var c counterReply
	if err := json.Unmarshal(text, &c); err != nil {
		return err
	}
	r.text, r.counters = slices.Clone(text), c.counters()
	return nil
}
