package wire

import (
	"crypto/sha256"
	"encoding/hex"
)

// MethodRotate is the call by which a router changes its secret, in two steps
// (PROTOCOL.md section 9).
const MethodRotate = "secret.rotate"

// RotateParams is the params of MethodRotate. Without Confirm the agent makes a
// new secret and stores it beside the present one, or finds the one that it
// has stored so; with Confirm, the hash it answered, the new one becomes the
// present one.
type RotateParams struct {
	Confirm string `json:"confirm,omitempty"`
}

// RotateReply is the answer to both.
type RotateReply struct {
	Hash string `json:"hash"` // HashSecret of the new secret
}

// HashSecret is how a secret is named without saying it: the lower-case hex
// SHA-256 of its text.
func HashSecret(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}
