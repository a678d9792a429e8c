#!/bin/sh
# Lints the OpenAPI document with a pinned linter from npm.
set -eu
cd "$(dirname "$0")/../.."
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
${GO:-go} run ./scripts/openapi > "$tmp/openapi.json"
npx --yes @redocly/cli@2.77.0 lint --config scripts/openapi/redocly.yaml "$tmp/openapi.json"
