#!/bin/sh
# Runs every fuzz target for a while: fuzz.sh [TIME], 10s each by default.
set -eu
cd "$(dirname "$0")/.."
for pkg in $(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do
	for target in $(grep -hoE '^func (Fuzz[A-Za-z0-9_]+)' "$pkg"/*_test.go | cut -d' ' -f2); do
		echo "$pkg $target"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "${1:-10s}" "$pkg"
	done
done
