package store

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
)

// What a secret begins with, so that one found lying about can be told.
const (
	TokenPrefix  = "npe_" // enrols one router
	RouterPrefix = "npr_" // a router's own
	KeyPrefix    = "npk_" // a backend's
)

// Hash is the SHA-256 of a secret, all the relay keeps of it. The secrets are
// 256 random bits, so no guessing comes near them and a slow password hash
// would add nothing. Looking a hash up leaks no secret by its timing.
type Hash [sha256.Size]byte

// HashOf is the hash of a secret.
func HashOf(secret string) Hash { return sha256.Sum256([]byte(secret)) }

// NewSecret makes a secret of 256 random bits behind the prefix, in letters
// that need no quoting in URLs, headers and shells, and its hash.
func NewSecret(prefix string) (string, Hash) {
	var b [32]byte
	rand.Read(b[:]) // never fails, see crypto/rand
	secret := prefix + base64.RawURLEncoding.EncodeToString(b[:])
	return secret, HashOf(secret)
}

// NewKeyID makes the id of a key.
func NewKeyID() string {
	var b [4]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
