package wire

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
)

// examplePush is the push of testdata/push.json: as written, as gathered, and
// what it means.
func examplePush() (json.RawMessage, *PushWriter, Push) {
	laptop, tv := usage.MAC{2, 0x77, 0, 0, 0, 0x11}, usage.MAC{2, 0x77, 0, 0, 0, 0x12}
	c := func(n uint64) usage.Counters {
		return usage.Counters{RxBytes: n, TxBytes: n + 1, RxPackets: n + 2, TxPackets: n + 3, Conns: n + 4}
	}
	at := time.Unix(1795000200, 0)
	closed := usage.Bucket{
		Start: at, Length: usage.FiveMinutes,
		Devices:     []usage.DeviceSum{{MAC: laptop, Counters: c(1000)}, {MAC: tv, Counters: c(math.MaxUint64 - 4)}},
		Services:    []usage.ServiceSum{{Name: "HTTPS", Counters: c(7)}, {Name: `say "hi"`, Counters: c(8)}},
		Families:    []usage.FamilySum{{Family: usage.FamilyIPv4, Counters: c(9)}, {Family: usage.FamilyIPv6, Counters: c(10)}},
		Quarantined: []usage.DeviceSum{{MAC: tv, Counters: c(11)}},
	}
	open := usage.Bucket{
		Start: at.Add(usage.FiveMinutes), Length: usage.FiveMinutes,
		Devices:  []usage.DeviceSum{{MAC: tv, Counters: c(0)}},
		Services: []usage.ServiceSum{{Name: "other", Counters: c(0)}},
		Families: []usage.FamilySum{{Family: usage.FamilyIPv4, Counters: c(0)}},
	}
	p := Push{
		After: 1795000000000, Cursor: 1795000600123, AsOf: time.UnixMilli(1795000630000),
		Buckets: []usage.Bucket{closed, {Start: at.Add(-time.Hour), Length: time.Hour}},
		Gaps:    []usage.Gap{{Range: usage.Range{From: at, To: at.Add(time.Minute)}, Reason: "nlbwmon was restarted"}},
		Open:    []usage.Bucket{open}, Counting: json.RawMessage(`{"ok":true,"accuracy":0.99,"reasons":[]}`),
	}
	w := write(&p)
	return w.Append(nil, p.After, p.Cursor, p.AsOf, p.Counting), w, p
}

func write(p *Push) *PushWriter {
	w := &PushWriter{}
	w.Reset()
	for i := range p.Buckets {
		w.Bucket(&p.Buckets[i])
	}
	for i := range p.Gaps {
		w.Gap(&p.Gaps[i])
	}
	for i := range p.Open {
		w.Open(&p.Open[i])
	}
	return w
}

func TestPush(t *testing.T) {
	text, w, want := examplePush()
	got, err := DecodePush(text)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if n := w.Len(); n < len(text)-len(want.Counting) || n > len(text)+256 {
		t.Errorf("Len said %d of %d bytes", n, len(text))
	}
	w.Reset()
	text = w.Append(nil, 5, 5, time.Time{}, nil)
	if got, err := DecodePush(text); err != nil || got.After != 5 || got.Open != nil || got.Counting != nil || len(got.Buckets) != 0 {
		t.Errorf("%s: got %+v, %v", text, got, err)
	}
	// Nothing is open: that is something else than not saying.
	if got, err := DecodePush(w.Append(nil, 5, 5, time.UnixMilli(1), nil)); err != nil || got.Open == nil {
		t.Errorf("nothing open: got %+v, %v", got, err)
	}
	// Another agent may write the members in another order, with spaces, and more of them.
	got, err = DecodePush(json.RawMessage(` { "open" : [ [ 300 , 300 , [ 0 , 1 , 2 , 3 , 4 , 5 ] , [] , [] , [] ] ] , "new" : [ {} ] ,
		"as_of" : 1000 , "macs" : [ "02:77:00:00:00:11" ] , "cursor" : 3 } `))
	if err != nil || len(got.Open) != 1 || got.Open[0].Devices[0].Conns != 5 || got.Cursor != 3 {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestPushRefused(t *testing.T) {
	for _, text := range []string{
		``, `[]`, `{"after":-1}`, `{"after":1.5}`, `{"after":1e3}`, `{"after":"1"}`, `{"after":18446744073709551616}`, `{"cursor":null}`,
		`{"macs":["x"]}`, `{"macs":{}}`, `{"macs":[1]}`, `{"services":[[]]}`, `{"gaps":[[1,2]]}`, `{"gaps":[[1,2,3]]}`, `{"gaps":[[1,9999999999999999,""]]}`,
		`{"open":[]}`, `{"as_of":5}`,
		`{"buckets":[[0,300,[],[],[]]]}`, `{"buckets":[[0,300,[],[],[],[],[]]]}`, `{"buckets":[[0,300,[0,1,2,3,4,5],[],[],[]]]}`,
		`{"buckets":[[0,300,[],[0,1,2,3,4,5],[],[]]]}`, `{"buckets":[[0,300,[],[],[5,1,2,3,4,5],[]]]}`, `{"buckets":[[0,300,[],[],[4,1,2,3,4],[]]]}`,
		`{"buckets":[[9999999999999,300,[],[],[],[]]]}`, `{"buckets":[[0,-300,[],[],[],[]]]}`, `{"buckets":[{}]}`, `{"buckets":null}`,
	} {
		if p, err := DecodePush(json.RawMessage(text)); usage.KindOf(err) != usage.Invalid {
			t.Errorf("%s: got %+v, %v, want it invalid", text, p, err)
		}
	}
}

// FuzzPush: what is read is written back as the same.
func FuzzPush(f *testing.F) {
	text, _, _ := examplePush()
	f.Add([]byte(text))
	f.Add([]byte(`{"after":1,"cursor":2,"buckets":[],"gaps":[[1,2,"x"]],"open":[],"as_of":1}`))
	f.Add([]byte(strings.Replace(string(text), "[", " [ ", 50)))
	f.Fuzz(func(t *testing.T, data []byte) {
		if !json.Valid(data) {
			return
		}
		p, err := DecodePush(data)
		if err != nil {
			return
		}
		again, err := DecodePush(write(&p).Append(nil, p.After, p.Cursor, p.AsOf, p.Counting))
		if err != nil {
			t.Fatalf("%q: %v", data, err)
		}
		// Empty and missing lists are the same.
		if len(p.Buckets) == 0 {
			p.Buckets, again.Buckets = nil, nil
		}
		if len(again.Gaps) == 0 {
			p.Gaps, again.Gaps = nil, nil
		}
		if !reflect.DeepEqual(p, again) {
			t.Fatalf("%q: read %+v, then %+v", data, p, again)
		}
	})
}

func BenchmarkDecodePush(b *testing.B) {
	_, _, p := examplePush()
	bucket := usage.Bucket{Start: p.Buckets[0].Start, Length: usage.FiveMinutes}
	for i := range 20 {
		c := usage.Counters{RxBytes: uint64(i) * 1234567, TxBytes: uint64(i) * 34567, RxPackets: 1000, TxPackets: 700, Conns: 12}
		bucket.Devices = append(bucket.Devices, usage.DeviceSum{MAC: usage.MAC{2, 0, 0, 0, 0, byte(i)}, Counters: c})
	}
	text := write(&Push{Buckets: []usage.Bucket{bucket}}).Append(nil, 1, 2, time.Time{}, nil)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodePush(text); err != nil {
			b.Fatal(err)
		}
	}
}
