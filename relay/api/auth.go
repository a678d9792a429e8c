package api

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/store"
)

const (
	// trustFor is how long a key that was looked up is not looked up again,
	// and so how long a revocation may take to work.
	trustFor = 2 * time.Second
	// maxTrusted bounds the keys remembered.
	maxTrusted = 1024
	// usedEvery is how often a key's last use is written down at most.
	usedEvery = time.Minute
)

// keyring opens the API for keys in force. It remembers keys for trustFor, so
// that a busy backend costs no look into the store per request.
type keyring struct {
	store Store

	mu      sync.Mutex // guards below
	trusted map[store.Hash]trust
	used    map[string]time.Time // by the key's id; not written down yet
}

type trust struct {
	key   store.Key
	until time.Time
}

func newKeyring(s Store) *keyring {
	return &keyring{store: s, trusted: make(map[store.Hash]trust), used: make(map[string]time.Time)}
}

// secretOf finds the key in a request: after Bearer (RFC 6750 section 2.1), or
// as the password of Basic (RFC 7617), which HTTP libraries make of
// https://netpilot:KEY@relay. It is "" if there is none.
func secretOf(r *http.Request) string {
	if _, password, ok := r.BasicAuth(); ok {
		return password
	}
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(secret)
}

// open finds the key of the secret; kind Unauthenticated if there is none in
// force.
func (k *keyring) open(ctx context.Context, secret string, now time.Time) (store.Key, error) {
	if secret == "" {
		return store.Key{}, usage.Errorf(usage.Unauthenticated,
			"an API key is needed; send it as Authorization: Bearer KEY (make one with netpilot-relay key create)")
	}
	hash := store.HashOf(secret)
	key, ok := k.remembered(hash, now)
	if !ok {
		var err error
		if key, err = k.lookUp(ctx, hash, now); err != nil {
			return store.Key{}, err
		}
	}
	if !key.InForce(now) {
		return store.Key{}, errBadKey()
	}
	return key, nil
}

// mayDo tells a key without the scope so. It is asked before anything is
// looked up, so that it says nothing of what exists.
func mayDo(key *store.Key, need store.Scope) error {
	if key.Scope.Includes(need) {
		return nil
	}
	return usage.Errorf(usage.Forbidden, "this API key is for %s only and this needs %s; make one with netpilot-relay key create --scope %s",
		key.Scope, need, need)
}

// maySee refuses routers of other tenants, as one that is not enrolled.
func maySee(key *store.Key, router usage.RouterID) error {
	if key.Sees(router) {
		return nil
	}
	return routerNotFound(errNoRouter(router))
}

func errNoRouter(router usage.RouterID) error {
	return usage.Errorf(usage.NotFound, "router %s is not enrolled here", router.Short())
}

func errBadKey() error {
	return usage.Errorf(usage.Unauthenticated, "this API key is unknown, expired or revoked; make a new one with netpilot-relay key create")
}

// trusts tells whether the secret was found to be a key's lately.
func (k *keyring) trusts(secret string, now time.Time) bool {
	key, ok := k.remembered(store.HashOf(secret), now)
	return ok && key.InForce(now)
}

func (k *keyring) remembered(hash store.Hash, now time.Time) (store.Key, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	t, ok := k.trusted[hash]
	return t.key, ok && now.Before(t.until)
}

// lookUp reads the key from the store and remembers it and its use. It writes
// nothing: a store that cannot be written must not hold up a request.
func (k *keyring) lookUp(ctx context.Context, hash store.Hash, now time.Time) (store.Key, error) {
	key, err := k.store.KeyByHash(ctx, hash, now)
	if err != nil {
		if usage.KindOf(err) == usage.NotFound {
			err = errBadKey()
		}
		return store.Key{}, err
	}
	k.mu.Lock()
	if len(k.trusted) >= maxTrusted {
		clear(k.trusted)
	}
	k.trusted[hash] = trust{key: key, until: now.Add(trustFor)}
	if key.InForce(now) && now.Sub(key.LastUsed) >= usedEvery {
		k.used[key.ID] = now
	}
	k.mu.Unlock()
	return key, nil
}

// writeUses writes down which keys were used; what fails is tried again.
func (k *keyring) writeUses(ctx context.Context) error {
	k.mu.Lock()
	list := k.used
	k.used = make(map[string]time.Time)
	k.mu.Unlock()
	var failed error
	for id, at := range list {
		if failed == nil {
			if failed = k.store.KeyUsed(ctx, id, at); failed == nil {
				continue
			}
		}
		k.mu.Lock()
		if _, newer := k.used[id]; !newer {
			k.used[id] = at
		}
		k.mu.Unlock()
	}
	return failed
}
