# Every query of the Grafana dashboard runs, as a login that is bound to one
# company and is a member of sales_bi only, and finds that company's data.
use strict;
use warnings;

use File::Basename;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $path = dirname(__FILE__) . '/../../docs/grafana-dashboard.json';
my $dashboard = decode_json(slurp_file($path));

my $node = PostgreSQL::Test::Cluster->new('grafana');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'sales_assistant'\n");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION sales_assistant');
$node->safe_psql('postgres', <<'SQL');
CREATE ROLE reader LOGIN IN ROLE sales_bi;
DO $$
DECLARE
    c uuid;
    p uuid;
BEGIN
    FOR k IN 1..2 LOOP
        c := sales.create_company('C' || k, 'c' || k || '.test', 'business', 'en', 'Europe/Paris', 'a@c' || k || '.test', 'secret-company-1');
        FOR n IN 1..24 LOOP
            p := sales.uuidv7();
            INSERT INTO sales.prospects (prospect_id, company_id, first_name, ai_score, estimated_budget_amount, created_at)
            VALUES (p, c, 'Hidden', n * 4, 100, now() - interval '30 days');
            INSERT INTO sales.score_history (company_id, prospect_id, scored_at, score, model_version)
            VALUES (c, p, now() - interval '25 days', n * 4, 1);
            INSERT INTO sales.interactions (company_id, prospect_id, user_id, channel, type, response_received, interaction_date)
            SELECT c, p, user_id, 'email', 'sent', n % 2 = 0, now() - interval '20 days' FROM sales.users WHERE company_id = c;
            INSERT INTO sales.conversion_funnel (company_id, prospect_id, stage, stage_entered_at, deal_value) VALUES
                (c, p, 'contacte', now() - interval '20 days', NULL),
                (c, p, (ARRAY['negociation', 'client', 'perdu'])[1 + n % 3]::sales.funnel_stage, now() - interval '10 days', k * 1000);
            INSERT INTO sales.enrichments (company_id, prospect_id, enrichment_type, source_api, cost, status, created_at)
            VALUES (c, p, 'website', 'local', 0.1, 'completed', now() - interval '10 days');
        END LOOP;
        -- A week in which nobody went on, and one in which nothing succeeded: rates over weeks are no means of rates.
        FOR n IN 1..24 LOOP
            p := sales.uuidv7();
            INSERT INTO sales.prospects (prospect_id, company_id, first_name, created_at) VALUES (p, c, 'Hidden', now() - interval '50 days');
            INSERT INTO sales.conversion_funnel (company_id, prospect_id, stage, stage_entered_at) VALUES (c, p, 'contacte', now() - interval '40 days');
        END LOOP;
        INSERT INTO sales.enrichments (company_id, prospect_id, enrichment_type, source_api, cost, status, created_at)
        VALUES (c, p, 'website', 'local', 0, 'failed', now() - interval '40 days');
        INSERT INTO sales.email_campaigns (company_id, name, emails_delivered, created_at) VALUES (c, 'Spring', 5, now() - interval '9 days');
        INSERT INTO sales_internal.ai_costs (company_id, provider, purpose, model, cost, spent_at)
        VALUES (c, 'openai', 'generation', 'm', 0.5, now() - interval '9 days');
    END LOOP;
END
$$;
SELECT sales_internal.refresh_all_metrics();
SELECT sales.bind_role('reader', company_id) FROM sales.companies WHERE domain = 'c1.test';
SQL

# (a company that the worker is at is left to it)
$node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM sales_internal.metric_marks') or die 'the metrics are never computed';

# Empty without data of their own kind: no template was used, and one company is no sector.
my %may_be_empty = map { $_ => 1 } ('Templates', 'Beside the sector');
my %seen;
for my $panel (@{ $dashboard->{panels} })
{
	for my $target (@{ $panel->{targets} })
	{
		my $sql = $target->{rawSql};
		# As Grafana does it.
		$sql =~ s/\$__timeFilter\((\w+)\)/$1 BETWEEN now() - interval '90 days' AND now()/g;
		unlike($sql, qr/\$__|\bsales\.|sales_internal/, "$panel->{title}: only views of sales_bi");
		$seen{$_} = 1 for $sql =~ /sales_bi\.(\w+)/g;
		my ($rc, $out, $err) = $node->psql('postgres', $sql, extra_params => [ '-U', 'reader' ]);
		is($rc, 0, "$panel->{title}: runs") or diag($err);
		ok($out ne '' || $may_be_empty{ $panel->{title} }, "$panel->{title}: finds data");
		like($out, qr/^contacte\|client\|8\|16\.7$/m, "$panel->{title}: of all who were there") if $panel->{title} eq 'Flow';
		like($out, qr/\|25\|96\.0\|/, "$panel->{title}: of all that were tried") if $panel->{title} eq 'Enrichments';
		unlike($out, qr/Hidden|a\@c/, "$panel->{title}: no personal data");
	}
}
my $views = $node->safe_psql('postgres',
	"SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class WHERE relnamespace = 'sales_bi'::regnamespace AND relkind = 'v'");
is(join(' ', sort keys %seen), $views, 'the dashboard uses every view');
is($node->safe_psql('postgres', 'SELECT sum(revenue)::int FROM sales_bi.daily_activity', extra_params => [ '-U', 'reader' ]),
	'8000', 'numbers are those of the bound company alone');
$node->stop;
done_testing();
