package nlbw

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		args string
		want string // command socket protocols period group order plain separator quote escape
	}{
		{"-c json", "json '' '' 0 [0 10 11] [-6 -7] false 9 34 34"},
		{"-c show -c csv", "csv '' '' 0 [0 10 11] [-6 -7] false 9 34 34"},
		{"-nc list -S /s -p /p", "list '/s' '/p' 0 [0 10 11] [-6 -7] true 9 34 34"},
		{"-c json -c bogus", "json '' '' 0 [0 10 11] [-6 -7] false 9 34 34"}, // stock nlbw overlooks it
		{"-c csv -s, -q' -e\\", "csv '' '' 0 [0 10 11] [-6 -7] false 44 39 92"},
		{"-c csv -s -q -e", "csv '' '' 0 [0 10 11] [-6 -7] false 0 0 0"},
		{"-c csv -s ,", "csv '' '' 0 [0 10 11] [-6 -7] false 0 34 34"}, // NUL, as stock nlbw does
		{"-c json -g family,proto,port,mac,ip,conns,rx_bytes,rx_pkts,tx_bytes,tx_pkts,host,layer7",
			"json '' '' 0 [0 1 2 3 4 5 6 7 8 9 10 11] [-6 -7] false 9 34 34"},
		// A prefix means the first field that begins so.
		{"-c json -g p,po,m,i,c,r,rx_p,t,tx_p,h,l,f", "json '' '' 0 [1 2 3 4 5 6 7 8 9 10 11 0] [-6 -7] false 9 34 34"},
		{"-c json -g _", "json '' '' 0 [0] [-6 -7] false 9 34 34"}, // so does none at all
		{"-c json -g mac, -o -,ip", "json '' '' 0 [3 0] [-0 4] false 9 34 34"},
		{"-c json -g mac -g ip", "json '' '' 0 [3 4] [-6 -7] false 9 34 34"}, // they add up
		{"-c json -o -rx_bytes,mac", "json '' '' 0 [0 10 11] [-6 3] false 9 34 34"},
		{"-c json -t 2026-11-01", "json '' '' 20261101 [0 10 11] [-6 -7] false 9 34 34"},
		{"-c json -t 0-0-0", "json '' '' 0 [0 10 11] [-6 -7] false 9 34 34"},
		{"-c json -t 2026-11-01 -t 0-0-0", "json '' '' 0 [0 10 11] [-6 -7] false 9 34 34"},
		{"-c json word -n", "json '' '' 0 [0 10 11] [-6 -7] false 9 34 34"},
	} {
		var stderr bytes.Buffer
		o, exit, ok := parse(words(tt.args), &stderr)
		order := []string{}
		for _, k := range o.order {
			sign := ""
			if k.descending {
				sign = "-"
			}
			order = append(order, fmt.Sprintf("%s%d", sign, k.col))
		}
		got := fmt.Sprintf("%s '%s' '%s' %d %d %s %t %d %d %d", o.command, o.socket, o.protocols, o.period, o.group, order, o.plain, o.separator, o.quote, o.escape)
		if !ok || exit != 0 || got != tt.want || stderr.Len() > 0 {
			t.Errorf("%q: got %s, exit %d, stderr %q, want %s", tt.args, got, exit, stderr.String(), tt.want)
		}
	}
}

// words splits at blanks; _ stands for an empty word.
func words(args string) []string {
	list := strings.Fields(args)
	for i := range list {
		if list[i] == "_" {
			list[i] = ""
		}
	}
	return list
}

func TestParseRefuses(t *testing.T) {
	for args, want := range map[string]string{
		"":                                     "No command specified\n",
		"-n":                                   "No command specified\n",
		"word -c json":                         "No command specified\n",
		"-s , -c json":                         "No command specified\n",
		"-c":                                   "nlbw: option requires an argument: c\nNo command specified\n",
		"-c JSON":                              "Unrecognized command 'JSON'\n",
		"-c jso":                               "Unrecognized command 'jso'\n",
		"-c _":                                 "Unrecognized command ''\n",
		"-c json -g foo":                       "Unrecognized field 'foo'\n",
		"-c json -g mac,foo,ip":                "Unrecognized field 'foo,ip'\n", // to the end, as stock nlbw prints it
		"-c json -g macs":                      "Unrecognized field 'macs'\n",
		"-c json -g MAC":                       "Unrecognized field 'MAC'\n",
		"-c json -o -foo":                      "Unrecognized field '-foo'\n",
		"-c json -o --mac":                     "Unrecognized field '--mac'\n",
		"-c json -g -mac":                      "Cannot invert group column\n",
		"-c json -g mac,-ip":                   "Cannot invert group column\n",
		"-c json -t yesterday":                 "Unrecognized date 'yesterday'\n",
		"-c json -t 20261101":                  "Unrecognized date '20261101'\n",
		"-c json -g m,m,m,m,m,m,m,m,m,m,m,m,m": "More than 12 fields after -g\n",
	} {
		var stderr bytes.Buffer
		o, exit, ok := parse(words(args), &stderr)
		if ok || exit != 1 || stderr.String() != want || o.command != "" {
			t.Errorf("%q: got %t, exit %d, %+v, stderr %q, want %q", args, ok, exit, o, stderr.String(), want)
		}
	}
	// What does not go together says so.
	for args, want := range map[string]string{
		"-z -c json": "-z resets and goes alone", "-c json -t 24 -z": "-z resets", "-d F -z": "-z resets",
		"-c list -d F": "-d reads one", "-c json -d F -t 24": "-d reads one", "-c json -d F -S /s": "-d reads one", "-d F -t 2026-11-01": "-d reads one",
		"-c commit -t 24": "-t with hours", "-c json -t 24 -S /s": "-t with hours",
		"-c json -t 24 -g mac,layer7": "use one of -g host", "-c json -t 24 -g port": "use one of -g host", "-t 24": "No command specified",
		"-c json -t 12": "Unrecognized date '12'",
	} {
		var stderr bytes.Buffer
		if _, exit, ok := parse(words(args), &stderr); ok || exit != 1 || !strings.Contains(stderr.String(), want) {
			t.Errorf("%q: got %t, exit %d, stderr %q, want %q", args, ok, exit, stderr.String(), want)
		}
	}
	for _, args := range []string{"-d FILE -c json", "-c json -d FILE", "-dFILE -c json"} {
		if o, _, ok := parse(words(args), io.Discard); !ok || o.file != "FILE" || o.command != "json" {
			t.Errorf("%q: got %+v", args, o)
		}
	}
}

func TestScanDate(t *testing.T) {
	for s, want := range map[string]uint32{
		"2026-11-01": 20261101, "2026-1-1": 20260101, "0-0-0": 0, "1-2-3": 10203, "2026-13-45": 20261345, "9999-99-99": 99999999,
		"2026-11-01T10:00": 20261101, "2026-11-011": 20261101, "2026-11-01 rest": 20261101, " 2026-11-01": 20261101,
		"2026- 11-\t01": 20261101, "\n\v\f\r2026-11-01": 20261101, "0002026-1-1": 1 << 31, "2026-11-1-": 20261101,
	} {
		got, ok := scanDate(s)
		if s == "0002026-1-1" { // four digits are read, then a hyphen must come
			if ok {
				t.Errorf("%q: got %d, want none", s, got)
			}
			continue
		}
		if !ok || got != want {
			t.Errorf("%q: got %d, %t, want %d", s, got, ok, want)
		}
	}
	for _, s := range []string{"", "2026", "2026-", "2026-11", "2026-11-", "2026-11-x", "20261101", "2026 -11-01", "2026-11 -01", "2026/11/01",
		"x2026-11-01", "26-1-", "2026-111-01", "-", "--", "\u00a02026-11-01", "\u0662026-11-01"} {
		if got, ok := scanDate(s); ok {
			t.Errorf("%q: got %d, want none", s, got)
		}
	}
}

// NeedsOf sees what Run would do, however it is spelled.
func TestNeedsOf(t *testing.T) {
	write, files, daemon := Needs{Write: true}, Needs{Files: true}, Needs{Daemon: true}
	for args, want := range map[string]Needs{
		"-c json": {}, "": {}, "-c bogus -S /s": {}, // fails before it opens anything
		"-c commit": write, "-ccommit": write, "-nccommit": write, "-c json -c commit": write, "-c commit -c json": {},
		"-c json -S /s": files, "-c json -S/s": files, "-nS/s -c json": files, "-c json -p /p": files,
		"-p/p -c commit": {Write: true, Files: true}, "-c json -- -S /s": {}, "-c json x -S /s": {}, "-c json -S": {}, "-c json -g mac -S -c": files,
		"-z": {Write: true, Daemon: true}, "-nz": {Write: true, Daemon: true}, "-zc json": {}, "-d F": files, "-c json -d F": files, "-dF -c json": files,
		"-c json -t 24": daemon, "-c json -t 1 -p /p": {Files: true, Daemon: true}, "-c json -i": {}, "-c json -t 2026-11-01": {},
	} {
		if got := NeedsOf(words(args)); got != want {
			t.Errorf("%q: got %+v, want %+v", args, got, want)
		}
	}
}

// FuzzParse: no command line panics, and one that is taken is complete.
func FuzzParse(f *testing.F) {
	for _, args := range []string{"-c\x00json", "-nc\x00json", "-c\x00csv\x00-s,\x00-q\x00-e\\", "-c\x00json\x00-g\x00mac,-ip\x00-o\x00-", "-s\x00,", "--", "-", "-\xff",
		"-t\x002026-11-01\x00-c\x00show", "-z", "-i\x00-d\x00F", "-t\x0024\x00-c\x00csv", "-g\x00,,,,,,,,,,,,,", "-c"} {
		f.Add(args)
	}
	f.Fuzz(func(t *testing.T, joined string) {
		args := strings.Split(joined, "\x00")
		o, exit, ok := parse(args, io.Discard)
		if ok != (exit == 0) {
			t.Errorf("%q: got exit %d and %t", args, exit, ok)
		}
		if ok && (o.command == "" && !o.reset || len(o.group) == 0 || len(o.order) == 0 || len(o.group) > maxFields || len(o.order) > maxFields || o.period > 99999999) {
			t.Errorf("%q: got %+v", args, o)
		}
		if needs := NeedsOf(args); !ok && needs != (Needs{}) || ok && needs.Write != (o.command == "commit" || o.reset) {
			t.Errorf("%q: got %+v of %+v", args, needs, o)
		}
	})
}
