package store

import "time"

// TokenTTL is how long an enrolment token is good unless told otherwise: the
// time to walk from one terminal to another.
const TokenTTL = 15 * time.Minute

// Token is one enrolment token, good for one router.
type Token struct {
	Note      string // what it was made for, for the operator
	CreatedAt time.Time
	ExpiresAt time.Time
}
