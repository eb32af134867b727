#!/bin/bash
# The main job from end to end on a throwaway cluster.
#   demo.sh start [CSV]   builds, starts, runs, reports, and leaves the cluster up
#   demo.sh stop          stops the cluster and removes it
# Needs no key and no network once the packages are there.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
dir=${TMPDIR:-/tmp}/sales_assistant_demo.$(id -u)
port=54329
user=$(id -un)
[ "$(id -u)" != 0 ] || user=postgres
bin=$dir/pg/lib/postgresql/15/bin

as_user() {
    if [ "$(id -u)" = 0 ]; then
        (cd / && runuser -u "$user" -- "$@")
    else
        "$@"
    fi
}

stop() {
    if [ -f "$dir/data/postmaster.pid" ]; then
        as_user "$bin/pg_ctl" -D "$dir/data" -m fast -w stop >/dev/null 2>&1 || true
    fi
    rm -rf "$dir"
}

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
note() { printf '   %s\n' "$*"; }

sql() { # LOGIN, psql arguments: quiet, stops at the first error
    local login=$1
    shift
    "$bin/psql" -X -q -v ON_ERROR_STOP=1 -h "$dir/sock" -p $port -U "$login" -d demo "$@"
}

build() {
    say "Building"
    local pg_config log=$dir/build.log
    pg_config=$("$root/scripts/pgtree.sh" "$dir/pg")
    # Built in a copy, so that the checkout stays as it is and may be read-only.
    mkdir -p "$dir/src"
    tar -C "$root" --exclude=./.git --exclude=./tmp_check -cf - . | tar -C "$dir/src" -xf -
    if ! make -s -C "$dir/src" -j"$(nproc)" PG_CONFIG="$pg_config" install >"$log" 2>&1; then
        tail -30 "$log" >&2
        echo "the build failed; its log is $log" >&2
        exit 1
    fi
    note "built and installed into $dir/pg (the system's PostgreSQL is not touched)"
}

start_cluster() {
    say "Starting a throwaway PostgreSQL with sales_assistant preloaded"
    mkdir -p "$dir/data" "$dir/sock"
    chmod 700 "$dir/sock"
    : >"$dir/server.log"
    [ "$(id -u)" != 0 ] || chown "$user" "$dir/data" "$dir/sock" "$dir/server.log"
    as_user "$bin/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 -N >/dev/null
    as_user tee -a "$dir/data/postgresql.conf" >/dev/null <<CONF
listen_addresses = ''
unix_socket_directories = '$dir/sock'
port = $port
shared_preload_libraries = 'sales_assistant'
fsync = off
max_worker_processes = 16
log_line_prefix = '%m [%p] %b %q%u@%d '
CONF
    if ! as_user "$bin/pg_ctl" -D "$dir/data" -l "$dir/server.log" -w start >/dev/null; then
        tail -20 "$dir/server.log" >&2
        exit 1
    fi
    "$bin/createdb" -h "$dir/sock" -p $port -U postgres demo
    sql postgres -c 'CREATE EXTENSION sales_assistant'
    note "$(sql postgres -Atc "SELECT format('sales_assistant %s: %s tables, %s functions',
        (SELECT extversion FROM pg_extension WHERE extname = 'sales_assistant'),
        (SELECT count(*) FROM pg_class WHERE relnamespace = 'sales'::regnamespace
            AND relkind IN ('r', 'p') AND NOT relispartition),
        (SELECT count(*) FROM pg_proc WHERE pronamespace = 'sales'::regnamespace))")"
}

# Waits until no job is left to run; shows how many are done.
wait_for_jobs() {
    local left last= total
    total=$(sql postgres -Atc "SELECT count(*) FROM sales_internal.jobs")
    for _ in $(seq 1 600); do
        left=$(sql postgres -Atc "SELECT count(*) FROM sales_internal.jobs
            WHERE state NOT IN ('done', 'failed', 'dead', 'cancelled')")
        if [ -t 1 ] && [ "$left" != "$last" ]; then
            printf '\r   jobs done: %s of %s ' $((total - left)) "$total"
            last=$left
        fi
        if [ "$left" = 0 ]; then
            printf '\r   jobs done: %s of %s\n' "$total" "$total"
            return 0
        fi
        sleep 0.1
    done
    printf '\n'
    echo "jobs are still waiting after a minute; see SELECT * FROM sales.jobs" >&2
    return 1
}

# A copy of a file in UTF-8: as it is, or from UTF-16, or from Windows-1252.
to_utf8() { # FROM TO
    if iconv -f UTF-8 -t UTF-8 "$1" >"$2" 2>/dev/null; then
        :
    elif head -c 2 "$1" | od -An -tx1 | grep -qE 'ff fe|fe ff'; then
        iconv -c -f UTF-16 -t UTF-8 "$1" >"$2" 2>/dev/null || true
    else
        iconv -c -f WINDOWS-1252 -t UTF-8 "$1" >"$2" 2>/dev/null || true
    fi
    tr -d '\000' <"$2" >"$2.clean" && mv "$2.clean" "$2"
}

start() {
    local csv=${1:-$root/demo/prospects.csv}
    if [ ! -r "$csv" ]; then
        echo "cannot read \"$csv\"" >&2
        echo "hint: make demo CSV=/path/to/export.csv" >&2
        exit 1
    fi
    csv=$(realpath "$csv")
    "$root/scripts/setup.sh" build
    stop
    mkdir -p "$dir"
    chmod 755 "$dir"
    build
    start_cluster

    say "Two companies, their logins, and what the first one sells"
    sql postgres -f "$root/demo/10_companies.sql"

    say "Importing $(basename "$csv")"
    to_utf8 "$csv" "$dir/import.csv"
    DEMO_CSV=$dir/import.csv sql demo_app -f "$root/demo/20_import.sql"

    say "Enriching and writing messages, each in the prospect's language"
    sql demo_app -f "$root/demo/30_ask.sql"
    wait_for_jobs
    sql demo_app -f "$root/demo/31_answers.sql"

    say "Four months of work on the prospects: mails, answers, meetings, deals"
    sql postgres -f "$root/demo/40_activity.sql"
    wait_for_jobs

    say "Scores learned from what was won and lost"
    sql demo_app -f "$root/demo/50_scores.sql"

    say "Roll-ups, funnel and forecast"
    sql demo_app -f "$root/demo/60_metrics.sql"

    say "Company B sees nothing of company A, whatever it tries"
    sql demo_app -f "$root/demo/70_isolation.sql"

    say "What is on record"
    sql demo_app -f "$root/demo/80_record.sql"

    local report=$dir/report.html
    sql demo_app -At -f "$root/demo/90_report.sql" >"$report"
    chmod 644 "$report"

    say "Done"
    note "report:        $report ($(wc -c <"$report") bytes)"
    note "look around:   $bin/psql -h $dir/sock -p $port -U demo_app demo"
    note "               then: SELECT sales.use_session(sales.login('lumiere.example', 'claire@lumiere.example', 'demo-Claire-2026'), false);"
    note "as BI tool:    $bin/psql -h $dir/sock -p $port -U demo_bi demo   -- SELECT * FROM sales_bi.funnel_now;"
    note "as DBA:        $bin/psql -h $dir/sock -p $port -U postgres demo"
    note "remove it all: make demo-stop"
}

case ${1:-} in
    start) shift; start "$@" ;;
    stop)
        if [ -d "$dir" ]; then
            stop
            echo "the demo is gone"
        else
            echo "no demo is there"
        fi ;;
    *) echo "usage: $0 start [CSV] | stop" >&2; exit 2 ;;
esac
