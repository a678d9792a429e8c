package store

import "time"

// Key is one API key of a backend. A zero time means never.
type Key struct {
	ID        string // eight hexadecimal digits, for naming it without saying it
	Name      string
	CreatedAt time.Time
	ExpiresAt time.Time
	LastUsed  time.Time // to the minute
	RevokedAt time.Time
}

// InForce tells whether the key opens anything at that time.
func (k *Key) InForce(now time.Time) bool {
	return k.RevokedAt.IsZero() && (k.ExpiresAt.IsZero() || now.Before(k.ExpiresAt))
}
