-- Providers: outside services as data.  A row says how to call a service and how
-- to read its answer; a new vendor is an INSERT by sales_admin.

CREATE TABLE sales.providers (
    name varchar(50) PRIMARY KEY CHECK (name ~ '^[a-z0-9_.-]+$' AND name <> 'local'),
    service varchar(50) CHECK (service ~ '^[a-z0-9_.-]+$'),
    purpose text NOT NULL CHECK (purpose IN
        ('chat', 'website', 'linkedin', 'twitter', 'company_info', 'email_validation', 'tenders', 'competitors', 'mail')),
    base_url text NOT NULL CHECK (base_url ~ '^https?://'),
    request jsonb NOT NULL CHECK (jsonb_typeof(request) = 'object'),
    answer jsonb NOT NULL CHECK (jsonb_typeof(answer) = 'object'),
    model text,
    needs_key boolean NOT NULL DEFAULT true,
    retry_statuses integer[] NOT NULL DEFAULT '{408,409,425,429,500,502,503,504}',
    pending_statuses integer[] NOT NULL DEFAULT '{202}',
    billed_statuses integer[] NOT NULL DEFAULT '{200,201}',
    final_codes text[] NOT NULL DEFAULT '{}',
    price_in numeric(12,6) NOT NULL DEFAULT 0 CHECK (price_in >= 0),
    price_out numeric(12,6) NOT NULL DEFAULT 0 CHECK (price_out >= 0),
    rank integer NOT NULL DEFAULT 100,
    is_active boolean NOT NULL DEFAULT true
);
COMMENT ON TABLE sales.providers IS 'Outside services as data: how to call each and how to read its answer';
COMMENT ON COLUMN sales.providers.name IS 'Name, also that of the service unless service says otherwise';
COMMENT ON COLUMN sales.providers.service IS
    'Service that it is a call of; a company uses the provider when it has an api_keys row of this service_name; null: as name';
COMMENT ON COLUMN sales.providers.purpose IS 'chat, an enrichment type, tenders, competitors or mail';
COMMENT ON COLUMN sales.providers.base_url IS 'Start of every URL, such as https://api.openai.com/v1';
COMMENT ON COLUMN sales.providers.request IS
    'Request template: method, url, headers, json (the body), auth, needs (variables that must be known) and limits (per_second, per_minute, open); strings are Mustache over the call''s variables, {"$value": name} is a variable as JSON';
COMMENT ON COLUMN sales.providers.answer IS
    'How to read the answer, by SQL/JSON paths: text, finish, refusal, tokens_in, tokens_out; fields, status, confidence; items, item; error_code, error_message';
COMMENT ON COLUMN sales.providers.model IS 'Model that is asked, if the service has several';
COMMENT ON COLUMN sales.providers.needs_key IS 'False: it is called for every company, without a key: a public service, or the platform''s own';
COMMENT ON COLUMN sales.providers.retry_statuses IS 'HTTP statuses after which the call is worth repeating';
COMMENT ON COLUMN sales.providers.pending_statuses IS 'HTTP statuses that say: not ready, ask again; such a call takes nothing from the budget';
COMMENT ON COLUMN sales.providers.billed_statuses IS 'HTTP statuses that the service counts; a call with another is given back to the budget';
COMMENT ON COLUMN sales.providers.final_codes IS 'Error codes that make a repeat useless whatever the status, such as insufficient_quota';
COMMENT ON COLUMN sales.providers.price_in IS 'Price of a million input tokens, in the setting billing.currency';
COMMENT ON COLUMN sales.providers.price_out IS 'Price of a million output tokens, in the setting billing.currency';
COMMENT ON COLUMN sales.providers.rank IS 'Order in which providers of one purpose are asked, lowest first';
COMMENT ON COLUMN sales.providers.is_active IS 'Is it asked at all?';

-- Chat.  All but Anthropic speak OpenAI's protocol and differ in base URL, model
-- and the header of the key.  Those that are not active wait for a base URL.
INSERT INTO sales.providers
    (name, purpose, base_url, request, answer, model, needs_key, retry_statuses, final_codes, price_in, price_out, rank, is_active)
SELECT v.name, 'chat', v.base_url,
       jsonb_build_object('method', 'POST', 'url', '{{base_url}}/chat/completions', 'timeout_ms', 120000,
           'headers', '{"Content-Type": "application/json"}'::jsonb, 'auth', v.auth::jsonb,
           'json', '{"model": "{{model}}",
                     "messages": [{"role": "system", "content": "{{system}}"}, {"role": "user", "content": "{{user}}"}],
                     "response_format": {"type": "json_schema",
                                         "json_schema": {"name": "answer", "strict": true, "schema": {"$value": "schema"}}}}'::jsonb),
       '{"text": "$.choices[0].message.content", "finish": "$.choices[0].finish_reason", "refusal": "$.choices[0].message.refusal",
         "tokens_in": "$.usage.prompt_tokens", "tokens_out": "$.usage.completion_tokens",
         "error_code": ["$.error.code", "$.error.type"], "error_message": ["$.error.message", "$.message"]}',
       v.model, v.needs_key, '{408,409,429,500,502,503,504}', '{insufficient_quota}', v.price_in, v.price_out, v.rank, v.is_active
FROM (VALUES
    ('openai', 'https://api.openai.com/v1', '{"header": "Authorization", "prefix": "Bearer "}', 'gpt-4o-mini', true, 0.15, 0.60, 10, true),
    ('mistral', 'https://api.mistral.ai/v1', '{"header": "Authorization", "prefix": "Bearer "}', 'mistral-small-latest', true, 0.10, 0.30, 30, true),
    ('azure', 'https://YOUR-RESOURCE.openai.azure.com/openai/v1', '{"header": "api-key"}', 'YOUR-DEPLOYMENT', true, 0.15, 0.60, 40, false),
    ('vllm', 'http://localhost:8000/v1', NULL, 'YOUR-MODEL', false, 0, 0, 80, false),
    ('ollama', 'http://localhost:11434/v1', NULL, 'llama3.2', false, 0, 0, 90, false))
    v (name, base_url, auth, model, needs_key, price_in, price_out, rank, is_active);
-- Anthropic gives structured answers as the input of a tool that it must use.
INSERT INTO sales.providers (name, purpose, base_url, request, answer, model, retry_statuses, price_in, price_out, rank) VALUES
('anthropic', 'chat', 'https://api.anthropic.com/v1',
 '{"method": "POST", "url": "{{base_url}}/messages", "timeout_ms": 120000,
   "headers": {"Content-Type": "application/json", "anthropic-version": "2023-06-01"},
   "auth": {"header": "x-api-key"},
   "json": {"model": "{{model}}", "max_tokens": 2048, "system": "{{system}}", "messages": [{"role": "user", "content": "{{user}}"}],
            "tools": [{"name": "answer", "description": "The answer", "input_schema": {"$value": "schema"}}],
            "tool_choice": {"type": "tool", "name": "answer"}}}',
 '{"text": ["$.content[*] ? (@.type == \"tool_use\").input", "$.content[*] ? (@.type == \"text\").text"], "finish": "$.stop_reason",
   "tokens_in": "$.usage.input_tokens", "tokens_out": "$.usage.output_tokens",
   "error_code": "$.error.type", "error_message": "$.error.message"}',
 'claude-haiku-4-5', '{408,409,429,500,502,503,504,529}', 1.00, 5.00, 20);

-- Look-ups.  Hunter says 403 for pace and 429 for the end of the month's quota,
-- 202 for a verification under way and 222 for one to try again later; only
-- 200 is counted.  Clearbit counts what it knows nothing of, too.
INSERT INTO sales.providers
    (name, service, purpose, base_url, request, answer, retry_statuses, billed_statuses, final_codes, rank) VALUES
('hunter', NULL, 'email_validation', 'https://api.hunter.io/v2',
 '{"method": "GET", "url": "{{base_url}}/email-verifier?email={{url.email}}", "needs": ["email"], "limits": {"per_second": 10, "per_minute": 300}, "auth": {"query": "api_key"}}',
 '{"status": "$.data.status", "confidence_percent": "$.data.score", "inconclusive": ["unknown"],
   "fields": {"result": "$.data.result", "disposable": "$.data.disposable", "webmail": "$.data.webmail", "mx_records": "$.data.mx_records"},
   "error_code": "$.errors[0].id", "error_message": "$.errors[0].details"}',
 '{222,403,408,500,502,503,504}', '{200}', '{}', 10),
('hunter_company', 'hunter', 'company_info', 'https://api.hunter.io/v2',
 '{"method": "GET", "url": "{{base_url}}/domain-search?domain={{url.domain}}&limit=1", "needs": ["domain"], "limits": {"per_second": 10, "per_minute": 300}, "auth": {"query": "api_key"}}',
 '{"confidence_fixed": 0.80,
   "fields": {"company_name": "$.data.organization", "country": "$.data.country", "region": "$.data.state", "email_pattern": "$.data.pattern"},
   "error_code": "$.errors[0].id", "error_message": "$.errors[0].details"}',
 '{222,403,408,500,502,503,504}', '{200}', '{}', 20),
('clearbit', NULL, 'company_info', 'https://company.clearbit.com/v2',
 '{"method": "GET", "url": "{{base_url}}/companies/find?domain={{url.domain}}", "needs": ["domain"], "auth": {"basic": true}}',
 '{"confidence_fixed": 0.90,
   "fields": {"company_name": "$.name", "phone": ["$.phone", "$.site.phoneNumbers[0]"], "employees": "$.metrics.employees",
              "industry": ["$.category.industry", "$.category.sector"], "website": {"path": "$.domain", "prefix": "https://"},
              "description": "$.description", "founded_year": "$.foundedYear",
              "street_address": {"path": ["$.geo.streetName"], "before": "$.geo.streetNumber"}, "city": "$.geo.city",
              "postal_code": "$.geo.postalCode", "region": "$.geo.state", "country": "$.geo.country",
              "twitter_handle": "$.twitter.handle", "linkedin_handle": "$.linkedin.handle"},
   "error_code": "$.error.type", "error_message": "$.error.message"}',
 '{408,429,500,502,503,504}', '{200,201,404}', '{}', 10),
('clearbit_linkedin', 'clearbit', 'linkedin', 'https://person.clearbit.com/v2',
 '{"method": "GET", "url": "{{base_url}}/people/find?email={{url.email}}", "needs": ["email"], "auth": {"basic": true}}',
 '{"confidence_fixed": 0.85,
   "fields": {"linkedin_url": {"path": "$.linkedin.handle", "prefix": "https://www.linkedin.com/"}, "job_title": "$.employment.title",
              "seniority": "$.employment.seniority", "company_name": "$.employment.name"},
   "error_code": "$.error.type", "error_message": "$.error.message"}',
 '{408,429,500,502,503,504}', '{200,201,404}', '{}', 10),
('clearbit_twitter', 'clearbit', 'twitter', 'https://person.clearbit.com/v2',
 '{"method": "GET", "url": "{{base_url}}/people/find?email={{url.email}}", "needs": ["email"], "auth": {"basic": true}}',
 '{"confidence_fixed": 0.85, "fields": {"twitter_url": {"path": "$.twitter.handle", "prefix": "https://twitter.com/"}, "followers": "$.twitter.followers"},
   "error_code": "$.error.type", "error_message": "$.error.message"}',
 '{408,429,500,502,503,504}', '{200,201,404}', '{}', 10),
('apollo', NULL, 'linkedin', 'https://api.apollo.io/api/v1',
 '{"method": "POST", "url": "{{base_url}}/people/match?email={{url.email}}&first_name={{url.first_name}}&last_name={{url.last_name}}&domain={{url.domain}}",
   "needs": ["email"], "headers": {"Content-Type": "application/json"}, "auth": {"header": "x-api-key"}, "json": {}}',
 '{"confidence_fixed": 0.80,
   "fields": {"linkedin_url": "$.person.linkedin_url", "job_title": "$.person.title", "seniority": "$.person.seniority",
              "company_name": "$.person.organization.name"},
   "error_code": "$.error_code", "error_message": ["$.error_message", "$.error", "$.message"]}',
 '{408,429,500,502,503,504}', '{200}', '{}', 20),
('apollo_twitter', 'apollo', 'twitter', 'https://api.apollo.io/api/v1',
 '{"method": "POST", "url": "{{base_url}}/people/match?email={{url.email}}&first_name={{url.first_name}}&last_name={{url.last_name}}&domain={{url.domain}}",
   "needs": ["email"], "headers": {"Content-Type": "application/json"}, "auth": {"header": "x-api-key"}, "json": {}}',
 '{"confidence_fixed": 0.80, "fields": {"twitter_url": "$.person.twitter_url"},
   "error_code": "$.error_code", "error_message": ["$.error_message", "$.error", "$.message"]}',
 '{408,429,500,502,503,504}', '{200}', '{}', 20);

-- A look-up of one's own: takes what is known as JSON and answers with columns
-- of prospects by name.  Copy the row under another name and purpose.
INSERT INTO sales.providers (name, purpose, base_url, request, answer, rank, is_active) VALUES
('generic', 'company_info', 'https://lookup.example.com',
 '{"method": "POST", "url": "{{base_url}}/lookup", "headers": {"Content-Type": "application/json"},
   "auth": {"header": "Authorization", "prefix": "Bearer "},
   "json": {"type": "{{type}}", "email": {"$value": "email"}, "domain": {"$value": "domain"}, "company_name": {"$value": "company_name"},
            "first_name": {"$value": "first_name"}, "last_name": {"$value": "last_name"}, "website": {"$value": "website"}}}',
 '{"confidence": "$.confidence", "status": "$.status",
   "fields": {"company_name": "$.company_name", "email": "$.email", "phone": "$.phone", "job_title": "$.job_title", "website": "$.website",
              "linkedin_url": "$.linkedin_url", "twitter_url": "$.twitter_url", "blog_url": "$.blog_url", "employees": "$.employees",
              "industry": "$.industry", "city": "$.city", "country": "$.country"},
   "error_code": ["$.error.code", "$.code"], "error_message": ["$.error.message", "$.error", "$.message"]}',
 100, false);

-- Public tenders of the European Union (Tenders Electronic Daily); no key.
INSERT INTO sales.providers (name, purpose, base_url, request, answer, needs_key, rank) VALUES
('ted', 'tenders', 'https://api.ted.europa.eu/v3',
 '{"method": "POST", "url": "{{base_url}}/notices/search", "limits": {"per_second": 2}, "headers": {"Content-Type": "application/json"},
   "json": {"query": "({{#cpv}}{{^first}} OR {{/first}}classification-cpv={{code}}*{{/cpv}}){{#country}} AND place-of-performance={{country}}{{/country}} AND form-type=competition SORT BY publication-date DESC",
            "fields": ["publication-number", "publication-date", "notice-title", "buyer-name", "classification-cpv", "place-of-performance",
                       "deadline-receipt-tender-date-lot", "links"],
            "scope": "ACTIVE", "paginationMode": "PAGE_NUMBER", "page": 1, "limit": 20}}',
 '{"items": "$.notices[*]",
   "item": {"reference": "$.\"publication-number\"", "published": "$.\"publication-date\"",
            "title": ["$.\"notice-title\".keyvalue() ? (@.key == $lang).value", "$.\"notice-title\".eng", "$.\"notice-title\".*"],
            "buyer": ["$.\"buyer-name\".keyvalue() ? (@.key == $lang).value[0]", "$.\"buyer-name\".*[0]"],
            "cpv": "$.\"classification-cpv\"[0]", "place": "$.\"place-of-performance\"[0]",
            "deadline": "$.\"deadline-receipt-tender-date-lot\"[0]",
            "url": ["$.links.html.keyvalue() ? (@.key == $LANG).value", "$.links.html.ENG", "$.links.html.*"]},
   "error_code": "$.error.type", "error_message": ["$.message", "$.error.message"]}',
 false, 10);

CREATE TRIGGER replace_seed BEFORE INSERT ON sales.providers
    FOR EACH ROW EXECUTE FUNCTION sales_internal.replace_seed('name');
ALTER TABLE sales.providers ENABLE ALWAYS TRIGGER replace_seed;
SELECT sales_internal.dump_table('sales.providers');
GRANT SELECT ON sales.providers TO sales_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON sales.providers TO sales_admin;
