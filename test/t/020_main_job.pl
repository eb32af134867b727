# The main job on real input: 8,000 leads of a marketing funnel are imported,
# worked, scored, rolled up and reported, beside a second company.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $shared = $ENV{SHARED_DATA} || '../shared/data';
my $leads = "$shared/olist_funnel/olist_marketing_qualified_leads_dataset.csv";
my $deals = "$shared/olist_funnel/olist_closed_deals_cleaned.csv";
plan skip_all => "the leads are absent (looked for $leads)" unless -r $leads && -r $deals;

my $node = PostgreSQL::Test::Cluster->new('main_job');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'sales_assistant'\nlog_statement = none");
$node->start;
my $dir = $node->basedir;

# The file has no header line; the application that imports it adds one.
append_to_file("$dir/leads.csv", "mql_id,first_contact_date,landing_page_id,origin\n" . slurp_file($leads));
append_to_file("$dir/deals.csv", slurp_file($deals));

$node->safe_psql('postgres', q{
CREATE EXTENSION sales_assistant;
CREATE ROLE app LOGIN IN ROLE sales_app;
CREATE ROLE bi LOGIN IN ROLE sales_bi;
SELECT sales.create_company('Olist', 'olist.test', 'enterprise', 'en', 'America/Sao_Paulo', 'boss@olist.test', 'olist-secret-1');
SELECT sales.create_company('Other', 'other.test', 'starter', 'fr', 'Europe/Paris', 'boss@other.test', 'other-secret-1');
SELECT sales.bind_role('bi', company_id) FROM sales.companies WHERE domain = 'olist.test';
});

# Runs SQL as the application, logged in as a company's admin.
sub as
{
	my ($company, $sql, %options) = @_;
	return $node->safe_psql('postgres',
		"SELECT sales.use_session(sales.login('$company.test', 'boss\@$company.test', '$company-secret-1'), false) \\g /dev/null\n$sql",
		extra_params => [ '-U', 'app', '-v', "dir=$dir" ], %options);
}

my $import = q{
\set csv `cat "$LEADS"`
SELECT sales.import_csv(:'csv', '{"mql_id": "last_name", "first_contact_date": "created_at", "origin": "company_name", "landing_page_id": "notes"}') AS run \gset
SELECT status, rows_read, rows_inserted, rows_unchanged, rows_duplicate, rows_rejected FROM sales.import_runs WHERE run_id = :'run';
};
$ENV{LEADS} = "$dir/leads.csv";
is(as('olist', $import), 'done|8000|8000|0|0|0', 'all 8,000 leads are imported');
is(as('olist', $import), 'done|8000|0|8000|0|0', 'the same file again changes nothing');
is(as('olist', 'SELECT count(*), count(DISTINCT last_name), min(created_at)::date, max(created_at)::date FROM sales.prospects'),
	'8000|8000|2017-06-14|2018-05-31', 'with their dates');
is(as('olist', "SELECT count(*) FROM sales.audit_logs WHERE table_name = 'prospects' AND action = 'create' AND user_id = sales.current_user_id()"),
	'8000', 'each is audited once, under the user');
is(as('other', 'SELECT (SELECT count(*) FROM sales.prospects), (SELECT count(*) FROM sales.import_runs), (SELECT count(*) FROM sales.audit_logs WHERE table_name = \'prospects\')'),
	'0|0|0', 'the other company sees nothing');

# the outcomes, entered by the application
as('olist', q{
CREATE TEMP TABLE deal (mql_id text, seller_id text, sdr_id text, sr_id text, won_date timestamp, business_segment text, lead_type text,
  lead_behaviour_profile text, has_company text, has_gtin text, average_stock text, business_type text, declared_product_catalog_size text,
  declared_monthly_revenue numeric);
\copy deal FROM PROGRAM 'cat "$DEALS"' WITH (FORMAT csv, HEADER)
INSERT INTO sales.interactions (prospect_id, channel, type, interaction_date, response_received)
SELECT p.prospect_id, 'email', 'sent', p.created_at + interval '1 day', d.mql_id IS NOT NULL
FROM sales.prospects p LEFT JOIN deal d ON d.mql_id = p.last_name;
INSERT INTO sales.conversion_funnel (prospect_id, stage, stage_entered_at)
SELECT prospect_id, 'contacte', created_at + interval '1 day' FROM sales.prospects;
INSERT INTO sales.conversion_funnel (prospect_id, stage, stage_entered_at, deal_value)
SELECT p.prospect_id, 'client', greatest(d.won_date AT TIME ZONE 'America/Sao_Paulo', p.created_at + interval '2 days'), least(d.declared_monthly_revenue, 1000000)
FROM deal d JOIN sales.prospects p ON p.last_name = d.mql_id;
INSERT INTO sales.conversion_funnel (prospect_id, stage, stage_entered_at, loss_reason)
SELECT p.prospect_id, 'perdu', p.created_at + interval '180 days', 'timing'
FROM sales.prospects p WHERE NOT EXISTS (SELECT FROM deal d WHERE d.mql_id = p.last_name);
}) if local $ENV{DEALS} = "$dir/deals.csv";
is(as('olist', 'SELECT status, count(*) FROM sales.prospects GROUP BY status ORDER BY status'),
	"client|842\nperdu|7158", 'status follows the funnel');

# roll-ups
like(as('olist', 'SELECT sales.refresh_metrics()'), qr/^\d+$/, 'metrics are recomputed');
is(as('olist', 'SELECT count(*) FROM sales.check_metrics()'), '0', 'and equal a plain recomputation');
is(as('olist', q{SELECT sum(prospects_added), sum(messages_sent), sum(responses_received), sum(deals_closed) FROM sales.analytics}),
	'8000|8000|842|842', 'the days add up to the file');
is(as('olist', q{SELECT sum(deals_won), sum(prospects_imported) FROM sales.success_metrics
	WHERE period_end = (period_start + interval '1 month' - interval '1 day')::date}),
	'842|8000', 'and so do the months');
is(as('olist', q{SELECT sum(total_revenue) = (SELECT sum(deal_value) FROM sales.conversion_funnel WHERE stage = 'client')
	FROM sales.success_metrics WHERE period_end = (period_start + interval '1 month' - interval '1 day')::date}),
	't', 'to the cent');

# scores
is(as('olist', 'SELECT rows, auc > 0.5, brier < 0.1 FROM sales.train_score_model()'), '8000|t|t', 'a model is trained on all outcomes');
is(as('olist', 'SELECT sales.refresh_scores()'), '8000', 'all are scored');
is(as('olist', 'SELECT avg(ai_score) > (SELECT avg(ai_score) FROM sales.prospects WHERE status = \'perdu\') FROM sales.prospects WHERE status = \'client\''),
	't', 'the won ones score higher');
is(as('olist', 'SELECT count(*) FROM (SELECT p.prospect_id FROM (SELECT * FROM sales.prospects ORDER BY prospect_id LIMIT 25) p, sales.explain_score(p.prospect_id) e GROUP BY p.prospect_id, p.ai_score HAVING sum(e.points) <> p.ai_score) x'),
	'0', 'every explanation adds up to the score');

# jobs by the real worker
is(as('olist', q{SELECT count(sales.generate_message(prospect_id, 'linkedin')) FROM (SELECT prospect_id FROM sales.prospects ORDER BY prospect_id LIMIT 200) p}),
	'200', '200 messages are asked for');
ok($node->poll_query_until('postgres', q{SELECT count(*) = 200 FROM sales_internal.jobs WHERE kind = 'generate_message' AND state = 'done'}),
	'and the worker writes them');
is(as('olist', 'SELECT count(*), count(DISTINCT prospect_id) FROM sales.messages WHERE NOT is_approved'), '200|200', 'one each, unapproved');

# report and BI
my $html = as('olist', q{SELECT sales.generate_report('monthly', '2018-03') AS report \gset
SELECT sales.report_html(:'report')});
like($html, qr/<html/i, 'the report is a page');
like($html, qr/<svg/, 'with charts');
unlike($html, qr/(src|href)="https?:/, 'and nothing from elsewhere');
is($node->safe_psql('postgres', "SELECT sum(prospects) FROM sales_bi.funnel_now", extra_params => [ '-U', 'bi' ]),
	'8000', 'a BI login sees its company\'s funnel with no call');
my ($rc, $stdout, $stderr) = $node->psql('postgres', 'SELECT * FROM sales.prospects', extra_params => [ '-U', 'bi' ]);
like($stderr, qr/permission denied/, 'and no prospect');
is(as('other', 'SELECT (SELECT count(*) FROM sales_bi.daily_activity), (SELECT count(*) FROM sales.jobs), (SELECT count(*) FROM sales.messages)'),
	'0|0|0', 'the other company still sees nothing');

$node->stop;
done_testing();
