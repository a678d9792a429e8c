package adb

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha512"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// ErrUntrusted is returned by Verify if none of the keys signed the file.
var ErrUntrusted = errors.New("UNTRUSTED signature")

// A signature block is version 0, the hash of the ADB block that was taken,
// the key's ID, and an ECDSA signature in ASN.1 over SHA-512 of: the schema,
// those 18 bytes, the ADB block's hash (apk-tools' src/adb.c).
const (
	hashSHA512      = 4
	keyIDSize       = 16
	signatureHeader = 2 + keyIDSize
	maxSignature    = 2048
)

// KeyID names a key in a signature: the first bytes of SHA-512 of the point,
// uncompressed. It fails for a key that is not on P-256.
func KeyID(key *ecdsa.PublicKey) ([keyIDSize]byte, error) {
	var id [keyIDSize]byte
	if key == nil || key.Curve != elliptic.P256() {
		return id, errors.New("adb: the key is not an EC key on P-256")
	}
	point, err := key.Bytes()
	if err != nil {
		return id, fmt.Errorf("adb: bad public key: %w", err)
	}
	sum := sha512.Sum512(point)
	copy(id[:], sum[:])
	return id, nil
}

// signedDigest is what ECDSA signs, for the first 18 bytes of a signature.
func (c *Container) signedDigest(header []byte) []byte {
	sum := sha512.Sum512(c.ADB)
	h := sha512.New()
	h.Write([]byte(c.Schema))
	h.Write(header)
	h.Write(sum[:])
	return h.Sum(nil)
}

// Sign adds a signature, as apk adbsign does. The same key and content give
// the same one (RFC 6979). The file's data must be there before an index entry
// is made of it, since the index records the file's size.
func (c *Container) Sign(key *ecdsa.PrivateKey) error {
	id, err := KeyID(&key.PublicKey)
	if err != nil {
		return err
	}
	sig := append([]byte{0, hashSHA512}, id[:]...)
	asn1, err := key.Sign(nil, c.signedDigest(sig), crypto.SHA512) // no random source: deterministic
	if err != nil {
		return fmt.Errorf("adb: sign: %w", err)
	}
	c.Signatures = append(c.Signatures, append(sig, asn1...))
	return nil
}

// Verify returns nil if one of the keys signed the metadata, else ErrUntrusted.
// It does not look at the contents of files: Package compares their hashes.
func (c *Container) Verify(keys ...*ecdsa.PublicKey) error {
	for _, sig := range c.Signatures {
		if c.verifyOne(sig, keys) == nil {
			return nil
		}
	}
	return ErrUntrusted
}

func (c *Container) verifyOne(sig []byte, keys []*ecdsa.PublicKey) error {
	if len(sig) <= signatureHeader || len(sig) > maxSignature || sig[0] != 0 || sig[1] != hashSHA512 {
		return ErrUntrusted
	}
	header, asn1 := sig[:signatureHeader], sig[signatureHeader:]
	for _, key := range keys {
		id, err := KeyID(key)
		if err != nil {
			return err
		}
		if bytes.Equal(id[:], header[2:]) && ecdsa.VerifyASN1(key, c.signedDigest(header), asn1) {
			return nil
		}
	}
	return ErrUntrusted
}

// ParsePublicKey reads a P-256 key as it lies in /etc/apk/keys: PEM, "PUBLIC
// KEY".
func ParsePublicKey(text []byte) (*ecdsa.PublicKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PUBLIC KEY" {
		return nil, errors.New("adb: no PEM public key")
	}
	k, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("adb: public key: %w", err)
	}
	key, _ := k.(*ecdsa.PublicKey)
	if _, err := KeyID(key); err != nil {
		return nil, err
	}
	return key, nil
}

// ParsePrivateKey reads a P-256 key in PEM, either form that openssl writes:
// "EC PRIVATE KEY", also after "EC PARAMETERS", or "PRIVATE KEY". It must not
// have a password.
func ParsePrivateKey(text []byte) (*ecdsa.PrivateKey, error) {
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return nil, errors.New("adb: no PEM private key")
		}
		text = rest
		var key *ecdsa.PrivateKey
		var err error
		switch block.Type {
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		case "PRIVATE KEY":
			var k any
			k, err = x509.ParsePKCS8PrivateKey(block.Bytes)
			key, _ = k.(*ecdsa.PrivateKey)
		default:
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("adb: private key: %w", err)
		}
		if key == nil || key.Curve != elliptic.P256() {
			return nil, errors.New("adb: the key is not an EC key on P-256")
		}
		return key, nil
	}
}

// GenerateKey makes a key pair in PEM; both can be read by apk-tools and
// openssl.
func GenerateKey() (private, public []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	private = pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
	if der, err = x509.MarshalPKIXPublicKey(&key.PublicKey); err != nil {
		return nil, nil, err
	}
	return private, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}
