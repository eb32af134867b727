# Look-ups by real protocols: Hunter's statuses, Clearbit's and Apollo's, a vendor that is an INSERT,
# waterfalls within a budget, web pages, public tenders.
use strict;
use warnings;
use lib 'test/t';
use PostgreSQL::Test::Utils;
use Test::More;
use PeerTest;

my $log = "$PostgreSQL::Test::Utils::tmp_check/lookups.log";
my $port = start_peer('lookups', $log);
my $dns = start_peer('dns');
my $node = new_node('lookups', "sales_assistant.allowed_hosts = '127.0.0.1:$port'\nsales_assistant.dns_servers = '127.0.0.1:$dns'\n");
my $base = "http://127.0.0.1:$port";
sql("UPDATE sales.providers SET base_url = '$base/' || CASE WHEN name LIKE 'hunter%' THEN 'hunter' WHEN name LIKE 'clearbit%' THEN 'clearbit'
	WHEN name LIKE 'apollo%' THEN 'apollo' ELSE 'ted' END WHERE name ~ '^(hunter|clearbit|apollo|ted)'");
sql("UPDATE sales.prospects SET email = 'ada\@mx.client.example'");

# Alpha's keys, as service => [key, cost, limit].
sub keys_are
{
	my (%keys) = @_;
	sql('DELETE FROM sales.api_keys');
	while (my ($service, $k) = each %keys)
	{
		sql("INSERT INTO sales.api_keys (company_id, service_name, key_value, cost_per_request, usage_limit_monthly)
SELECT company_id, '$service', '$k->[0]', $k->[1], " . ($k->[2] // 'NULL') . " FROM who WHERE name = 'alpha'");
	}
	return;
}

# A look-up of Alpha's prospect; its job.
sub enrich { return ask('enrich', qq({"type": "$_[0]"}), $_[1]); }

sub row { return sql("SELECT source_api, status, cost, $_[1] FROM sales.enrichments WHERE job_id = '$_[0]'"); }
sub used { return sql("SELECT usage_current_month FROM sales.api_keys WHERE service_name = '$_[0]'"); }

# --- Hunter ---
keys_are(hunter => [ 'hk-test-good', 0.01 ]);
my $job = enrich('email_validation');
ends($job, 'done', 'Hunter: a verdict');
is(row($job, "enriched_value::jsonb ->> 'status', confidence_score"), 'hunter|completed|0.0100|valid|0.97', 'with its confidence and cost');
is(used('hunter'), '1', 'one call of the month');
for my $kind ([ 'pace', 2, '403 is its pace' ], [ 'later', 2, '222 is a verification to try again' ], [ 'pending', 3, '202 is one under way' ])
{
	keys_are(hunter => [ "hk-test-$kind->[0]", 0.01 ]);
	$job = enrich('email_validation');
	ends($job, 'done', "Hunter: $kind->[2]");
	is(job_row($job, 'attempts, cost'), "$kind->[1]|0.010000", 'asked again, paid once');
	is(used('hunter'), '1', 'counted once');
}
keys_are(hunter => [ 'hk-test-quota', 0.01 ]);
$job = enrich('email_validation');
ends($job, 'done', 'Hunter: 429 is the end of its quota');
is(job_row($job, 'attempts'), '1', 'not repeated');
is(row($job, "enriched_value::jsonb ->> 'status'"), 'local|completed|0.0000|valid', 'but answered by local, with DNS');
is(used('hunter'), '0', 'and not counted');
keys_are(hunter => [ 'hk-test-unsure', 0.01 ]);
$job = enrich('email_validation');
ends($job, 'done', 'Hunter: "unknown" is no answer');
is(row($job, "enriched_value::jsonb ->> 'status'"), 'local|completed|0.0100|valid', 'local is asked as well; what Hunter took is in the cost');
keys_are(hunter => [ 'hk-test-good', 0.01, 1 ]);
ends(enrich('email_validation'), 'done', 'Hunter: the last call of a budget');
$job = enrich('email_validation');
ends($job, 'done', 'the next one');
is(row($job, 'confidence_score'), 'local|completed|0.0000|0.80', 'is local\'s');
$job = enrich('email_validation', 'beta');
ends($job, 'done', 'another company');
is(row($job, 'confidence_score'), 'local|completed|0.0000|0.80', 'does not use Alpha\'s key');

# --- a waterfall: Clearbit, then Hunter, then the company's page ---
sql("UPDATE sales.prospects SET website = '$base/site/home'");
keys_are(clearbit => [ 'ck-test-good', 0.36 ], hunter => [ 'hk-test-good', 0.01 ]);
$job = enrich('company_info');
ends($job, 'done', 'Clearbit: a company');
is(row($job, "enriched_value::jsonb - 'website', confidence_score"),
	'clearbit|completed|0.3600|{"city": "Milano", "phone": "+39 02 555 0101", "country": "Italy", "industry": "Construction", "employees": "45", "postal_code": "20121", "company_name": "By Clearbit", "street_address": "1 Via Roma", "twitter_handle": "bycb", "linkedin_handle": "company/bycb"}|0.90',
	'nulls left out, alternatives read');
is((requests($log))[-1]{key}, 'ck-test-good', 'the key was the user of basic auth');
is(used('hunter') . used('clearbit'), '01', 'Hunter was not asked');
keys_are(clearbit => [ 'ck-test-queued', 0.36 ]);
$job = enrich('company_info');
ends($job, 'done', 'Clearbit: 202 queued is asked again');
is(job_row($job, 'attempts') . used('clearbit'), '21', 'and counted once');
for my $kind ([ 'none', '404 unknown', '0.3700' ], [ 'paid', '402 over quota', '0.0100' ], [ 'wrong', '422', '0.0100' ])
{
	keys_are(clearbit => [ "ck-test-$kind->[0]", 0.36 ], hunter => [ 'hk-test-good', 0.01 ]);
	$job = enrich('company_info');
	ends($job, 'done', "Clearbit: $kind->[1] is final");
	is(row($job, "enriched_value::jsonb ->> 'company_name'"), "hunter|completed|$kind->[2]|By Hunter", 'the next is asked, and all is in the cost');
}
# the next is not to be called yet: who has answered is not asked, nor paid, again
keys_are(clearbit => [ 'ck-test-none', 0.36 ], hunter => [ 'hk-test-good', 0.01 ]);
sql(q{INSERT INTO sales_internal.service_pace (service, api_key_id, next_turn, closed_until, last_error)
	SELECT 'hunter', api_key_id, now(), now() + interval '1 hour', 'a test' FROM sales.api_keys WHERE service_name = 'hunter'});
$job = enrich('company_info');
$node->poll_query_until('postgres', "SELECT state = 'queued' AND args ? 'asked' FROM sales_internal.jobs WHERE job_id = '$job'") or diag('it does not wait: ' . job_row($job, 'state, error, args'));
is(job_row($job, 'attempts') . used('clearbit') . used('hunter'), '010', 'the next of a waterfall is waited for');
sql('DELETE FROM sales_internal.service_pace');
ends($job, 'done', 'until it may be called');
is(row($job, "enriched_value::jsonb ->> 'company_name'") . used('clearbit'), 'hunter|completed|0.3700|By Hunter1', 'the first was asked once');
keys_are(clearbit => [ 'ck-test-none', 0.36 ], hunter => [ 'hk-test-good', 0.01 ]);
sql(q{INSERT INTO sales.system_settings (company_id, category, key_name, value) SELECT company_id, 'enrichment', 'max_cost', '0.36' FROM who WHERE name = 'alpha'});
$job = enrich('company_info');
ends($job, 'done', 'a bound of what one look-up may cost');
is(row($job, "enriched_value::jsonb ->> 'company_email'") . used('hunter'), 'local|completed|0.3600|contact@accueil.example0', 'stops the waterfall; the page is free');
sql(q{UPDATE sales.system_settings SET value = '0.1' WHERE key_name = 'max_cost'});
ends(enrich('company_info'), 'done', 'one that is too dear at once');
is(used('clearbit'), '1', 'is not asked at all');
sql(q{DELETE FROM sales.system_settings WHERE key_name = 'max_cost'});
# one that always fails is left for the next at the last attempt
sql("UPDATE sales.providers SET retry_statuses = retry_statuses || 402 WHERE name = 'clearbit'; UPDATE sales_internal.job_kinds SET max_attempts = 2 WHERE kind = 'enrich'");
keys_are(clearbit => [ 'ck-test-paid', 0.36 ], hunter => [ 'hk-test-good', 0.01 ]);
$job = enrich('company_info');
ends($job, 'done', 'a service that is down');
is(row($job, "enriched_value::jsonb ->> 'company_name'"), 'hunter|completed|0.0100|By Hunter', 'is passed over after its attempts');
sql("UPDATE sales_internal.job_kinds SET max_attempts = 5 WHERE kind = 'enrich'");

# --- Apollo ---
keys_are(apollo => [ 'ak-test-good', 0.02 ]);
$job = enrich('linkedin');
ends($job, 'done', 'Apollo: a person');
is(row($job, "enriched_value::jsonb ->> 'linkedin_url', enriched_value::jsonb ->> 'job_title'"), 'apollo|completed|0.0200|http://www.linkedin.com/in/ada|CTO', 'read');
keys_are(apollo => [ 'ak-test-nobody', 0.02 ]);
$job = enrich('linkedin');
ends($job, 'done', 'Apollo: a 200 without a person is no answer');
is(row($job, "enriched_value::jsonb ->> 'linkedin_url', confidence_score"), 'local|completed|0.0200|https://www.linkedin.com/company/accueil|0.40', 'the page knows the company at least');
$job = enrich('twitter');
like(ends($job, 'failed', 'nothing anywhere'), qr/apollo_twitter: nothing found; local: the page tells nothing/, 'fails with what each said');
is(row($job, "error LIKE 'apollo_twitter:%'"), '|failed|0.0200|t', 'and so does its row, cost and all');
keys_are(apollo => [ 'ak-test-plan', 0.02 ]);
ends(enrich('linkedin'), 'done', 'Apollo: 403 of a plan is final, local answers');
is(used('apollo'), '0', 'and not counted');

# --- a new vendor is an INSERT by an operator, without a line of C ---
sql(qq{CREATE ROLE operator; GRANT sales_admin TO operator; SET ROLE operator;
INSERT INTO sales.providers (name, purpose, base_url, request, answer, retry_statuses, rank) VALUES
('acme', 'website', '$base/acme',
 '{"method": "POST", "url": "{{base_url}}/seek?lang={{url.country_iso2}}", "needs": ["email"], "auth": {"header": "X-Acme-Token"},
   "headers": {"Content-Type": "application/json", "X-Trace": "{{domain}}"},
   "json": {"who": {"mail": {"\$value": "email"}, "name": "{{first_name}} {{last_name}}"}, "max": 5}}',
 '{"confidence": "\$.trust", "fields": {"phone": "\$.hits[*] ? (@.kind == \\"phone\\").value", "blog_url": "\$.hits[*] ? (@.kind == \\"web\\").value"},
   "error_code": "\$.fault.why", "error_message": "\$.fault.text"}', '{418}', 1)});
keys_are(acme => [ 'tk-test-busy', 0.05, 3 ]);
$job = enrich('website');
ends($job, 'done', 'an invented vendor');
is(row($job, "enriched_value::jsonb, confidence_score"), 'acme|completed|0.0500|{"phone": "+33 1 02 03 04 05", "blog_url": "https://acme.example/x"}|0.66', 'answers through its row alone');
is(job_row($job, 'attempts') . used('acme'), '21', 'repeats what its row says is worth it');
my $seen = (requests($log))[-1];
is_deeply($seen->{body}, { who => { mail => 'ada@mx.client.example', name => 'Ada Byron' }, max => 5 }, 'its request is as the row has it');
is($seen->{key}, 'tk-test-busy', 'with the key in a header of its own');
sql("UPDATE sales.prospects SET email = NULL");
$job = enrich('website');
ends($job, 'done', 'what the vendor needs is not known');
is(row($job, "enriched_value::jsonb ->> 'title'"), 'local|completed|0.0000|Accueil', 'so it is passed over');

# --- pages ---
sub page
{
	my ($path, $state, $company) = @_;
	sql("UPDATE sales.prospects SET website = '$base/site/$path'");
	my $lookup = enrich('website', 'beta');
	my $said = ends($lookup, $state, "page \"$path\"");
	return $state eq 'done' ? sql("SELECT enriched_value::jsonb FROM sales.enrichments WHERE job_id = '$lookup'") : $said;
}
is(page('', 'done'), qq({"email": "contact\@accueil.example", "title": "Accueil", "blog_url": "$base/blog/", "language": "fr", "linkedin_url": "https://www.linkedin.com/company/accueil"}),
	'relative redirects are followed, links made whole');
like(page('loop', 'failed'), qr/redirects without end/, 'a loop of redirects ends');
like(page('away', 'failed'), qr/not public/, 'a redirect goes past the guard like any call');
like(page('huge', 'failed'), qr/larger than allowed/, 'a page has a size');
is(page('latin2', 'done'), '{"phone": "+48 123 456", "title": "Łódź Spółka"}', 'ISO-8859-2 by its header');
is(page('sjis', 'done'), '{"title": "東京"}', 'Shift_JIS by its meta tag');
is(page('utf16', 'done'), '{"title": "Ünï"}', 'UTF-16 by its mark');
like(page('bytes', 'done'), qr/bad"\}$/, 'bytes of no encoding are read all the same');
like(page('gone', 'failed'), qr/HTTP status 404/, 'a page that is not there');
like(page('empty', 'failed'), qr/tells nothing/, 'an empty page');
is(sql('SELECT count(*) FROM sales.enrichments WHERE status = \'pending\''), '0', 'no row is left pending');

# --- public tenders ---
sql(q{UPDATE sales.prospects SET industry_id = '5a1e5000-0000-7000-9000-000000000006';
INSERT INTO sales.addresses (address_id, company_id, country) SELECT prospect_id, company_id, 'France' FROM who WHERE name = 'alpha';
UPDATE sales.prospects p SET address_id = p.prospect_id FROM who WHERE who.prospect_id = p.prospect_id AND name = 'alpha'});
$job = ask('refresh_intel', '{"kind": "tenders"}');
ends($job, 'done', 'TED: tenders of the sector and country');
like((requests($log))[-1]{body}{query}, qr/^\(classification-cpv=44\* OR classification-cpv=45\* OR classification-cpv=71\*\) AND place-of-performance=FRA AND /, 'asked by CPV and country');
is(sql(q{SELECT jsonb_array_length(tender_opportunities), tender_opportunities #>> '{0,title}', tender_opportunities #>> '{0,buyer}', tender_opportunities #>> '{0,url}',
tender_opportunities #>> '{0,source}', tender_last_update IS NOT NULL FROM sales.prospects JOIN who USING (prospect_id) WHERE name = 'alpha'}),
	'2|Travaux 1-2026|Ville de Lyon|https://ted.europa.eu/fr/notice/1-2026|ted|t', 'in the company\'s language');
is(sql("SELECT count(*) FROM sales.prospects JOIN who USING (prospect_id) WHERE name = 'beta' AND tender_opportunities IS NOT NULL"), '0', 'another company\'s prospect has none');
ends(ask('generate_message', '{"channel": "email"}'), 'done', 'a message');
like(sql("SELECT content FROM sales.messages"), qr/L'appel d'offres « Travaux 1-2026 » \(ouvert jusqu'au 28\/02\/2099\)/, 'can speak of the tender that is open');
my $calls = () = slurp_file($log) =~ /"ted"/g;
sql(q{INSERT INTO sales.prospects (prospect_id, company_id, first_name, industry_id, address_id)
SELECT '00000000-0000-7000-8000-00000000beef', company_id, 'Bo', '5a1e5000-0000-7000-9000-000000000006', prospect_id FROM who WHERE name = 'alpha'});
ends(ask('refresh_intel', '{"kind": "tenders", "prospect_id": "00000000-0000-7000-8000-00000000beef"}'), 'done', 'a like prospect');
is(scalar(() = slurp_file($log) =~ /"ted"/g), $calls, 'needs no further call that day');

my $dump = sql(q{SELECT string_agg(t, '') FROM (SELECT j::text AS t FROM sales_internal.jobs j UNION ALL SELECT e::text FROM sales.enrichments e
UNION ALL SELECT k::text FROM sales.api_keys k UNION ALL SELECT a::text FROM sales.audit_logs a UNION ALL SELECT p::text FROM sales_internal.service_pace p) x});
unlike($dump, qr/[hcat]k-test/, 'no key in any table');
unlike(slurp_file($node->logfile), qr/[hcat]k-test/, 'nor in the log');

$node->stop;
stop_peers();
done_testing();
