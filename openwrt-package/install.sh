#!/bin/sh
# Installs netpilot-agent on OpenWrt 24.10 (opkg) or 25.12 (apk), from the feed
# it was fetched from. It runs on the router, as root:
#
#   sh install.sh --help
#
# All is in functions and the last line calls them, so that half a download
# does nothing.
set -eu

# The feed's build fills these in.
FEED='@FEED_URL@'
ARCHS='@ARCHS@'
INSTALLED_KIB='@INSTALLED_KIB@'
OPKG_FINGERPRINT='@OPKG_FINGERPRINT@'
OPKG_KEY='@OPKG_KEY@'
APK_KEY='@APK_KEY@'

# What the agent takes while it runs, with a download in /tmp beside it.
NEED_RAM_KIB=20480

OPKG_KEYS=/etc/opkg/keys
OPKG_FEEDS=/etc/opkg/customfeeds.conf
OPKG_LISTS=/var/opkg-lists
APK_KEYS=/etc/apk/keys
APK_FEEDS=/etc/apk/repositories.d/customfeeds.list

usage() {
	cat <<-END
		Usage: sh install.sh [OPTIONS]

		  --relay URL        enrol at this relay after the installation
		  --token-file FILE  with the relay's one-time token; without it you are asked
		  --feed URL         take the packages from here (default: ${FEED:-none})
		  --no-vendors       leave the table of vendor names out (0.3 MB)
		  --force            install also where flash or memory look too small
		  --uninstall        take netpilot off again; identity, history and options stay
		  --purge            with --uninstall: these too

		Examples:
		  sh install.sh
		  sh install.sh --relay https://relay.example
		  sh install.sh --uninstall
	END
}

say() { echo "netpilot: $*"; }
fail() {
	echo "netpilot: $*" >&2
	exit 1
}
misuse() {
	echo "netpilot: $*; see: sh install.sh --help" >&2
	exit 2
}

# look finds out what this router is: sets arch and manager.
look() {
	[ "$(id -u)" = 0 ] || fail "this needs root; log in as root"
	[ -r /etc/openwrt_release ] || fail "this is no OpenWrt: there is no /etc/openwrt_release"
	DISTRIB_RELEASE='' DISTRIB_ARCH=''
	. /etc/openwrt_release
	arch="$DISTRIB_ARCH"
	[ -n "$arch" ] || fail "/etc/openwrt_release does not say DISTRIB_ARCH"
	if command -v apk >/dev/null 2>&1; then
		manager=apk
		if [ -r /etc/apk/arch ] && ! grep -qxF "$arch" /etc/apk/arch; then
			fail "the release says $arch and apk says $(head -n 1 /etc/apk/arch); reinstall the right image first"
		fi
	elif command -v opkg >/dev/null 2>&1; then
		manager=opkg
		if ! opkg print-architecture 2>/dev/null | grep -q "^arch $arch "; then
			fail "the release says $arch, which opkg print-architecture does not list; reinstall the right image first"
		fi
	else
		fail "neither opkg nor apk is here"
	fi
	say "OpenWrt $DISTRIB_RELEASE, $arch, $manager"
	case "$DISTRIB_RELEASE" in
	1[0-9].* | 2[0-2].* | 23.0[1-4].*)
		say "this release is older than what netpilot is tried on, 24.10 and 25.12"
		;;
	esac
}

# served refuses an architecture that the feed has nothing for: opkg can crash
# on a package of another one.
served() {
	local a
	for a in $ARCHS; do
		[ "$a" != "$arch" ] || return 0
	done
	fail "there is no netpilot for $arch; this feed has: $ARCHS"
}

# room checks free flash and memory.
room() {
	local kind free need ram
	[ "$force" = 0 ] || return 0
	kind="$(awk '$2 == "/overlay" { k = $3 } END { print k }' /proc/mounts)"
	free="$(df -k "$([ -d /overlay ] && echo /overlay || echo /)" | awk 'END { print $(NF - 2) }')"
	need="$INSTALLED_KIB"
	# These two compress what they store.
	case "$kind" in jffs2 | ubifs) need=$((INSTALLED_KIB / 2)) ;; esac
	if [ ! -e /usr/sbin/netpilot-agent ] && [ "$free" -lt "$need" ]; then
		fail "free flash is $free KiB and netpilot takes about $need; remove packages, or try --no-vendors --force"
	fi
	ram="$(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo)"
	if [ "${ram:-$NEED_RAM_KIB}" -lt "$NEED_RAM_KIB" ]; then
		fail "free memory is $ram KiB and netpilot wants $NEED_RAM_KIB; stop something, or try --force"
	fi
}

# without prints a file but for the lines with the word.
without() {
	if [ -e "$2" ]; then grep -v "$1" "$2" || true; fi
}

# replace writes stdin to a file, whole or not at all.
replace() {
	mkdir -p "$(dirname "$1")"
	cat >"$1.netpilot"
	mv "$1.netpilot" "$1"
}

# forget takes feed and key out of the package manager.
forget() {
	if [ "$manager" = opkg ]; then
		[ ! -e "$OPKG_FEEDS" ] || without '^src/gz netpilot ' "$OPKG_FEEDS" | replace "$OPKG_FEEDS"
		rm -f "$OPKG_LISTS/netpilot" "$OPKG_LISTS/netpilot.sig"
		[ -z "$OPKG_FINGERPRINT" ] || rm -f "$OPKG_KEYS/$OPKG_FINGERPRINT"
	else
		[ ! -e "$APK_FEEDS" ] || without_marked <"$APK_FEEDS" | replace "$APK_FEEDS"
		rm -f "$APK_KEYS/netpilot.pem"
	fi
}

# without_marked takes the line after the mark out of stdin, with the mark.
without_marked() { awk '/^# netpilot, by its install.sh:$/ { skip = 1; next } skip { skip = 0; next } { print }'; }

# The package manager checks every signature itself; this only refuses to go on
# where it would not.
install_opkg() {
	[ -n "$OPKG_FINGERPRINT" ] || fail "this feed is not signed; ask who runs it for a signed one"
	grep -q '^option check_signature' /etc/opkg.conf ||
		fail "opkg does not check signatures here; next: echo option check_signature >> /etc/opkg.conf, then again"
	echo "$OPKG_KEY" | replace "$OPKG_KEYS/$OPKG_FINGERPRINT"
	{ without '^src/gz netpilot ' "$OPKG_FEEDS"; echo "src/gz netpilot $FEED/opkg/$arch"; } | replace "$OPKG_FEEDS"
	rm -f "$OPKG_LISTS/netpilot"
	# Another feed may be down; what counts is whether ours came and was
	# rightly signed.
	opkg update || true
	[ -s "$OPKG_LISTS/netpilot" ] || return 1
	# shellcheck disable=SC2086 # package names are words
	opkg install $packages
}

install_apk() {
	local said
	[ -n "$APK_KEY" ] || fail "this feed is not signed; ask who runs it for a signed one"
	echo "$APK_KEY" | replace "$APK_KEYS/netpilot.pem"
	{ without_marked <"$([ -e "$APK_FEEDS" ] && echo "$APK_FEEDS" || echo /dev/null)"
		echo "# netpilot, by its install.sh:"
		echo "$FEED/apk/$arch/packages.adb"; } | replace "$APK_FEEDS"
	# Another feed may be down; where ours is refused, apk would go on with the
	# list it fetched before.
	said="$(apk update 2>&1)" || true
	echo "$said"
	case "$said" in *"$FEED/apk/$arch/packages.adb: "*) return 1 ;; esac
	# shellcheck disable=SC2086 # package names are words
	apk add $packages && apk upgrade $packages
}

installed() {
	if [ "$manager" = opkg ]; then
		opkg list-installed "$1" | grep -q "^$1 "
	else
		apk info -e "$1" >/dev/null 2>&1
	fi
}

uninstall() {
	local p gone=''
	for p in luci-app-netpilot netpilot-oui netpilot-agent; do
		if installed "$p"; then gone="$gone $p"; fi
	done
	if [ -n "$gone" ]; then
		if [ "$manager" = opkg ]; then
			# shellcheck disable=SC2086 # package names are words
			opkg remove $gone || fail "opkg could not remove$gone; see above"
		else
			# shellcheck disable=SC2086
			apk del $gone || fail "apk could not remove$gone; see above"
		fi
	fi
	forget
	if [ "$purge" = 1 ]; then
		rm -rf /etc/netpilot /etc/config/netpilot /tmp/netpilot
		say "removed, with identity, history and options; the relay still lists this router: netpilot-relay router remove"
	else
		say "removed; identity and history stay in /etc/netpilot, the options in /etc/config/netpilot (--purge removes them)"
	fi
}

# enrol offers what comes next.
enrol() {
	if [ -e /etc/netpilot/identity.json ]; then
		say "this router is enrolled already; next: netpilot-agent status"
		return 0
	fi
	if [ -z "$relay" ] && [ -t 0 ]; then
		printf 'Address of the relay, https://... (empty: later): '
		read -r relay || relay=''
	fi
	if [ -z "$relay" ]; then
		say "next: netpilot-agent enroll --relay https://RELAY"
		return 0
	fi
	netpilot-agent enroll --relay "$relay" ${token:+--token-file "$token"}
}

main() {
	local uninstall=0
	relay='' token='' force=0 purge=0 packages='netpilot-agent netpilot-oui'
	while [ $# -gt 0 ]; do
		case "$1" in
		--relay | --token-file | --feed)
			[ $# -ge 2 ] || misuse "$1 wants a value"
			case "$1" in
			--relay) relay="$2" ;;
			--token-file) token="$2" ;;
			--feed) FEED="${2%/}" ;;
			esac
			shift
			;;
		--no-vendors) packages=netpilot-agent ;;
		--force) force=1 ;;
		--uninstall) uninstall=1 ;;
		--purge) purge=1 ;;
		-h | --help)
			usage
			return 0
			;;
		*) misuse "unknown option $1" ;;
		esac
		shift
	done
	[ "$purge" = 0 ] || [ "$uninstall" = 1 ] || misuse "--purge goes with --uninstall"
	look
	if [ "$uninstall" = 1 ]; then
		uninstall
		return 0
	fi
	case "$FEED" in
	http://* | https://*) ;;
	'') misuse "this copy does not know its feed; give --feed URL" ;;
	*) misuse "--feed $FEED is no address" ;;
	esac
	[ ! -d /www/luci-static/resources ] || packages="$packages luci-app-netpilot"
	served
	room
	if ! "install_$manager"; then
		[ -e /usr/sbin/netpilot-agent ] || forget
		fail "not installed: $manager refused, see above. A wrong signature means that the feed was changed on its way"
	fi
	enrol
}

main "$@"
