#!/bin/bash
# make deb: the Debian package, built by pg_buildext in a copy of the tree and looked at by
# lintian, of which errors and warnings are failures; packages and source are left in .work/deb.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh check
out=$PWD/.work/deb
version=$(dpkg-parsechangelog -S Version)
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
rm -rf "$out"
mkdir -p "$out" "$build/tree"
tar --exclude=./.git --exclude=./.work --exclude='*.o' --exclude='*.so' --exclude='./sales_assistant--*' -cf - . | tar -C "$build/tree" -xf -
tar -C "$build" --exclude=tree/debian --transform "s/^tree/sales-assistant-${version%-*}/" \
    -czf "$build/sales-assistant_${version%-*}.orig.tar.gz" tree
( cd "$build/tree" && pg_buildext updatecontrol && dpkg-buildpackage -us -uc >"$build/log" 2>&1 ) || { tail -40 "$build/log"; exit 1; }
rm -r "$build/tree"
cp "$build"/*.deb "$build"/*.dsc "$build"/*.tar.* "$build"/*.buildinfo "$build"/*.changes "$out/"
ls "$out"
# unreleased: debian/changelog says so until it is released
lintian --allow-root --fail-on error,warning --suppress-tags unreleased-changes "$out"/*.changes
