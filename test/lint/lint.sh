#!/bin/bash
# Checks of the sources that no compiler makes.
set -u
bad=0
complain() { echo "lint: $*" >&2; bad=1; }

# version tests only in compat.h
hits=$(grep -rln 'PG_VERSION_NUM' src --include='*.c' --include='*.h' | grep -v '^src/compat.h$')
[ -z "$hits" ] || complain "PG_VERSION_NUM outside compat.h: $hits"

# what PG 16 and 17 moved or changed goes through compat.h
for f in $(grep -lE '\b(VARDATA|VARSIZE|SET_VARSIZE|VARATT_|CreateWaitEventSet)' $(find src -name '*.c')); do
    grep -q '#include "compat.h"' "$f" || complain "$f uses varatt macros or wait event sets: it needs compat.h"
done
hits=$(grep -rl '\bCreateWaitEventSet' src --include='*.c')
[ -z "$hits" ] || complain "CreateWaitEventSet differs by version, use compat_create_wait_event_set: $hits"

# jansson only through core/json.h
hits=$(grep -rl '#include <jansson.h>' src | grep -v '^src/core/json.h$')
[ -z "$hits" ] || complain "jansson.h included directly: $hits"

# every test has an expected output, every output a test
for f in test/sql/*.sql; do
    [ -e "expected/$(basename "$f" .sql).out" ] || complain "no expected output for $f"
done
for f in test/specs/*.spec; do
    [ ! -e "$f" ] || [ -e "expected/$(basename "$f" .spec).out" ] || complain "no expected output for $f"
done
for f in expected/*.out; do
    name=$(basename "$f" .out)
    [ -e "test/sql/$name.sql" ] || [ -e "test/specs/$name.spec" ] || complain "$f belongs to no test"
done

# every part is listed, every listed part is there
for kind in install functions; do
    for f in sql/$kind/*.sql; do
        grep -qE "^ +$(basename "$f" .sql)( |\\\\|$)" sql/parts.mk || complain "$f is not in sql/parts.mk"
    done
done

# exported symbols are SQL functions (sales_*, pg_finfo_*) or named by their domain; gcov brings its own (make coverage)
domains='mime|cron|csv|decode|fields|guc|clock|uuid|spi|shmem|permission|context|password|base64url|issuer|token|revocation|statement|throttle|audit|key|cipher|guard|http|dns|charset|job|queue|slots|launcher|worker|calls|learner|scoring|marks|rollup|email|core|progress|report|reports|funnel|distribute'
hits=$(nm -D --defined-only sales_assistant.so 2>/dev/null | awk '{print $3}' |
    grep -vE "^(sales_|pg_finfo_sales_|Pg_magic_func|_PG_init|_init|_fini|__gcov_|mangle_path$|($domains)_)")
[ -z "$hits" ] || complain "exported without a domain's name: $hits"

# long files are asking to be two
for f in src/*/*.c; do
    lines=$(wc -l <"$f")
    [ "$lines" -le 700 ] || complain "$f has $lines lines"
done
exit $bad
