#!/bin/bash
# make test: everything, from nothing.  Installs packages, copies the project
# and the server's binaries to a scratch folder, builds there with assertions,
# starts a cluster on a unix socket as an unprivileged user, runs pg_regress,
# isolation and TAP tests, and removes all of it.  Ends with "N passed, N failed".
#   KEEP=1       keeps the scratch folder and says where it is
#   TESTS=...    only these kinds: regress isolation tap lint
#   REGRESS=... ISOLATION=... TAP=...   only these tests of a kind (TAP: names in test/t)
#   FLAGS=... LINK=...   more flags for the compiler and for linking the library
#   PRELOAD=...  a library for LD_PRELOAD of all that runs
#   AFTER=...    a command that is run in the scratch folder's src at the end (scripts/coverage.sh)
set -euo pipefail

# make takes a variable that is set and empty for an empty list
for list in REGRESS ISOLATION; do [ -n "${!list:-}" ] || unset "$list"; done

cd "$(dirname "$0")/.."
scripts/setup.sh test
. scripts/scratch.sh test
port=54321
cd "$scratch/src"
echo "== build"
flags=(EXTRA_CFLAGS="-Werror -DUSE_ASSERT_CHECKING ${FLAGS:-}" ${LINK:+"LDFLAGS_SL=$LINK"})
build "${flags[@]}" all
build "${flags[@]}" install
[ -z "${PRELOAD:-}" ] || export LD_PRELOAD=$PRELOAD

# --- a cluster for regress and isolation tests ---
as_user "$bin/initdb" -D "$scratch/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 -N >/dev/null
cat >>"$scratch/data/postgresql.conf" <<CONF
listen_addresses = ''
unix_socket_directories = '$scratch/sock'
port = $port
shared_preload_libraries = 'sales_assistant'
# what a worker does meanwhile would be chance; the TAP tests have it
sales_assistant.workers = off
fsync = off
max_worker_processes = 16
max_prepared_transactions = 4
log_line_prefix = '%m [%p] %b %q%u@%d '
CONF
if [ -n "${VALGRIND:-}" ]; then
    install -d -o "$user" "$scratch/valgrind"
    mv "$bin/postgres" "$bin/postgres.bin"
    printf '#!/bin/sh\nexec %s "%s" "$@"\n' "${VALGRIND/--log-file=/--log-file=$scratch/valgrind/}" "$bin/postgres.bin" >"$bin/postgres"
    chmod 755 "$bin/postgres"
fi
as_user "$bin/pg_ctl" -D "$scratch/data" -l "$scratch/server.log" -t 300 -w start >/dev/null

passed=0 failed=0 skipped=0
kinds=${TESTS:-lint regress isolation tap}
wants() { case " $kinds " in *" $1 "*) true ;; *) false ;; esac }
check() { # NAME LOG: runs the rest, counts "ok" and "FAILED" lines of pg_regress
    local log=$1
    shift
    "$@" >"$log" 2>&1 || true
    # PG 15 writes "test NAME ... ok", later ones "ok 1 - NAME"
    sed -n '/^test \|^ *[a-z0-9_]* *\.\.\. \|^\(not \)\?ok /p' "$log"
    local ok bad
    ok=$(grep -cE '\.\.\. ok |^ok [0-9]' "$log" || true)
    bad=$(grep -cE '\.\.\. (FAILED|failed)|^not ok [0-9]' "$log" || true)
    if [ "$ok" = 0 ] && [ "$bad" = 0 ]; then
        bad=1
        cat "$log"
    fi
    passed=$((passed + ok)) failed=$((failed + bad))
}
regress_env=(env PGHOST="$scratch/sock" PGPORT=$port PGUSER=postgres SHARED_DATA="$SHARED_DATA")

if wants lint; then
    echo "== lint"
    for lint in test/lint/*.sh; do
        [ -e "$lint" ] || continue
        if as_user "${regress_env[@]}" PG_CONFIG="$pg_config" bash "$lint"; then
            passed=$((passed + 1))
            echo "ok   $(basename "$lint")"
        else
            failed=$((failed + 1))
            echo "FAIL $(basename "$lint")"
        fi
    done
fi
if wants regress; then
    echo "== regress"
    check "$scratch/regress.log" as_user "${regress_env[@]}" make -s installcheck \
        PG_CONFIG="$pg_config" ISOLATION= TAP_TESTS= ${REGRESS:+"REGRESS=$REGRESS"}
    [ ! -s regression.diffs ] || { cat regression.diffs; }
fi
if wants isolation; then
    echo "== isolation"
    rm -f regression.diffs
    check "$scratch/isolation.log" as_user "${regress_env[@]}" make -s installcheck \
        PG_CONFIG="$pg_config" REGRESS= TAP_TESTS= ${ISOLATION:+"ISOLATION=$ISOLATION"}
    for diffs in regression.diffs output_iso/regression.diffs; do
        [ ! -s "$diffs" ] || cat "$diffs"
    done
fi
as_user "$bin/pg_ctl" -D "$scratch/data" -m fast -w stop >/dev/null

if wants tap; then
    echo "== tap"
    if as_user env PATH="$bin:$PATH" SHARED_DATA="$SHARED_DATA" make -s installcheck PG_CONFIG="$pg_config" \
        REGRESS= ISOLATION= PROVE_FLAGS="-j2 --timer" \
        ${TAP:+"PROVE_TESTS=$(for t in $TAP; do echo "test/t/$t.pl"; done | tr '\n' ' ')"} \
        2>&1 | tee "$scratch/tap.log"; then
        :
    else
        echo "TAP failed"
    fi
    # prove's own counts: "Files=3, Tests=41, ..." and "Failed N/M subtests" lines.
    total=$(sed -n 's/^Files=[0-9]*, Tests=\([0-9]*\).*/\1/p' "$scratch/tap.log" | tail -1)
    bad=$(sed -n 's/^.*Failed \([0-9]*\)\/[0-9]* subtests.*/\1/p' "$scratch/tap.log" | awk '{n += $1} END {print n + 0}')
    if [ -z "$total" ] || grep -q '^Bailout called' "$scratch/tap.log" || { ! grep -q '^Result: PASS' "$scratch/tap.log" && [ "$bad" = 0 ]; }; then
        bad=$((bad + 1))
    fi
    skipped=$((skipped + $(grep -c ' skipped: ' "$scratch/tap.log" || true)))
    passed=$((passed + ${total:-0} - bad)) failed=$((failed + bad))
    if [ "$bad" != 0 ]; then
        for log in tmp_check/log/regress_log_*; do
            grep -l 'not ok\|# Looks like' "$log" 2>/dev/null | while read -r one; do
                echo "---- $one"
                tail -60 "$one"
            done || true
        done
    fi
fi

[ -z "${AFTER:-}" ] || ( cd "$scratch/src" && bash -c "$AFTER" )
if [ "$skipped" != 0 ]; then
    echo "$passed passed, $failed failed, $skipped skipped"
else
    echo "$passed passed, $failed failed"
fi
[ "$failed" = 0 ]
