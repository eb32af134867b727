\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
-- Legal holds: who must be kept for now is neither erased on request nor by retention.
:be_beta
INSERT INTO sales.prospects (first_name, last_name, legal_hold) VALUES ('Hold', 'Of-Beta', 'lawsuit 7');
:be_alpha
INSERT INTO sales.prospects (first_name, last_name, legal_hold) VALUES ('Hold', 'Of-Alpha', 'lawsuit 12') RETURNING prospect_id \gset
SELECT helpers.try(format('SELECT sales.gdpr_erase(%L, ''art. 17'')', :'prospect_id'));
SELECT first_name, last_name FROM sales.prospects WHERE legal_hold IS NOT NULL;
UPDATE sales.prospects SET legal_hold = NULL WHERE prospect_id = :'prospect_id';
SELECT sales.gdpr_erase(:'prospect_id', 'art. 17');
SELECT count(*) FROM sales.prospects WHERE last_name = 'Of-Alpha';
:be_beta
SELECT first_name, last_name, legal_hold FROM sales.prospects WHERE legal_hold IS NOT NULL;
:be_super
DELETE FROM sales.prospects WHERE legal_hold IS NOT NULL OR erased_at IS NOT NULL;
