# A headless browser renders a report with hostile names and looks at it:
# the page draws, runs nothing, asks for nothing, and fits its width.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my ($browser) = grep { -x } map { my $d = $_; map { "$d/$_" } qw(chromium chromium-browser google-chrome) }
  split /:/, $ENV{PATH};
plan skip_all => 'chromium is not installed: the page of reports is not rendered' unless $browser;

my $node = PostgreSQL::Test::Cluster->new('report');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'sales_assistant'\n");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION sales_assistant');
$node->safe_psql('postgres', <<'SQL');
SET sales_assistant.clock = '2026-05-20 12:00+00';
DO $$
DECLARE
    c uuid := sales.create_company('<script>document.title="obeyed"</script> & Co', 'a.test', 'business', 'fr', 'Europe/Paris', 'a@a.test', 'secret-alpha-1');
    p uuid;
BEGIN
    FOR n IN 1..40 LOOP
        p := sales.uuidv7();
        INSERT INTO sales.prospects (prospect_id, company_id, first_name, created_at)
        VALUES (p, c, '<img src=x onerror=document.title=1>', '2026-04-01 10:00+00');
        INSERT INTO sales.interactions (company_id, prospect_id, channel, type, response_received, interaction_date)
        SELECT c, p, 'email', 'sent', n % 3 = 0, '2026-05-13 10:00+00'::timestamptz - w * interval '7 days' FROM generate_series(0, 11) AS w;
        INSERT INTO sales.conversion_funnel (company_id, prospect_id, stage, stage_entered_at, deal_value)
        VALUES (c, p, (enum_range(NULL::sales.funnel_stage))[1 + n % 8], '2026-04-02 10:00+00', n * 100);
    END LOOP;
    PERFORM sales.set_tenant(c, NULL, false);
    PERFORM sales.generate_report('weekly', '2026-W20');
END
$$;
SQL
my $html = $node->safe_psql('postgres', <<'SQL');
SELECT sales_internal.report_page(r, 'fr') FROM sales.success_reports r;
SQL

# What the browser finds is written into the page, to be read back with --dump-dom.
my $dir = $node->basedir;
my $probe = <<'JS';
<script>
addEventListener('load', function () {
  var svgs = Array.from(document.querySelectorAll('svg')), out = [];
  out.push('charts=' + svgs.length);
  out.push('drawn=' + svgs.every(function (s) { var b = s.getBoundingClientRect(); return b.width > 300 && b.height > 40; }));
  out.push('bars=' + Array.from(document.querySelectorAll('svg rect')).filter(function (r) { return r.getBoundingClientRect().width > 1; }).length);
  out.push('named=' + svgs.every(function (s) { return s.getAttribute('aria-labelledby').split(' ').every(function (i) { return document.getElementById(i).textContent.length > 0; }); }));
  out.push('tables=' + document.querySelectorAll('table caption').length);
  out.push('sections=' + document.querySelectorAll('section h2').length);
  out.push('fits=' + (document.documentElement.scrollWidth <= innerWidth));
  out.push('headings=' + document.querySelectorAll('h1').length);
  out.push('foreign=' + document.querySelectorAll('img,iframe,object,link,a,form').length);
  out.push('scripts=' + document.querySelectorAll('script').length);
  out.push('requests=' + performance.getEntriesByType('resource').length);
  out.push('lang=' + document.documentElement.lang);
  out.push('cut=' + Array.from(document.querySelectorAll('svg text')).filter(function (t) { var b = t.getBBox(); return b.x < 0 || b.x + b.width > 720; }).length);
  var p = document.createElement('pre'); p.id = 'found'; p.textContent = out.join(' ') + ' title=' + document.title; document.body.appendChild(p);
});
</script>
JS
# The probe needs to run where the report itself may not.
(my $probed = $html) =~ s/<meta http-equiv="Content-Security-Policy"[^>]*>//;
$probed =~ s/<\/body>/$probe<\/body>/;
append_to_file("$dir/plain.html", $html);
append_to_file("$dir/probe.html", $probed);
my @chrome = ($browser, '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage',
	"--user-data-dir=$dir/profile", '--window-size=900,3200');
my ($dom, $err) = ('', '');
my $ran = eval { IPC::Run::run([ @chrome, '--dump-dom', "file://$dir/probe.html" ], '<', \undef, '>', \$dom, '2>', \$err, IPC::Run::timeout(60)) };
if (!$ran && $dom eq '')
{
	$node->stop;
	plan skip_all => 'chromium does not run here: ' . ($@ || $err =~ s/\n.*//sr);
}
my ($found) = $dom =~ /<pre id="found">(.*?)<\/pre>/s;
ok(defined $found, 'the browser rendered the page') or diag(substr($dom, 0, 500));
$found //= '';
like($found, qr/charts=5 drawn=true/, 'all charts are drawn');
like($found, qr/bars=(1[5-9]|[2-9]\d)/, 'with bars that can be seen');
like($found, qr/named=true/, 'each with title and description');
like($found, qr/tables=([6-9]|1\d)/, 'tables have captions');
like($found, qr/fits=true headings=1/, 'the page fits its width and has one heading');
like($found, qr/foreign=0 scripts=1 requests=0/, 'hostile names made no element and no request');
like($found, qr/lang=fr cut=0/, 'in French, no label is cut off');
like($found, qr/title=Rapport hebdomadaire 2026-W20/, 'no script of a name ran');

# Every language, at the width of a desk and of a telephone: nobody's company, one
# of a single prospect, and one of 200 users with names as long as they can be.
$node->safe_psql('postgres', <<'SQL');
SET sales_assistant.clock = '2026-05-20 12:00+00';
DO $$
DECLARE
    c uuid := sales.create_company('Nobody', 'b.test', 'business', 'fr', 'Europe/Paris', 'b@b.test', 'secret-bbbbb-1');
    p uuid := sales.uuidv7();
    u uuid;
BEGIN
    PERFORM sales_internal.make_report(c, 'weekly', '2026-W20');
    c := sales.create_company('One', 'c.test', 'business', 'fr', 'Europe/Paris', 'c@c.test', 'secret-ccccc-1');
    INSERT INTO sales.prospects (prospect_id, company_id, created_at) VALUES (p, c, '2026-05-12 10:00+00');
    INSERT INTO sales.conversion_funnel (company_id, prospect_id, stage, stage_entered_at, deal_value) VALUES (c, p, 'interesse', '2026-05-12 11:00+00', 10);
    PERFORM sales_internal.make_report(c, 'monthly', '2026-05');
    c := sales.create_company(repeat('Ein langer Name ', 6), 'd.test', 'business', 'fr', 'Europe/Paris', 'd@d.test', 'secret-ddddd-1');
    p := sales.uuidv7();
    INSERT INTO sales.prospects (prospect_id, company_id, first_name, last_name, company_name, created_at)
    VALUES (p, c, repeat('W', 50), repeat('M', 50), repeat('Q', 100), '2026-02-12 10:00+00');
    INSERT INTO sales.conversion_funnel (company_id, prospect_id, stage, stage_entered_at, deal_value) VALUES
        (c, p, 'perdu', '2026-04-12 11:00+00', NULL), (c, p, 'client', '2026-04-13 11:00+00', 99999999.99), (c, p, 'negociation', '2026-04-14 11:00+00', 99999999.99);
    UPDATE sales.conversion_funnel SET loss_reason = repeat('R', 100) WHERE stage = 'perdu';
    FOR n IN 1..200 LOOP
        INSERT INTO sales.users (company_id, email, first_name, last_name, role_id)
        SELECT c, n || '@d.test', repeat('W', 1 + n % 50), repeat('n', 1 + n % 50), role_id FROM sales.roles WHERE company_id = c AND name = 'seller'
        RETURNING user_id INTO u;
        INSERT INTO sales.interactions (company_id, prospect_id, user_id, channel, type, interaction_date)
        SELECT c, p, u, (enum_range(NULL::sales.interaction_channel))[1 + n % 5], 'sent', '2026-04-15 10:00+00' FROM generate_series(1, 60);
    END LOOP;
    PERFORM sales_internal.make_report(c, 'quarterly', '2026-Q2');
END
$$;
SQL
my $frames = $node->safe_psql('postgres', <<'SQL');
SELECT string_agg(format('<iframe data-what="%s %s %s" width="%s" height="4000" srcdoc="%s"></iframe>', r.report_type, l, w, w,
                         sales_internal.html_text(regexp_replace(sales_internal.report_page(r, l), '<meta http-equiv="Content-Security-Policy"[^>]*>', ''))), '')
FROM sales.success_reports r JOIN sales.companies c USING (company_id), unnest('{fr,en,it,es,de}'::text[]) AS l, unnest('{900,400}'::integer[]) AS w
WHERE c.domain IN ('b.test', 'c.test', 'd.test');
SQL
append_to_file("$dir/all.html", "<!DOCTYPE html><meta charset='utf-8'>$frames" . <<'JS');
<script>
addEventListener('load', function () {
  var out = [];
  // On a telephone a table of huge numbers may be scrolled within its part of the page.
  document.querySelectorAll('iframe').forEach(function (frame) {
    var d = frame.contentDocument, wrong = [], text = d.body.innerText;
    if (d.documentElement.scrollWidth > frame.clientWidth) wrong.push('wider than its window');
    if (d.documentElement.lang !== frame.dataset.what.split(' ')[1]) wrong.push('language');
    d.querySelectorAll('svg text').forEach(function (t) { var b = t.getBBox(); if (b.x < 0 || b.x + b.width > 720) wrong.push('cut: ' + t.textContent); });
    d.querySelectorAll('section').forEach(function (s) { if (s.scrollWidth > s.clientWidth + 1 && (frame.clientWidth > 600 || !/quarterly/.test(frame.dataset.what))) wrong.push('section runs over: ' + s.querySelector('h2').textContent); });
    if (/[{}]|\bnull\b|NaN|undefined/.test(text)) wrong.push('a place is not filled: ' + /.{0,30}([{}]|\bnull\b|NaN|undefined)/.exec(text)[0]);
    if (d.querySelectorAll('h2').length < 3) wrong.push('parts are missing');
    if (/quarterly/.test(frame.dataset.what) && !/ 50 .* 200\.| 50 .* 200/.test(text)) wrong.push('50 of 200 users is not said');
    if (wrong.length) out.push(frame.dataset.what + ': ' + wrong.join('; '));
  });
  var p = document.createElement('pre'); p.id = 'found'; p.textContent = document.querySelectorAll('iframe').length + ' pages; ' + out.join('\n'); document.body.appendChild(p);
});
</script>
JS
IPC::Run::run([ @chrome, '--dump-dom', "file://$dir/all.html" ], '<', \undef, '>', \$dom, '2>', \$err, IPC::Run::timeout(120));
($found) = $dom =~ /<pre id="found">(.*?)<\/pre>/s;
is($found, '30 pages; ', 'in every language and width nothing is cut off, runs over or is left out');

# And it looks like something: a picture that is not one colour.
my $shot = "$dir/report.png";
IPC::Run::run([ @chrome, "--screenshot=$shot", "file://$dir/plain.html" ], '<', \undef, '>', \my $out, '2>', \$err, IPC::Run::timeout(60));
ok(-s $shot && -s $shot > 20_000, 'a picture of it has content');
$node->stop;
done_testing();
