package main

import (
	"crypto/ecdsa"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/netpilot/netpilot/scripts/adb"
	"github.com/netpilot/netpilot/scripts/usign"
)

// The files of a key folder: a secret and a public key for each format.
const (
	usignSecret = "usign.sec"
	usignPublic = "usign.pub"
	apkSecret   = "apk.sec.pem"
	apkPublic   = "apk.pub.pem"
)

// keys sign a feed.
type keys struct {
	usign   *usign.SecretKey
	apk     *ecdsa.PrivateKey
	apkText []byte // the public half in PEM
}

// readKeys returns nil where there is no such folder.
func readKeys(dir string) (*keys, error) {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	read := func(name string) ([]byte, error) {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, fmt.Errorf("%w; make a pair in an empty folder: make keys", err)
		}
		return text, nil
	}
	var k keys
	text, err := read(usignSecret)
	if err != nil {
		return nil, err
	}
	if k.usign, err = usign.ParseSecretKey(text); err != nil {
		return nil, fmt.Errorf("%s: %w", usignSecret, err)
	}
	if text, err = read(apkSecret); err != nil {
		return nil, err
	}
	if k.apk, err = adb.ParsePrivateKey(text); err != nil {
		return nil, fmt.Errorf("%s: %w", apkSecret, err)
	}
	if k.apkText, err = read(apkPublic); err != nil {
		return nil, err
	}
	public, err := adb.ParsePublicKey(k.apkText)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", apkPublic, err)
	}
	if !public.Equal(&k.apk.PublicKey) {
		return nil, fmt.Errorf("%s and %s in %s do not belong together", apkSecret, apkPublic, dir)
	}
	return &k, nil
}

// makeKeys writes a pair for each format into dir and replaces none: routers
// that trust the old ones would refuse the feed.
func makeKeys(dir string, stdout io.Writer) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	secret, err := usign.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	private, public, err := adb.GenerateKey()
	if err != nil {
		return err
	}
	for _, f := range []struct {
		name    string
		mode    fs.FileMode
		content []byte
	}{
		{usignSecret, 0o600, secret.Text()}, {usignPublic, 0o644, secret.Public().Text()},
		{apkSecret, 0o600, private}, {apkPublic, 0o644, public},
	} {
		w, err := os.OpenFile(filepath.Join(dir, f.name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, f.mode)
		if err != nil {
			return fmt.Errorf("%w; keys are never replaced, choose an empty folder", err)
		}
		_, err = w.Write(f.content)
		if err = errors.Join(err, w.Sync(), w.Close()); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(stdout, "made two pairs of keys in %s: opkg's has the fingerprint %s\nkeep the .sec files safe: who has them can sign packages for every router that trusts this feed\n",
		dir, secret.ID.Fingerprint())
	return err
}
