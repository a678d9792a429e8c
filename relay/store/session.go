package store

import "time"

// Session is what a backend opened under an id of its choice. It belongs to
// the API key that opened it: another key's session of the same id is another.
type Session struct {
	ID        string
	Key       string // id of the key
	StartedAt time.Time
	UsedAt    time.Time // the last request in it, as far as written down
}
