\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
\set clean :srcdir '/clean.inc'
\i :clean
-- The provider local: messages, sentiment, addresses; approval; jobs of a tenant.
:be_super
SELECT sales.stop_workers() IS NOT NULL AS stopped;
DELETE FROM sales_internal.jobs;
-- templates: Mustache
SELECT sales.render_template('Hi {{name}}{{#list}}, {{.}}{{/list}}{{^none}}!{{/none}} {{{raw}}} {{a.b}}',
    '{"name": "A & B", "list": [1, "two"], "raw": "<b>", "a": {"b": true}}', true);
SELECT sales.render_template('{{#open}}', '{}');
SELECT sales.render_template('{{a', '{}');
SELECT sales.render_template('{{#a}}{{/b}}', '{"a": 1}');
SELECT sales.render_template('{{>partial}}', '{}');
-- sentiment in five languages, with sentences the lexicon was not made from
SELECT answer, sentiment FROM (VALUES
    (1, 'fr', 'Merci beaucoup, votre offre m''intéresse, rappelez-moi jeudi'), (2, 'fr', 'Je ne suis pas intéressée, merci de ne plus me contacter'),
    (3, 'fr', 'Bien reçu'), (4, 'en', 'Sounds great, let us set up a meeting'), (5, 'en', 'Not interested, please remove me from your list'),
    (6, 'en', 'I am out of the office until Monday'), (7, 'it', 'Molto interessante, ci vediamo volentieri'), (8, 'it', 'Purtroppo non siamo interessati'),
    (9, 'es', 'Sí, me interesa, llámeme mañana'), (10, 'es', 'No gracias, es demasiado caro'), (11, 'de', 'Das passt gut, ich freue mich auf den Termin'),
    (12, 'de', 'Leider kein Interesse, bitte abmelden')) v (n, language, answer)
CROSS JOIN LATERAL sales_internal.local_sentiment(answer, language) ORDER BY n;
:be_alpha
INSERT INTO sales.products (name) VALUES ('Boussole') RETURNING product_id \gset
INSERT INTO sales.product_benefits (product_id, benefit_text) VALUES (:'product_id', 'Un gain de temps');
INSERT INTO sales.addresses (country) VALUES ('Italia') RETURNING address_id \gset
INSERT INTO sales.prospects (first_name, company_name, email, address_id, product_id)
VALUES ('Chiara', 'Officine {{evil}} <b>', 'chiara@mailinator.com', :'address_id', :'product_id') RETURNING prospect_id \gset
SELECT sales.generate_message(:'prospect_id', 'email') IS NOT NULL AS a, sales.generate_message(:'prospect_id', 'sms', language => 'de') IS NOT NULL AS b,
       sales.enrich(:'prospect_id', 'email_validation') IS NOT NULL AS c, sales.suggest_next_action(:'prospect_id') IS NOT NULL AS d;
INSERT INTO sales.interactions (prospect_id, channel, type, response_received, response_content)
VALUES (:'prospect_id', 'email', 'sent', true, 'Sì, molto interessante');
SELECT kind, state FROM sales.jobs ORDER BY kind;
SELECT sales.wait_job(job_id, '0 seconds') FROM sales.jobs WHERE kind = 'enrich';
-- bad calls
SELECT sales.generate_message('00000000-0000-7000-8000-000000000001', 'email');
SELECT sales.generate_message(:'prospect_id', 'email', language => 'xx');
SELECT sales.generate_message(:'prospect_id', 'email', template_id => '00000000-0000-7000-8000-000000000001');
SELECT sales.enrich(NULL, 'website');
:be_beta
SELECT count(*) FROM sales.jobs;
SELECT helpers.try(format('SELECT sales.generate_message(%L, ''email'')', :'prospect_id'));
:be_super
SELECT job_id AS other_job FROM sales_internal.jobs ORDER BY kind LIMIT 1 \gset
:be_beta
SELECT helpers.try(format('SELECT sales.cancel_job(%L)', :'other_job'));
SELECT helpers.try(format('SELECT sales.wait_job(%L, ''0'')', :'other_job'));
:be_super
SELECT sales_internal.run_jobs();
:be_alpha
SELECT kind, state, error, attempts FROM sales.jobs ORDER BY kind;
SELECT language, channel, subject, content, ai_prompt_used, is_approved FROM sales.messages ORDER BY channel;
SELECT response_sentiment FROM sales.interactions;
SELECT source_api, enriched_value::jsonb ->> 'status' AS status, confidence_score, cost, status FROM sales.enrichments;
-- approval: by function, lost with a change, refused without permission
SELECT sales.approve_message(message_id) FROM sales.messages WHERE channel = 'email';
SELECT is_approved, approved_by = sales.current_user_id() AS by_me FROM sales.messages WHERE channel = 'email';
UPDATE sales.messages SET content = content || ' PS' WHERE channel = 'email' RETURNING is_approved;
:be_super
SELECT role_id FROM sales.roles WHERE name = 'seller' AND company_id = helpers.company('alpha') \gset
INSERT INTO sales.users (company_id, email, role_id, password_hash)
VALUES (helpers.company('alpha'), 'seller@alpha.test', :'role_id', sales_internal.hash_password('seller-secret'));
SET SESSION AUTHORIZATION regress_app;
SELECT sales.use_session(sales.login('alpha.test', 'seller@alpha.test', 'seller-secret'), false) IS NOT NULL AS in;
SELECT sales.approve_message(message_id) FROM sales.messages WHERE channel = 'email';
UPDATE sales.messages SET is_approved = true WHERE channel = 'email';
-- apply and revert
:be_super
INSERT INTO sales.enrichments (company_id, prospect_id, enrichment_type, source_api, original_value, enriched_value, confidence_score, status)
VALUES (helpers.company('alpha'), :'prospect_id', 'website', 'local', '{"phone": null}', '{"phone": "+39 02 1", "title": "x"}', 0.6, 'completed')
RETURNING enrichment_id \gset
:be_alpha
SELECT sales.apply_enrichment(:'enrichment_id');
SELECT phone FROM sales.prospects WHERE prospect_id = :'prospect_id';
SELECT sales.revert_enrichment(:'enrichment_id');
SELECT phone IS NULL AS gone FROM sales.prospects WHERE prospect_id = :'prospect_id';
:be_beta
SELECT helpers.try(format('SELECT sales.apply_enrichment(%L)', :'enrichment_id'));
-- cancel and retry
:be_alpha
SELECT sales.suggest_next_action(:'prospect_id') AS job \gset
SELECT sales.cancel_job(:'job'), sales.cancel_job(:'job'), sales.retry_job(:'job'), sales.retry_job(:'job');
SELECT state FROM sales.jobs WHERE job_id = :'job';
:be_super
SELECT sales_internal.run_jobs();
UPDATE sales.users SET is_active = false WHERE email = 'seller@alpha.test';
SELECT sales.start_workers();
