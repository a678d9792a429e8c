package usage

import (
	"testing"
	"time"
)

func TestSpan(t *testing.T) {
	loc := time.FixedZone("X", 2*3600)
	now := time.Date(2026, 11, 23, 18, 30, 0, 0, loc)
	at := func(month time.Month, day, hour, minute int) time.Time {
		return time.Date(2026, month, day, hour, minute, 0, 0, loc)
	}
	for _, tt := range []struct {
		q    SpanQuery
		want Span
	}{
		{SpanQuery{}, Span{Range{at(11, 22, 18, 30), now}, FiveMinutes}},
		{SpanQuery{Timeframe: "1h"}, Span{Range{at(11, 23, 17, 30), now}, FiveMinutes}},
		{SpanQuery{Timeframe: "7d"}, Span{Range{at(11, 16, 18, 30), now}, Hour}},
		{SpanQuery{Timeframe: "30d"}, Span{Range{at(10, 24, 18, 30), now}, Day}},
		{SpanQuery{Days: 1}, Span{Range{at(11, 23, 0, 0), now}, FiveMinutes}},
		{SpanQuery{Days: 30, Resolution: "1h"}, Span{Range{at(10, 25, 0, 0), now}, Hour}},
		{SpanQuery{From: "2026-11-01"}, Span{Range{at(11, 1, 0, 0), now}, Day}},
		{SpanQuery{From: "2026-11-01T00:00:00Z", To: "2026-11-01T03:00:00+01:00", Resolution: "15m"},
			Span{Range{at(11, 1, 2, 0), at(11, 1, 4, 0)}, 15 * time.Minute}},
		{SpanQuery{Timeframe: "24h", Resolution: "1d"}, Span{Range{at(11, 22, 18, 30), now}, Day}},
	} {
		got, err := tt.q.Span(now)
		if err != nil || !got.From.Equal(tt.want.From) || !got.To.Equal(tt.want.To) || got.Resolution != tt.want.Resolution {
			t.Errorf("%+v: got %v, %v, want %v", tt.q, got, err, tt.want)
		}
	}
	for _, q := range []SpanQuery{
		{Timeframe: "2h"}, {Timeframe: "24h", Days: 1}, {Days: -1}, {Days: 401}, {From: "yesterday"}, {To: "2026-11-01"},
		{From: "2026-11-23", To: "2026-11-23"}, {From: "2026-11-24"}, {From: "2020-01-01"}, {From: "2026-11-01", Days: 2},
		{Resolution: "1m"}, {Resolution: "7m"}, {Resolution: "2d"}, {Resolution: "48h"}, {Resolution: "-5m"}, {Resolution: "x"},
	} {
		if got, err := q.Span(now); KindOf(err) != Invalid {
			t.Errorf("%+v: got %v, %v, want an invalid query", q, got, err)
		}
	}
}
