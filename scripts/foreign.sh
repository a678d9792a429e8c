#!/bin/sh
# Runs the agents of other CPUs under qemu-user on the recordings of the same
# CPU, a program that tries their runtime, and the format tests on a big-endian
# machine. Wants make cross first.
set -eu
cd "$(dirname "$0")/.."
rec=pkg/nlbwmon/testdata/recordings
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0

# shellcheck disable=SC2086 # $3, the way to run it, is words
# run CPU RECORDING QEMU OTHER: every recorded nlbw command that the live snapshot
# can answer, and the compressed earlier period, byte for byte.
run() {
	agent=dist/netpilot-agent-$1
	root=$work/$1
	mkdir -p "$root/tmp" "$root/usr/share/nlbwmon"
	cp "$rec/protocols" "$root/usr/share/nlbwmon/"
	cp "$rec/arch/$2/db/0.db" "$root/tmp/"
	while read -r out options; do
		touch "$root/tmp/0.db"
		# shellcheck disable=SC2086 # the options are words
		$3 "$agent" --root "$root" --byte-order native nlbw $options >"$work/got"
		cmp "$work/got" "$rec/arch/$2/nlbw/$out" || { echo "$1: nlbw $options differs from stock nlbw" >&2; exit 1; }
		passed=$((passed + 1))
	done <<-END
		json.out -c json
		csv.out -c csv -s, -q
		json-g-mac.out -c json -g mac
		json-o-ip.out -c json -g host -o ip
		show-n.out -c show -n
	END
	$3 "$agent" dump --format csv --source "$rec/arch/$2/db/20261001.db.gz" >"$work/got"
	dist/netpilot-agent-amd64 dump --format csv --source "$rec/arch/$2/db/20261001.db.gz" | cmp - "$work/got"
	# The other byte order's file, told apart by its addresses.
	$3 "$agent" dump --source "$rec/arch/$4/db/20261101.db" | grep -q '"address_order":"[a-z]* (guessed)"'
	passed=$((passed + 2))
	echo "$1: nlbw and dump answer as stock on $2"
}

run mips mips-be qemu-mips-static x86_64
run mipsle mipsel qemu-mipsel-static mips-be
run armv5 arm qemu-arm-static mips-be
run armv7 arm qemu-arm-static mips-be
run armv6 arm qemu-arm-static mips-be
# No nlbwmon was recorded on these; their layout is that of the 32-bit or the
# other 64-bit CPU of the same byte order.
# Go's runtime stores 64 bits at a 4-aligned address there (netpoll_epoll.go),
# which a kernel on real hardware carries out and qemu-user does for these CPUs.
run mips64 mips-be "qemu-mips64-static -cpu Loongson-3A4000" x86_64
run mips64le mipsel "qemu-mips64el-static -cpu Loongson-3A4000" mips-be
run riscv64 aarch64 qemu-riscv64-static mips-be
run loong64 aarch64 qemu-loongarch64-static mips-be
run arm64 aarch64 qemu-aarch64-static mips-be
# qemu-i386 7.2 cannot run Go programs; an x86_64 kernel can, if it was built to.
if dist/netpilot-agent-386 --version 2>/dev/null | grep -q '^netpilot-agent version'; then
	run 386 i386 env mips-be
else
	echo "386: skipped, this kernel runs no 32-bit programs"
fi

# hard CPU QEMU ENV...: a program as the agent is built, with its runtime and its
# linker, that needs all of the runtime's tables, and then crashes.
hard() {
	cpu=$1 qemu=$2
	shift 2
	env "$@" GOOS=linux CGO_ENABLED=0 go build -trimpath -overlay=bin/_overlay/overlay.json -toolexec="$PWD/bin/_overlay/toolexec" \
		-tags=netgo -gcflags=all=-l -ldflags="-s -w" -o "$work/hard" ./scripts/overlay/testdata/hard
	# shellcheck disable=SC2086 # $qemu is words
	if $qemu "$work/hard" >"$work/said" 2>"$work/trace"; then
		echo "$cpu: the program that crashes did not" >&2
		exit 1
	fi
	{
		echo "10000 8 recovered runtime error: invalid memory address or nil pointer dereference"
		echo "value method main.square.area called using nil *square pointer"
		echo "? 0 true main.generic[...] main.generic[...]"
	} | cmp - "$work/said"
	grep -q '^main.crash()$' "$work/trace"
	passed=$((passed + 1))
	echo "$cpu: stacks, garbage collection, panics and traces work"
}

hard mips qemu-mips-static GOARCH=mips GOMIPS=softfloat
hard mipsle qemu-mipsel-static GOARCH=mipsle GOMIPS=softfloat
hard mips64 "qemu-mips64-static -cpu Loongson-3A4000" GOARCH=mips64 GOMIPS64=softfloat
hard armv5 qemu-arm-static GOARCH=arm GOARM=5
hard arm64 qemu-aarch64-static GOARCH=arm64
hard riscv64 qemu-riscv64-static GOARCH=riscv64
hard loong64 qemu-loongarch64-static GOARCH=loong64

echo "the formats' own tests on big-endian MIPS:"
CGO_ENABLED=0 GOARCH=mips GOMIPS=softfloat go test -exec qemu-mips-static ./pkg/nlbwmon ./pkg/usage ./pkg/uci ./pkg/wire
echo "foreign: $passed passed, 0 failed"
