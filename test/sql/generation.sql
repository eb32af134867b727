\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
\set clean :srcdir '/clean.inc'
\i :clean
-- The provider local: messages, sentiment, addresses; approval; jobs of a tenant.
:be_super
DELETE FROM sales_internal.jobs;
-- templates: Mustache
SELECT sales.render_template('Hi {{name}}{{#list}}, {{.}}{{/list}}{{^none}}!{{/none}} {{{raw}}} {{a.b}}',
    '{"name": "A & B", "list": [1, "two"], "raw": "<b>", "a": {"b": true}}', true);
SELECT sales.render_template('{{#open}}', '{}');
SELECT sales.render_template('{{a', '{}');
SELECT sales.render_template('{{#a}}{{/b}}', '{"a": 1}');
SELECT sales.render_template('{{>partial}}', '{}');
-- sentiment in five languages: those judged otherwise than people would
SELECT count(*) AS judged, count(*) FILTER (WHERE s.sentiment::text = want) AS alike FROM (VALUES
('fr','positive','Bonjour, oui cela pourrait nous intéresser. Pouvez-vous me rappeler mardi ?'),
('fr','positive','Très bonne présentation, j''aimerais en savoir plus.'),
('fr','positive','Parfait, on se voit jeudi à 14h.'),
('fr','negative','Merci mais nous avons déjà un prestataire.'),
('fr','negative','Cela ne nous intéresse pas.'),
('fr','negative','Retirez-moi de votre liste svp'),
('fr','negative','C''est trop cher pour nous.'),
('fr','neutral','Je suis absent jusqu''au 12, je vous répondrai à mon retour.'),
('fr','neutral','Qui vous a donné mon adresse ?'),
('fr','positive','Pourquoi pas, envoyez-moi une proposition.'),
('en','positive','Yes, please send me the details.'),
('en','positive','This looks really interesting, can we talk on Friday?'),
('en','positive','I''d love to see a demo.'),
('en','negative','We''re all set, thanks. Not interested at this time.'),
('en','negative','Please stop emailing me.'),
('en','negative','It''s way too expensive.'),
('en','neutral','I am out of the office until 5 January with limited access to email.'),
('en','neutral','I have forwarded this to my colleague in purchasing.'),
('en','negative','Don''t ever write to me again, this is spam'),
('en','positive','Not bad at all! Let''s set up a call.'),
('it','positive','Sì, sono interessata. Possiamo sentirci domani?'),
('it','positive','La proposta mi sembra ottima, fissiamo un appuntamento.'),
('it','negative','Non siamo interessati, grazie.'),
('it','negative','Vi prego di cancellarmi dalla lista.'),
('it','negative','È troppo caro e non abbiamo budget.'),
('it','neutral','Sono in ferie fino al 20 agosto.'),
('it','neutral','Ho inoltrato la sua mail al mio collega.'),
('it','positive','Volentieri, mi chiami giovedì mattina.'),
('es','positive','Me parece muy interesante, ¿cuándo podemos hablar?'),
('es','positive','Sí, llámeme mañana por la mañana.'),
('es','negative','No nos interesa, gracias.'),
('es','negative','Por favor, denme de baja de su lista.'),
('es','negative','Es demasiado caro para nosotros y ya tenemos proveedor.'),
('es','neutral','Estoy de vacaciones hasta el día 15.'),
('es','neutral','He reenviado su mensaje a mi jefa.'),
('es','positive','De acuerdo, concertemos una reunión la semana que viene.'),
('de','positive','Das klingt sehr interessant, rufen Sie mich bitte am Montag an.'),
('de','positive','Gerne, wann hätten Sie Zeit?'),
('de','negative','Daran sind wir nicht interessiert.'),
('de','negative','Das interessiert mich überhaupt nicht.'),
('de','negative','Bitte streichen Sie mich aus Ihrem Verteiler.'),
('de','negative','Leider haben wir dafür kein Budget.'),
('de','neutral','Ich bin bis zum 3. Januar nicht im Büro.'),
('de','neutral','Ich habe Ihre Nachricht an den Einkauf weitergeleitet.'),
('de','positive','Kein Problem, schicken Sie mir ein Angebot.')) v (lang, want, answer)
CROSS JOIN LATERAL sales_internal.local_sentiment(answer, lang) s;
-- the language is told from the words, quoted text is left out, nothing is neutral
SELECT s.sentiment FROM (VALUES (1, 'en', 'Non siamo interessati, grazie'), (2, 'fr', E'Thanks\n> this is great, perfect, excellent'), (3, 'fr', ''),
    (4, 'de', repeat('ja ', 30000)), (5, NULL, 'Great, call me')) v (n, lang, answer)
CROSS JOIN LATERAL sales_internal.local_sentiment(answer, lang) s ORDER BY n;
-- shipped texts read well with all variables and with none: no gap, no colon at an end, no greeting of nobody
SELECT l.language, l.purpose, v.n, t AS bad
FROM sales_internal.local_texts l
CROSS JOIN (VALUES (0, '{"product_name": "P", "sender": "S", "signature": "S"}'::jsonb),
    (1, '{"product_name": "P", "product": "P", "sender": "S", "signature": "S", "first_name": "Ada", "full_name": "Ada L", "name": "Ada L",
          "company_name": "C", "benefits": ["b"], "benefit": "b", "pain_points": "x", "tender": {"title": "T", "deadline": "1"}, "title": "T", "deadline": "1",
          "date": "1", "n": 3, "other": "o", "value": "v", "rate": 1, "other_rate": 2, "gain": 1, "days": 9, "hits": 1, "other_hits": 1, "other_n": 1, "p": 0.1}')) v (n, variables)
CROSS JOIN LATERAL (SELECT sales_internal.tidy_text(sales.render_template(x, v.variables)) FROM (VALUES (l.subject), (l.body)) y (x) WHERE x IS NOT NULL) r (t)
WHERE (v.n = 1 OR l.purpose NOT LIKE 'improve%')
  AND (regexp_replace(t, '^Buenos días[^\n]*:\n', '') ~ '  | ,|:\n\n|:$|\{\{|\(\)' OR t ~ '^(Hello|Bonjour|Buongiorno|Guten Tag) ,' OR t = '' OR t ~ '[^.?!]$' AND l.purpose IN ('linkedin', 'sms', 'sms_short') AND t !~ '[.?!]$');
SELECT language, count(*) FROM sales_internal.local_texts GROUP BY language ORDER BY language;
SELECT max(length(sales.render_template(body, '{"sender": "Société Européenne de Conseil"}'))) <= 160 AS short_sms_fits FROM sales_internal.local_texts WHERE purpose = 'sms_short';
-- language by country, region, mail domain, else the company's
SELECT c, (sales_internal.country_of(c)).iso3, (sales_internal.country_of(c)).language FROM unnest('{Italia,deutschland,"ESPAÑA ",UK,Österreich,Suisse,usa,Nowhere}'::text[]) c;
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
-- a template of the company: its product's first; gaps are closed; a broken one fails with its line; the wrong one is refused
:be_alpha
UPDATE sales.templates SET is_active = false;
INSERT INTO sales.templates (name, channel, language, subject_template, content_template) VALUES
    ('any', 'email', 'en', 'Any', 'any'), ('broken', 'linkedin', 'en', NULL, 'Hi {{#x}}');
INSERT INTO sales.templates (product_id, name, channel, language, subject_template, content_template, variables)
VALUES (:'product_id', 'own', 'email', 'en', 'For {{first_name}}', E'Hello {{first_name}},\n\nDear {{first_name}} {{last_name}}  {{offer}}.', '{"offer": "10 %", "first_name": ""}');
INSERT INTO sales.prospects (email, product_id) VALUES ('nobody@client.example', :'product_id') RETURNING prospect_id AS nobody \gset
SELECT sales.generate_message(:'nobody', 'email', language => 'en') AS own_job, sales.generate_message(:'nobody', 'linkedin', language => 'en') AS broken_job \gset
SELECT helpers.try(format('SELECT sales.generate_message(%L, ''sms'', template_id => %L)', :'nobody', template_id)) FROM sales.templates WHERE name = 'own';
SELECT helpers.try(format('SELECT sales.generate_message(%L, ''email'', template_id => %L, language => ''fr'')', :'nobody', template_id)) FROM sales.templates WHERE name = 'own';
UPDATE sales.templates SET is_active = false WHERE name = 'any';
SELECT helpers.try(format('SELECT sales.generate_message(%L, ''email'', template_id => %L)', :'nobody', template_id)) FROM sales.templates WHERE name = 'any';
:be_super
SELECT sales_internal.run_jobs() > 0 AS ran;
:be_alpha
SELECT subject, content, ai_prompt_used, template_id IS NOT NULL AS from_template FROM sales.messages WHERE prospect_id = :'nobody';
SELECT job_id = :'own_job' AS own, state, attempts, error FROM sales.jobs WHERE job_id IN (:'own_job', :'broken_job') ORDER BY 1 DESC;
-- a prospect that goes while its job waits gets no message
SELECT sales.generate_message(:'nobody', 'sms') AS job \gset
DELETE FROM sales.prospects WHERE prospect_id = :'nobody';
:be_super
SELECT sales_internal.run_jobs();
SELECT state, error FROM sales_internal.jobs WHERE job_id = :'job';
-- approval: nobody signs for another, a text written by nobody who may is unapproved
:be_alpha
INSERT INTO sales.messages (prospect_id, channel, content, language, is_approved, approved_by)
VALUES (:'prospect_id', 'sms', 'signed by another', 'en', true, (SELECT user_id FROM sales.users WHERE email = 'seller@alpha.test'))
RETURNING is_approved, approved_by = sales.current_user_id() AS by_me;
UPDATE sales.messages SET approved_by = (SELECT user_id FROM sales.users WHERE email = 'seller@alpha.test') WHERE content = 'signed by another' RETURNING approved_by = sales.current_user_id() AS by_me;
UPDATE sales.messages SET is_approved = false WHERE content = 'signed by another' RETURNING approved_by, approved_at;
-- received messages are judged too, a tone that is given stands, a changed answer is judged anew
INSERT INTO sales.interactions (prospect_id, channel, type, content) VALUES (:'prospect_id', 'email', 'received', 'Non mi interessa');
INSERT INTO sales.interactions (prospect_id, channel, type, response_content, response_sentiment) VALUES (:'prospect_id', 'email', 'sent', 'super', 'neutral');
SELECT count(*) FROM sales.jobs WHERE kind = 'analyze_sentiment' AND state = 'queued';
UPDATE sales.interactions SET response_content = 'pessimo' WHERE response_content = 'super';
:be_super
SELECT sales_internal.run_jobs();
:be_alpha
SELECT coalesce(response_content, content) AS said, response_sentiment FROM sales.interactions WHERE content IS NOT NULL OR response_content = 'pessimo' ORDER BY 1;
-- next action by what happened last
SELECT sales.enter_stage(:'prospect_id', 'contacte') IS NOT NULL AS entered;
SELECT sales.suggest_next_action(:'prospect_id') AS job \gset
:be_super
SELECT sales_internal.run_jobs();
:be_alpha
SELECT state, result ->> 'provider' AS provider, result ->> 'noted' AS noted,
       regexp_replace(result ->> 'next_action', '\d\d/\d\d/\d{4}', '<day>') AS next_action FROM sales.jobs WHERE job_id = :'job';
-- suggestions: what does better by more than chance, once
INSERT INTO sales.interactions (prospect_id, channel, type, response_received, response_content, response_sentiment, interaction_date)
SELECT :'prospect_id', c::sales.interaction_channel, 'sent', n <= CASE c WHEN 'email' THEN 3 ELSE 15 END, 'ok', 'neutral', now() - interval '1 day'
FROM generate_series(1, 40) n, unnest('{email,linkedin}'::text[]) c;
SELECT sales.suggest_improvements() AS job \gset
:be_super
SELECT sales_internal.run_jobs() AS ran, sales_internal.local_improvements(helpers.company('alpha')) AS new;
:be_alpha
SELECT suggestion_type, suggested_change, expected_improvement, confidence_score > 0.95 AS sure, regexp_replace(ai_reasoning, 'p = [0-9.]+', 'p') AS why FROM sales.improvement_suggestions;
:be_beta
SELECT count(*) FROM sales.improvement_suggestions;
:be_super
SELECT sales_internal.run_jobs();
-- a message without a language has the company's
:be_alpha
INSERT INTO sales.messages (prospect_id, channel, content) SELECT prospect_id, 'linkedin', 'Bonjour' FROM sales.prospects LIMIT 1 RETURNING language, is_approved;
:be_super
WITH p AS (INSERT INTO sales.prospects (company_id, first_name) VALUES (helpers.company('beta'), 'Ben') RETURNING company_id, prospect_id) SELECT company_id AS b, prospect_id AS p FROM p \gset
INSERT INTO sales.messages (company_id, prospect_id, channel, content, language) VALUES (:'b', :'p', 'email', 'x', NULL), (:'b', :'p', 'sms', 'x', 'de') RETURNING channel, language;
DELETE FROM sales.prospects WHERE prospect_id = :'p';
UPDATE sales.users SET is_active = false WHERE email = 'seller@alpha.test';
