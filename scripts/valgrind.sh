#!/bin/bash
# make check-valgrind: regression tests against a server under valgrind's memcheck;
# a report in our library fails it.  Takes some twenty minutes.
#   REGRESS=... only these
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh check
export VALGRIND="valgrind --quiet --leak-check=no --track-origins=yes --trace-children=yes --error-markers=VALGRIND-ERROR,VALGRIND-END \
--suppressions=$PWD/scripts/valgrind.supp --log-file=%p.valgrind"
export TESTS=regress
export AFTER='bad=0; for log in ../valgrind/*.valgrind; do [ -e "$log" ] || { echo "no log of valgrind"; exit 1; };
    awk "/VALGRIND-ERROR/ { block = \"\"; on = 1 } on { block = block \"\\n\" \$0 } /VALGRIND-END/ { if (block ~ /sales_assistant\\.so/) { print block; bad = 1 }; on = 0 } END { exit bad }" "$log" || bad=1; done;
    echo "valgrind: $(ls ../valgrind/*.valgrind | wc -l) processes, $([ $bad = 0 ] && echo no reports || echo REPORTS) in sales_assistant.so"; exit $bad'
exec scripts/test.sh
