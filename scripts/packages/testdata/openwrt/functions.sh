# A stand-in for OpenWrt's /lib/functions.sh: what the packages use of it, in
# the order in which the real one does it, noting each step in /tmp/calls.

note() { echo "$*" >>"$IPKG_INSTROOT/tmp/calls"; }

# Of UCI only what the package's own file has: names of letters, one value a line.
config_load() {
	eval "$(awk -v q="'" '
		{ gsub(q, ""); gsub("\"", "") }
		$1 == "config" { section = $3 }
		$1 == "option" { name = $2; $1 = $2 = ""; sub(/^ +/, ""); print "CONFIG_" section "_" name "=" q $0 q }
	' "$IPKG_INSTROOT/etc/config/$1")"
}

config_get() { eval "$1=\"\${CONFIG_${2}_$3:-$4}\""; }

config_get_bool() {
	config_get "$@"
	eval "case \$$1 in 1|on|true|yes|enabled) $1=1 ;; *) $1=0 ;; esac"
}

files_of() {
	cat "$IPKG_INSTROOT/usr/lib/opkg/info/$1.list" "$IPKG_INSTROOT/lib/apk/packages/$1.list" 2>/dev/null
}

add_group_and_user() {
	local users name id
	users="$(sed -n 's/^Require-User: *//p' "$IPKG_INSTROOT/usr/lib/opkg/info/$pkgname.control" 2>/dev/null)"
	[ ! -e "$IPKG_INSTROOT/lib/apk/packages/$pkgname.rusers" ] || users="$(cat "$IPKG_INSTROOT/lib/apk/packages/$pkgname.rusers")"
	[ -n "$users" ] || return 0
	users="${users%%:*}" name="${users%%=*}" id="${users##*=}"
	grep -q "^$name:" "$IPKG_INSTROOT/etc/passwd" && return 0
	note "user $name $id"
	echo "$name:x:$id:$id:$name:/var/run/$name:/bin/false" >>"$IPKG_INSTROOT/etc/passwd"
	echo "$name:x:$id:" >>"$IPKG_INSTROOT/etc/group"
}

default_postinst() {
	local i
	[ -n "$pkgname" ] || pkgname="$(basename "${1%.*}")"
	note "default_postinst $pkgname upgrade=${PKG_UPGRADE:-0}"
	add_group_and_user
	if [ -z "$IPKG_INSTROOT" ]; then
		for i in $(files_of "$pkgname" | grep '^/etc/uci-defaults/'); do
			[ -f "$i" ] || continue
			note "defaults $i"
			( . "$i" ) && rm -f "$i"
		done
	fi
	if [ -f "$IPKG_INSTROOT/usr/lib/opkg/info/$pkgname.postinst-pkg" ]; then
		( . "$IPKG_INSTROOT/usr/lib/opkg/info/$pkgname.postinst-pkg" )
	fi
	for i in $(files_of "$pkgname" | grep '^/etc/init.d/'); do
		if [ -n "$IPKG_INSTROOT" ]; then
			note "enable $i offline"
			continue
		fi
		[ "$PKG_UPGRADE" = 1 ] || "$i" enable
		"$i" start
	done
	return 0
}

default_prerm() {
	local i
	[ -n "$pkgname" ] || pkgname="$(basename "${1%.*}")"
	note "default_prerm $pkgname upgrade=${PKG_UPGRADE:-0}"
	for i in $(files_of "$pkgname" | grep '^/etc/init.d/'); do
		[ -z "$IPKG_INSTROOT" ] || continue
		[ "$PKG_UPGRADE" = 1 ] || "$i" disable
		"$i" stop
	done
	return 0
}
