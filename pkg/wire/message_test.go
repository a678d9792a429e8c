package wire

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
)

func example(t *testing.T, name string) []byte {
	text, err := os.ReadFile("testdata/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSuffix(text, []byte("\n"))
}

// TestExamples proves that what the code writes is what testdata shows, and
// that it reads the same back.
func TestExamples(t *testing.T) {
	at := time.Date(2026, 11, 23, 18, 0, 0, 0, time.UTC)
	marshal := func(v any) json.RawMessage {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	const router = "dba5166ad9db9ba648c1032ebbd34dcd0d085b50023b839ef5c68ca1db93a563"
	hello := marshal(Hello{
		RouterID: router, Name: "OpenWrt", Model: "GL.iNet GL-MT300N V2", Release: "24.10.1", Arch: "mipsel_24kc",
		Timezone: "CET-1CEST,M3.5.0,M10.5.0/3", AgentVersion: "0.1.0",
		Methods:  []string{"status", "usage.current", "usage.device", "usage.records", "nlbw"},
		MaxCalls: MaxCalls, MaxFrame: MaxFrame, Time: at, ClockSane: true, StartedAt: at.Add(-30 * time.Second),
	})
	cursor := uint64(1795000000123)
	welcome := marshal(Welcome{ServerTime: at.Add(time.Second), PingSeconds: 25, DeadSeconds: 65, MaxFrame: MaxFrame, Cursor: &cursor})
	reply := marshal(PushReply{Cursor: 1795000600123})
	pushed, _, _ := examplePush()
	busy := &usage.Error{Kind: usage.Busy, Message: "router works on 4 calls already", RetryAfter: time.Second}
	for _, tt := range []struct {
		name  string
		frame []byte
		want  Message
	}{
		{"call", AppendCall(nil, 7, "usage.current", json.RawMessage(`{"limit":50}`), 20*time.Second),
			Message{ID: 7, Method: "usage.current", Params: json.RawMessage(`{"limit":50}`), Timeout: 20 * time.Second}},
		{"result", AppendResult(nil, 7, json.RawMessage(`{"total_devices":2}`)),
			Message{ID: 7, Result: json.RawMessage(`{"total_devices":2}`)}},
		{"error", AppendError(nil, 7, busy), Message{ID: 7, Error: busy}},
		{"error_internal", AppendError(nil, 8, &usage.Error{Message: "open /etc/shadow"}),
			Message{ID: 8, Error: &usage.Error{Message: "internal"}}},
		{"cancel", AppendNotify(nil, "cancel", marshal(Cancel{ID: 7})),
			Message{Method: "cancel", Params: json.RawMessage(`{"id":7}`)}},
		{"hello", AppendCall(nil, 1, "hello", hello, HelloWithin),
			Message{ID: 1, Method: "hello", Params: hello, Timeout: HelloWithin}},
		{"welcome", AppendResult(nil, 1, welcome), Message{ID: 1, Result: welcome}},
		{"push", AppendCall(nil, 2, PushMethod, pushed, 30*time.Second),
			Message{ID: 2, Method: PushMethod, Params: pushed, Timeout: 30 * time.Second}},
		{"push_reply", AppendResult(nil, 2, reply), Message{ID: 2, Result: reply}},
	} {
		text := example(t, tt.name)
		if !bytes.Equal(tt.frame, text) {
			t.Errorf("%s: wrote\n%s, want\n%s", tt.name, tt.frame, text)
		}
		got, err := Decode(text)
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: read %+v, %v, want %+v", tt.name, got, err, tt.want)
		}
	}
	for _, tt := range []struct {
		name  string
		value any
	}{
		{"enroll_request", EnrolRequest{"Zr4u7x0Q2mB1", router, "OpenWrt", "GL.iNet GL-MT300N V2", "0.1.0"}},
		{"enroll_reply", EnrolReply{router, "Pj1rJw8k0m5cX2b7uQyYtS3nVhLfGdAeRzKiOo9WxTE"}},
		{"refusal", Refusal{RefusalError{"forbidden", "token is wrong, used or expired"}}},
	} {
		if got, want := marshal(tt.value), example(t, tt.name); !bytes.Equal(got, want) {
			t.Errorf("%s: wrote\n%s, want\n%s", tt.name, got, want)
		}
	}
	if n := len(AppendCall(nil, 1, "hello", hello, HelloWithin)); n > MaxHello {
		t.Errorf("hello takes %d bytes, over %d", n, MaxHello)
	}
}

func TestDecodeErrors(t *testing.T) {
	for _, tt := range []struct{ frame, want string }{
		{``, "frame is not JSON-RPC"},
		{`x`, "frame is not JSON-RPC"},
		{`[]`, "frame is not JSON-RPC"},
		{`{} {}`, "frame is not JSON-RPC"},
		{`{}`, `frame has no "jsonrpc":"2.0"`},
		{`{"jsonrpc":"1.0","id":1,"method":"x"}`, `frame has no "jsonrpc":"2.0"`},
		{`{"jsonrpc":"2.0"}`, "frame has neither method nor id"},
		{`{"jsonrpc":"2.0","id":0,"method":"x"}`, "id is not from 1 to 2^53"},
		{`{"jsonrpc":"2.0","id":9007199254740993,"method":"x"}`, "id is not from 1 to 2^53"},
		{`{"jsonrpc":"2.0","id":1.5,"method":"x"}`, "frame is not JSON-RPC"},
		{`{"jsonrpc":"2.0","id":-1,"method":"x"}`, "frame is not JSON-RPC"},
		{`{"jsonrpc":"2.0","id":"1","method":"x"}`, "frame is not JSON-RPC"},
		{`{"jsonrpc":"2.0","id":1}`, "reply needs exactly one of result and error"},
		{`{"jsonrpc":"2.0","id":1,"result":1,"error":{}}`, "reply needs exactly one of result and error"},
		{`{"jsonrpc":"2.0","id":1,"method":"x","result":1}`, "frame is a call and a reply at once"},
		{`{"jsonrpc":"2.0","id":1,"method":"x","error":{}}`, "frame is a call and a reply at once"},
		{strings.Repeat(`[`, 100_000), "frame is not JSON-RPC"},
	} {
		_, err := Decode([]byte(tt.frame))
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) || usage.KindOf(err) != usage.Invalid {
			t.Errorf("%.80s: got %v, want invalid: %s", tt.frame, err, tt.want)
		}
	}
}

func TestDecode(t *testing.T) {
	for _, tt := range []struct {
		frame string
		want  Message
	}{
		{`{"jsonrpc":"2.0","id":9007199254740992,"method":"x","new":[{}]}`, Message{ID: 1 << 53, Method: "x"}},
		{`{"jsonrpc":"2.0","id":null,"method":"x"}`, Message{Method: "x"}},
		{`{"jsonrpc":"2.0","id":1,"result":null}`, Message{ID: 1, Result: json.RawMessage("null")}},
		{`{"jsonrpc":"2.0","id":1,"method":"x","timeout_ms":-5}`, Message{ID: 1, Method: "x"}},
		{`{"jsonrpc":"2.0","id":1,"method":"x","timeout_ms":9223372036854775807}`, Message{ID: 1, Method: "x", Timeout: maxTimeout}},
		{`{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"a\u001b[1mb\u202e","data":{"kind":"from the future","retry_after_ms":-1}}}`,
			Message{ID: 1, Error: &usage.Error{Message: "a[1mb"}}},
		{`{"jsonrpc":"2.0","id":1,"error":{"data":{"kind":"busy","retry_after_ms":9223372036854775807}}}`,
			Message{ID: 1, Error: &usage.Error{Kind: usage.Busy, RetryAfter: maxTimeout}}},
	} {
		got, err := Decode([]byte(tt.frame))
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: got %+v, %v, want %+v", tt.frame, got, err, tt.want)
		}
	}
}

// TestKindsOnTheWire keeps the numbers of PROTOCOL.md section 4.
func TestKindsOnTheWire(t *testing.T) {
	want := map[usage.Kind]int{
		usage.Internal: -32603, usage.Invalid: -32602, usage.Unauthenticated: 1002, usage.Forbidden: 1003, usage.NotFound: 1004,
		usage.Offline: 1005, usage.Timeout: 1006, usage.Busy: 1007, usage.Unavailable: 1008,
	}
	for kind, code := range want {
		frame := AppendError(nil, 1, &usage.Error{Kind: kind, Message: "m"})
		var e struct{ Error errorObject }
		if err := json.Unmarshal(frame, &e); err != nil || e.Error.Code != code || e.Error.Data.Kind != kind.String() {
			t.Errorf("%v: got %s, %v, want code %d", kind, frame, err, code)
		}
		if m, err := Decode(frame); err != nil || m.Error.Kind != kind {
			t.Errorf("%v: read back as %+v, %v", kind, m.Error, err)
		}
	}
	protocol, err := os.ReadFile("PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	for kind := range want {
		if !bytes.Contains(protocol, []byte("| "+kind.String()+" | ")) {
			t.Errorf("PROTOCOL.md does not list kind %v", kind)
		}
	}
}

func TestAppendCallRoundsUp(t *testing.T) {
	m, err := Decode(AppendCall(nil, 1, "x", nil, time.Nanosecond))
	if err != nil || m.Timeout != time.Millisecond {
		t.Errorf("got %v, %v, want 1 ms: no timeout would be for ever", m.Timeout, err)
	}
}

// FuzzDecode proves that what is read can be written and read again.
func FuzzDecode(f *testing.F) {
	for _, name := range []string{"call", "result", "error", "error_internal", "cancel", "hello", "welcome"} {
		text, err := os.ReadFile("testdata/" + name + ".json")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		m, err := Decode(frame)
		if err != nil {
			if usage.KindOf(err) != usage.Invalid {
				t.Fatalf("%q: got %v, want kind invalid", frame, err)
			}
			return
		}
		var again []byte
		switch {
		case m.Method != "":
			again = AppendCall(nil, m.ID, m.Method, m.Params, m.Timeout)
		case m.Error != nil:
			if m.Error.Kind == usage.Internal {
				m.Error.Message = "internal"
			}
			again = AppendError(nil, m.ID, m.Error)
		default:
			again = AppendResult(nil, m.ID, m.Result)
		}
		if got, err := Decode(again); err != nil || !reflect.DeepEqual(got, m) {
			t.Fatalf("%q became %q: %+v, %v, want %+v", frame, again, got, err, m)
		}
	})
}

// FuzzMembers holds the reader of objects against encoding/json.
func FuzzMembers(f *testing.F) {
	for _, seed := range []string{
		`{}`, ` { "a" : 1 , "b":"\\\"},{" , "c":[{"d":[]},{}] ,"\u0061":null} `, `{"a":-1.5e3}`, `[]`, `1`, `{"a"`, `{"a":tru}`, `{"a":{}`, ``,
		`{"a":[1,{"b":[[],{}]},"x",true,false,null,-0,0.5,1E+9,2e-1]}`, `{"a":01}`, `{"a":1.}`, `{"a":-}`, `{"a":1e}`, `{"a":"\x"}`, `{"a":"\u12g4"}`,
		"{\"a\":\"\x01\"}", `{"a":[1,]}`, `{"a":[,1]}`, `{"a":{"b"}}`, `{"a":{"b":1,}}`, `{"a":[1}`, `{"a":{"b":1]}`, `{"a":1}}`, `{"a":1} x`, `{,}`, `{"a":1,}`,
		`{"a":` + strings.Repeat("[", maxNesting) + strings.Repeat("]", maxNesting) + `}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		got := make(map[string]json.RawMessage)
		err := members(frame, func(key string, value json.RawMessage) error {
			got[key] = value
			return nil
		})
		var want map[string]json.RawMessage
		wantErr := json.Unmarshal(frame, &want)
		if wantErr == nil && want == nil {
			return // null, which encoding/json takes for no object and we for an error
		}
		if err != nil && strings.Contains(err.Error(), "nested deeper") {
			return // encoding/json goes deeper
		}
		if (err == nil) != (wantErr == nil) || err == nil && !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: got %q, %v, want %q, %v", frame, got, err, want, wantErr)
		}
	})
}

// TestNesting: what is too deep is refused, whatever it is of.
func TestNesting(t *testing.T) {
	for _, deep := range []struct{ open, inner, close string }{{"[", "", "]"}, {`{"a":`, "1", "}"}} {
		frame := func(n int) []byte {
			return []byte(`{"jsonrpc":"2.0","id":1,"result":` + strings.Repeat(deep.open, n) + deep.inner + strings.Repeat(deep.close, n) + "}")
		}
		if _, err := Decode(frame(maxNesting)); err != nil {
			t.Errorf("%s nested %d deep: %v", deep.open, maxNesting, err)
		}
		if _, err := Decode(frame(maxNesting + 1)); err == nil || !strings.Contains(err.Error(), "nested deeper than 512") {
			t.Errorf("%s nested one deeper: got error %v", deep.open, err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	device := `{"mac":"02:77:00:00:00:11","ip":"192.168.1.17","hostname":"tv","bytes_rx":123456789,"bytes_tx":2345678,"total_bytes":125802467,"online":true,"names":["a\u00e9"]},`
	for name, text := range map[string]string{
		"call":   `{"jsonrpc":"2.0","id":7,"method":"usage.current","params":{"limit":50},"timeout_ms":20000}`,
		"answer": `{"jsonrpc":"2.0","id":7,"result":{"devices":[` + strings.TrimSuffix(strings.Repeat(device, 25), ",") + `]}}`,
	} {
		b.Run(name, func(b *testing.B) {
			frame := []byte(text)
			b.SetBytes(int64(len(frame)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Decode(frame); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestLimits(t *testing.T) {
	result := json.RawMessage(`"` + strings.Repeat("x", MaxResult-2) + `"`)
	if n := len(AppendResult(nil, math.MaxUint64, result)); n > MaxFrame {
		t.Errorf("the largest result makes a frame of %d bytes, over %d", n, MaxFrame)
	}
	if dead := PingEvery*11/10*2 + HelloWithin; dead > DeadAfter {
		t.Errorf("two missed pings take up to %v, dead is after %v", dead, DeadAfter)
	}
}
