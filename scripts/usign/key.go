package usign

import (
	"crypto/ed25519"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
)

// ErrFormat is wrapped by every error about a text that is no key or signature.
var ErrFormat = errors.New("malformed usign text")

const (
	algorithm = "Ed" // the only one usign knows
	kdf       = "BK" // how a password would become a key
	idSize    = 8

	publicSize    = 2 + idSize + ed25519.PublicKeySize
	signatureSize = 2 + idSize + ed25519.SignatureSize

	// secret key: "Ed", "BK", rounds (0: no password), salt, checksum, ID, key
	roundsAt   = 4
	saltAt     = roundsAt + 4
	checksumAt = saltAt + 16
	idAt       = checksumAt + 8
	secretAt   = idAt + idSize
	secretSize = secretAt + ed25519.PrivateKeySize

	maxText      = 1024 // bytes of a file; usign reads about half of that
	commentStart = "untrusted comment: "
)

// ID tells keys apart. It is random, not made from the key.
type ID [idSize]byte

// Fingerprint is the ID in hex: what usign -F prints, and the file name of a
// public key in /etc/opkg/keys.
func (id ID) Fingerprint() string { return hex.EncodeToString(id[:]) }

// PublicKey checks signatures.
type PublicKey struct {
	ID  ID
	Key ed25519.PublicKey
}

// SecretKey makes signatures.
type SecretKey struct {
	ID  ID
	Key ed25519.PrivateKey // the seed, then the public key, as in the file
}

// GenerateKey makes a key from random bytes, crypto/rand.Reader outside tests.
func GenerateKey(random io.Reader) (*SecretKey, error) {
	b := make([]byte, idSize+ed25519.SeedSize)
	if _, err := io.ReadFull(random, b); err != nil {
		return nil, fmt.Errorf("usign: generate key: %w", err)
	}
	k := &SecretKey{ID: ID(b[:idSize]), Key: ed25519.NewKeyFromSeed(b[idSize:])}
	return k, nil
}

// Public returns the other half.
func (k *SecretKey) Public() *PublicKey {
	return &PublicKey{ID: k.ID, Key: ed25519.PublicKey(k.Key[ed25519.SeedSize:])}
}

// checksum guards a secret key against damage.
func checksum(key []byte) []byte {
	sum := sha512.Sum512(key)
	return sum[:idAt-checksumAt]
}

// Text is the secret key's file. The salt, which only a password would need,
// is left zero.
func (k *SecretKey) Text() []byte {
	b := make([]byte, 0, secretSize)
	b = append(b, algorithm+kdf...)
	b = append(b, make([]byte, checksumAt-roundsAt)...)
	b = append(b, checksum(k.Key)...)
	b = append(b, k.ID[:]...)
	b = append(b, k.Key...)
	return text("private key "+k.ID.Fingerprint(), b)
}

// Text is the public key's file.
func (k *PublicKey) Text() []byte {
	b := append([]byte(algorithm), k.ID[:]...)
	return text("public key "+k.ID.Fingerprint(), append(b, k.Key...))
}

// ParsePublicKey reads what Text of a public key or usign -G writes.
func ParsePublicKey(file []byte) (*PublicKey, error) {
	b, err := decode(file, publicSize)
	if err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	return &PublicKey{ID: ID(b[2:]), Key: ed25519.PublicKey(b[2+idSize:])}, nil
}

// ParseSecretKey reads what Text of a secret key or usign -G writes. One with a
// password is refused, as usign does.
func ParseSecretKey(file []byte) (*SecretKey, error) {
	b, err := decode(file, secretSize)
	if err != nil {
		return nil, fmt.Errorf("secret key: %w", err)
	}
	if string(b[2:4]) != kdf || binary.BigEndian.Uint32(b[roundsAt:]) != 0 {
		return nil, errors.New("usign: secret keys with a password are not supported")
	}
	k := &SecretKey{ID: ID(b[idAt:]), Key: ed25519.PrivateKey(b[secretAt:])}
	if subtle.ConstantTimeCompare(checksum(k.Key), b[checksumAt:idAt]) != 1 {
		return nil, fmt.Errorf("secret key: %w: wrong checksum", ErrFormat)
	}
	if !k.Key.Equal(ed25519.NewKeyFromSeed(k.Key.Seed())) {
		return nil, fmt.Errorf("secret key: %w: its halves do not belong together", ErrFormat)
	}
	return k, nil
}

func text(comment string, b []byte) []byte {
	return []byte(commentStart + comment + "\n" + base64.StdEncoding.EncodeToString(b) + "\n")
}

// decode returns the bytes of a text, which must be size of them and begin with
// the algorithm.
func decode(file []byte, size int) ([]byte, error) {
	if len(file) > maxText {
		return nil, fmt.Errorf("%w: %d bytes", ErrFormat, len(file))
	}
	comment, rest, ok := strings.Cut(string(file), "\n")
	if !ok || !strings.HasPrefix(comment, commentStart) {
		return nil, fmt.Errorf("%w: no comment line", ErrFormat)
	}
	line, rest, _ := strings.Cut(rest, "\n")
	if strings.TrimSpace(rest) != "" {
		return nil, fmt.Errorf("%w: more than two lines", ErrFormat)
	}
	b, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSuffix(line, "\r"))
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrFormat, err)
	}
	if len(b) != size || string(b[:2]) != algorithm {
		return nil, fmt.Errorf("%w: not %d bytes of %s", ErrFormat, size, algorithm)
	}
	return b, nil
}
