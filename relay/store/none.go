package store

import (
	"context"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
)

// ErrNoHistory is what a store without a history says of one.
var ErrNoHistory = usage.Errorf(usage.Unavailable, "this relay keeps no history (--store none); the router has its own")

// WithoutHistory is s for a relay that keeps nothing of what routers used:
// nothing is pushed, remembered or answered from it. What s has of earlier
// times stays there untouched.
func WithoutHistory(s Store) Store { return withoutHistory{s} }

type withoutHistory struct{ Store }

func (withoutHistory) Push(context.Context, *Push) (uint64, error) { return 0, ErrNoHistory }

func (withoutHistory) Replica(context.Context, usage.RouterID) (Replica, error) {
	return Replica{}, ErrNoHistory
}

func (withoutHistory) History(context.Context, usage.RouterID, HistoryQuery, func(usage.Slot) error) (HistoryInfo, error) {
	return HistoryInfo{}, ErrNoHistory
}

func (withoutHistory) Gaps(context.Context, usage.RouterID, usage.Range) ([]usage.Gap, error) {
	return nil, ErrNoHistory
}

func (withoutHistory) SetRetention(context.Context, usage.RouterID, Retention) error {
	return ErrNoHistory
}

func (withoutHistory) Retention(context.Context, usage.RouterID) (Retention, error) {
	return Retention{}, ErrNoHistory
}

func (withoutHistory) Tidy(context.Context, time.Time) error { return nil }

func (withoutHistory) CountDevices() {}

func (withoutHistory) DeviceCounters(context.Context, int) ([]DeviceCounter, int, error) {
	return nil, 0, ErrNoHistory
}

func (withoutHistory) KeepAnswer(usage.RouterID, string, Answer) {}

func (withoutHistory) LastAnswer(context.Context, usage.RouterID, string) (Answer, error) {
	return Answer{}, usage.Errorf(usage.NotFound, "%w", ErrNoHistory)
}
