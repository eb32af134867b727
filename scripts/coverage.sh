#!/bin/bash
# make coverage: how many lines of the C code the whole suite runs, by file; gcov.
#   TESTS, REGRESS, ... as for make test
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh check
export FLAGS='--coverage -O0 -fprofile-update=atomic -Wno-error' LINK=--coverage
# servers that are killed write no counts: their runs do not count
export AFTER='gcovr --root . --filter src/ --exclude-throw-branches --sort-percentage --print-summary 2>/dev/null'
exec scripts/test.sh
