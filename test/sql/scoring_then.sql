\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
\set clean :srcdir '/clean.inc'
-- Scores: nothing of what came later is learned from; one company's trouble is its own.
-- not what addresses and enrichments became: a country mended or an address replaced, an answer that came, a confidence that was changed
:be_super
\i :clean
:be_alpha
INSERT INTO sales.addresses (street_address, country) VALUES ('Ned', 'FR'), ('Ola', 'FR'), ('Pam', 'FR');
INSERT INTO sales.prospects (first_name, created_at, address_id)
SELECT a.street_address, now() - interval '20 days', a.address_id FROM sales.addresses a WHERE a.street_address IN ('Ned', 'Ola', 'Pam');
INSERT INTO sales.enrichments (prospect_id, enrichment_type, status, confidence_score, expires_at, created_at)
SELECT prospect_id, x.type::sales.enrichment_type, x.status::sales.enrichment_status, x.confidence, x.expires_at, created_at
FROM sales.prospects, (VALUES ('website', 'completed', 0.5, now() + interval '1 year'), ('linkedin', 'pending', NULL, NULL)) x (type, status, confidence, expires_at);
SELECT count(sales.enter_stage(prospect_id, 'client', 100)) FROM sales.prospects WHERE first_name IN ('Ned', 'Ola');
UPDATE sales.addresses SET country = 'DE';
UPDATE sales.addresses SET country = 'IT';
INSERT INTO sales.addresses (street_address, country) VALUES ('new', 'ES');
UPDATE sales.prospects SET address_id = (SELECT address_id FROM sales.addresses WHERE street_address = 'new') WHERE first_name = 'Ola';
DELETE FROM sales.addresses WHERE street_address = 'Ola';
UPDATE sales.enrichments SET status = 'completed', confidence_score = 0.9, expires_at = now() + interval '1 year' WHERE enrichment_type = 'linkedin';
UPDATE sales.enrichments SET confidence_score = 0.2 WHERE enrichment_type = 'website';
:be_super
SELECT p.first_name, f.country, f.enrichment_confidence FROM sales_internal.features_of(helpers.company('alpha'), true, NULL) f JOIN sales.prospects p USING (prospect_id) ORDER BY 1;
SELECT p.first_name, f.country, f.enrichment_confidence FROM sales_internal.features_of(helpers.company('alpha'), false, NULL) f JOIN sales.prospects p USING (prospect_id) ORDER BY 1;
DELETE FROM sales.addresses a WHERE NOT EXISTS (SELECT FROM sales.prospects p WHERE p.address_id = a.address_id);
-- what keeps one company from a model keeps no other from one, nor itself from scores; a model that cannot be read is that company's trouble alone
\i :clean
DELETE FROM sales.score_models;
DELETE FROM sales_internal.scoring_state;
CREATE FUNCTION helpers.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.company_id = helpers.company('alpha') THEN RAISE EXCEPTION 'no model today'; END IF; RETURN NEW; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON sales.score_models FOR EACH ROW EXECUTE FUNCTION helpers.refuse();
:be_alpha
INSERT INTO sales.prospects (first_name, email) VALUES ('Quin', 'quin@x.test');
SELECT sales.enter_stage(prospect_id, 'client', 100) IS NOT NULL AS won FROM sales.prospects;
:be_beta
INSERT INTO sales.prospects (first_name, email) VALUES ('Rosa', 'rosa@x.test');
SELECT sales.enter_stage(prospect_id, 'client', 100) IS NOT NULL AS won FROM sales.prospects;
:be_super
\set VERBOSITY sqlstate
SELECT sales_internal.keep_scores() >= 2 AS both_scored;
\set VERBOSITY terse
SELECT c.domain, count(m.model_id) AS models FROM sales.companies c LEFT JOIN sales.score_models m USING (company_id) WHERE c.domain IN ('alpha.test', 'beta.test') GROUP BY 1 ORDER BY 1;
SELECT first_name, ai_score IS NOT NULL AS scored FROM sales.prospects ORDER BY 1;
DROP TRIGGER refuse ON sales.score_models;
DROP FUNCTION helpers.refuse();
UPDATE sales_internal.scorecards SET model = '{}' WHERE model_id = (SELECT model_id FROM sales.score_models WHERE company_id = helpers.company('beta'));
UPDATE sales.prospects SET ai_score = NULL;
UPDATE sales_internal.scoring_state SET all_scored_at = NULL;
\set VERBOSITY sqlstate
SELECT sales_internal.keep_scores() >= 1 AS scored;
\set VERBOSITY terse
SELECT first_name, ai_score IS NOT NULL AS scored FROM sales.prospects ORDER BY 1;
DELETE FROM sales.score_models;
\i :clean
