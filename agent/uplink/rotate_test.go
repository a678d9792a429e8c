package uplink

import (
	"encoding/json"
	"errors"
	"net/url"
	"testing"

	"pgregory.net/rapid"

	"github.com/netpilot/netpilot/agent/config"
	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
)

// relayRow is what a relay keeps of a router's secrets, by their hashes.
type relayRow struct{ present, next, old string }

func (r *relayRow) knows(secret config.Secret) bool {
	hash := wire.HashSecret(secret.Reveal())
	return hash == r.present || hash == r.next || hash == r.old
}

func (r *relayRow) prove(hash string) {
	if hash == r.next {
		r.present, r.next, r.old = r.next, "", r.present
	}
}

// restart makes an agent that knows what is on its flash.
func restart(flash *config.Identity, fail *bool) *Uplink {
	return New(Options{Identity: *flash, SaveIdentity: func(id config.Identity) error {
		if *fail {
			return errors.New("no space left on device")
		}
		*flash = id
		return nil
	}})
}

// ask does one step of a rotation at the agent.
func ask(u *Uplink, p wire.RotateParams) (string, error) {
	params, _ := json.Marshal(p)
	result, err := u.rotate(params)
	if err != nil {
		return "", err
	}
	var reply wire.RotateReply
	if err := json.Unmarshal(result, &reply); err != nil {
		return "", err
	}
	return reply.Hash, nil
}

// However often a rotation is begun, cut off between any two of its steps,
// confirmed again, and however the agent restarts or its flash fails: one of
// the secrets on flash opens the door, and no overlap is needed for that.
func TestRotationNeverLocksOut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		flash := config.Identity{Relay: &url.URL{Scheme: "https", Host: "relay"}, Secret: "npr_first-secret-of-all"}
		relay := relayRow{present: wire.HashSecret("npr_first-secret-of-all")}
		fail := false
		u := restart(&flash, &fail)
		connect := func() {
			for _, secret := range u.secrets() {
				if relay.knows(secret) {
					relay.prove(wire.HashSecret(secret.Reveal()))
					u.proven(secret)
					return
				}
			}
			t.Fatalf("none of %d secrets opens the door", len(u.secrets()))
		}
		offered := ""
		t.Repeat(map[string]func(*rapid.T){
			"begin": func(*rapid.T) { // the answer may be lost: then the relay keeps nothing
				if hash, err := ask(u, wire.RotateParams{}); err == nil {
					offered = hash
				}
			},
			"keep": func(*rapid.T) { // the relay keeps what was offered last, as long as a link is up
				if offered != "" && offered != relay.present && offered != relay.old {
					relay.next = offered
				}
			},
			"confirm": func(t *rapid.T) { // the answer may be lost
				if relay.next == "" {
					return
				}
				hash, err := ask(u, wire.RotateParams{Confirm: relay.next})
				if err == nil && hash != relay.next {
					t.Fatalf("confirmed %s as %s", relay.next, hash)
				}
				if err == nil && rapid.Bool().Draw(t, "answered") {
					relay.prove(hash)
				}
			},
			"overlap ends": func(*rapid.T) { relay.old = "" },
			"flash":        func(t *rapid.T) { fail = rapid.Bool().Draw(t, "fails") },
			"power cut": func(*rapid.T) {
				u, offered = restart(&flash, &fail), ""
				connect()
			},
			"reconnect": func(*rapid.T) {
				offered = ""
				connect()
			},
			"": func(t *rapid.T) {
				for _, secret := range u.secrets() {
					if relay.knows(secret) {
						return
					}
				}
				t.Fatalf("no secret of the agent is known to the relay")
			},
		})
	})
}

func TestRotateRefuses(t *testing.T) {
	flash := config.Identity{Relay: &url.URL{Scheme: "https", Host: "relay"}, Secret: "npr_first-secret-of-all"}
	fail := true
	u := restart(&flash, &fail)
	if _, err := ask(u, wire.RotateParams{}); usage.KindOf(err) != usage.Unavailable {
		t.Errorf("flash is full: got %v, want kind unavailable", err)
	}
	if got := u.secrets(); len(got) != 1 || got[0] != flash.Secret {
		t.Errorf("flash is full: the secrets changed")
	}
	for _, params := range []string{`[]`, `{"confirm":7}`, `{"confirm":"00"}`} {
		if _, err := u.rotate(json.RawMessage(params)); usage.KindOf(err) != usage.Invalid {
			t.Errorf("params %s: got %v, want kind invalid", params, err)
		}
	}
}
