package api

import (
	"encoding/json"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
)

// The two forms of a timestamp: with zone on our own paths, and local time
// without on the drop-in paths, as the backend has always read it.
const (
	stampZoned = "2006-01-02T15:04:05.000000Z07:00"
	stampLocal = "2006-01-02T15:04:05.000000"
)

// write answers the exchange. A router's reply goes out as it came in.
func (a *API) write(w http.ResponseWriter, x *exchange, data json.RawMessage, err error) {
	status := http.StatusOK
	buf := make([]byte, 0, 512)
	if err == nil {
		buf = append(buf, `{"success":true,"data":`...)
		if len(data) == 0 {
			data = json.RawMessage("null")
		}
	} else {
		f := x.fail(err)
		a.logFailure(x, f)
		status = f.status
		if status == http.StatusUnauthorized {
			x.reply.Set("WWW-Authenticate", `Bearer realm="netpilot"`) // RFC 9110 section 11.6.1
		}
		if f.retryAfter > 0 {
			x.reply.Set("Retry-After", strconv.Itoa(int(math.Ceil(f.retryAfter.Seconds()))))
		}
		buf = append(buf, `{"success":false,"data":`...)
		data = json.RawMessage("null")
		err = f
	}
	head := len(buf)
	buf = appendTail(buf, x, err, a.Now())
	x.reply.Set("Content-Length", strconv.Itoa(len(buf)+len(data)))
	w.WriteHeader(status)
	for _, part := range [][]byte{buf[:head], data, buf[head:]} {
		if _, err := w.Write(part); err != nil {
			return // whoever asked has gone
		}
	}
	if a.log.Enabled(x.Context(), slog.LevelDebug) { // what it would say costs as much as the rest of the answer
		a.log.Debug("request", "method", x.Method, "path", x.URL.Path, "status", status, "key", x.key.ID, "router", x.router,
			"bytes", len(buf)+len(data), "took", a.Now().Sub(x.began))
	}
}

// appendTail appends all that follows the data. An error is a *failure.
func appendTail(buf []byte, x *exchange, err error, now time.Time) []byte {
	if err == nil {
		buf = append(buf, `,"error":null`...)
	} else {
		f := fail(err)
		buf = append(buf, `,"error":{"code":`...)
		buf = usage.AppendQuoted(buf, f.code)
		buf = append(buf, `,"message":`...)
		buf = usage.AppendQuoted(buf, f.message)
		buf = append(buf, `,"details":null}`...)
	}
	buf = append(buf, `,"metadata":{"sessionId":`...)
	buf = appendID(buf, usage.Clean(x.session, 128))
	buf = append(buf, `,"routerId":`...)
	buf = appendID(buf, string(x.router))
	buf = append(buf, `,"timestamp":"`...)
	if x.route.dropIn {
		buf = now.Local().AppendFormat(buf, stampLocal)
	} else {
		buf = now.UTC().AppendFormat(buf, stampZoned)
	}
	buf = append(buf, `","executionTime":`...)
	buf = strconv.AppendFloat(buf, max(0, now.Sub(x.began).Seconds()), 'f', 6, 64)
	buf = x.facts.append(buf)
	return append(buf, "}}"...)
}

// append appends our own additions to the metadata, as far as there are any.
func (f *facts) append(buf []byte) []byte {
	if f.source != "" {
		buf = append(append(append(buf, `,"source":"`...), f.source...), '"')
	}
	if f.cached {
		buf = append(buf, `,"cached":true`...)
	}
	if f.stale {
		buf = append(buf, `,"stale":true`...)
	}
	if f.total != nil {
		buf = strconv.AppendInt(append(buf, `,"total":`...), int64(*f.total), 10)
	}
	if !f.asOf.IsZero() {
		buf = append(f.asOf.UTC().Truncate(time.Millisecond).AppendFormat(append(buf, `,"asOf":"`...), time.RFC3339Nano), '"')
	}
	return buf
}

// header says the same in headers, for answers that are no envelope.
func (f *facts) header(h http.Header) {
	if f.source != "" {
		h.Set("Netpilot-Source", f.source)
	}
	if f.stale {
		h.Set("Netpilot-Stale", "true")
	}
	if !f.asOf.IsZero() {
		h.Set("Netpilot-As-Of", f.asOf.UTC().Format(time.RFC3339))
	}
}

// writeStream answers with what the handler writes by itself. It begins with
// the first byte: a failure before it is an answer like any other.
func (a *API) writeStream(w http.ResponseWriter, x *exchange) {
	out := &streamWriter{ResponseWriter: w}
	err := x.stream(out)
	switch {
	case err == nil:
	case !out.begun:
		x.reply.Set("Content-Type", "application/json")
		x.reply.Del("Content-Disposition")
		a.write(w, x, nil, err)
		return
	default:
		if x.Context().Err() == nil {
			a.log.Warn("answer broken off", "path", x.URL.Path, "key", x.key.ID, "router", x.router, "err", err)
		}
		panic(http.ErrAbortHandler) // the one way to tell the reader that this is not the end
	}
	a.log.Debug("request", "method", x.Method, "path", x.URL.Path, "status", http.StatusOK, "key", x.key.ID, "router", x.router,
		"took", a.Now().Sub(x.began))
}

// streamWriter knows whether anything was written.
type streamWriter struct {
	http.ResponseWriter
	begun bool
}

func (w *streamWriter) Write(p []byte) (int, error) {
	w.begun = true
	return w.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (w *streamWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// appendID appends an id, null if it is unknown.
func appendID(buf []byte, id string) []byte {
	if id == "" {
		return append(buf, "null"...)
	}
	return usage.AppendQuoted(buf, id)
}

// logFailure logs what a person must know: our own faults. The rest is the
// business of whoever asked.
func (a *API) logFailure(x *exchange, f *failure) {
	if f.status == http.StatusInternalServerError && !f.theirs {
		a.log.Error("request failed", "method", x.Method, "path", x.URL.Path, "key", x.key.ID, "router", x.router, "err", f.err)
	}
}
