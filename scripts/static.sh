#!/bin/bash
# make check-static: cppcheck and clang's analyzer over all C files; any finding fails.
# Needs cppcheck and clang-tools (scripts/setup.sh check).  Assertions are on: what they claim, the analyzer may take for true.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh check
pg_config=${PG_CONFIG:-/usr/lib/postgresql/${PG_MAJOR:-15}/bin/pg_config}
bad=0

echo "== cppcheck $(cppcheck --version | cut -d' ' -f2)"
cppcheck --quiet --enable=warning,performance,portability --inline-suppr --error-exitcode=1 --std=c11 --library=posix \
    --suppress=unknownMacro --suppress=missingInclude --suppress=missingIncludeSystem --suppress=syntaxError:src/core/json.h \
    --include=scripts/cppcheck.h -DPG_VERSION_NUM=150000 \
    -Isrc -j"$(nproc)" src || bad=1

echo "== scan-build"
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
tar --exclude=./.git --exclude=./.work --exclude='*.o' --exclude='*.so' -cf - . | tar -C "$build" -xf -
( cd "$build" && scan-build -o "$build/report" --status-bugs -disable-checker deadcode.DeadStores \
    --use-cc="${CC:-gcc}" make -s -j"$(nproc)" PG_CONFIG="$pg_config" EXTRA_CFLAGS=-DUSE_ASSERT_CHECKING sales_assistant.so >"$build/log" 2>&1 ) || bad=1
grep -E 'warning: |scan-build: [0-9]+ bug' "$build/log" | sort -u || true
if [ "$bad" = 0 ]; then echo "static checks: clean"; fi
exit $bad
