// Package usign makes and checks the Ed25519 signatures that opkg asks of a
// feed: Packages.sig beside Packages, in the format of OpenWrt's usign, which
// is that of OpenBSD's signify without passwords.
//
// A key or a signature is a text of two lines: a comment that nobody may trust,
// and base64 of the letters "Ed", the key's ID of 8 bytes, and the public key
// or the signature. A secret key has more before it. The ID says which key to
// look for, no more: a router keeps public keys in /etc/opkg/keys, each in a
// file named by Fingerprint.
package usign
