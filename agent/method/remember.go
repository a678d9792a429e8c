package method

import (
	"sync"
	"time"
)

// Remember keeps what read returned for a while, so that a burst of calls
// costs one reading of the router's files. Errors are not kept, and neither is
// anything when the clock was set back.
func Remember[T any](keep time.Duration, now func() time.Time, read func() (T, error)) func() (T, error) {
	var mu sync.Mutex // guards below
	var value T
	var at time.Time
	return func() (T, error) {
		mu.Lock()
		defer mu.Unlock()
		t := now()
		if age := t.Sub(at); !at.IsZero() && age >= 0 && age < keep {
			return value, nil
		}
		fresh, err := read()
		if err != nil {
			return fresh, err
		}
		value, at = fresh, t
		return value, nil
	}
}
