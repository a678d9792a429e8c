package adb

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// match is how a dependency compares versions: a set of bits, from apk-tools'
// src/apk_version.h.
type match uint64

const (
	matchEqual    match = 1
	matchLess     match = 2
	matchGreater  match = 4
	matchFuzzy    match = 8  // equal as far as the given version goes
	matchConflict match = 16 // must not be there
	matchAny            = matchEqual | matchLess | matchGreater
	matchChecksum       = matchLess | matchGreater // "><": the version is a checksum
)

// dependency is "name", "name>=1.2" and the like, taken apart.
type dependency struct {
	name    string
	version string
	match   match
}

const nameChars = "+-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"

// parseDependency takes "[!]name[op version]"; op is made of < > = ~.
func parseDependency(s string) (dependency, error) {
	var d dependency
	rest, conflict := strings.CutPrefix(s, "!")
	if conflict {
		d.match = matchConflict
	}
	d.name, rest = span(rest, nameChars+",:/[]")
	op, version := span(rest, "<=>~")
	for _, c := range op {
		switch c {
		case '<':
			d.match |= matchLess
		case '>':
			d.match |= matchGreater
		case '=':
			d.match |= matchEqual
		case '~':
			d.match |= matchFuzzy | matchEqual
		}
	}
	d.version = version
	if op == "" {
		d.match |= matchAny
	}
	checksum := d.match&matchAny == matchChecksum
	switch {
	case d.name == "", op == "" && version != "", op != "" && version == "":
		return d, fmt.Errorf("adb: bad dependency %q", s)
	case op != "" && !checksum && !ValidVersion(version):
		return d, fmt.Errorf("adb: bad version in dependency %q", s)
	}
	return d, nil
}

// String is the form parseDependency takes.
func (d dependency) String() string {
	not := ""
	if d.match&matchConflict != 0 {
		not = "!"
	}
	if d.version == "" {
		return not + d.name
	}
	op := "?"
	switch d.match &^ matchConflict {
	case 0, matchEqual:
		op = "="
	case matchLess:
		op = "<"
	case matchLess | matchEqual:
		op = "<="
	case matchLess | matchEqual | matchFuzzy:
		op = "<~"
	case matchEqual | matchFuzzy, matchFuzzy:
		op = "~"
	case matchGreater | matchEqual:
		op = ">="
	case matchGreater | matchEqual | matchFuzzy:
		op = ">~"
	case matchGreater:
		op = ">"
	case matchChecksum:
		op = "><"
	case matchAny:
		op = ""
	}
	return not + d.name + op + d.version
}

// dependencies writes a list, sorted and without repetitions. The strings get
// their place in the order given.
func (b *builder) dependencies(list []string) value {
	type item struct {
		dependency
		value value
	}
	var items []item
	for _, s := range list {
		d, err := parseDependency(s)
		if err != nil {
			b.fail(err)
			return null
		}
		switch d.match {
		case matchAny:
			d.match, d.version = 0, ""
		case matchEqual:
			d.match = 0 // what a version without a match means
		}
		obj := make([]value, depSlots)
		obj[depName] = b.blob(d.name)
		obj[depVersion] = b.blob(d.version)
		obj[depMatch] = b.numberOrNull(uint64(d.match))
		items = append(items, item{d, b.object(obj)})
	}
	slices.SortStableFunc(items, func(x, y item) int {
		return cmp.Or(cmp.Compare(x.name, y.name), CompareVersions(x.version, y.version), cmp.Compare(x.match, y.match))
	})
	slots := make([]value, 1, len(items)+1)
	for _, it := range items {
		if it.value != slots[len(slots)-1] {
			slots = append(slots, it.value)
		}
	}
	return b.object(slots)
}

func (d *db) dependency(v value) (dependency, error) {
	slots, err := d.slots(v)
	if err != nil {
		return dependency{}, err
	}
	slots = resize(slots, depSlots)
	name, err := d.blob(slots[depName])
	if err != nil {
		return dependency{}, err
	}
	version, err := d.blob(slots[depVersion])
	if err != nil {
		return dependency{}, err
	}
	n, err := d.number(slots[depMatch])
	return dependency{name: name, version: version, match: match(n)}, err
}

// resize makes the slots of an object as many as are known here: those a newer
// apk-tools may have added are cut, those it left out are null.
func resize(slots []value, n int) []value {
	if len(slots) < n {
		slots = append(slots, make([]value, n-len(slots))...)
	}
	return slots[:n]
}
