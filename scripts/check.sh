#!/bin/sh
# Every check that is not a test, in the order of what they cost. All are run;
# the exit code is 1 if any failed.
set -u
cd "$(dirname "$0")/.." || exit 1
GO=${GO:-go}
failed=0

step() { printf '%-34s' "$1"; }
ok() { echo "ok"; }
bad() { echo "FAILED: $1"; failed=1; }

step "gofmt"
unformatted=$(git ls-files -co --exclude-standard '*.go' | xargs -r gofmt -l)
if [ -z "$unformatted" ]; then ok; else bad "run gofmt -w on:"; echo "$unformatted"; fi

step "go vet"
if out=$($GO vet ./... 2>&1); then ok; else bad ""; echo "$out"; fi

step "staticcheck"
if out=$($GO tool staticcheck ./... 2>&1); then ok; else bad ""; echo "$out"; fi

step "go mod tidy"
if out=$($GO mod tidy -diff 2>&1); then ok; else bad "run go mod tidy"; echo "$out"; fi

step "no SQLite in the agent"
if $GO list -deps ./agent | grep -q '^modernc.org/'; then bad "the agent must build for MIPS"; else ok; fi

step "dependency list and sizes"
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
if out=$(make --no-print-directory size-check TMP="$tmp" 2>&1); then ok; else bad "run make size and commit docs/"; echo "$out"; fi

step "known vulnerabilities"
if out=$(timeout 600 $GO tool govulncheck ./... 2>&1); then
	ok
else
	case "$out" in
	*"dial tcp"* | *"fetching vulnerabilities"* | *"no such host"* | *"connection refused"* | *"Forbidden"* | *"proxyconnect"*)
		echo "skipped: the vulnerability database cannot be reached" ;;
	*) bad ""; echo "$out" ;;
	esac
fi
exit $failed
