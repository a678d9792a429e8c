#!/bin/sh
# Lints the OpenAPI document with a pinned linter from npm.
set -eu
cd "$(dirname "$0")/../.."
if ! node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null; then
	echo "OpenAPI lint: left out, the linter wants Node.js 20 or later; see https://nodejs.org" >&2
	exit 0
fi
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
${GO:-go} run ./scripts/openapi > "$tmp/openapi.json"
npx --yes @redocly/cli@2.77.0 lint --config scripts/openapi/redocly.yaml "$tmp/openapi.json"
