-- Providers: outside services as data.  A row says how to call a service and how
-- to read its answer; a new vendor is an INSERT by sales_admin.

CREATE TABLE sales.providers (
    name varchar(50) PRIMARY KEY CHECK (name ~ '^[a-z0-9_.-]+$'),
    purpose text NOT NULL CHECK (purpose IN
        ('chat', 'website', 'linkedin', 'twitter', 'company_info', 'email_validation', 'tenders', 'competitors', 'mail')),
    base_url text NOT NULL CHECK (base_url ~ '^https?://'),
    request jsonb NOT NULL CHECK (jsonb_typeof(request) = 'object'),
    answer jsonb NOT NULL CHECK (jsonb_typeof(answer) = 'object'),
    model text,
    retry_statuses integer[] NOT NULL DEFAULT '{408,409,425,429,500,502,503,504}',
    final_codes text[] NOT NULL DEFAULT '{}',
    price_in numeric(12,6) NOT NULL DEFAULT 0 CHECK (price_in >= 0),
    price_out numeric(12,6) NOT NULL DEFAULT 0 CHECK (price_out >= 0),
    rank integer NOT NULL DEFAULT 100,
    is_active boolean NOT NULL DEFAULT true
);
COMMENT ON TABLE sales.providers IS 'Outside services as data: how to call each and how to read its answer';
COMMENT ON COLUMN sales.providers.name IS 'Name; a company uses the provider when it has an api_keys row of this service_name';
COMMENT ON COLUMN sales.providers.purpose IS 'chat, an enrichment type, tenders, competitors or mail';
COMMENT ON COLUMN sales.providers.base_url IS 'Start of every URL, such as https://api.openai.com/v1';
COMMENT ON COLUMN sales.providers.request IS
    'Request template: method, url, headers, json (the body) and auth; strings are Mustache over the call''s variables';
COMMENT ON COLUMN sales.providers.answer IS
    'SQL/JSON paths into the answer: text, tokens_in, tokens_out, error_code, error_message, confidence, fields';
COMMENT ON COLUMN sales.providers.model IS 'Model that is asked, if the service has several';
COMMENT ON COLUMN sales.providers.retry_statuses IS 'HTTP statuses after which the call is worth repeating';
COMMENT ON COLUMN sales.providers.final_codes IS 'Error codes that make a repeat useless whatever the status, such as insufficient_quota';
COMMENT ON COLUMN sales.providers.price_in IS 'Price of a million input tokens, in the setting billing.currency';
COMMENT ON COLUMN sales.providers.price_out IS 'Price of a million output tokens, in the setting billing.currency';
COMMENT ON COLUMN sales.providers.rank IS 'Order in which providers of one purpose are asked, lowest first';
COMMENT ON COLUMN sales.providers.is_active IS 'Is it asked at all?';

INSERT INTO sales.providers (name, purpose, base_url, request, answer, model, retry_statuses, final_codes, price_in, price_out, rank) VALUES
('openai', 'chat', 'https://api.openai.com/v1',
 '{"method": "POST", "url": "{{base_url}}/chat/completions",
   "headers": {"Content-Type": "application/json"},
   "auth": {"header": "Authorization", "prefix": "Bearer "},
   "json": {"model": "{{model}}", "messages": [{"role": "system", "content": "{{system}}"}, {"role": "user", "content": "{{user}}"}],
            "response_format": {"type": "json_object"}}}',
 '{"text": "$.choices[0].message.content", "finish": "$.choices[0].finish_reason", "refusal": "$.choices[0].message.refusal",
   "tokens_in": "$.usage.prompt_tokens", "tokens_out": "$.usage.completion_tokens",
   "error_code": "$.error.code", "error_message": "$.error.message"}',
 'gpt-4o-mini', '{408,409,429,500,502,503,504}', '{insufficient_quota}', 0.15, 0.60, 10),
('anthropic', 'chat', 'https://api.anthropic.com/v1',
 '{"method": "POST", "url": "{{base_url}}/messages",
   "headers": {"Content-Type": "application/json", "anthropic-version": "2023-06-01"},
   "auth": {"header": "x-api-key"},
   "json": {"model": "{{model}}", "max_tokens": 1024, "system": "{{system}}", "messages": [{"role": "user", "content": "{{user}}"}]}}',
 '{"text": "$.content[0].text", "finish": "$.stop_reason", "tokens_in": "$.usage.input_tokens", "tokens_out": "$.usage.output_tokens",
   "error_code": "$.error.type", "error_message": "$.error.message"}',
 'claude-3-5-haiku-latest', '{408,409,429,500,502,503,504,529}', '{}', 0.80, 4.00, 20),
('hunter', 'email_validation', 'https://api.hunter.io/v2',
 '{"method": "GET", "url": "{{base_url}}/email-verifier?email={{email_url}}", "auth": {"query": "api_key"}}',
 '{"status": "$.data.status", "confidence_percent": "$.data.score", "fields": {},
   "error_code": "$.errors[0].id", "error_message": "$.errors[0].details"}',
 NULL, '{202,222,403,408,500,502,503,504}', '{}', 0, 0, 10),
('clearbit', 'company_info', 'https://company.clearbit.com/v2',
 '{"method": "GET", "url": "{{base_url}}/companies/find?domain={{domain_url}}", "auth": {"header": "Authorization", "prefix": "Bearer "}}',
 '{"confidence_fixed": 0.90,
   "fields": {"company_name": "$.name", "phone": "$.phone", "employees": "$.metrics.employees", "industry": "$.category.industry",
              "twitter_handle": "$.twitter.handle", "linkedin_handle": "$.linkedin.handle"},
   "error_code": "$.error.type", "error_message": "$.error.message"}',
 NULL, '{202,408,429,500,502,503,504}', '{}', 0, 0, 10);

CREATE TRIGGER replace_seed BEFORE INSERT ON sales.providers
    FOR EACH ROW EXECUTE FUNCTION sales_internal.replace_seed('name');
ALTER TABLE sales.providers ENABLE ALWAYS TRIGGER replace_seed;
SELECT sales_internal.dump_table('sales.providers');
GRANT SELECT ON sales.providers TO sales_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON sales.providers TO sales_admin;

-- What the provider `local` writes: one text for each language and purpose.
CREATE TABLE sales_internal.local_texts (
    language text NOT NULL,
    purpose text NOT NULL,
    subject text,
    body text NOT NULL,
    PRIMARY KEY (language, purpose)
);
COMMENT ON TABLE sales_internal.local_texts IS 'Mustache texts of the provider local; rows are made by the extension';
INSERT INTO sales_internal.local_texts VALUES
('fr', 'email', '{{#company_name}}{{company_name}} : {{/company_name}}{{product_name}}',
 E'Bonjour{{#first_name}} {{first_name}}{{/first_name}},\n\n{{#pain_points}}Beaucoup d''équipes nous parlent de la même difficulté : {{pain_points}}.\n\n{{/pain_points}}{{product_name}}{{#company_name}} pourrait aider {{company_name}}{{/company_name}}{{^company_name}} pourrait vous aider{{/company_name}} :\n{{#benefits}}- {{.}}\n{{/benefits}}\n\nAuriez-vous un quart d''heure cette semaine pour en parler ?\n\nBien à vous,\n{{sender}}'),
('fr', 'linkedin', NULL, 'Bonjour{{#first_name}} {{first_name}}{{/first_name}}, {{product_name}} aide des équipes comme la vôtre{{#benefit}} : {{benefit}}{{/benefit}}. Un échange de quinze minutes vous dirait-il ?'),
('fr', 'sms', NULL, 'Bonjour{{#first_name}} {{first_name}}{{/first_name}}, {{sender}} ici : un quart d''heure pour {{product_name}} cette semaine ?'),
('en', 'email', '{{product_name}}{{#company_name}} for {{company_name}}{{/company_name}}',
 E'Hello{{#first_name}} {{first_name}}{{/first_name}},\n\n{{#pain_points}}Many teams tell us of the same trouble: {{pain_points}}.\n\n{{/pain_points}}{{product_name}} could help{{#company_name}} {{company_name}}{{/company_name}}{{^company_name}} you{{/company_name}}:\n{{#benefits}}- {{.}}\n{{/benefits}}\n\nWould you have fifteen minutes this week to talk about it?\n\nKind regards,\n{{sender}}'),
('en', 'linkedin', NULL, 'Hello{{#first_name}} {{first_name}}{{/first_name}}, {{product_name}} helps teams like yours{{#benefit}}: {{benefit}}{{/benefit}}. Would a fifteen-minute chat suit you?'),
('en', 'sms', NULL, 'Hello{{#first_name}} {{first_name}}{{/first_name}}, {{sender}} here: fifteen minutes for {{product_name}} this week?'),
('it', 'email', '{{product_name}}{{#company_name}} per {{company_name}}{{/company_name}}',
 E'Buongiorno{{#first_name}} {{first_name}}{{/first_name}},\n\n{{#pain_points}}Molti ci raccontano la stessa difficoltà: {{pain_points}}.\n\n{{/pain_points}}{{product_name}} può aiutare{{#company_name}} {{company_name}}{{/company_name}}{{^company_name}} anche voi{{/company_name}}:\n{{#benefits}}- {{.}}\n{{/benefits}}\n\nAvrebbe un quarto d''ora questa settimana per parlarne?\n\nCordiali saluti,\n{{sender}}'),
('it', 'linkedin', NULL, 'Buongiorno{{#first_name}} {{first_name}}{{/first_name}}, {{product_name}} aiuta aziende come la sua{{#benefit}}: {{benefit}}{{/benefit}}. Le andrebbe una chiacchierata di quindici minuti?'),
('it', 'sms', NULL, 'Buongiorno{{#first_name}} {{first_name}}{{/first_name}}, sono {{sender}}: un quarto d''ora per {{product_name}} questa settimana?'),
('es', 'email', '{{product_name}}{{#company_name}} para {{company_name}}{{/company_name}}',
 E'Hola{{#first_name}} {{first_name}}{{/first_name}}:\n\n{{#pain_points}}Muchos equipos nos hablan del mismo problema: {{pain_points}}.\n\n{{/pain_points}}{{product_name}} puede ayudar{{#company_name}} a {{company_name}}{{/company_name}}{{^company_name}}les{{/company_name}}:\n{{#benefits}}- {{.}}\n{{/benefits}}\n\n¿Tendría un cuarto de hora esta semana para hablar de ello?\n\nUn cordial saludo,\n{{sender}}'),
('es', 'linkedin', NULL, 'Hola{{#first_name}} {{first_name}}{{/first_name}}, {{product_name}} ayuda a equipos como el suyo{{#benefit}}: {{benefit}}{{/benefit}}. ¿Le vendría bien una charla de quince minutos?'),
('es', 'sms', NULL, 'Hola{{#first_name}} {{first_name}}{{/first_name}}, soy {{sender}}: ¿quince minutos para {{product_name}} esta semana?'),
('de', 'email', '{{product_name}}{{#company_name}} für {{company_name}}{{/company_name}}',
 E'Guten Tag{{#first_name}} {{first_name}}{{/first_name}},\n\n{{#pain_points}}Viele berichten uns vom gleichen Problem: {{pain_points}}.\n\n{{/pain_points}}{{product_name}} kann{{#company_name}} {{company_name}}{{/company_name}}{{^company_name}} Ihnen{{/company_name}} helfen:\n{{#benefits}}- {{.}}\n{{/benefits}}\n\nHätten Sie diese Woche eine Viertelstunde Zeit?\n\nFreundliche Grüße\n{{sender}}'),
('de', 'linkedin', NULL, 'Guten Tag{{#first_name}} {{first_name}}{{/first_name}}, {{product_name}} hilft Teams wie Ihrem{{#benefit}}: {{benefit}}{{/benefit}}. Passt Ihnen ein kurzes Gespräch?'),
('de', 'sms', NULL, 'Guten Tag{{#first_name}} {{first_name}}{{/first_name}}, hier {{sender}}: eine Viertelstunde für {{product_name}} diese Woche?');

-- Words by which the provider `local` judges an answer.
CREATE TABLE sales_internal.lexicon (
    language text NOT NULL,
    word text NOT NULL,
    weight integer NOT NULL,
    PRIMARY KEY (language, word)
);
COMMENT ON TABLE sales_internal.lexicon IS
    'Sentiment words of the provider local: weight above 0 is positive, below is negative, 0 turns the next words round';
INSERT INTO sales_internal.lexicon
SELECT language, word, weight
FROM (VALUES
    ('fr', 2, 'intéresse intéressé intéressée intéressant oui volontiers parfait excellent super ravi ravie enchanté merci génial'),
    ('fr', 1, 'bonne bon bien rappelez appelez rendez disponible accord curieux utile plaisir'),
    ('fr', -2, 'refuse désabonner désinscrire spam inutile arrêtez stop jamais mécontent déçu contactez'),
    ('fr', -1, 'budget cher chère trop tard concurrent impossible malheureusement désolé'),
    ('fr', 0, 'pas non aucun aucune ne sans plus'),
    ('en', 2, 'interested interesting yes great perfect excellent love happy glad delighted awesome thanks'),
    ('en', 1, 'good call available agree curious useful sure welcome meeting'),
    ('en', -2, 'unsubscribe spam useless stop never disappointed annoyed remove reject'),
    ('en', -1, 'budget expensive late competitor unfortunately sorry busy already'),
    ('en', 0, 'not no don''t didn''t isn''t without nothing'),
    ('it', 2, 'interessa interessato interessata interessante sì volentieri perfetto ottimo eccellente felice lieto grazie'),
    ('it', 1, 'bene buono buona chiamatemi chiami disponibile d''accordo curioso utile piacere'),
    ('it', -2, 'rifiuto cancellatemi disiscrivetemi spam inutile basta mai deluso contattatemi'),
    ('it', -1, 'budget caro cara tardi concorrente purtroppo spiacente impossibile già'),
    ('it', 0, 'non no nessun nessuna senza più'),
    ('es', 2, 'interesa interesado interesada interesante sí encantado encantada perfecto excelente genial feliz gracias'),
    ('es', 1, 'bien bueno buena llámeme llámenme disponible acuerdo curioso útil gusto'),
    ('es', -2, 'rechazo baja spam inútil basta nunca decepcionado contacten'),
    ('es', -1, 'presupuesto caro cara tarde competidor lamentablemente desgraciadamente imposible ya'),
    ('es', 0, 'no ningún ninguna sin más tampoco'),
    ('de', 2, 'interessiert interessant ja gerne gern perfekt ausgezeichnet toll super freue begeistert danke'),
    ('de', 1, 'gut anrufen verfügbar einverstanden neugierig nützlich passt termin'),
    ('de', -2, 'ablehnen abmelden spam nutzlos stopp nie niemals enttäuscht verärgert'),
    ('de', -1, 'budget teuer spät konkurrenz leider unmöglich schon'),
    ('de', 0, 'nicht kein keine keinen ohne nichts nein')) v (language, weight, words)
CROSS JOIN LATERAL unnest(string_to_array(words, ' ')) word
ON CONFLICT DO NOTHING;

-- Mailboxes of a role rather than a person, and domains that throw mail away.
CREATE TABLE sales_internal.email_lists (
    kind text NOT NULL CHECK (kind IN ('role', 'disposable', 'webmail')),
    value text NOT NULL,
    PRIMARY KEY (kind, value)
);
COMMENT ON TABLE sales_internal.email_lists IS
    'What the provider local knows of addresses: role mailboxes, disposable domains, webmail domains';
INSERT INTO sales_internal.email_lists
SELECT 'role', unnest(string_to_array('abuse accueil admin administration amministrazione billing buchhaltung commercial commerciale contact contacto contatti compras comptabilite direction einkauf enquiries finance help hello hola hr info informacion jobs kontakt legal mail marketing newsletter no-reply noreply office orders postmaster presse press privacy rechnung recrutement sales secretariat security segreteria service support team vendite ventas vertrieb webmaster', ' '))
UNION ALL
SELECT 'disposable', unnest(string_to_array('10minutemail.com discard.email dispostable.com fakeinbox.com getnada.com guerrillamail.com maildrop.cc mailinator.com mailnesia.com mintemail.com mohmal.com mytemp.email sharklasers.com spamgourmet.com temp-mail.org tempmail.com throwawaymail.com trashmail.com yopmail.com yopmail.fr', ' '))
UNION ALL
SELECT 'webmail', unnest(string_to_array('aol.com free.fr gmail.com gmx.de gmx.net hotmail.com hotmail.fr icloud.com laposte.net libero.it live.com me.com orange.fr outlook.com outlook.fr proton.me protonmail.com sfr.fr t-online.de virgilio.it wanadoo.fr web.de yahoo.com yahoo.es yahoo.fr yahoo.it', ' '));

