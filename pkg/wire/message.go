package wire

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
)

// CallID numbers the calls of one caller on one link, from 1.
type CallID uint64

// Message is one frame: a call (ID and Method), a notification (Method
// alone), or a reply (ID with Result or Error).
type Message struct {
	ID      CallID // 0: none
	Method  string
	Params  json.RawMessage
	Timeout time.Duration // of a call: how long its caller waits
	Result  json.RawMessage
	Error   *usage.Error
}

type errorObject struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Data    struct {
		Kind         string `json:"kind"`
		RetryAfterMS int64  `json:"retry_after_ms"`
	} `json:"data"`
}

// maxID is the largest whole number that every JSON reader keeps exactly.
const maxID = 1 << 53

// maxTimeout bounds a call's timeout, so that a hostile number cannot
// overflow a duration.
const maxTimeout = 10 * time.Minute

// Decode reads one frame. Params and Result are parts of it. Unknown members
// are ignored, and so is one that is null; an error is of kind Invalid and
// says what rule of PROTOCOL.md section 4 the frame breaks.
func Decode(frame []byte) (Message, error) {
	var m Message
	var version string
	var hasID bool
	var timeoutMS int64
	var failure *errorObject
	err := members(frame, func(key string, value json.RawMessage) (err error) {
		switch key {
		case "jsonrpc":
			version, err = text(value)
		case "id":
			if hasID = notNull(value) != nil; hasID {
				var id uint64
				id, err = strconv.ParseUint(string(value), 10, 64)
				m.ID = CallID(id)
			}
		case "method":
			m.Method, err = text(value)
		case "params":
			m.Params = notNull(value)
		case "timeout_ms":
			timeoutMS, err = strconv.ParseInt(string(value), 10, 64)
		case "result":
			m.Result = value // null is a result
		case "error":
			err = json.Unmarshal(value, &failure)
		}
		return err
	})
	if err != nil {
		return Message{}, usage.Errorf(usage.Invalid, "frame is not JSON-RPC: %w", err)
	}
	m.Timeout = milliseconds(timeoutMS)
	if failure != nil {
		m.Error = &usage.Error{
			Kind:       usage.ParseKind(failure.Data.Kind),
			Message:    usage.Clean(failure.Message, 1024),
			RetryAfter: milliseconds(failure.Data.RetryAfterMS),
		}
	}
	switch {
	case version != "2.0":
		return m, usage.Errorf(usage.Invalid, `frame has no "jsonrpc":"2.0"`)
	case hasID && (m.ID == 0 || m.ID > maxID):
		return m, usage.Errorf(usage.Invalid, "id is not from 1 to 2^53")
	case m.Method != "" && (m.Result != nil || m.Error != nil):
		return m, usage.Errorf(usage.Invalid, "frame is a call and a reply at once")
	case m.Method == "" && !hasID:
		return m, usage.Errorf(usage.Invalid, "frame has neither method nor id")
	case m.Method == "" && (m.Result != nil) == (m.Error != nil):
		return m, usage.Errorf(usage.Invalid, "reply needs exactly one of result and error")
	}
	return m, nil
}

func notNull(value json.RawMessage) json.RawMessage {
	if string(value) == "null" {
		return nil
	}
	return value
}

// milliseconds is a peer's number as a duration from 0 to maxTimeout.
func milliseconds(n int64) time.Duration {
	return time.Duration(min(max(n, 0), maxTimeout.Milliseconds())) * time.Millisecond
}

// AppendCall appends a call to dst. The params must be JSON or empty; a
// timeout of 0 is left out.
func AppendCall(dst []byte, id CallID, method string, params json.RawMessage, timeout time.Duration) []byte {
	dst = append(dst, `{"jsonrpc":"2.0"`...)
	if id != 0 {
		dst = append(dst, `,"id":`...)
		dst = strconv.AppendUint(dst, uint64(id), 10)
	}
	dst = append(dst, `,"method":`...)
	dst = usage.AppendQuoted(dst, method)
	if len(params) > 0 {
		dst = append(dst, `,"params":`...)
		dst = append(dst, params...)
	}
	if timeout > 0 {
		dst = append(dst, `,"timeout_ms":`...)
		dst = strconv.AppendInt(dst, max(timeout.Milliseconds(), 1), 10) // 0 would be no timeout
	}
	return append(dst, '}')
}

// AppendNotify appends a call nobody answers.
func AppendNotify(dst []byte, method string, params json.RawMessage) []byte {
	return AppendCall(dst, 0, method, params, 0)
}

// AppendResult appends the reply to call id; the result must be JSON.
func AppendResult(dst []byte, id CallID, result json.RawMessage) []byte {
	dst = append(dst, `{"jsonrpc":"2.0","id":`...)
	dst = strconv.AppendUint(dst, uint64(id), 10)
	dst = append(dst, `,"result":`...)
	dst = append(dst, result...)
	return append(dst, '}')
}

// AppendError appends the reply that call id failed. An internal error's
// message stays at home: the peer reads only the word.
func AppendError(dst []byte, id CallID, err *usage.Error) []byte {
	message := err.Message
	if err.Kind == usage.Internal {
		message = usage.Internal.String()
	}
	dst = append(dst, `{"jsonrpc":"2.0","id":`...)
	dst = strconv.AppendUint(dst, uint64(id), 10)
	dst = append(dst, `,"error":{"code":`...)
	dst = strconv.AppendInt(dst, int64(code(err.Kind)), 10)
	dst = append(dst, `,"message":`...)
	dst = usage.AppendQuoted(dst, message)
	dst = append(dst, `,"data":{"kind":`...)
	dst = usage.AppendQuoted(dst, err.Kind.String())
	if err.RetryAfter > 0 {
		dst = append(dst, `,"retry_after_ms":`...)
		dst = strconv.AppendInt(dst, err.RetryAfter.Milliseconds(), 10)
	}
	return append(dst, "}}}"...)
}

// code is the JSON-RPC number of a kind: the reserved ones where the
// specification (section 5.1) has them, our own from 1000 up.
func code(k usage.Kind) int {
	switch k {
	case usage.Invalid:
		return -32602
	case usage.Internal:
		return -32603
	}
	return 1000 + int(k)
}
