package adb

import (
	"bytes"
	"io"
	"reflect"
	"testing"
)

// FuzzParse takes anything apart without a panic; what can be read as a package
// and written again reads as the same.
func FuzzParse(f *testing.F) {
	for _, name := range append(packageSamples(), "packages.adb") {
		f.Add(testdata(f, name))
		if b := loose(f, name); len(b) < 4096 {
			f.Add(b)
		}
	}
	key := sampleKey(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse(bytes.NewReader(data))
		if err != nil {
			return
		}
		b, err := c.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := Parse(bytes.NewReader(b)); err != nil || !reflect.DeepEqual(again, c) {
			t.Fatalf("the container changes when written: %v", err)
		}
		_ = c.Verify(key)
		_ = c.Dump(io.Discard, key)
		_, _ = c.Index()
		p, err := c.Package()
		if err != nil {
			return
		}
		_, _ = NewIndex("", []Entry{{c, int64(len(data))}})
		first, err := p.Container()
		if err != nil {
			return // names and versions are checked when written
		}
		p2, err := first.Package()
		if err != nil {
			t.Fatalf("cannot read what was written: %v", err)
		}
		second, err := p2.Container()
		if err != nil {
			t.Fatalf("cannot write what was read: %v", err)
		}
		p3, err := second.Package()
		if err != nil {
			t.Fatal(err)
		}
		p3.Hash = p2.Hash // strings may have changed places
		if !reflect.DeepEqual(p2, p3) {
			t.Fatalf("got %+v, want %+v", p3, p2)
		}
	})
}

// FuzzADB does the same behind a frame that is always right, which the search
// would not often get to.
func FuzzADB(f *testing.F) {
	for _, name := range append(packageSamples(), "packages.adb") {
		c := sample(f, name)
		f.Add(c.ADB, c.Schema == SchemaIndex)
	}
	f.Fuzz(func(t *testing.T, block []byte, index bool) {
		c := &Container{Schema: SchemaPackage, ADB: block}
		if index {
			c.Schema = SchemaIndex
		}
		_ = c.Dump(io.Discard)
		_, _ = c.Index()
		_, _ = c.Package()
	})
}

func FuzzVersions(f *testing.F) {
	f.Add("1.2.3_rc1-r1", "1.02a~abc")
	f.Fuzz(func(t *testing.T, a, b string) {
		if !ValidVersion(a) || !ValidVersion(b) {
			return
		}
		if x, y := CompareVersions(a, b), CompareVersions(b, a); x != -y {
			t.Errorf("%s against %s: %d, the other way round %d", a, b, x, y)
		}
	})
}
