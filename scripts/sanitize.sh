#!/bin/bash
# make check-sanitize: the suite with the extension under UndefinedBehaviorSanitizer, in Debian's server;
# a report fails it.  Takes little longer than make test.
#   TESTS, REGRESS, ... as for make test
# For memory: make check-valgrind and make fuzz.  (AddressSanitizer refuses RTLD_DEEPBIND, by which we open
# libjwt, and does not see what the server's palloc() cuts out of its blocks.)
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh check
reports=$(mktemp -d "${TMPDIR:-/tmp}/sales_assistant_ubsan.XXXXXX")
trap 'rm -rf "$reports"' EXIT
chmod 1777 "$reports"
export FLAGS='-fsanitize=undefined -fno-omit-frame-pointer -O1 -Wno-error' LINK=-fsanitize=undefined
export UBSAN_OPTIONS="print_stacktrace=1:log_path=$reports/report"
export AFTER="bad=0; for log in $reports/*; do [ ! -e \"\$log\" ] || { cat \"\$log\"; bad=1; }; done
    if [ \$bad = 0 ]; then echo 'sanitizer: no reports'; fi; exit \$bad"
scripts/test.sh
