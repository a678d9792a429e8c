package api

import "time"

// The types here only describe what routers answer (PROTOCOL.md section 5):
// their replies go out undecoded. Newer agents may say more.

// Counters are the numbers in every row; rx is towards the device.
type Counters struct {
	BytesRx     uint64 `json:"bytes_rx"`
	BytesTx     uint64 `json:"bytes_tx"`
	TotalBytes  uint64 `json:"total_bytes"`
	PacketsRx   uint64 `json:"packets_rx"`
	PacketsTx   uint64 `json:"packets_tx"`
	Connections uint64 `json:"connections"`
}

// Head begins the usage answers.
type Head struct {
	Timestamp    time.Time  `json:"timestamp" doc:"When the router made the answer."`
	Source       string     `json:"source" doc:"What the router read: snapshot, socket, nlbw, file."`
	AsOf         *time.Time `json:"as_of" doc:"When nlbwmon last brought the numbers up to date; null if unknown."`
	Period       *string    `json:"period" doc:"First day of the accounting period; null if unknown."`
	AddressOrder string     `json:"address_order,omitempty" doc:"How IPv4 addresses were stored, where that is not the router's own order."`
	Damage       string     `json:"damage,omitempty" doc:"Why rows may be missing."`
}

// deviceItem is what one device moved.
type deviceItem struct {
	MAC      string   `json:"mac"`
	IP       *string  `json:"ip" doc:"Its current IPv4 address, else its busiest address."`
	IPs      []string `json:"ips" nullable:"false" doc:"Busiest first."`
	Hostname *string  `json:"hostname"`
	Counters
	LastSeen *time.Time `json:"last_seen"`
	_        struct{}   `additionalProperties:"true"`
}

type hostItem struct {
	IP *string `json:"ip"`
	Counters
	_ struct{} `additionalProperties:"true"`
}

type serviceItem struct {
	Service string `json:"service" doc:"Its name, or other."`
	Proto   int    `json:"proto,omitempty"`
	Port    int    `json:"port,omitempty"`
	Counters
	_ struct{} `additionalProperties:"true"`
}

// currentItem are the devices of a period.
type currentItem struct {
	Head
	Devices         []deviceItem `json:"devices" nullable:"false"`
	Unresolved      []hostItem   `json:"unresolved" nullable:"false" doc:"Addresses for which nlbwmon found no device."`
	NextOffset      int          `json:"next_offset,omitempty" doc:"Where to go on, if rows were left out."`
	TotalUnresolved int          `json:"total_unresolved"`
	TotalDevices    int          `json:"total_devices"`
	TotalBytes      uint64       `json:"total_bytes" doc:"Of all rows, on this page or not."`
	_               struct{}     `additionalProperties:"true"`
}

// oneDeviceItem is one device and its services.
type oneDeviceItem struct {
	Head
	Device        deviceItem    `json:"device"`
	Services      []serviceItem `json:"services" nullable:"false"`
	TotalServices int           `json:"total_services"`
	_             struct{}      `additionalProperties:"true"`
}

type recordItem struct {
	Family  *int    `json:"family" doc:"4 or 6; null if the source does not say."`
	Proto   int     `json:"proto"`
	Port    int     `json:"port"`
	MAC     string  `json:"mac"`
	IP      *string `json:"ip"`
	Service string  `json:"service"`
	Counters
	_ struct{} `additionalProperties:"true"`
}

// recordsItem are nlbwmon's rows.
type recordsItem struct {
	Head
	Records      []recordItem `json:"records" nullable:"false"`
	NextOffset   int          `json:"next_offset,omitempty"`
	TotalRecords int          `json:"total_records"`
	TotalBytes   uint64       `json:"total_bytes"`
	_            struct{}     `additionalProperties:"true"`
}

// statusItem is the agent's view of itself.
type statusItem struct {
	Timestamp    time.Time `json:"timestamp"`
	Version      string    `json:"version"`
	RouterID     string    `json:"router_id"`
	Hostname     string    `json:"hostname"`
	Timezone     string    `json:"timezone"`
	Privileges   string    `json:"privileges"`
	RemoteAccess string    `json:"remote_access"`
	ClockSane    bool      `json:"clock_sane"`
	Warnings     []string  `json:"warnings"`
	Nlbwmon      any       `json:"nlbwmon" doc:"Whether nlbwmon can be read, from what, how full and how old it is."`
	Uplink       any       `json:"uplink" doc:"The link as the router sees it."`
	_            struct{}  `additionalProperties:"true"`
}
