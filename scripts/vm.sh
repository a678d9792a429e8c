#!/bin/sh
# The tests that ask the kernel, in a virtual machine with Debian's: it has what
# the kernel at hand may lack, simulated radios and flowtables. For x86_64, with
# apt-get, dpkg-deb, ip, unshare and qemu-system-x86_64; nothing is installed. What is
# downloaded, 75 MB, is kept in bin/_vm.
set -eu
cd "$(dirname "$0")/.."
GO=${GO:-go}
work=$PWD/bin/_vm
mkdir -p "$work/deb"

for tool in apt-get dpkg-deb ip unshare nsenter qemu-system-x86_64; do
	command -v "$tool" > /dev/null || { echo "vm: needs $tool (packages: iproute2 util-linux qemu-system-x86)" >&2; exit 1; }
done
image=$(apt-cache depends linux-image-amd64 | sed -n 's/.*Depends: *\(linux-image-[0-9].*\)/\1/p' | head -1)
[ -n "$image" ] || { echo "vm: apt-cache knows no linux-image-amd64; try: apt-get update" >&2; exit 1; }
if [ ! -e "$work/deb/$image" ]; then
	rm -rf "$work/deb" "$work/x"
	mkdir -p "$work/deb" "$work/x"
	(cd "$work/deb" && apt-get download -q "$image" busybox-static hostapd iw libnl-3-200 libnl-genl-3-200 libnl-route-3-200)
	for deb in "$work"/deb/*.deb; do dpkg-deb -x "$deb" "$work/x"; done
	touch "$work/deb/$image"
fi
kernel=${image#linux-image-}

# The machine's root: busybox, the modules, the programs with their libraries,
# and the tests.
root=$work/root
rm -rf "$root"
mkdir -p "$root/bin" "$root/sbin" "$root/lib64" "$root/lib/x86_64-linux-gnu" "$root/lib/modules/$kernel/kernel" "$root/t" "$root/proc" "$root/sys" "$root/dev" "$root/tmp"
find "$work/x" -path '*/bin/busybox' -type f -exec cp {} "$root/bin/busybox" \;
(cd "$work/x/lib/modules/$kernel" && cp modules.order modules.builtin modules.builtin.modinfo "$root/lib/modules/$kernel/" &&
	cp -r --parents kernel/net kernel/crypto kernel/lib kernel/drivers/virtio kernel/drivers/net/veth.ko* kernel/drivers/net/wireless/mac80211_hwsim.ko* "$root/lib/modules/$kernel/")
find "$work/x" \( -name hostapd -o -name iw \) -type f -path '*sbin/*' -exec cp {} "$root/sbin/" \;
for program in ip unshare nsenter; do cp "$(command -v $program)" "$root/sbin/"; done
find "$work/x" -name 'libnl*.so.*' -exec cp -L {} "$root/lib/x86_64-linux-gnu/" \;
for program in hostapd iw ip unshare nsenter; do
	LD_LIBRARY_PATH=$root/lib/x86_64-linux-gnu ldd "$root/sbin/$program" | sed -n 's/.*=> \(\/[^ ]*\).*/\1/p' |
		while read -r lib; do cp -Lu "$lib" "$root/lib/x86_64-linux-gnu/" 2> /dev/null || true; done
done
cp -L /lib64/ld-linux-x86-64.so.2 "$root/lib64/"
for package in netlink netfilter wireless truth identity command; do
	CGO_ENABLED=0 $GO test -c -o "$root/t/$package" "./agent/$package"
done
cat > "$root/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/sbin:/bin LD_LIBRARY_PATH=/lib/x86_64-linux-gnu
ln -s /bin/busybox /sbin/modprobe
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev; mount -t tmpfs tmp /tmp
depmod
modprobe veth; modprobe nf_conntrack; modprobe mac80211_hwsim radios=2
ip link set lo up
cd /t
for package in *; do ./$package -test.v -test.run 'ThisKernel|TestKernel|Hwsim|DoctorEverything|Permission'; done
poweroff -f
INIT
chmod +x "$root/init"
(cd "$root" && find . | ./bin/busybox cpio -o -H newc 2> /dev/null | gzip -1 > "$work/initrd.gz")
timeout 600 qemu-system-x86_64 -m 1500 -nographic -no-reboot -nic none -kernel "$work/x/boot/vmlinuz-$kernel" -initrd "$work/initrd.gz" \
	-append "console=ttyS0 quiet panic=-1" < /dev/null > "$work/log" 2>&1 || { tail -20 "$work/log" >&2; exit 1; }
tr -d '\r' < "$work/log" | grep -E '^(--- |FAIL|panic|    [a-z_]+_test\.go)' || true
passed=$(tr -d '\r' < "$work/log" | grep -c '^PASS$' || true)
if grep -qE '^(--- FAIL|FAIL|panic)' "$work/log" || [ "$passed" -ne 6 ]; then
	echo "FAILED on Linux $kernel, $passed of 6 packages passed; see $work/log" >&2
	exit 1
fi
echo "passed on Linux $kernel"
