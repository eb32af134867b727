# doctor() on a sender's SPF, DKIM and DMARC, asked of a name server of the test.
use strict;
use warnings;
use lib 'test/t';
use PeerTest;
use Test::More;

my $dns = start_peer('dns');
my $node = new_node('sender_dns', "sales_assistant.dns_servers = '127.0.0.1:$dns'\n");
sql('SELECT sales.stop_workers()');

# What doctor() says of a mailbox in a domain, with or without a selector.
sub said_of
{
	my ($domain, $selector) = @_;
	$selector = defined $selector ? "'$selector'" : 'NULL';
	sql("DELETE FROM sales.mailboxes; INSERT INTO sales.mailboxes (company_id, email, dkim_selector) SELECT company_id, 'x\@$domain', $selector FROM who WHERE name = 'alpha'");
	return sql("SELECT coalesce(string_agg(severity || ': ' || finding, ' / ' ORDER BY finding), 'nothing') FROM sales_internal.doctor_campaigns()");
}
is(said_of('good.sender', 's1'), 'nothing', 'all is there: a policy and a key in several strings too');
is(said_of('good.sender'), 'note: the DKIM key of good.sender was not looked for', 'without a selector no key can be looked for');
is(said_of('good.sender', 's2'), 'warning: good.sender has no DKIM key under the selector s2', 'a selector without a key');
is(said_of('old.sender', 's1'),
	'warning: old.sender has no DKIM key under the selector s1 / warning: old.sender has no DMARC record / warning: old.sender has several SPF records, which counts as none',
	'a key that was withdrawn, another version of DMARC, two policies of SPF');
is(said_of('bare.sender', 's1'),
	'warning: bare.sender has no DKIM key under the selector s1 / warning: bare.sender has no DMARC record / warning: bare.sender has no SPF record', 'nothing is there');
like(said_of('nx.sender', 's1'), qr/has no SPF record/, 'nor the domain');
is(said_of('fail.sender', 's1'), 'note: DNS could not be asked for the SPF, DKIM and DMARC of fail.sender', 'a domain whose servers are broken');
sql("DELETE FROM sales.mailboxes; INSERT INTO sales.mailboxes (company_id, email, dkim_selector) SELECT company_id, v.email, 's1' FROM who CROSS JOIN unnest(ARRAY['x\@fail.sender', 'x\@bare.sender']) v (email) WHERE name = 'beta'");
like(sql("SELECT string_agg(finding, ' / ' ORDER BY finding) FROM sales.doctor()"), qr/DNS could not be asked .* fail\.sender.*bare\.sender has no SPF record/, 'does not hide what is to be said of others');
is(said_of('silent.sender', 's1'), 'note: DNS could not be asked for the SPF, DKIM and DMARC of silent.sender', 'nobody waits for a silent name server');
is(said_of('fine.test', 's1'), 'nothing', 'domains of tests are not asked for');
$node->stop;
stop_peers();
done_testing();
