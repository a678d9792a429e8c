package uplink

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"

	"github.com/netpilot/netpilot/agent/config"
	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
)

// secretPrefix begins a router's secret, so that one found lying about can be
// told.
const secretPrefix = "npr_"

// rotate answers wire.MethodRotate (PROTOCOL.md section 9). Whatever it answers
// is on flash before, so that no crash leaves the router without a secret that
// the relay knows.
func (u *Uplink) rotate(params json.RawMessage) (json.RawMessage, error) {
	var p wire.RotateParams
	if len(params) > 0 && json.Unmarshal(params, &p) != nil {
		return nil, usage.Errorf(usage.Invalid, "params of %s are not as they should be", wire.MethodRotate)
	}
	u.identityMu.Lock()
	defer u.identityMu.Unlock()
	id := u.identity
	var answer string
	switch {
	case p.Confirm == "":
		if id.Next == "" {
			var random [32]byte
			rand.Read(random[:]) // never fails, see crypto/rand
			id.Next = config.Secret(secretPrefix + base64.RawURLEncoding.EncodeToString(random[:]))
		}
		answer = wire.HashSecret(id.Next.Reveal())
	case id.Next != "" && p.Confirm == wire.HashSecret(id.Next.Reveal()):
		id.Secret, id.Next, id.Old = id.Next, "", id.Secret
		answer = p.Confirm
	case p.Confirm == wire.HashSecret(id.Secret.Reveal()): // said before, and the answer was lost
		answer = p.Confirm
	default:
		return nil, usage.Errorf(usage.Invalid, "no secret of this router has that hash")
	}
	if err := u.keepLocked(id); err != nil {
		return nil, err
	}
	return json.Marshal(wire.RotateReply{Hash: answer})
}

// keepLocked stores the identity if it changed.
func (u *Uplink) keepLocked(id config.Identity) error {
	if id == u.identity {
		return nil
	}
	if err := u.opts.SaveIdentity(id); err != nil {
		return usage.Errorf(usage.Unavailable, "the new secret could not be stored; the old one stays: %w", err)
	}
	u.identity = id
	return nil
}

// secrets lists what to dial with, the likeliest first.
func (u *Uplink) secrets() []config.Secret {
	u.identityMu.Lock()
	defer u.identityMu.Unlock()
	return u.identity.Secrets()
}

// proven notes with which secret the relay let the router in: one that was
// made for a rotation is the present one from now on.
func (u *Uplink) proven(secret config.Secret) {
	u.identityMu.Lock()
	defer u.identityMu.Unlock()
	id := u.identity
	if secret != id.Next || id.Next == "" {
		return
	}
	id.Secret, id.Next, id.Old = id.Next, "", id.Secret
	if err := u.keepLocked(id); err != nil { // it is on flash as the next one, and found again
		u.log.Warn("new secret not stored as the present one", "err", err)
		return
	}
	u.log.Info("the secret has changed")
}
