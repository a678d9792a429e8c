package metrics

import (
	"context"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/netpilot/netpilot/relay/store"
)

// UsageStore is what the usage metrics look up; see store.Store.
type UsageStore interface {
	DeviceCounters(ctx context.Context, limit int) ([]store.DeviceCounter, int, error)
}

// noDevice is the label of what no device was found for.
const noDevice = "other"

// usageCounters tells what each device of each router moved.
type usageCounters struct {
	store           UsageStore
	most            int
	rx, tx, leftOut *prometheus.Desc
}

// UsageHandler answers with a pair of counters for each device of each router,
// at most that many devices, those that came first. They never go down: the
// store keeps them. A store that does not answer is a scrape that fails.
func UsageHandler(s UsageStore, most int) http.Handler {
	labels := []string{"router", "device"}
	registry := prometheus.NewRegistry()
	registry.MustRegister(&usageCounters{
		store:   s,
		most:    most,
		rx:      prometheus.NewDesc("netpilot_usage_rx_bytes_total", "Bytes to the device in closed buckets of history; other is what no device was found for.", labels, nil),
		tx:      prometheus.NewDesc("netpilot_usage_tx_bytes_total", "Bytes from the device in closed buckets of history.", labels, nil),
		leftOut: prometheus.NewDesc("netpilot_usage_devices_left_out", "Devices beyond the limit of --metrics-usage; their counters go on and are not told.", nil, nil),
	})
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 2, ErrorHandling: promhttp.HTTPErrorOnError})
}

// Describe implements prometheus.Collector.
func (u *usageCounters) Describe(out chan<- *prometheus.Desc) {
	out <- u.rx
	out <- u.tx
	out <- u.leftOut
}

// Collect implements prometheus.Collector.
func (u *usageCounters) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), collectWithin)
	defer cancel()
	list, total, err := u.store.DeviceCounters(ctx, u.most)
	if err != nil {
		out <- prometheus.NewInvalidMetric(u.leftOut, err)
		return
	}
	for i := range list {
		c := &list[i]
		device := noDevice
		if !c.MAC.IsZero() {
			device = c.MAC.String()
		}
		out <- prometheus.MustNewConstMetric(u.rx, prometheus.CounterValue, float64(c.RxBytes), string(c.Router), device)
		out <- prometheus.MustNewConstMetric(u.tx, prometheus.CounterValue, float64(c.TxBytes), string(c.Router), device)
	}
	out <- prometheus.MustNewConstMetric(u.leftOut, prometheus.GaugeValue, float64(total-len(list)))
}
