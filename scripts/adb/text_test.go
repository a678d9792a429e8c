package adb

import "testing"

func TestVersions(t *testing.T) {
	// from low to high; OpenWrt's and ours among them
	ordered := []string{
		"0.9", "1.0_alpha", "1.0_alpha2", "1.0_beta", "1.0_pre1", "1.0_rc1", "1.0_rc1-r2", "1.0_rc10", "1.0", "1.0-r1", "1.0-r10", "1.0_git20240101",
		"1.0_p1", "1.0a", "1.0b", "1.0.1", "1.01", "1.1", "1.2.3-r1", "1.10", "2", "2.0", "2024.02.13~c1a2b3c4-r1", "2025.01",
	}
	for i, a := range ordered {
		if !ValidVersion(a) {
			t.Errorf("%q: got invalid, want valid", a)
		}
		for j, b := range ordered {
			got := CompareVersions(a, b)
			if (got < 0) != (i < j) {
				t.Errorf("%s against %s: got %d", a, b, got)
			}
		}
	}
	for _, s := range []string{"", "v1.2.3-r1", "1.2.3-1", "1.2.3-rc1", "1.2.3~rc1-r1", "1.", "1..2", "1_foo", "1a2", "1-r", "1-r1-r2", "1_rc1a", "1 "} {
		if ValidVersion(s) {
			t.Errorf("%q: got valid, want invalid", s)
		}
	}
	if CompareVersions("1", "") != 0 || CompareVersions("1.0~ab", "1.0~ab") != 0 {
		t.Error("no version, and the same version, are equal")
	}
}

func TestDependencies(t *testing.T) {
	for in, want := range map[string]dependency{
		"libc":          {"libc", "", matchAny},
		"!libc":         {"libc", "", matchAny | matchConflict},
		"a=1":           {"a", "1", matchEqual},
		"a>=1-r2":       {"a", "1-r2", matchGreater | matchEqual},
		"a<=1":          {"a", "1", matchLess | matchEqual},
		"a<1":           {"a", "1", matchLess},
		"a>1":           {"a", "1", matchGreater},
		"a~1":           {"a", "1", matchFuzzy | matchEqual},
		"a>~1":          {"a", "1", matchGreater | matchFuzzy | matchEqual},
		"a<~1":          {"a", "1", matchLess | matchFuzzy | matchEqual},
		"!a=1":          {"a", "1", matchEqual | matchConflict},
		"a><Q1abc":      {"a", "Q1abc", matchChecksum},
		"so:libc.so.6":  {"so:libc.so.6", "", matchAny},
		"/bin/sh":       {"/bin/sh", "", matchAny},
		"py3.12:x[a]=2": {"py3.12:x[a]", "2", matchEqual},
	} {
		got, err := parseDependency(in)
		if err != nil || got != want {
			t.Errorf("%s: got %+v, %v; want %+v", in, got, err, want)
		}
		if s := got.String(); s != in {
			t.Errorf("%s: printed as %s", in, s)
		}
	}
	for _, s := range []string{"", "!", "a=", "a b", "=1", "a=x", "a@edge", "a=1 "} {
		if _, err := parseDependency(s); err == nil {
			t.Errorf("%q: no error", s)
		}
	}
}

func TestQuoting(t *testing.T) {
	long := "0123456789012345678901234567890123456789012345678901234567890123456789012345678"
	for in, want := range map[string]string{
		"plain":        "k: plain\n",
		"":             "k: \n",
		"a: b":         "k: 'a: b'\n",
		"a:b":          "k: a:b\n",
		"-x":           "k: '-x'\n",
		"a#b":          "k: 'a#b'\n",
		"a #b":         "k: |\n  a #b\n",
		"it's":         "k: |\n  it's\n",
		"one\n\ntwo\n": "k: |\n  one\n  two\n",
		long:           "k: " + long + "\n",
		long + "9":     "k: |\n  " + long + "9\n",
	} {
		y := &yaml{}
		y.key("k")
		y.text(in, false)
		if got := y.out.String(); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
	y := &yaml{}
	y.key("k")
	y.startObject()
	y.end()
	if got, want := y.out.String(), "k: # empty object\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
