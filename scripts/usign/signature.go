package usign

import (
	"crypto/ed25519"
	"errors"
	"fmt"
)

// ErrUntrusted is returned by Verify if none of the keys made the signature.
var ErrUntrusted = errors.New("signature by no trusted key")

// Sign returns the file that goes beside message as NAME.sig. The same key and
// message give the same text.
func (k *SecretKey) Sign(message []byte) []byte {
	b := append([]byte(algorithm), k.ID[:]...)
	return text("signed by key "+k.ID.Fingerprint(), append(b, ed25519.Sign(k.Key, message)...))
}

// Signer returns the ID of the key that a signature says it is by. Only Verify
// tells whether that is true.
func Signer(signature []byte) (ID, error) {
	b, err := decode(signature, signatureSize)
	if err != nil {
		return ID{}, fmt.Errorf("signature: %w", err)
	}
	return ID(b[2:]), nil
}

// Verify returns nil if signature is of message and by one of the keys, the one
// with the ID it names. The error wraps ErrFormat or is ErrUntrusted.
func Verify(message, signature []byte, keys ...*PublicKey) error {
	id, err := Signer(signature)
	if err != nil {
		return err
	}
	b, err := decode(signature, signatureSize)
	if err != nil {
		return err
	}
	for _, k := range keys {
		if k.ID == id && len(k.Key) == ed25519.PublicKeySize && ed25519.Verify(k.Key, message, b[2+idSize:]) {
			return nil
		}
	}
	return ErrUntrusted
}
