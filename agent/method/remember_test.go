package method

import (
	"errors"
	"testing"
	"time"
)

func TestRemember(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	reads := 0
	var failure error
	get := Remember(2*time.Second, func() time.Time { return now }, func() (int, error) {
		reads++
		return reads, failure
	})
	check := func(what string, want int, wantErr error) {
		t.Helper()
		if got, err := get(); got != want || !errors.Is(err, wantErr) {
			t.Errorf("%s: got %d, %v, want %d, %v", what, got, err, want, wantErr)
		}
	}
	check("first", 1, nil)
	check("again", 1, nil)
	now = now.Add(2*time.Second - 1)
	check("just young enough", 1, nil)
	now = now.Add(1)
	check("too old", 2, nil)
	now = now.Add(-time.Nanosecond)
	check("clock set back", 3, nil)
	now = now.Add(time.Hour)
	failure = errors.New("no")
	check("failed", 4, failure)
	check("failed again", 5, failure) // not kept
	failure = nil
	check("good again", 6, nil)
	check("and kept", 6, nil)
	now = now.Add(-time.Hour)
	failure = errors.New("no")
	check("clock set back and failed", 7, failure)
	// The clock set right again: the last good value is as old as it was.
	now = now.Add(time.Hour + time.Second)
	check("still good", 6, nil)
}
