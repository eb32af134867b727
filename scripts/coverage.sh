#!/bin/bash
# make coverage: how many lines of the C code the whole suite runs, by file; gcov.  Some ten minutes.
#   TESTS, REGRESS, ... as for make test
#   PG_ROOT=DIR   a server with Citus (scripts/pgtree.sh): without one nothing runs src/distribute
#   REPORT=DIR    leaves there which lines were not run: coverage.html and a page for each file
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh check
made=$(mktemp -d "${TMPDIR:-/tmp}/sales_assistant_gcov.XXXXXX")
trap 'rm -rf "$made"' EXIT
chmod 755 "$made"
gcc -c -fPIC -o "$made/dump.o" scripts/coverage.c
gcc -shared -fPIC -DPRELOADED -o "$made/exit.so" scripts/coverage.c
export FLAGS='--coverage -O0 -fprofile-update=atomic -Wno-error' LINK="--coverage $made/dump.o" PRELOAD="$made/exit.so"
export AFTER='report() { gcovr --root . --filter src/ --exclude-throw-branches "$@" 2>/dev/null; }
    report --json coverage.json
    again() { report -a coverage.json "$@"; }
    again --sort-percentage --print-summary
    echo "without src/distribute, which runs on Citus alone:"
    again --exclude src/distribute/ --json-summary-pretty | grep -E "\"line_(covered|percent|total)\"" | tail -3
    [ -z "${REPORT:-}" ] || { mkdir -p "$REPORT" && again --html-details "$REPORT/coverage.html"; cp coverage.json "$REPORT"; }'
scripts/test.sh
