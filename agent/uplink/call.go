package uplink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
)

// Limits of a call.
const (
	defaultTimeout = 20 * time.Second // when the caller does not say how long it waits
	longestTimeout = 60 * time.Second
	busyRetry      = 1 * time.Second
	maxMessage     = 1024 // bytes of an error's message
)

// call starts the work on a call, or answers that there is too much of it.
func (l *link) call(ctx context.Context, m wire.Message) error {
	l.mu.Lock()
	_, open := l.calls[m.ID]
	l.mu.Unlock()
	if open {
		return protocolFailure("call %d is still open", m.ID)
	}
	select {
	case l.up.slots <- struct{}{}:
	default:
		return l.reply(wire.AppendError(nil, m.ID, &usage.Error{
			Kind:       usage.Busy,
			Message:    fmt.Sprintf("router works on %d calls already", wire.MaxCalls),
			RetryAfter: busyRetry,
		}))
	}
	timeout := m.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(wire.WithPeer(ctx, l), min(timeout, longestTimeout))
	l.mu.Lock()
	l.calls[m.ID] = cancel
	l.mu.Unlock()
	// Ends when the handler does; run waits for it, but not for ever.
	go func() {
		defer cancel()
		frame := l.work(ctx, m)
		l.mu.Lock()
		delete(l.calls, m.ID)
		l.mu.Unlock()
		if ctx.Err() == nil {
			select {
			case l.results <- frame: // and with it the slot
				return
			case <-ctx.Done():
			}
		}
		<-l.up.slots // nobody waits for the answer
	}()
	return nil
}

// cancel ends the work on a call that its caller gave up; it needs no answer.
func (l *link) cancel(params json.RawMessage) {
	var c wire.Cancel
	if json.Unmarshal(params, &c) != nil {
		return // as one for a call that is done
	}
	l.mu.Lock()
	cancel := l.calls[c.ID]
	l.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

// reply hands a short answer of the reader to the writer.
func (l *link) reply(frame []byte) error {
	select {
	case l.replies <- frame:
		return nil
	default:
		return &Failure{Cause: CauseSlow, Message: "relay asks faster than it reads", close: wire.CloseSlow}
	}
}

// work is the answer to a call, whole as a frame.
func (l *link) work(ctx context.Context, m wire.Message) []byte {
	result, err := l.handle(ctx, m)
	limit := l.limit - (wire.MaxFrame - wire.MaxResult)
	switch {
	case err == nil && len(result) == 0:
		result = json.RawMessage("null")
	case err == nil && len(result) > limit:
		err = usage.Errorf(usage.Invalid, "answer is %d bytes, over %s; ask with limit", len(result), sizeText(l.limit))
	}
	if err == nil {
		return wire.AppendResult(make([]byte, 0, len(result)+64), m.ID, result)
	}
	var e *usage.Error
	if !errors.As(err, &e) {
		e = &usage.Error{Kind: usage.KindOf(err), Message: err.Error(), Err: err}
	}
	if e.Kind == usage.Internal && ctx.Err() == nil {
		l.up.log.Error("call failed", "method", usage.Clean(m.Method, 64), "err", err)
	}
	return wire.AppendError(nil, m.ID, &usage.Error{
		Kind: e.Kind, Message: usage.Clean(e.Message, maxMessage), RetryAfter: e.RetryAfter,
	})
}

// handle calls the handler; its panic is this call's failure alone.
func (l *link) handle(ctx context.Context, m wire.Message) (result json.RawMessage, err error) {
	defer func() {
		if p := recover(); p != nil {
			result, err = nil, fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	if m.Method == wire.MethodRotate && l.up.opts.SaveIdentity != nil {
		return l.up.rotate(m.Params) // the link's own business, whatever remote_access says
	}
	return l.up.opts.Handle(ctx, m.Method, m.Params)
}

func sizeText(n int) string {
	if n == wire.MaxFrame {
		return "1 MiB"
	}
	return fmt.Sprintf("%d bytes", n)
}

// idleWithin waits until no call is being worked on, by taking all slots and
// giving them back.
func (u *Uplink) idleWithin(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	taken := 0
	defer func() {
		for range taken {
			<-u.slots
		}
	}()
	for taken < cap(u.slots) {
		select {
		case u.slots <- struct{}{}:
			taken++
		case <-timer.C:
			return false
		}
	}
	return true
}

// askWithin is how long the relay may take to answer a call of ours.
const askWithin = 30 * time.Second

// ask calls the relay, one call at a time. The error is the relay's, of kind
// Timeout, or ctx's.
func (l *link) ask(ctx context.Context, method string, params json.RawMessage) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	answer := make(chan wire.Message, 1)
	l.mu.Lock()
	l.asked = max(l.asked, 1) + 1
	l.answer = answer
	frame := wire.AppendCall(make([]byte, 0, len(params)+128), l.asked, method, params, askWithin)
	l.mu.Unlock()
	if len(frame) > l.limit {
		return nil, fmt.Errorf("%s is %d bytes, over the relay's limit of %d", method, len(frame), l.limit)
	}
	select {
	case l.asks <- frame:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case m := <-answer:
		if m.Error != nil {
			return nil, m.Error
		}
		return m.Result, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// answered gives an answer to whoever asks, if it is the one.
func (l *link) answered(m wire.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if m.ID == l.asked && l.answer != nil {
		l.answer <- m
		l.answer = nil
	}
}
