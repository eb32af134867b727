\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
:be_alpha
SELECT name FROM sales.companies;
INSERT INTO sales.prospects (first_name, email) VALUES ('Ada', 'ada@client.test') RETURNING first_name;
:be_beta
SELECT count(*) FROM sales.prospects;
:be_super
