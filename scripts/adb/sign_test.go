package adb

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func newKey(t testing.TB) (private, public []byte) {
	t.Helper()
	private, public, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return private, public
}

// signedSample signs a sample with a new key and returns it with the public
// half.
func signedSample(t testing.TB, name string) (c *Container, public []byte) {
	t.Helper()
	private, public := newKey(t)
	key, err := ParsePrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	c = sample(t, name)
	c.Signatures = nil
	if err := c.Sign(key); err != nil {
		t.Fatal(err)
	}
	return c, public
}

func TestVerify(t *testing.T) {
	key := sampleKey(t)
	_, public := newKey(t)
	other, err := ParsePublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"package-signed.apk", "minimal-signed.apk", "packages.adb"} {
		c := sample(t, name)
		if err := c.Verify(other, key); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := c.Verify(other); !errors.Is(err, ErrUntrusted) {
			t.Errorf("%s by another key: got %v, want ErrUntrusted", name, err)
		}
		if err := c.Verify(); !errors.Is(err, ErrUntrusted) {
			t.Errorf("%s by no key: got %v, want ErrUntrusted", name, err)
		}
	}
	if err := sample(t, "package.apk").Verify(key); !errors.Is(err, ErrUntrusted) {
		t.Errorf("unsigned: got %v, want ErrUntrusted", err)
	}
}

func TestSignedAsASchemaIsForThatSchemaOnly(t *testing.T) {
	c := sample(t, "packages.adb")
	c.Schema = SchemaPackage
	if err := c.Verify(sampleKey(t)); !errors.Is(err, ErrUntrusted) {
		t.Errorf("got %v, want ErrUntrusted", err)
	}
}

func TestSignIsDeterministic(t *testing.T) {
	c, public := signedSample(t, "package.apk")
	key, err := ParsePublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Verify(key); err != nil {
		t.Error(err)
	}
	private, _ := newKey(t)
	k, err := ParsePrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	var files [2][]byte
	for i := range files {
		p, err := samplePackage(t, "package.apk").Container()
		if err == nil {
			err = p.Sign(k)
		}
		if err == nil {
			files[i], err = p.Compressed()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(files[0], files[1]) {
		t.Error("two writes differ")
	}
}

// acceptable reads data the way a router would: parse, verify, unpack.
func acceptable(t testing.TB, data []byte) error {
	c, err := Parse(bytes.NewReader(data))
	if err != nil {
		return err
	}
	if err := c.Verify(sampleKey(t)); err != nil {
		return err
	}
	if c.Schema == SchemaIndex {
		_, err = c.Index()
	} else {
		_, err = c.Package()
	}
	return err
}

func TestTamperedIsRefused(t *testing.T) {
	for _, name := range []string{"minimal-signed.apk", "package-signed.apk", "packages.adb"} {
		t.Run(name, func(t *testing.T) {
			good := loose(t, name)
			if err := acceptable(t, good); err != nil {
				t.Fatal(err)
			}
			for i := range good {
				// the long file's contents are all alike: a few places are enough
				if i > 2200 && i < len(good)-64 && i%1999 != 0 {
					continue
				}
				bad := bytes.Clone(good)
				bad[i] ^= 1 << (i % 8)
				if err := acceptable(t, bad); err == nil {
					t.Errorf("byte %#x of %#x changed and nobody noticed", i, len(good))
				}
			}
			for i := 0; i < len(good); i += 1 + i/32 {
				if err := acceptable(t, good[:i]); err == nil {
					t.Errorf("cut to %d of %d bytes and nobody noticed", i, len(good))
				}
			}
			if err := acceptable(t, append(bytes.Clone(good), 0)); err == nil {
				t.Error("a byte too many and nobody noticed")
			}
		})
	}
}

// In a compressed file a change may leave what it inflates to as it was, such
// as one of the bits that fill the last byte, or how far back in a row of equal
// bytes a copy is taken from. No other change may pass.
func TestTamperedCompressedIsRefused(t *testing.T) {
	for _, name := range []string{"minimal-signed.apk", "package-signed.apk", "packages.adb"} {
		good, want := testdata(t, name), loose(t, name)
		for i := range good {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << (i % 8)
			if acceptable(t, bad) != nil {
				continue
			}
			if got, err := inflate(bad); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s: byte %d changed the contents and nobody noticed", name, i)
			}
		}
	}
}

func TestKeysInTheWrongForm(t *testing.T) {
	private, public := newKey(t)
	if _, err := ParsePrivateKey(public); err == nil {
		t.Error("a public key was taken for a private one")
	}
	if _, err := ParsePublicKey(private); err == nil {
		t.Error("a private key was taken for a public one")
	}
	if _, err := ParsePublicKey(nil); err == nil {
		t.Error("nothing was taken for a key")
	}
}

// openssl is what apk-tools signs and checks with.
func TestOpenSSLAgrees(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed")
	}
	dir := t.TempDir()
	run := func(args ...string) {
		t.Helper()
		cmd := exec.Command(openssl, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("openssl %v: %v\n%s", args, err, out)
		}
	}
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	run("ecparam", "-name", "prime256v1", "-genkey", "-out", "key.pem")
	run("ec", "-in", "key.pem", "-pubout", "-out", "key.pub.pem")
	run("pkcs8", "-topk8", "-nocrypt", "-in", "key.pem", "-out", "key.pkcs8.pem")
	public, err := ParsePublicKey(read("key.pub.pem"))
	if err != nil {
		t.Fatal(err)
	}
	c := sample(t, "packages.adb")
	for _, name := range []string{"key.pem", "key.pkcs8.pem"} {
		key, err := ParsePrivateKey(read(name))
		if err != nil {
			t.Fatal(err)
		}
		c.Signatures = nil
		if err := c.Sign(key); err != nil {
			t.Fatal(err)
		}
		if err := c.Verify(public); err != nil {
			t.Error(err)
		}
	}
	// the digest is of the last step; pkeyutl checks a signature over it
	sig := c.Signatures[0]
	for name, b := range map[string][]byte{"digest": c.signedDigest(sig[:signatureHeader]), "sig": sig[signatureHeader:]} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run("pkeyutl", "-verify", "-pubin", "-inkey", "key.pub.pem", "-in", "digest", "-sigfile", "sig")
}
