// Package adb writes and reads the two files OpenWrt 25.12's package manager
// (apk-tools 3) takes: a package, NAME.apk, and the index of a feed,
// packages.adb.
//
// To make a signed package, describe it, turn it into a container, sign that:
//
//	p := adb.Package{Info: adb.Info{Name: "hello", Version: "1.0-r1", Arch: "noarch"}, Files: files}
//	c, err := p.Container()
//	err = c.Sign(key)
//	b, err := c.Compressed()
//
// To read one, Parse it, Verify who signed it, then ask for its Package or
// Index. What is signed is the ADB block alone; it holds the hash of every
// file, and Package compares them.
//
// The same description gives the same bytes every time, signatures included.
// Before compression they are the bytes that "apk mkpkg" and "apk mkndx" of
// apk-tools 3.0.6 write with SOURCE_DATE_EPOCH set; after it they differ,
// because two deflate libraries pack the same bytes in different ways.
//
// The format is described in apk-tools' doc/apk-v3.5.scd, src/adb.h and
// src/apk_adb.h. Every number in it is little-endian.
//
// Left out: extended attributes, hard links and device files (Dump shows them,
// Package refuses them), zstd, the installed database, keys other than P-256.
package adb
