#!/bin/sh
# Writes the release tarball of a tag and puts its version and hash into the
# OpenWrt package: scripts/openwrt-release.sh v1.2.3
set -eu
cd "$(dirname "$0")/.."
tag=${1:?which tag? for example v1.2.3}
version=${tag#v}
case "$version" in
[0-9]*.[0-9]*.[0-9]*) ;;
*) echo "openwrt-release: $tag is not like v1.2.3" >&2; exit 2 ;;
esac
mkdir -p dist
tarball=dist/netpilot-$version.tar.gz
git archive --format=tar --prefix="netpilot-$version/" "$tag" | gzip -9n >"$tarball"
hash=$(sha256sum "$tarball" | cut -d' ' -f1)
makefile=openwrt-package/netpilot-agent/Makefile
sed -i -e "s/^PKG_VERSION:=.*/PKG_VERSION:=$version/" -e "s/^PKG_HASH:=.*/PKG_HASH:=$hash/" -e "s/^PKG_RELEASE:=.*/PKG_RELEASE:=1/" "$makefile"
sed -i -e "s/^PKG_VERSION:=.*/PKG_VERSION:=$version/" -e "s/^PKG_RELEASE:=.*/PKG_RELEASE:=1/" openwrt-package/luci-app-netpilot/Makefile
echo "$tarball $hash"
echo "next: publish it as a file of the release $tag, and commit openwrt-package"
