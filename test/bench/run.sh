#!/bin/bash
# make bench: every bench against a cluster of its own, from nothing, and the table of README.md with its chart.
# Installs packages, builds without assertions into a private copy of the server, runs each script in a
# database of its own, then writes the results into README.md and docs/bench.svg.  About a quarter of an hour on 2 cores.
#   BENCH="rls audit"   only these (names in test/bench); prints the table and writes nothing
#   KEEP=1              keeps the scratch folder and says where it is
set -euo pipefail

cd "$(dirname "$0")/../.."
scripts/setup.sh bench
. scripts/scratch.sh bench
build all
build install >/dev/null

as_user "$bin/initdb" -D "$scratch/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 -N >/dev/null
# fsync stays on: what a commit costs is part of what is measured.
cat >>"$scratch/data/postgresql.conf" <<CONF
listen_addresses = ''
unix_socket_directories = '$scratch/sock'
shared_preload_libraries = 'sales_assistant'
shared_buffers = 2GB
work_mem = 64MB
maintenance_work_mem = 512MB
max_wal_size = 16GB
checkpoint_timeout = 1h
max_worker_processes = 16
jit = off
autovacuum = off
CONF
as_user "$bin/pg_ctl" -D "$scratch/data" -l "$scratch/server.log" -w start >/dev/null

export PATH=$bin:$PATH PGHOST=$scratch/sock PGUSER=postgres PYTHONDONTWRITEBYTECODE=1
export BENCH_RESULTS=$scratch/results.tsv
failed=
for name in ${BENCH:-rls audit worker scoring learner rollup imports}; do
    echo "== $name ($(date +%H:%M))"
    createdb "bench_$name"
    as_user env PATH="$PATH" /usr/bin/python3 "$scratch/src/test/bench/$name.py" "bench_$name" || failed="$failed $name"
    # The workers of a database that is done leave, so that the next bench is alone.
    dropdb --force "bench_$name"
done
[ -z "$failed" ] || { echo "failed:$failed"; exit 1; }
as_user cat "$BENCH_RESULTS" >"$scratch/rows.tsv"
if [ -n "${BENCH:-}" ]; then
    /usr/bin/python3 test/bench/table.py "$scratch/rows.tsv"
else
    /usr/bin/python3 test/bench/table.py "$scratch/rows.tsv" README.md docs/bench.svg
fi
