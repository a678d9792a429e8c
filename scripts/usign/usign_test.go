package usign

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// counting gives the bytes 0, 1, 2, ...: a key everyone knows.
type counting struct{ next byte }

func (c *counting) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = c.next
		c.next++
	}
	return len(p), nil
}

func knownKey(t testing.TB) *SecretKey {
	t.Helper()
	k, err := GenerateKey(&counting{})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

const (
	message = "Package: hello\n"
	// usign wrote this of the message with the text of knownKey.
	signature = `untrusted comment: signed by key 0001020304050607
RWQAAQIDBAUGBz3PfdYfqOmKWim8tnYUYD0ygQ3GgMQtecKUWMBK4ecPDs3MQYBlU83eXpz3cX84wMkU9d4UEkf2F1SiJcVqowo=
`
	public = `untrusted comment: public key 0001020304050607
RWQAAQIDBAUGB0vd7lUO9zTK4E7uQq5jo3nTEStrpzr1NWiNcsmagoRg
`
)

func TestVectors(t *testing.T) {
	k := knownKey(t)
	if got := string(k.Sign([]byte(message))); got != signature {
		t.Errorf("got %s, want %s", got, signature)
	}
	if got := string(k.Public().Text()); got != public {
		t.Errorf("got %s, want %s", got, public)
	}
	if got := k.ID.Fingerprint(); got != "0001020304050607" {
		t.Errorf("got fingerprint %s", got)
	}
}

func TestTextsParse(t *testing.T) {
	k, err := GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := ParseSecretKey(k.Text())
	if err != nil || secret.ID != k.ID || !secret.Key.Equal(k.Key) {
		t.Errorf("got %v, %v; want the key that was written", secret, err)
	}
	p, err := ParsePublicKey(k.Public().Text())
	if err != nil || p.ID != k.ID || !p.Key.Equal(k.Key.Public()) {
		t.Errorf("got %v, %v; want the key that was written", p, err)
	}
	if id, err := Signer(k.Sign(nil)); err != nil || id != k.ID {
		t.Errorf("got %x, %v; want %x", id, err, k.ID)
	}
}

func TestVerify(t *testing.T) {
	known := knownKey(t).Public()
	other, err := GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	impostor := &PublicKey{ID: known.ID, Key: other.Public().Key}
	for _, c := range []struct {
		name    string
		message string
		keys    []*PublicKey
		want    error
	}{
		{"right", message, []*PublicKey{other.Public(), known}, nil},
		{"another message", message + " ", []*PublicKey{known}, ErrUntrusted},
		{"another key", message, []*PublicKey{other.Public()}, ErrUntrusted},
		{"another key of that ID", message, []*PublicKey{impostor}, ErrUntrusted},
		{"that ID twice", message, []*PublicKey{impostor, known}, nil},
		{"no key", message, nil, ErrUntrusted},
		{"empty key", message, []*PublicKey{{ID: known.ID}}, ErrUntrusted},
	} {
		if err := Verify([]byte(c.message), []byte(signature), c.keys...); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
}

func TestTamperedIsRefused(t *testing.T) {
	key := knownKey(t).Public()
	start := strings.Index(signature, "\n") + 1
	for i := start; i < len(signature)-1; i++ {
		for bit := range 8 {
			bad := []byte(signature)
			bad[i] ^= 1 << bit
			if err := Verify([]byte(message), bad, key); err == nil {
				t.Errorf("bit %d of byte %d changed and nobody noticed", bit, i)
			}
		}
	}
	secret := knownKey(t).Text()
	for i := bytes.IndexByte(secret, '\n') + 1; i < len(secret)-1; i++ {
		bad := bytes.Clone(secret)
		bad[i] ^= 1
		// salt and ID are not covered by the checksum
		if k, err := ParseSecretKey(bad); err == nil && !k.Key.Equal(knownKey(t).Key) {
			t.Errorf("byte %d of the secret key changed and nobody noticed", i)
		}
	}
}

func TestRefusedTexts(t *testing.T) {
	body := strings.SplitN(public, "\n", 2)[1]
	for name, text := range map[string]string{
		"empty":        "",
		"no comment":   body,
		"one line":     "untrusted comment: x",
		"bad base64":   "untrusted comment: x\n!!!!\n",
		"short":        "untrusted comment: x\nRWQ=\n",
		"three lines":  public + "x\n",
		"a signature":  signature,
		"a secret key": string(knownKey(t).Text()),
		"too long":     "untrusted comment: " + strings.Repeat("x", maxText) + "\n" + body,
	} {
		if _, err := ParsePublicKey([]byte(text)); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: got %v, want ErrFormat", name, err)
		}
	}
	k := knownKey(t)
	b, err := decode(k.Text(), secretSize)
	if err != nil {
		t.Fatal(err)
	}
	b[roundsAt+3] = 42
	if _, err := ParseSecretKey(text("x", b)); err == nil {
		t.Error("a key with a password was taken")
	}
	if _, err := GenerateKey(strings.NewReader("few")); err == nil {
		t.Error("a key was made of three random bytes")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(public))
	f.Add([]byte(signature))
	f.Add(knownKey(f).Text())
	key := knownKey(f).Public()
	f.Fuzz(func(t *testing.T, data []byte) {
		if k, err := ParsePublicKey(data); err == nil {
			if again, err := ParsePublicKey(k.Text()); err != nil || again.ID != k.ID || !again.Key.Equal(k.Key) {
				t.Errorf("a public key changes when written: %v", err)
			}
		}
		if k, err := ParseSecretKey(data); err == nil {
			if again, err := ParseSecretKey(k.Text()); err != nil || !again.Key.Equal(k.Key) {
				t.Errorf("a secret key changes when written: %v", err)
			}
			if len(k.Sign(nil)) == 0 {
				t.Error("no signature")
			}
		}
		_ = Verify([]byte(message), data, key)
	})
}

// The real usign takes what is written here, and the other way round.
func TestUsignAgrees(t *testing.T) {
	tool, err := exec.LookPath("usign")
	if err != nil {
		t.Skip("usign is not installed")
	}
	dir := t.TempDir()
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.Command(tool, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("usign %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	read := func(name string) []byte {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	write := func(name string, b []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("m", []byte(message))

	known := knownKey(t)
	write("our.sec", known.Text())
	write("our.pub", known.Public().Text())
	write("our.sig", known.Sign([]byte(message)))
	run("-V", "-m", "m", "-p", "our.pub", "-x", "our.sig")
	run("-S", "-m", "m", "-s", "our.sec", "-x", "again.sig")
	if got := string(read("again.sig")); got != signature {
		t.Errorf("usign signs %s, want %s", got, signature)
	}
	for _, args := range [][]string{{"-p", "our.pub"}, {"-s", "our.sec"}, {"-x", "our.sig"}} {
		if got := run(append([]string{"-F"}, args...)...); got != known.ID.Fingerprint() {
			t.Errorf("usign -F %v: got %s, want %s", args, got, known.ID.Fingerprint())
		}
	}

	run("-G", "-s", "its.sec", "-p", "its.pub")
	run("-S", "-m", "m", "-s", "its.sec", "-x", "its.sig")
	p, err := ParsePublicKey(read("its.pub"))
	if err != nil {
		t.Fatal(err)
	}
	if err := Verify([]byte(message), read("its.sig"), p); err != nil {
		t.Error(err)
	}
	k, err := ParseSecretKey(read("its.sec"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(k.Sign([]byte(message)), read("its.sig")) {
		t.Error("usign and we sign differently with its key")
	}
	if !ed25519.PublicKey(p.Key).Equal(k.Key.Public()) || run("-F", "-p", "its.pub") != p.ID.Fingerprint() {
		t.Error("usign's two halves are read as different keys")
	}
}
