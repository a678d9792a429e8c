package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"

	"github.com/netpilot/netpilot/pkg/atomicfile"
	"github.com/netpilot/netpilot/pkg/usage"
)

// IdentityPath is where the identity lies below the root. The directory
// outlives the package: a router that is installed anew needs no enrolment.
const IdentityPath = "/etc/netpilot/identity.json"

// ErrNotEnrolled says that the router has no identity.
var ErrNotEnrolled = errors.New("not enrolled; run: netpilot-agent enroll --relay URL --token-file FILE")

// Secret is a router's secret. It prints as a mark, in logs and JSON too.
type Secret string

const hidden = "[hidden]"

// Reveal is the secret itself, for the request that proves it.
func (s Secret) Reveal() string { return string(s) }

// String hides the secret.
func (Secret) String() string { return hidden }

// GoString hides the secret from %#v.
func (Secret) GoString() string { return hidden }

// LogValue hides the secret from slog.
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText hides the secret from JSON.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Identity is what enrolment gave the router.
type Identity struct {
	Relay    *url.URL // as of ParseRelay
	RouterID usage.RouterID
	Secret   Secret
	Next     Secret // made for a rotation that is not finished; "" for none
	Old      Secret // before the last rotation, for a relay restored from a backup of then; "" for none
}

// Secrets lists what may open the relay's door, the likeliest first.
func (id *Identity) Secrets() []Secret {
	list := []Secret{id.Secret}
	for _, s := range []Secret{id.Next, id.Old} {
		if s != "" {
			list = append(list, s)
		}
	}
	return list
}

type identityFile struct {
	Relay    string `json:"relay"`
	RouterID string `json:"router_id"`
	Secret   string `json:"secret"`
	Next     string `json:"next_secret,omitempty"`
	Old      string `json:"old_secret,omitempty"`
}

// LoadIdentity reads ROOT/etc/netpilot/identity.json. Without the file the
// error is ErrNotEnrolled. A file that others may read is refused: its secret
// must be taken for known.
func LoadIdentity(root string) (Identity, error) {
	path := filepath.Join(root, IdentityPath)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Identity{}, ErrNotEnrolled
	}
	if err != nil {
		return Identity{}, err // names the path
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Identity{}, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return Identity{}, fmt.Errorf("%s can be read by others (mode %04o); run: chmod 600 %s",
			path, info.Mode().Perm(), path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxSmall))
	if err != nil {
		return Identity{}, fmt.Errorf("read %s: %w", path, err)
	}
	id, err := parseIdentity(text)
	if err != nil {
		return Identity{}, fmt.Errorf("%s: %w; enrol again: netpilot-agent enroll --relay URL --token-file FILE", path, err)
	}
	return id, nil
}

// parseIdentity keeps what it says free of the file's text: it has the secret.
func parseIdentity(text []byte) (Identity, error) {
	var raw identityFile
	if json.Unmarshal(text, &raw) != nil {
		return Identity{}, errors.New("not a whole JSON object")
	}
	relay, err := ParseRelay(raw.Relay)
	if err != nil {
		return Identity{}, err
	}
	routerID, err := usage.ParseRouterID(raw.RouterID)
	if err != nil {
		return Identity{}, err
	}
	for _, s := range []string{raw.Secret, raw.Next, raw.Old} {
		if !isSecret(s) && (s != "" || raw.Secret == "") {
			return Identity{}, errors.New("the secret is missing or damaged")
		}
	}
	return Identity{Relay: relay, RouterID: routerID, Secret: Secret(raw.Secret), Next: Secret(raw.Next), Old: Secret(raw.Old)}, nil
}

// SaveIdentity writes ROOT/etc/netpilot/identity.json with mode 0600, and its
// directory with mode 0700 if that does not exist.
func SaveIdentity(root string, id Identity) error {
	if id.Relay == nil || !isSecret(id.Secret.Reveal()) {
		return errors.New("save identity: relay or secret is missing")
	}
	path := filepath.Join(root, IdentityPath)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("save identity: %w", err)
	}
	text, err := json.Marshal(identityFile{id.Relay.String(), string(id.RouterID), id.Secret.Reveal(), id.Next.Reveal(), id.Old.Reveal()})
	if err != nil {
		return fmt.Errorf("save identity: %w", err)
	}
	return atomicfile.Write(path, append(text, '\n'), 0o600)
}

// isSecret tells whether s can stand in an Authorization header: RFC 6750
// section 2.1 allows visible ASCII. 256 random bits need 43 characters.
func isSecret(s string) bool {
	if len(s) < 16 || len(s) > 512 {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}
