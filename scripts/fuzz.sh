#!/bin/bash
# make fuzz: each parser of ours under libFuzzer with AddressSanitizer and
# UndefinedBehaviorSanitizer, without a server (test/fuzz/shim.c stands in for it).
# What is found is kept under .work/fuzz/NAME; a finding ends the run with its input.
#   SECONDS_EACH=60   time for each      TARGETS="csv cron"   only these
#   ROUNDS=200        in place of libFuzzer that many changes of each seed, built by gcc: what the suite runs
#   WORK=DIR          another folder than .work/fuzz
set -euo pipefail
cd "$(dirname "$0")/.."
PG_CONFIG=${PG_CONFIG:-/usr/lib/postgresql/${PG_MAJOR:-15}/bin/pg_config}
work=${WORK:-.work/fuzz}
declare -A sources=(
    [csv]='src/imports/decode.c src/imports/csv.c' [cron]=src/schedule/parse.c [fields]=src/core/email.c
    [address]=src/core/email.c [mustache]='' [mail]='src/campaigns/mime_write.c src/core/email.c'
    [page]='' [answer]=src/http/charset.c [url]='' [dns]='' [model]=''
    [sealed]='src/core/base64url.c src/core/uuid.c')
if [ -n "${ROUNDS:-}" ]; then
    build="gcc -fno-pie -O1 -fsanitize=address,undefined test/fuzz/driver.c"
else
    build="clang -fno-pie -O1 -fsanitize=fuzzer,address,undefined"
fi
build="$build -g -w -fno-omit-frame-pointer -fno-sanitize-recover=undefined -ffunction-sections -DUSE_ASSERT_CHECKING -D_GNU_SOURCE
    -Isrc -Itest/fuzz -I$("$PG_CONFIG" --includedir-server) $(pkg-config --cflags gmime-3.0) $(xml2-config --cflags)"
# (what only the SQL functions around the parsers call stays unresolved: who calls it after all, crashes)
library=$("$PG_CONFIG" --pkglibdir)
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1 G_SLICE=always-malloc

# The vectors of the requirement, where they are, and the lines of test/fuzz/seeds.
seeds() {
    local data=${SHARED_DATA:-../shared/data} n=0 seed f
    while IFS= read -r f; do
        n=$((n + 1))
        { [ "$1" != csv ] || printf 'AAz'; head -c 4000 "$f"; } >"$work/$1/vector.$n"
    done < <(case $1 in
        csv) find "$data/csv_torture" -type f -name '*.csv' -size -32k 2>/dev/null | sort | head -60 ;;
        mail) find "$data/mime" -type f -name '*.eml' -size -32k 2>/dev/null | sort | head -60 ;;
    esac)
    while IFS= read -r seed; do
        n=$((n + 1))
        printf '%b' "$seed" >"$work/$1/seed.$n"
    done < <(sed -n "s/^$1 //p" test/fuzz/seeds)
}
for name in ${TARGETS:-csv fields cron mustache mail address page answer url dns sealed model}; do
    mkdir -p "$work/$name"
    $build -o "$work/fuzz_$name" "test/fuzz/fuzz_$name.c" test/fuzz/shim.c ${sources[$name]} "${library%/lib}/lib/libpgcommon.a" \
        "${library%/lib}/lib/libpgport.a" $(pkg-config --libs gmime-3.0) -ljansson -lxml2 -lidn2 -lcurl -lcares -lcrypto -lm -Wl,--gc-sections -Wl,--unresolved-symbols=ignore-all -no-pie
    seeds "$name"
    if [ -n "${ROUNDS:-}" ]; then
        if "$work/fuzz_$name" "$ROUNDS" "$work/$name"/* >"$work/$name.log" 2>&1; then
            echo "$name: $(tail -1 "$work/$name.log")"
        else
            cat "$work/$name.log"
            echo "$name: broken"
            exit 1
        fi
        continue
    fi
    echo "== $name"
    nice "$work/fuzz_$name" -max_total_time="${SECONDS_EACH:-60}" -timeout=20 -rss_limit_mb=2048 \
        -max_len="$([ "$name" = mail ] && echo 8000 || echo 3000)" -print_final_stats=1 -artifact_prefix="$work/$name." -verbosity=0 \
        "$work/$name" 2>"$work/$name.log" || { tail -40 "$work/$name.log"; exit 1; }
    grep -E 'number_of_executed_units|new_units_added' "$work/$name.log"
done
