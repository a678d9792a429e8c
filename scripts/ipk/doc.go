// Package ipk writes and reads the packages opkg installs (OpenWrt 24.10 and
// before), NAME_VERSION_ARCH.ipk, and the index of a feed, Packages and
// Packages.gz.
//
// An ipk is a tar, packed with gzip, of three files: debian-binary, which says
// 2.0; control.tar.gz with the description, the list of configuration files and
// the scripts; data.tar.gz with the files to install. All is owned by 0:0 and
// has one time, so the same description gives the same bytes, as long as the
// version of Go, whose deflate it is, stays the same. The model is OpenWrt's
// scripts/ipkg-build and scripts/ipkg-make-index.sh.
package ipk
