package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	secret   = Secret("Pj1rJw8k0m5cX2b7uQyYtS3nVhLfGdAeRzKiOo9WxTE")
	routerID = "dba5166ad9db9ba648c1032ebbd34dcd0d085b50023b839ef5c68ca1db93a563"
)

func TestIdentity(t *testing.T) {
	dir := t.TempDir()
	if _, err := LoadIdentity(dir); !errors.Is(err, ErrNotEnrolled) {
		t.Errorf("got %v, want ErrNotEnrolled", err)
	}
	relay, err := ParseRelay("wss://Relay.example.net:8443/base/")
	if err != nil {
		t.Fatal(err)
	}
	want := Identity{Relay: relay, RouterID: routerID, Secret: secret}
	for _, want.Next = range []Secret{"", "npr_the-next-secret"} { // also over an old one
		if err := SaveIdentity(dir, want); err != nil {
			t.Fatal(err)
		}
	}
	got, err := LoadIdentity(dir)
	if err != nil || got.Relay.String() != "https://relay.example.net:8443/base" || got.RouterID != routerID || got.Secret != secret || got.Next != "npr_the-next-secret" || got.Old != "" {
		t.Errorf("got %+v, %v", got, err)
	}
	path := filepath.Join(dir, IdentityPath)
	for p, mode := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		if info, err := os.Stat(p); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: got %v, %v, want %v", p, info.Mode(), err, mode)
		}
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadIdentity(dir); err == nil || !strings.HasSuffix(err.Error(), "run: chmod 600 "+path) {
		t.Errorf("got %v, want advice to chmod", err)
	}
	if err := SaveIdentity(dir, Identity{Relay: relay, RouterID: routerID}); err == nil {
		t.Error("saved an identity without a secret")
	}
}

func TestLoadIdentityErrors(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"", "not a whole JSON object"},
		{`{"relay":"https://r","router_id":"` + routerID + `","secret":"` + string(secret), "not a whole JSON object"},
		{`{"relay":"http://r","router_id":"` + routerID + `","secret":"` + string(secret) + `"}`, `relay "http://r"`},
		{`{"relay":"https://r","router_id":"x","secret":"` + string(secret) + `"}`, `"x" is not a router id`},
		{`{"relay":"https://r","router_id":"` + routerID + `","secret":"a b"}`, "the secret is missing or damaged"},
		{`{"relay":"https://r","router_id":"` + routerID + `","secret":"` + string(secret) + `\r\nX: y"}`, "the secret is missing or damaged"},
	} {
		_, err := LoadIdentity(root(t, map[string]string{IdentityPath: tt.text}))
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "enrol again: netpilot-agent enroll") {
			t.Errorf("%s: got %v, want %s", tt.text, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), string(secret)) {
			t.Errorf("the error has the secret: %v", err)
		}
	}
}

func TestSecretHides(t *testing.T) {
	var out bytes.Buffer
	relay, err := ParseRelay("https://r")
	if err != nil {
		t.Fatal(err)
	}
	id := Identity{relay, routerID, secret, secret, secret}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		fmt.Fprintf(&out, format, id)
		fmt.Fprintf(&out, format, secret)
	}
	if err := json.NewEncoder(&out).Encode(id); err != nil {
		t.Fatal(err)
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "id", id, "secret", secret)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "id", id, "secret", secret)
	if s := out.String(); strings.Contains(s, string(secret)) || strings.Contains(s, fmt.Sprintf("%x", string(secret))) {
		t.Errorf("the secret shows in %s", s)
	}
	if secret.Reveal() != string(secret) {
		t.Error("Reveal hides")
	}
}

func TestParseRelay(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"https://relay.example.net", "https://relay.example.net"},
		{" wss://relay.example.net/ \n", "https://relay.example.net"},
		{"HTTPS://Relay.Example.Net:8443/a/b//", "https://relay.example.net:8443/a/b"},
		{"https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"},
		{"http://127.0.0.1:8080", "http://127.0.0.1:8080"},
		{"ws://[::1]:8080", "http://[::1]:8080"},
		{"http://localhost", "http://localhost"},
		{"http://relay.example.net", ""},
		{"http://127.0.0.1.example.net", ""},
		{"http://localhost.example.net", ""},
		{"http://192.168.1.1", ""},
		{"ftp://relay.example.net", ""},
		{"relay.example.net", ""},
		{"relay.example.net:8443", ""},
		{"//relay.example.net", ""},
		{"https://", ""},
		{"https:relay.example.net", ""},
		{"https://:443", ""},
		{"https://relay.example.net:", ""},
		{"https://relay.example.net:0", ""},
		{"https://relay.example.net:65536", ""},
		{"https://relay.example.net:https", ""},
		{"https://relay.example.net?x=1", ""},
		{"https://relay.example.net?", ""},
		{"https://relay.example.net#x", ""},
		{"https://relay.example.net#", ""},
		{"https://user:passw0rd@relay.example.net", ""},
		{"https://user:passw0rd@relay.example.net:port", ""},
		{"https://relay .example.net", ""},
		{"https://relay.example.net/" + strings.Repeat("x", maxURL), ""},
		{"", ""},
	} {
		u, err := ParseRelay(tt.text)
		if tt.want == "" {
			if err == nil {
				t.Errorf("%q was taken as %v", tt.text, u)
			} else if strings.Contains(err.Error(), "passw0rd") {
				t.Errorf("%q: the error has the password: %v", tt.text, err)
			}
			continue
		}
		if err != nil || u.String() != tt.want {
			t.Errorf("%q: got %v, %v, want %s", tt.text, u, err, tt.want)
		}
	}
}

func TestLastGood(t *testing.T) {
	dir := t.TempDir()
	if got := LastGood(dir); !got.IsZero() {
		t.Errorf("got %v, want none", got)
	}
	want := time.Date(2026, 11, 23, 18, 0, 0, 0, time.UTC)
	if err := SaveLastGood(dir, want.In(time.FixedZone("x", 3600))); err != nil {
		t.Fatal(err)
	}
	if got := LastGood(dir); !got.Equal(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := LastGood(root(t, map[string]string{lastGoodPath: "2026-1"})); !got.IsZero() {
		t.Errorf("damaged: got %v, want none", got)
	}
}

func FuzzIdentity(f *testing.F) {
	f.Add([]byte(`{"relay":"https://r","router_id":"` + routerID + `","secret":"` + string(secret) + `"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		id, err := parseIdentity(text)
		if err == nil && (id.Relay.Host == "" || len(id.RouterID) != 64 || !isSecret(id.Secret.Reveal())) {
			t.Errorf("%q became %+v", text, id)
		}
	})
}
