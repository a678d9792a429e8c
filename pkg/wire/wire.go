// Package wire is the protocol between an agent and a relay, version 1:
// JSON-RPC 2.0 in WebSocket text frames. PROTOCOL.md beside this file is the
// document; a stranger could write a second agent from it, and every number
// here stands there with its reason.
package wire

import "time"

// Where and how an agent dials (PROTOCOL.md section 2).
const (
	Subprotocol = "netpilot.v1"
	ConnectPath = "/agent/v1/connect"
	EnrolPath   = "/agent/v1/enroll"
)

// Limits and times (PROTOCOL.md sections 3 and 6). Lengths are in bytes of
// one whole message.
const (
	MaxHello = 4 << 10 // before the relay has accepted hello
	MaxFrame = 1 << 20 // after it, both ways
	MaxCalls = 4       // calls an agent works on at once

	PingEvery   = 25 * time.Second // +-10 %, from the agent; proxies cut idle links at 60 s
	DeadAfter   = 65 * time.Second // silence after which either end gives the link up
	HelloWithin = 10 * time.Second // from the upgrade to hello, and from hello to its answer
	WriteWithin = 10 * time.Second // one frame into the socket

	// MaxResult is what a reply's result may take so that the frame stays
	// within MaxFrame with its id and punctuation.
	MaxResult = MaxFrame - 1<<10
)

// WebSocket close codes of our own (RFC 6455 section 7.4.2 leaves 4000-4999
// to applications). Numbers are appended, never reused.
const (
	CloseProtocol = 4000 // the peer broke PROTOCOL.md; the reason says how
	CloseReplaced = 4001 // a newer link of the same router took over
	CloseRevoked  = 4003 // the router may not connect any more
	CloseWait     = 4004 // come back later: the reason is "wait=SECONDS"
	CloseSlow     = 4008 // the peer did not take its frames in time
)

// Hello is the first message of an agent, the params of method "hello".
type Hello struct {
	RouterID     string    `json:"router_id"`
	Name         string    `json:"name"`          // the router's host name
	Model        string    `json:"model"`         // as the board says, "" if unknown
	Release      string    `json:"release"`       // OpenWrt release, "" if unknown
	Arch         string    `json:"arch"`          // OpenWrt package architecture, "" if unknown
	Timezone     string    `json:"timezone"`      // POSIX TZ, "" if unknown
	AgentVersion string    `json:"agent_version"` // X.Y.Z
	Methods      []string  `json:"methods"`       // what the relay may call
	MaxCalls     int       `json:"max_calls"`     // calls worked on at once
	MaxFrame     int       `json:"max_frame"`     // largest frame the agent reads
	Time         time.Time `json:"time"`          // the router's clock
	ClockSane    bool      `json:"clock_sane"`    // the clock is later than the agent's build
	StartedAt    time.Time `json:"started_at"`    // of the agent process, router's clock
}

// Welcome is the relay's answer to Hello.
type Welcome struct {
	ServerTime  time.Time `json:"server_time"`
	PingSeconds int       `json:"ping_seconds"` // between pings; the agent adds the jitter
	DeadSeconds int       `json:"dead_seconds"` // silence that ends the link
	MaxFrame    int       `json:"max_frame"`    // largest frame the relay reads
	// Cursor is how far the relay durably has the router's history; nil if it
	// keeps none.
	Cursor *uint64 `json:"cursor,omitempty"`
}

// Cancel is the params of the notification "cancel": the caller no longer
// waits for that call.
type Cancel struct {
	ID CallID `json:"id"`
}

// EnrolRequest is the body of POST EnrolPath.
type EnrolRequest struct {
	Token        string `json:"token"`
	RouterID     string `json:"router_id"`
	Name         string `json:"name"`
	Model        string `json:"model"`
	AgentVersion string `json:"agent_version"`
}

// EnrolReply is its answer: the router's own secret, said once.
type EnrolReply struct {
	RouterID string `json:"router_id"`
	Secret   string `json:"secret"`
}

// Refusal is the JSON body of every HTTP answer of the relay to an agent
// that is not a success.
type Refusal struct {
	Error RefusalError `json:"error"`
}

// RefusalError is what went wrong; Kind is a usage.Kind's name.
type RefusalError struct {
	Kind    string `json:"kind"`
	Message string `json:"message"`
}
