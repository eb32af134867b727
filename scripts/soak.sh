#!/bin/bash
# make soak: everything at once under load, with restarts: imports and their undoing, jobs, scoring, training,
# roll-ups, reports, exports and erasures, maintain() and the workers' own tasks, by two companies, with dumps and
# changes of the master key beside them.  In the first two thirds the server is stopped and started again, killed
# and at once in turn; the last third is for what only long life shows.
# At the end nothing may have drifted: check_metrics(), verify_audit() and test_isolation() are clean, no job
# is stuck, no erased person has a name, no lock or temporary file is left, and no worker has grown.
#   MINUTES=5    how long; make soak MINUTES=30
#   CRASH_EVERY=60   seconds between restarts
#   KEEP=1       keeps the scratch folder and says where it is
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh build
minutes=${MINUTES:-5}
crash_every=${CRASH_EVERY:-60}      # seconds
clients=()
before_end() {
    touch "$scratch/stop"
    for pid in "${clients[@]}"; do wait "$pid" 2>/dev/null || true; done
}
. scripts/scratch.sh soak
build EXTRA_CFLAGS=-DUSE_ASSERT_CHECKING all
build EXTRA_CFLAGS=-DUSE_ASSERT_CHECKING install >/dev/null
as_user "$bin/initdb" -D "$scratch/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 >/dev/null
cat >>"$scratch/data/postgresql.conf" <<CONF
listen_addresses = ''
unix_socket_directories = '$scratch/sock'
shared_preload_libraries = 'sales_assistant'
max_worker_processes = 16
log_line_prefix = '%m [%p] %b %u '
CONF
start() { as_user "$bin/pg_ctl" -D "$scratch/data" -l "$scratch/server.log" -t 300 -w start >/dev/null; }
export PGHOST=$scratch/sock PGUSER=postgres PGDATABASE=postgres PATH=$bin:$PATH
start
psql -qXAt -v ON_ERROR_STOP=1 <<'SQL'
CREATE EXTENSION sales_assistant;
CREATE ROLE soak LOGIN IN ROLE sales_app;
CREATE SCHEMA soak;
GRANT USAGE ON SCHEMA soak TO soak;
CREATE FUNCTION soak.be(who text) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT sales.set_tenant(c.company_id, u.user_id, false) FROM sales.companies c JOIN sales.users u USING (company_id) WHERE c.name = who $$;
SELECT sales.create_company(n, lower(n) || '.test', 'business', 'fr', 'Europe/Paris', 'a@' || lower(n) || '.test', 'secret-secret') FROM unnest('{Alpha,Beta}'::text[]) n \g /dev/null
SQL

# One application: a hundred different things, one after the other, until told to stop.
client() { # COMPANY NUMBER
    local n=0
    while [ ! -e "$scratch/stop" ]; do
        n=$((n + 1))
        psql -qXAt -U soak -v n="$2_$n" -v who="$1" >/dev/null 2>>"$scratch/client_$1_$2.err" <<'SQL' || sleep 0.3
SET client_min_messages = error;
SELECT soak.be(:'who');
SELECT sales.import_csv('First Name,Last Name,Email,Job Title,Country' || E'\n' || string_agg(format('Fn%s,Ln%s,p%s.%s@soak.test,%s,France', g, :'n', g, :'n', CASE WHEN g % 9 = 0 THEN 'CEO' ELSE 'Buyer' END), E'\n')
       || E'\nBad,Row,bad@@soak.test,,\n') FROM generate_series(1, 40) g;
SELECT sales.generate_message(prospect_id, 'email'), sales.enrich(prospect_id, 'email_validation'), sales.suggest_next_action(prospect_id)
FROM sales.prospects WHERE last_name = 'Ln' || :'n' ORDER BY prospect_id LIMIT 5;
INSERT INTO sales.interactions (prospect_id, channel, type, content, response_received, response_content, interaction_date)
SELECT prospect_id, 'email', 'sent', 'hello', random() < 0.4, 'oui, avec plaisir', now() - random() * interval '200 days' FROM sales.prospects WHERE last_name = 'Ln' || :'n';
SELECT sales.enter_stage(prospect_id, CASE WHEN random() < 0.5 THEN 'client' ELSE 'perdu' END, 100) FROM sales.prospects WHERE last_name = 'Ln' || :'n' ORDER BY random() LIMIT 10;
UPDATE sales.prospects SET notes = 'seen ' || now() WHERE prospect_id IN (SELECT prospect_id FROM sales.prospects ORDER BY random() LIMIT 10);
DELETE FROM sales.prospects WHERE prospect_id = (SELECT prospect_id FROM sales.prospects ORDER BY random() LIMIT 1);
SELECT sales.gdpr_erase(prospect_id, 'soak') FROM (SELECT prospect_id FROM sales.prospects ORDER BY random() LIMIT 2) x;
SELECT sales.refresh_metrics(), sales.refresh_scores();
SELECT sales.generate_report('on_demand', to_char(now(), 'YYYY-MM'));
SELECT length(sales.gdpr_export(prospect_id)::text) FROM (SELECT prospect_id FROM sales.prospects ORDER BY random() LIMIT 1) x;
SELECT count(*) FROM sales.find_duplicates();
SELECT sales.undo_import(run_id) FROM (SELECT run_id FROM sales.import_runs WHERE status = 'done' ORDER BY random() LIMIT 1) x WHERE random() < 0.2;
BEGIN; UPDATE sales.tasks SET notes = 'x'; INSERT INTO sales.products (name) VALUES ('P'); ROLLBACK;
SQL
    done
}
for company in Alpha Beta; do for i in 1 2; do client $company $i & clients+=($!); done; done
( while [ ! -e "$scratch/stop" ]; do psql -qXAt -c 'SELECT * FROM sales.maintain()' >>"$scratch/maintain.log" 2>&1 || true; sleep 3; done ) & clients+=($!)
# A DBA: dumps, another master key, the doctor, a training for all.
as_user mkdir "$scratch/keys"
( n=0
  while [ ! -e "$scratch/stop" ]; do
    n=$((n + 1))
    pg_dump -Fc -f "$scratch/dump" >>"$scratch/dba.log" 2>&1 || true
    as_user sh -c "umask 077; openssl rand -hex 32 >'$scratch/keys/$n.key'"
    psql -qXAt -c "SELECT sales.rotate_master_key('$scratch/keys/$n.key')" -c 'SELECT count(*) FROM sales.doctor()' >>"$scratch/dba.log" 2>&1 || true
    for company in Alpha Beta; do psql -qXAt -U soak -c "SELECT soak.be('$company')" -c 'SELECT count(*) FROM sales.train_score_model()' >>"$scratch/dba.log" 2>&1 || true; done
    sleep 10
  done ) & clients+=($!)

memory() { # kB that the workers have for themselves, and how many there are
    local pid kb=0 n=0
    for pid in $(ps -o pid=,args= --ppid "$(head -1 "$scratch/data/postmaster.pid" 2>/dev/null || echo 0)" | awk '/postgres: sales_assistant worker/ { print $1 }'); do
        kb=$((kb + $(awk '/^Private/ { n += $2 } END { print n + 0 }' "/proc/$pid/smaps_rollup" 2>/dev/null || echo 0))) n=$((n + 1))
    done
    echo "$kb"
}
end=$((SECONDS + minutes * 60)) calm=$((SECONDS + minutes * 40)) next=$((SECONDS + crash_every)) restarts=0 first= last=
while [ $SECONDS -lt $end ]; do
    sleep 5
    if [ $SECONDS -ge $next ] && [ $SECONDS -lt $calm ]; then
        next=$((SECONDS + crash_every)) restarts=$((restarts + 1))
        how=immediate; [ $((restarts % 3)) != 0 ] || how=fast
        echo "restart $restarts ($how): the worker has $(memory) kB; $(psql -qXAt -c 'SELECT count(*) FROM sales.prospects' 2>/dev/null) prospects"
        as_user "$bin/pg_ctl" -D "$scratch/data" -m "$how" -t 120 stop >/dev/null || { echo "FAIL $how stop"; break; }
        start
    elif [ $SECONDS -ge $((calm + (end - calm) / 3)) ]; then
        # its caches are warm by now
        last=$(memory); [ -n "$first" ] || { first=$last; echo "calm: the worker has $first kB"; }
    fi
done
touch "$scratch/stop"
for pid in "${clients[@]}"; do wait "$pid" || true; done
clients=()

bad=0
says() { # WHAT EXPECTED QUERY
    local got; got=$(psql -qXAt -v ON_ERROR_STOP=1 -c "$3" 2>&1) || true
    if [ "$got" = "$2" ]; then echo "ok   $1"; else echo "FAIL $1: $got"; bad=1; fi
}
for _ in $(seq 600); do
    [ "$(psql -qXAt -c "SELECT count(*) FROM sales_internal.jobs WHERE state IN ('queued', 'running')")" = 0 ] && break
    sleep 0.5
done
says 'all jobs have ended' 0 "SELECT count(*) FROM sales_internal.jobs WHERE state IN ('queued', 'running')"
says 'jobs that failed failed because the prospect is gone' '' "SELECT error FROM sales_internal.jobs WHERE state = 'failed' AND error !~ 'gone|deleted|no answer|no longer|lost' GROUP BY 1 LIMIT 3"
psql -qXAt -c 'SELECT sales_internal.seal_audit_task()' >/dev/null
for company in Alpha Beta; do
    be="SET client_min_messages = error; DO \$\$ BEGIN PERFORM soak.be('$company'); END \$\$;"
    says "$company: metrics are exact" '' "$be DO \$\$ BEGIN PERFORM sales.refresh_metrics(); END \$\$; SELECT * FROM sales.check_metrics() LIMIT 3"
    says "$company: the audit chain verifies" '' "$be SELECT period, detail FROM sales.verify_audit() WHERE NOT ok LIMIT 3"
done
says 'nothing of the erased is left' '' "SELECT prospect_id FROM sales.prospects WHERE erased_at IS NOT NULL AND coalesce(first_name, last_name, email, notes, job_title) IS NOT NULL
    UNION ALL SELECT prospect_id FROM sales.messages m JOIN sales.prospects p USING (company_id, prospect_id) WHERE p.erased_at IS NOT NULL AND coalesce(m.subject, nullif(m.content, '[erased]')) IS NOT NULL
    UNION ALL SELECT p.prospect_id FROM sales.audit_logs l JOIN sales.prospects p ON p.company_id = l.company_id AND p.prospect_id = l.record_id
        WHERE p.erased_at IS NOT NULL AND l.action IN ('create', 'update') AND coalesce(l.new_values, '{}') ? 'email' LIMIT 3"
says 'tenants are apart' '' "SELECT object, attempt, outcome FROM sales.test_isolation() WHERE NOT ok LIMIT 3"
says 'periodic tasks do not fail' '' "SELECT name, last_error FROM sales_internal.periodic_tasks WHERE last_error IS NOT NULL"
echo "$(grep -h 'ERROR' "$scratch"/client_*.err 2>/dev/null | sed 's/[0-9a-f-]\{36\}/<id>/g; s/^.*ERROR: */ERROR: /' | sort | uniq -c | sort -rn | head -8)"
if grep -qE 'TRAP:|PANIC|terminated by signal (6|11)' "$scratch/server.log"; then echo 'FAIL the server broke:'; grep -E -m5 'TRAP:|PANIC|signal (6|11)' "$scratch/server.log"; bad=1; fi
says 'no lock is waited for, no transaction is left' '' "SELECT pid, locktype, mode FROM pg_locks WHERE NOT granted UNION ALL SELECT pid, state, query FROM pg_stat_activity
    WHERE xact_start < now() - interval '1 minute' AND backend_type <> 'autovacuum worker' UNION ALL SELECT NULL, gid, owner FROM pg_prepared_xacts"
says 'no advisory lock is left' 0 "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
says 'no temporary file is left' '' "SELECT name FROM pg_ls_tmpdir() UNION ALL SELECT name FROM pg_ls_dir('.') name WHERE name ~ 'sales_assistant' AND name <> 'sales_assistant.key'"
# What a worker needs it has by now; one that leaks a little of each job would go on growing
if [ "${last:-0}" -gt $((${first:-0} * 13 / 10 + 8192)) ]; then echo "FAIL the worker grew from $first to $last kB"; bad=1; fi
echo "$minutes minutes, $restarts restarts, $(psql -qXAt -c "SELECT format('%s prospects, %s audit rows, %s jobs, %s erased', (SELECT count(*) FROM sales.prospects), (SELECT count(*) FROM sales.audit_logs), (SELECT count(*) FROM sales_internal.jobs), (SELECT count(*) FROM sales.prospects WHERE erased_at IS NOT NULL))"), the worker $first to $last kB in the calm third"
[ $bad = 0 ] && echo "soak: clean"
exit $bad
