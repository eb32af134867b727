#!/bin/bash
# make reference: writes docs/reference.md from the COMMENTs of a fresh install.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
chmod 777 "$out"
REFERENCE_OUT=$out/reference.md TESTS=tap TAP=630_reference scripts/test.sh
cp "$out/reference.md" docs/reference.md
