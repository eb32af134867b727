#!/bin/bash
# make deb: the Debian package, built by pg_buildext in a copy of the tree; left in .work/deb.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh check
out=$PWD/.work/deb
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
mkdir -p "$out" "$build/tree"
tar --exclude=./.git --exclude=./.work --exclude='*.o' --exclude='*.so' --exclude='./sales_assistant--*' -cf - . | tar -C "$build/tree" -xf -
( cd "$build/tree" && pg_buildext updatecontrol && dpkg-buildpackage -us -uc -b >"$build/log" 2>&1 ) || { tail -40 "$build/log"; exit 1; }
cp "$build"/*.deb "$out/"
ls "$out"
