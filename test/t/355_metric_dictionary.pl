# The metric dictionary recomputed a third time, apart from the roll-up and from
# check_metrics(): each metric of each day and period by a sub-select of its own
# over [from, to), as the dictionary words it, from the base tables alone.  The
# data are ugly: three timezones and their DST days, weeks and years that do not
# end together, back-dated rows, soft and hard deletes, merges, erasures, moved
# rows, null and huge values, days without any outbound interaction.
# RANDOM_SEED=n repeats a run.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('dictionary');
$node->init;
$node->append_conf('postgresql.conf', "fsync = off\n");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION sales_assistant');

my $seed = ($ENV{RANDOM_SEED} || time) % 1000;
note "seed $seed";

$node->safe_psql('postgres', <<"SQL");
SELECT setseed($seed / 1000.0);
SELECT sales.create_company('Paris', 'a.test', 'business', 'fr', 'Europe/Paris', 'a\@a.test', 'secret-aaaaa-1');
SELECT sales.create_company('York', 'b.test', 'business', 'en', 'America/New_York', 'b\@b.test', 'secret-bbbbb-1');
SELECT sales.create_company('Apia', 'c.test', 'business', 'en', 'Pacific/Auckland', 'c\@c.test', 'secret-ccccc-1');
CREATE FUNCTION some_time() RETURNS timestamptz LANGUAGE sql VOLATILE AS \$\$
    SELECT CASE WHEN r < 0.15 THEN d ELSE d + (random() - 0.5) * w END
    FROM random() AS r, LATERAL (SELECT CASE
        WHEN r < 0.05 THEN ('2026-' || 1 + floor(random() * 12) || '-01 00:00')::timestamp AT TIME ZONE (SELECT timezone FROM sales.companies ORDER BY random() LIMIT 1)
        WHEN r < 0.15 THEN ('2025-12-29 00:00'::timestamp + floor(random() * 8) * interval '1 day') AT TIME ZONE (SELECT timezone FROM sales.companies ORDER BY random() LIMIT 1)
        ELSE ('{2026-03-29 01:00+00,2026-10-25 01:00+00,2026-03-08 07:00+00,2026-11-01 06:00+00,2026-04-04 14:00+00,2026-09-26 14:00+00,2021-01-01 00:00+00,2027-01-01 00:00+00}'::timestamptz[])[1 + floor(random() * 8)] END,
        ('{4 hours,3 days,60 days,500 days}'::interval[])[1 + floor(random() * 4)]) AS x (d, w)
\$\$;
INSERT INTO sales.system_settings (company_id, category, key_name, value)
VALUES (NULL, 'billing', 'monthly_cost', '99.99'), ((SELECT company_id FROM sales.companies WHERE domain = 'a.test'), 'billing', 'monthly_cost', '310'),
       ((SELECT company_id FROM sales.companies WHERE domain = 'c.test'), 'billing', 'monthly_cost', '0');
CREATE PROCEDURE fill(of_domain text) LANGUAGE plpgsql AS \$\$
DECLARE
    c record;
    people uuid[];
    someone uuid;
    other uuid;
    message uuid;
BEGIN
    FOR c IN SELECT company_id, user_id FROM sales.users JOIN sales.companies USING (company_id) WHERE domain = of_domain LOOP
        PERFORM sales.set_tenant(c.company_id, c.user_id, false);
        WITH made AS (
            INSERT INTO sales.prospects (company_id, first_name, email, source, created_at, estimated_budget_amount)
            SELECT c.company_id, 'p', 'p' || n || '\@x.test', (enum_range(NULL::sales.prospect_source))[1 + floor(random() * 4)], some_time(),
                   nullif(floor(random() * 4), 0) * 1000
            FROM generate_series(1, 120) AS n RETURNING prospect_id)
        SELECT array_agg(prospect_id) INTO people FROM made;
        INSERT INTO sales.templates (company_id, name, channel, language, content_template) VALUES (c.company_id, 't', 'email', 'en', 'x');
        INSERT INTO sales.messages (company_id, prospect_id, channel, content, language, template_id)
        SELECT c.company_id, people[1], 'email', 'x', 'en', template_id FROM sales.templates WHERE company_id = c.company_id RETURNING message_id INTO message;
        FOR n IN 1..450 LOOP
            someone := people[1 + floor(power(random(), 2) * 120)];
            INSERT INTO sales.interactions (company_id, prospect_id, user_id, message_id, channel, type, response_received, response_sentiment, interaction_date)
            SELECT c.company_id, someone, CASE WHEN random() < 0.5 THEN c.user_id END,
                   CASE WHEN someone = people[1] THEN message END,
                   (enum_range(NULL::sales.interaction_channel))[1 + floor(random() * 5)],
                   t, CASE WHEN random() < 0.3 THEN true WHEN random() < 0.8 THEN false ELSE t = 'received' END,
                   CASE WHEN random() < 0.2 THEN 'positive' END::sales.sentiment, some_time()
            FROM (SELECT (enum_range(NULL::sales.interaction_type))[1 + floor(random() * 4)]) AS k (t);
            IF n % 3 = 0 THEN
                INSERT INTO sales.tasks (company_id, prospect_id, type, title, status, created_at)
                VALUES (c.company_id, someone, (enum_range(NULL::sales.task_type))[1 + floor(random() * 5)], 't',
                        (enum_range(NULL::sales.task_status))[1 + floor(random() * 4)], some_time());
                INSERT INTO sales.conversion_funnel (company_id, prospect_id, stage, stage_entered_at, deal_value, created_by)
                VALUES (c.company_id, someone, (enum_range(NULL::sales.funnel_stage))[1 + floor(random() * 8)], some_time(),
                        CASE WHEN random() < 0.02 THEN 99999999.99 WHEN random() < 0.7 THEN round((random() * 9999)::numeric, 2) END,
                        CASE WHEN random() < 0.5 THEN c.user_id END);
                INSERT INTO sales.enrichments (company_id, prospect_id, enrichment_type, source_api, status, cost, created_at)
                VALUES (c.company_id, someone, 'website', 'x', 'completed', round((random() * 0.9)::numeric, 4), some_time());
                INSERT INTO sales_internal.ai_costs (company_id, spent_at, provider, purpose, cost)
                VALUES (c.company_id, some_time(), 'x', 'y', round((random() * 0.5)::numeric, 6));
            END IF;
        END LOOP;
        -- Half of it is in the tables already when the rest happens.
        PERFORM sales.refresh_metrics();
        FOR n IN 1..40 LOOP
            SELECT prospect_id INTO someone FROM sales.prospects WHERE company_id = c.company_id ORDER BY random() LIMIT 1;
            SELECT prospect_id INTO other FROM sales.prospects WHERE company_id = c.company_id ORDER BY random() LIMIT 1;
            UPDATE sales.interactions SET interaction_date = some_time() WHERE interaction_id IN (SELECT interaction_id FROM sales.interactions WHERE prospect_id = someone LIMIT 2);
            UPDATE sales.interactions SET prospect_id = other WHERE interaction_id IN (SELECT interaction_id FROM sales.interactions WHERE prospect_id = someone LIMIT 1);
            UPDATE sales.interactions SET response_received = NOT response_received, type = 'sent' WHERE interaction_id IN (SELECT interaction_id FROM sales.interactions WHERE company_id = c.company_id ORDER BY random() LIMIT 3);
            UPDATE sales.conversion_funnel SET stage_entered_at = some_time(), deal_value = nullif(deal_value, 5) / 2 WHERE funnel_id IN (SELECT funnel_id FROM sales.conversion_funnel WHERE prospect_id = someone LIMIT 1);
            UPDATE sales.conversion_funnel SET prospect_id = other WHERE funnel_id IN (SELECT funnel_id FROM sales.conversion_funnel WHERE prospect_id = someone LIMIT 1);
            UPDATE sales.tasks SET status = 'cancelled' WHERE task_id IN (SELECT task_id FROM sales.tasks WHERE prospect_id = someone LIMIT 1);
            UPDATE sales.prospects SET source = 'manual', created_at = some_time() WHERE prospect_id = someone AND n % 4 = 0;
            UPDATE sales.prospects SET status = (enum_range(NULL::sales.prospect_status))[1 + floor(random() * 7)] WHERE prospect_id = someone AND n % 3 = 0;
            UPDATE sales.prospects SET deleted_at = now() WHERE prospect_id = other AND n % 7 = 0;
            DELETE FROM sales.conversion_funnel WHERE funnel_id IN (SELECT funnel_id FROM sales.conversion_funnel WHERE company_id = c.company_id AND n % 6 = 0 LIMIT 1);
            DELETE FROM sales.interactions WHERE interaction_id IN (SELECT interaction_id FROM sales.interactions WHERE company_id = c.company_id ORDER BY random() LIMIT 1);
            BEGIN
                IF n % 10 = 1 THEN PERFORM sales.merge_prospects(someone, other);
                ELSIF n % 10 = 2 THEN PERFORM sales.gdpr_erase(someone, 'art. 17');
                ELSIF n % 10 = 3 THEN DELETE FROM sales.prospects WHERE prospect_id = someone;
                ELSIF n % 10 = 4 THEN PERFORM sales.enter_stage(someone, 'client', 100);
                END IF;
            EXCEPTION WHEN no_data_found OR invalid_parameter_value OR foreign_key_violation THEN NULL;
            END;
        END LOOP;
    END LOOP;
END
\$\$;
CALL fill('a.test');
CALL fill('b.test');
CALL fill('c.test');
SQL

# What the dictionary says, metric by metric.
$node->safe_psql('postgres', <<'SQL');
CREATE VIEW contact AS
    SELECT company_id, prospect_id, type::text, response_received, interaction_date AS at FROM sales.interactions;
-- Where clocks go back over midnight it comes twice: a day begins with the first.
CREATE FUNCTION midnight(d date, zone text) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN ((m - interval '1 hour') AT TIME ZONE zone)::date = d THEN m - interval '1 hour' ELSE m END
    FROM (SELECT d::timestamp AT TIME ZONE zone) AS x (m)
$$;
CREATE VIEW wanted_period AS
WITH moment AS (
    SELECT company_id, created_at AS at FROM sales.prospects
    UNION ALL SELECT company_id, at FROM contact
    UNION ALL SELECT company_id, created_at FROM sales.tasks WHERE type = 'meeting' AND status <> 'cancelled'
    UNION ALL SELECT company_id, stage_entered_at FROM sales.conversion_funnel
), day AS (
    SELECT DISTINCT m.company_id, (m.at AT TIME ZONE c.timezone)::date AS d FROM moment m JOIN sales.companies c USING (company_id)
)
SELECT DISTINCT x.company_id, x.kind, x.s, x.e,
       midnight(x.s, c.timezone) AS from_at, midnight(x.e + 1, c.timezone) AS to_at
FROM (SELECT company_id, 'day' AS kind, d AS s, d AS e FROM day
      UNION ALL SELECT company_id, 'week', d - (extract(isodow FROM d)::int - 1), d - (extract(isodow FROM d)::int - 1) + 6 FROM day
      UNION ALL SELECT company_id, 'month', make_date(y, m, 1), (make_date(y, m, 1) + interval '1 month - 1 day')::date
                FROM day, LATERAL (SELECT extract(year FROM d)::int, extract(month FROM d)::int) AS k (y, m)
      UNION ALL SELECT company_id, 'quarter', make_date(y, q * 3 - 2, 1), (make_date(y, q * 3 - 2, 1) + interval '3 months - 1 day')::date
                FROM day, LATERAL (SELECT extract(year FROM d)::int, extract(quarter FROM d)::int) AS k (y, q)) AS x
JOIN sales.companies c USING (company_id);
CREATE VIEW by_dictionary AS
SELECT p.company_id, p.kind, p.s, p.e, m.added, m.imported, m.contacted, m.sent, m.answered, m.responses, m.meetings, m.proposals, m.won, m.lost, m.revenue,
       m.cycle, m.cost,
       CASE WHEN m.sent = 0 THEN 0 ELSE round(100 * m.answered::numeric / m.sent, 2) END AS response_rate,
       CASE WHEN m.contacted = 0 THEN 0 WHEN m.won > m.contacted THEN 100 ELSE round(100 * m.won::numeric / m.contacted, 2) END AS conversion_rate
FROM wanted_period p, LATERAL (SELECT
    (SELECT count(*) FROM sales.prospects x WHERE x.company_id = p.company_id AND x.created_at >= p.from_at AND x.created_at < p.to_at) AS added,
    (SELECT count(*) FROM sales.prospects x WHERE x.company_id = p.company_id AND x.created_at >= p.from_at AND x.created_at < p.to_at AND x.source <> 'manual') AS imported,
    (SELECT count(DISTINCT x.prospect_id) FROM contact x WHERE x.company_id = p.company_id AND x.at >= p.from_at AND x.at < p.to_at AND x.type IN ('sent', 'call_made', 'meeting_held')) AS contacted,
    (SELECT count(*) FROM contact x WHERE x.company_id = p.company_id AND x.at >= p.from_at AND x.at < p.to_at AND x.type = 'sent') AS sent,
    (SELECT count(*) FROM contact x WHERE x.company_id = p.company_id AND x.at >= p.from_at AND x.at < p.to_at AND x.type = 'sent' AND x.response_received) AS answered,
    (SELECT count(*) FROM contact x WHERE x.company_id = p.company_id AND x.at >= p.from_at AND x.at < p.to_at AND (x.type = 'received' OR x.type IN ('sent', 'call_made', 'meeting_held') AND x.response_received)) AS responses,
    (SELECT count(*) FROM sales.tasks x WHERE x.company_id = p.company_id AND x.created_at >= p.from_at AND x.created_at < p.to_at AND x.type = 'meeting' AND x.status <> 'cancelled') AS meetings,
    (SELECT count(*) FROM sales.conversion_funnel x WHERE x.company_id = p.company_id AND x.stage_entered_at >= p.from_at AND x.stage_entered_at < p.to_at AND x.stage = 'proposition_envoyee') AS proposals,
    (SELECT count(*) FROM sales.conversion_funnel x WHERE x.company_id = p.company_id AND x.stage_entered_at >= p.from_at AND x.stage_entered_at < p.to_at AND x.stage = 'client') AS won,
    (SELECT count(*) FROM sales.conversion_funnel x WHERE x.company_id = p.company_id AND x.stage_entered_at >= p.from_at AND x.stage_entered_at < p.to_at AND x.stage = 'perdu') AS lost,
    (SELECT coalesce(sum(coalesce(x.deal_value, 0)), 0) FROM sales.conversion_funnel x WHERE x.company_id = p.company_id AND x.stage_entered_at >= p.from_at AND x.stage_entered_at < p.to_at AND x.stage = 'client') AS revenue,
    (SELECT avg(extract(epoch FROM x.stage_entered_at) - extract(epoch FROM (SELECT min(y.stage_entered_at) FROM sales.conversion_funnel y WHERE y.prospect_id = x.prospect_id))) / 86400
     FROM sales.conversion_funnel x WHERE x.company_id = p.company_id AND x.stage_entered_at >= p.from_at AND x.stage_entered_at < p.to_at AND x.stage = 'client') AS cycle,
    (SELECT coalesce(sum(x.cost), 0) FROM sales.enrichments x WHERE x.company_id = p.company_id AND x.created_at >= p.from_at AND x.created_at < p.to_at)
      + (SELECT coalesce(sum(x.cost), 0) FROM sales_internal.ai_costs x WHERE x.company_id = p.company_id AND x.spent_at >= p.from_at AND x.spent_at < p.to_at)
      + (SELECT coalesce(round(sum(price / extract(day FROM date_trunc('month', d) + interval '1 month - 1 day')), 12), 0)
         FROM generate_series(p.s::timestamp, p.e::timestamp, interval '1 day') AS d,
              (SELECT value::numeric AS price FROM sales.system_settings t
               WHERE category = 'billing' AND key_name = 'monthly_cost' AND (t.company_id = p.company_id OR t.company_id IS NULL)
               ORDER BY t.company_id IS NULL LIMIT 1) AS k) AS cost) AS m;
SQL

# Rows of one side that the other has not, and the other way round.
sub differences
{
	my ($stored, $wanted) = @_;
	return $node->safe_psql('postgres', <<"SQL");
WITH stored AS (SELECT * FROM ($stored) AS x), wanted AS (SELECT * FROM ($wanted) AS x)
(SELECT 'stored', s.* FROM (TABLE stored EXCEPT ALL TABLE wanted) AS s UNION ALL SELECT 'wanted', w.* FROM (TABLE wanted EXCEPT ALL TABLE stored) AS w)
ORDER BY 2, 3, 4, 1 LIMIT 20
SQL
}

sub compare_tables
{
	my $when = shift;
	$node->safe_psql('postgres', 'DROP TABLE IF EXISTS dictionary; CREATE TABLE dictionary AS TABLE by_dictionary');
	is($node->safe_psql('postgres', 'SELECT count(*) FROM sales_internal.metric_marks'), '0', "$when: no mark is left");
	is(differences(
			'SELECT company_id, date, prospects_added, messages_sent, responses_received, meetings_scheduled, deals_closed, revenue_generated, response_rate, conversion_rate FROM sales.analytics',
			"SELECT company_id, s, added, sent, responses, meetings, won, least(revenue, 99999999.99), response_rate, conversion_rate FROM dictionary WHERE kind = 'day'"),
		'', "$when: analytics are what the dictionary says (seed $seed)");
	is(differences(
			'SELECT company_id, period_start, period_end, prospects_imported, prospects_contacted, responses_received, meetings_scheduled, proposals_sent, deals_won, deals_lost, '
			  . 'total_revenue, avg_deal_size, sales_cycle_days, response_rate_percent, conversion_rate_percent, roi_calculated FROM sales.success_metrics',
			'SELECT company_id, s, e, imported, contacted, responses, meetings, proposals, won, lost, revenue, CASE WHEN won > 0 THEN round(revenue / won, 2) END, CASE WHEN cycle > 999.99 THEN 999.99 ELSE round(cycle, 2) END, '
			  . "response_rate, conversion_rate, CASE WHEN cost > 0 THEN least(999999.99, round(100 * (revenue - cost) / cost, 2)) END FROM dictionary WHERE kind <> 'day'"),
		'', "$when: success_metrics are what the dictionary says (seed $seed)");
	for my $domain (qw(a b c))
	{
		is(as_company($domain, 'SELECT * FROM sales.check_metrics()'), '', "$when: check_metrics finds nothing in $domain.test");
	}
}

# The last query's answer, asked as the company's first user.
sub as_company
{
	my ($domain, $query) = @_;
	return $node->safe_psql('postgres', <<"SQL");
DO \$\$ BEGIN PERFORM sales.set_tenant(company_id, user_id, false) FROM sales.users WHERE email = '$domain\@$domain.test'; END \$\$;
$query;
SQL
}

$node->safe_psql('postgres', 'SELECT sales_internal.refresh_all_metrics()');
compare_tables('after all changes');
ok($node->safe_psql('postgres', 'SELECT count(*) > 200 FROM dictionary') eq 't', 'there are days and periods to compare');
is($node->safe_psql('postgres', "SELECT count(*) > 0 FROM dictionary WHERE won > contacted OR sent = 0 OR revenue > 99999999.99 OR cost = 0"), 't', 'ugly ones among them');
is($node->safe_psql('postgres', <<'SQL'), 't', 'a second refresh writes nothing');
CREATE TEMP TABLE before AS SELECT xmin::text AS made, ctid::text AS place FROM sales.success_metrics UNION ALL SELECT xmin::text, ctid::text FROM sales.analytics;
INSERT INTO sales_internal.metric_marks (company_id, first_at, last_at) SELECT company_id, '-infinity', 'infinity' FROM sales.companies;
SELECT NULL FROM sales_internal.refresh_all_metrics() OFFSET 1;
SELECT NOT EXISTS (TABLE before EXCEPT (SELECT xmin::text AS made, ctid::text AS place FROM sales.success_metrics UNION ALL SELECT xmin::text, ctid::text FROM sales.analytics));
SQL
$node->safe_psql('postgres', "UPDATE sales.companies SET timezone = CASE domain WHEN 'a.test' THEN 'America/Santiago' WHEN 'b.test' THEN 'Asia/Kathmandu' ELSE 'Atlantic/Azores' END");
$node->safe_psql('postgres', 'SELECT sales_internal.refresh_all_metrics()');
compare_tables('in other timezones');
$node->safe_psql('postgres', "DELETE FROM sales.system_settings WHERE category = 'billing'; UPDATE sales.companies SET timezone = 'UTC'");
$node->safe_psql('postgres', 'SELECT sales_internal.refresh_all_metrics()');
compare_tables('without a price');

# The BI views, as a login of company a that is bound to it sees them.
$node->safe_psql('postgres', <<'SQL');
UPDATE sales.companies SET timezone = 'Europe/Paris' WHERE domain = 'a.test';
INSERT INTO sales.system_settings (company_id, category, key_name, value)
SELECT company_id, 'bi', 'week_start', 'sunday' FROM sales.companies WHERE domain = 'a.test';
SELECT sales_internal.refresh_all_metrics();
DROP TABLE dictionary;
CREATE TABLE dictionary AS TABLE by_dictionary;
CREATE ROLE bi_a LOGIN IN ROLE sales_bi;
SELECT sales.bind_role('bi_a', company_id) FROM sales.companies WHERE domain = 'a.test';
CREATE VIEW day_of AS SELECT company_id, timezone, domain FROM sales.companies WHERE domain = 'a.test';
CREATE FUNCTION sunday(at timestamptz) RETURNS date LANGUAGE sql AS
    $$ SELECT d - extract(dow FROM d)::int FROM (SELECT (at AT TIME ZONE 'Europe/Paris')::date) AS x (d) $$;
SQL

sub view_is
{
	my ($view, $columns, $wanted) = @_;
	my $seen = $node->safe_psql('postgres', "SELECT $columns FROM sales_bi.$view ORDER BY 1, 2, 3", extra_params => [ '-U', 'bi_a' ]);
	my $should = $node->safe_psql('postgres', "SELECT * FROM ($wanted) AS x ORDER BY 1, 2, 3");
	# 0 and 0.00 are the same number
	s/(\.\d*[1-9])0+(?=\||$)/$1/mg, s/\.0+(?=\||$)//mg for $seen, $should;
	my %seen = map { $_ => 1 } split /\n/, $seen;
	my %should = map { $_ => 1 } split /\n/, $should;
	my @wrong = ((map { "seen   $_" } grep { !$should{$_} } sort keys %seen), (map { "wanted $_" } grep { !$seen{$_} } sort keys %should));
	is(join("\n", @wrong[ 0 .. ($#wrong < 9 ? $#wrong : 9) ]), '', "$view shows what the tables hold");
	cmp_ok(scalar(keys %seen), '>', 0, "$view has rows");
}

my $mine = 'company_id = (SELECT company_id FROM day_of)';
my $rate = 'CASE WHEN count(*) FILTER (WHERE type = \'sent\') = 0 THEN 0 ELSE round(100.0 * count(*) FILTER (WHERE type = \'sent\' AND response_received) / count(*) FILTER (WHERE type = \'sent\'), 2) END';
view_is('daily_activity', 'date, week_start, prospects_added, prospects_contacted, messages_sent, messages_answered, responses_received, meetings_scheduled, deals_won, deals_lost, revenue, response_rate, conversion_rate, freshness',
	"SELECT s, s - extract(dow FROM s)::int, added, contacted, sent, answered, responses, meetings, won, lost, least(revenue, 99999999.99), response_rate, conversion_rate, interval '0' FROM dictionary WHERE kind = 'day' AND $mine");
view_is('period_performance', 'period_start, period_type, period, prospects_imported, prospects_contacted, responses_received, meetings_scheduled, proposals_sent, deals_won, deals_lost, revenue, avg_deal_size, sales_cycle_days, response_rate, conversion_rate, roi',
	"SELECT s, kind, CASE kind WHEN 'week' THEN to_char(s, 'IYYY') || '-W' || to_char(s, 'IW') WHEN 'month' THEN left(s::text, 7) ELSE left(s::text, 4) || '-Q' || extract(quarter FROM s) END, "
	  . "imported, contacted, responses, meetings, proposals, won, lost, revenue, CASE WHEN won > 0 THEN round(revenue / won, 2) END, CASE WHEN cycle > 999.99 THEN 999.99 ELSE round(cycle, 2) END, response_rate, conversion_rate, CASE WHEN cost > 0 THEN least(999999.99, round(100 * (revenue - cost) / cost, 2)) END FROM dictionary WHERE kind <> 'day' AND $mine");
view_is('channel_performance', 'week_start, channel, outbound, messages_sent, messages_answered, responses_received, positive_responses, prospects_contacted, response_rate',
	"SELECT sunday(interaction_date), channel, count(*) FILTER (WHERE type <> 'received'), count(*) FILTER (WHERE type = 'sent'), count(*) FILTER (WHERE type = 'sent' AND response_received), count(*) FILTER (WHERE type = 'received' OR response_received), "
	  . "count(*) FILTER (WHERE response_sentiment = 'positive'), count(DISTINCT prospect_id) FILTER (WHERE type <> 'received'), $rate FROM sales.interactions WHERE $mine GROUP BY 1, 2");
view_is('template_performance', 'week_start, template_id, messages_sent, messages_answered, positive_responses, response_rate',
	"SELECT sunday(interaction_date), m.template_id, count(*), count(*) FILTER (WHERE response_received), count(*) FILTER (WHERE response_sentiment = 'positive'), $rate FROM sales.interactions i JOIN sales.messages m USING (message_id) WHERE i.$mine AND type = 'sent' GROUP BY 1, 2");
view_is('user_performance', 'week_start, user_id, messages_sent, messages_answered, calls_made, meetings_held, deals_won, revenue, prospects_contacted',
	"SELECT w, user_id, sum(s), sum(a), sum(c), sum(m), sum(n), sum(r), (SELECT count(DISTINCT prospect_id) FROM sales.interactions i WHERE i.user_id = x.user_id AND type <> 'received' AND sunday(interaction_date) = w) FROM ("
	  . "SELECT sunday(interaction_date) AS w, user_id, (type = 'sent')::int AS s, (type = 'sent' AND response_received)::int AS a, (type = 'call_made')::int AS c, (type = 'meeting_held')::int AS m, 0 AS n, 0 AS r FROM sales.interactions WHERE $mine AND user_id IS NOT NULL AND type <> 'received' "
	  . "UNION ALL SELECT sunday(stage_entered_at), created_by, 0, 0, 0, 0, 1, coalesce(deal_value, 0) FROM sales.conversion_funnel WHERE $mine AND stage = 'client' AND created_by IS NOT NULL) AS x GROUP BY 1, 2");
view_is('source_performance', 'week_start, source, prospects_added, prospects_contacted, deals_won, deals_lost, revenue, win_rate',
	"SELECT sunday(created_at), source, count(*), count(*) FILTER (WHERE EXISTS (SELECT FROM sales.interactions i WHERE i.prospect_id = p.prospect_id AND type <> 'received')), "
	  . "count(*) FILTER (WHERE l.stage = 'client'), count(*) FILTER (WHERE l.stage = 'perdu'), coalesce(sum(l.deal_value) FILTER (WHERE l.stage = 'client'), 0), round(100.0 * count(*) FILTER (WHERE l.stage = 'client') / nullif(count(*) FILTER (WHERE l.stage IN ('client', 'perdu')), 0), 2) "
	  . "FROM sales.prospects p LEFT JOIN LATERAL (SELECT stage, deal_value FROM sales.conversion_funnel f WHERE f.prospect_id = p.prospect_id AND NOT EXISTS (SELECT FROM sales.conversion_funnel g WHERE g.prospect_id = f.prospect_id AND (g.stage_entered_at, g.funnel_id) > (f.stage_entered_at, f.funnel_id))) l ON true WHERE $mine GROUP BY 1, 2");
view_is('funnel_now', 'stage, prospects, deal_value',
	"SELECT stage, count(p.prospect_id), coalesce(sum(amount), 0) FROM unnest(enum_range(NULL::sales.funnel_stage)) AS stage LEFT JOIN (SELECT p.prospect_id, coalesce("
	  . "(SELECT f.stage FROM sales.conversion_funnel f WHERE f.prospect_id = p.prospect_id ORDER BY stage_entered_at DESC, funnel_id DESC LIMIT 1), CASE WHEN status = 'a_contacter' THEN 'nouveau' WHEN status = 'negocie' THEN 'negociation' ELSE status::text END::sales.funnel_stage) AS stage, "
	  . "coalesce((SELECT f.deal_value FROM sales.conversion_funnel f WHERE f.prospect_id = p.prospect_id AND deal_value IS NOT NULL ORDER BY stage_entered_at DESC, funnel_id DESC LIMIT 1), estimated_budget_amount, 0) AS amount FROM sales.prospects p WHERE $mine AND deleted_at IS NULL) AS p USING (stage) GROUP BY 1");
view_is('funnel_flow', 'week_start, from_stage, to_stage, moves, entries, rate',
	"SELECT w, stage, onto, count(*), sum(count(*)) OVER (PARTITION BY w, stage), round(100.0 * count(*) / sum(count(*)) OVER (PARTITION BY w, stage), 2) FROM (SELECT sunday(stage_entered_at) AS w, stage, "
	  . "(SELECT g.stage FROM sales.conversion_funnel g WHERE g.prospect_id = f.prospect_id AND (g.stage_entered_at, g.funnel_id) > (f.stage_entered_at, f.funnel_id) ORDER BY g.stage_entered_at, g.funnel_id LIMIT 1) AS onto FROM sales.conversion_funnel f WHERE $mine) AS x GROUP BY 1, 2, 3");
view_is('ai_cost', 'week_start, provider, purpose, calls, cost', "SELECT sunday(spent_at), provider, purpose, count(*), sum(cost) FROM sales_internal.ai_costs WHERE $mine GROUP BY 1, 2, 3");
view_is('enrichment_quality', 'week_start, enrichment_type, source, enrichments, completed, cost', "SELECT sunday(created_at), enrichment_type, source_api, count(*), count(*) FILTER (WHERE status = 'completed'), sum(cost) FROM sales.enrichments WHERE $mine GROUP BY 1, 2, 3");

# Both directions of the status, recomputed.
is($node->safe_psql('postgres', <<'SQL'), '', 'durations are those between entries, and the status follows the last entry');
SELECT f.prospect_id, f.stage, f.stage_duration_hours, p.status
FROM sales.conversion_funnel f JOIN sales.prospects p USING (prospect_id)
LEFT JOIN LATERAL (SELECT g.stage_entered_at AS at FROM sales.conversion_funnel g WHERE g.prospect_id = f.prospect_id AND (g.stage_entered_at, g.funnel_id) > (f.stage_entered_at, f.funnel_id)
                   ORDER BY 1 LIMIT 1) n ON true
WHERE f.stage_duration_hours IS DISTINCT FROM round(extract(epoch FROM n.at - f.stage_entered_at) / 3600)
   OR n.at IS NULL AND p.status NOT IN ('a_contacter') AND p.status::text <> CASE f.stage WHEN 'demo_programmee' THEN 'interesse' WHEN 'proposition_envoyee' THEN 'negocie' WHEN 'negociation' THEN 'negocie' ELSE f.stage::text END
SQL
$node->stop;
done_testing();
