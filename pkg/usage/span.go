package usage

import (
	"strconv"
	"strings"
	"time"
)

// Resolutions that history is kept in; any multiple of the first can be asked.
const (
	FiveMinutes = 5 * time.Minute
	Hour        = time.Hour
	Day         = 24 * time.Hour // a day of the router's zone: 23 or 25 hours when its clock jumps
)

// MaxDays is as far back as anybody may ask.
const MaxDays = 400

// Span is the time a query is about and how finely.
type Span struct {
	Range
	Resolution time.Duration // a multiple of FiveMinutes; Day for days of the router's zone
}

// SpanQuery is a span as people and programs ask for it. At most one of
// Timeframe, Days and From may be given; none means the last 24 hours.
type SpanQuery struct {
	Timeframe  string // 1h, 24h, 7d, 30d: that long until now
	Days       int    // today and the days before it, in the router's zone
	From, To   string // RFC 3339, or YYYY-MM-DD for that day's midnight; To is now if empty
	Resolution string // 5m, 1h, 1d or any multiple of 5m; "" fits the range
}

// Span checks the query at the instant now, whose location is the router's.
func (q SpanQuery) Span(now time.Time) (Span, error) {
	s := Span{Range: Range{From: now.Add(-Day), To: now}}
	given := 0
	if q.Timeframe != "" {
		given++
		length, ok := map[string]time.Duration{"1h": Hour, "24h": Day, "7d": 7 * Day, "30d": 30 * Day}[q.Timeframe]
		if !ok {
			return s, Errorf(Invalid, "timeframe %q: choose 1h, 24h, 7d or 30d", Clean(q.Timeframe, 32))
		}
		s.From = now.Add(-length)
	}
	if q.Days != 0 {
		given++
		if q.Days < 1 || q.Days > MaxDays {
			return s, Errorf(Invalid, "days must be from 1 to %d", MaxDays)
		}
		y, m, d := now.Date()
		s.From = time.Date(y, m, d-q.Days+1, 0, 0, 0, 0, now.Location())
	}
	if q.From != "" {
		given++
		from, err := parseInstant("from", q.From, now.Location())
		if err != nil {
			return s, err
		}
		s.From = from
	} else if q.To != "" {
		return s, Errorf(Invalid, "to needs from")
	}
	if given > 1 {
		return s, Errorf(Invalid, "give one of timeframe, days and from")
	}
	if q.To != "" {
		to, err := parseInstant("to", q.To, now.Location())
		if err != nil {
			return s, err
		}
		s.To = to
	}
	switch {
	case !s.From.Before(s.To):
		return s, Errorf(Invalid, "from %s is not before to %s", s.From.Format(time.RFC3339), s.To.Format(time.RFC3339))
	case s.To.Sub(s.From) > (MaxDays+1)*Day:
		return s, Errorf(Invalid, "the range is longer than %d days", MaxDays)
	}
	var err error
	s.Resolution, err = parseResolution(q.Resolution, s.To.Sub(s.From))
	return s, err
}

// parseInstant reads RFC 3339, or a date as its midnight in loc.
func parseInstant(name, text string, loc *time.Location) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t.In(loc), nil
	}
	t, err := time.ParseInLocation(time.DateOnly, text, loc)
	if err != nil {
		return t, Errorf(Invalid, "%s %q: write a time like 2026-11-23T18:00:00Z or a date like 2026-11-23", name, Clean(text, 64))
	}
	return t, nil
}

// parseResolution reads a resolution; "" is the finest that keeps the answer
// below some 300 rows for each subject.
func parseResolution(text string, length time.Duration) (time.Duration, error) {
	if text == "" {
		switch {
		case length <= Day:
			return FiveMinutes, nil
		case length <= 8*Day:
			return Hour, nil
		}
		return Day, nil
	}
	var r time.Duration
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.Atoi(days)
		if err != nil || n != 1 {
			return 0, Errorf(Invalid, "resolution %q: the coarsest is 1d", Clean(text, 32))
		}
		return Day, nil
	}
	r, err := time.ParseDuration(text)
	if err != nil || r < FiveMinutes || r > Day || r%FiveMinutes != 0 {
		return 0, Errorf(Invalid, "resolution %q: choose 5m, 1h, 1d or another multiple of 5m up to a day", Clean(text, 32))
	}
	return r, nil
}
