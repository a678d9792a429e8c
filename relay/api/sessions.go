package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/store"
)

const (
	// sessionIdle is how long a session lasts without a request.
	sessionIdle = 30 * time.Minute
	// sweepEvery is how often idle sessions are ended and uses written down.
	sweepEvery = 30 * time.Second
	// maxSessions bounds the sessions of all keys together.
	maxSessions = 10_000
	// maxSessionID bounds a session's id in bytes; it is the backend's choice.
	maxSessionID = 128
)

// sessionStore keeps sessions; see store.Store.
type sessionStore interface {
	Sessions(ctx context.Context) ([]store.Session, error)
	SaveSessions(ctx context.Context, sessions []store.Session) error
	DropSessions(ctx context.Context, sessions []store.Session) error
}

// sessions are those of all keys. They live in memory; starts and ends are
// written down at once, uses at each sweep.
type sessions struct {
	store sessionStore
	// writing holds a token while something is written, which may take long:
	// uses of sessions go on meanwhile. It is taken before mu.
	writing chan struct{}

	mu     sync.Mutex // guards below
	loaded bool
	active map[sessionKey]*store.Session
	used   map[sessionKey]bool // since it was written down
}

type sessionKey struct{ key, id string }

func newSessions(s sessionStore) *sessions {
	return &sessions{store: s, writing: make(chan struct{}, 1)}
}

// write waits for its turn to write, which ends with done.
func (s *sessions) write(ctx context.Context) (done func(), _ error) {
	select {
	case s.writing <- struct{}{}:
		return func() { <-s.writing }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the sessions to be written: %w", ctx.Err())
	}
}

// loadLocked reads what a relay before this one knew, once.
func (s *sessions) loadLocked(ctx context.Context) error {
	if s.loaded {
		return nil
	}
	list, err := s.store.Sessions(ctx)
	if err != nil {
		return fmt.Errorf("read the sessions: %w", err)
	}
	s.active, s.used = make(map[sessionKey]*store.Session), make(map[sessionKey]bool)
	for _, one := range list {
		s.active[sessionKey{one.Key, one.ID}] = &one
	}
	s.loaded = true
	return nil
}

func (s *sessions) findLocked(k sessionKey, now time.Time) *store.Session {
	one := s.active[k]
	if one == nil || now.Sub(one.UsedAt) >= sessionIdle {
		return nil
	}
	return one
}

// use counts a request in the key's session; kind SESSION_INVALID if it is
// not active.
func (s *sessions) use(ctx context.Context, key, id string, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.loadLocked(ctx); err != nil {
		return err
	}
	k := sessionKey{key, id}
	one := s.findLocked(k, now)
	if one == nil {
		return errSession()
	}
	one.UsedAt = now
	s.used[k] = true
	return nil
}

// start opens a session. Of one that is active it says so, unless it is to
// begin anew.
func (s *sessions) start(ctx context.Context, key, id string, restart bool, now time.Time) error {
	done, err := s.write(ctx)
	if err != nil {
		return err
	}
	defer done()
	k := sessionKey{key, id}
	if err := s.mayStart(ctx, k, restart, now); err != nil {
		return err
	}
	one := store.Session{ID: id, Key: key, StartedAt: now, UsedAt: now}
	if err := s.store.SaveSessions(ctx, []store.Session{one}); err != nil {
		return fmt.Errorf("write a session down: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active[k] = &one
	delete(s.used, k)
	return nil
}

func (s *sessions) mayStart(ctx context.Context, k sessionKey, restart bool, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.loadLocked(ctx); err != nil {
		return err
	}
	if s.findLocked(k, now) != nil && !restart {
		return &failure{status: http.StatusBadRequest, code: "SESSION_ALREADY_ACTIVE", message: "Session is already active"}
	}
	if s.active[k] == nil && len(s.active) >= maxSessions {
		return usage.Errorf(usage.Busy, "%d sessions are open; end some", maxSessions)
	}
	return nil
}

// end closes a session that is active.
func (s *sessions) end(ctx context.Context, key, id string, now time.Time) error {
	done, err := s.write(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := s.use(ctx, key, id, now); err != nil {
		return err
	}
	if err := s.store.DropSessions(ctx, []store.Session{{ID: id, Key: key}}); err != nil {
		return fmt.Errorf("forget a session: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgetLocked(sessionKey{key, id})
	return nil
}

func (s *sessions) forgetLocked(k sessionKey) {
	delete(s.active, k)
	delete(s.used, k)
}

// list gives the active sessions of the key, or of all keys for "", the most
// recently used first.
func (s *sessions) list(ctx context.Context, key string, now time.Time) ([]store.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.loadLocked(ctx); err != nil {
		return nil, err
	}
	list := []store.Session{}
	for k, one := range s.active {
		if (key == "" || k.key == key) && s.findLocked(k, now) != nil {
			list = append(list, *one)
		}
	}
	slices.SortFunc(list, func(a, b store.Session) int { return b.UsedAt.Compare(a.UsedAt) })
	return list, nil
}

// sweep ends idle sessions and writes down which were used.
func (s *sessions) sweep(ctx context.Context, now time.Time) error {
	done, err := s.write(ctx)
	if err != nil {
		return err
	}
	defer done()
	idle, used, err := s.changed(ctx, now)
	if err != nil {
		return err
	}
	if len(idle) > 0 {
		if err := s.store.DropSessions(ctx, idle); err != nil {
			return fmt.Errorf("forget idle sessions: %w", err)
		}
	}
	if len(used) > 0 {
		if err := s.store.SaveSessions(ctx, used); err != nil {
			return fmt.Errorf("write sessions down: %w", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range idle {
		s.forgetLocked(sessionKey{one.Key, one.ID})
	}
	for _, one := range used {
		k := sessionKey{one.Key, one.ID}
		if still := s.active[k]; still != nil && still.UsedAt.Equal(one.UsedAt) { // else it was used meanwhile
			delete(s.used, k)
		}
	}
	return nil
}

// changed are the sessions that are idle, and those used since the last sweep.
func (s *sessions) changed(ctx context.Context, now time.Time) (idle, used []store.Session, _ error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.loadLocked(ctx); err != nil {
		return nil, nil, err
	}
	for k, one := range s.active {
		switch {
		case s.findLocked(k, now) == nil:
			idle = append(idle, *one)
		case s.used[k]:
			used = append(used, *one)
		}
	}
	return idle, used, nil
}
