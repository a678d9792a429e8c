package usage

import (
	"cmp"
	"time"
)

// Rates are what the devices moved between two refreshes of nlbwmon, by the
// second. nlbwmon's counters move only when it refreshes: a rate is the mean
// over Seconds, and stays until the next refresh.
type Rates struct {
	Timestamp      time.Time  `json:"timestamp"`
	AsOf           *time.Time `json:"as_of"`   // when nlbwmon refreshed; nil: no two refreshes were seen yet
	Seconds        float64    `json:"seconds"` // between the two refreshes; 0 with AsOf nil
	RefreshSeconds float64    `json:"refresh_seconds"`
	Stale          bool       `json:"stale,omitempty"` // nlbwmon has not refreshed when it should have; no rates
	Devices        []Rate     `json:"devices"`         // those that moved anything, fastest first, at most MaxRates
	TotalDevices   int        `json:"total_devices"`
	Rx             uint64     `json:"total_rx_bytes_per_second"` // of all traffic, also without a device
	Tx             uint64     `json:"total_tx_bytes_per_second"`
}

// Rate is one device's, in bytes per second.
type Rate struct {
	MAC      MAC    `json:"mac"`
	Hostname string `json:"hostname"` // "" if unknown
	Alias    string `json:"alias,omitempty"`
	Vendor   string `json:"vendor,omitempty"`
	Rx       uint64 `json:"rx_bytes_per_second"`
	Tx       uint64 `json:"tx_bytes_per_second"`
}

// Name is what to call the device: alias, hostname, vendor, or "".
func (r *Rate) Name() string { return cmp.Or(r.Alias, r.Hostname, r.Vendor) }

// MaxRates bounds the devices of one Rates, so that it stays some kilobytes.
const MaxRates = 64
