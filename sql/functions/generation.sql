-- Generation: what is known of a prospect, and messages.  With a key for a chat
-- provider the job calls it; without one `local` answers.

-- --- what is known ---

CREATE OR REPLACE FUNCTION sales_internal.fold(value text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT replace(replace(translate(lower(value), 'àâäáãåçéèêëíìîïñóòôöõúùûüýÿ’', 'aaaaaaceeeeiiiinooooouuuuyy'''), 'ß', 'ss'), 'œ', 'oe')
$$;
COMMENT ON FUNCTION sales_internal.fold(text) IS 'Lower case without accents, as lists of words and names are kept';
REVOKE ALL ON FUNCTION sales_internal.fold(text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.country_of(name text) RETURNS sales_internal.countries
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT c FROM sales_internal.countries c
    WHERE c.iso2 = upper(btrim(name)) OR c.iso3 = upper(btrim(name)) OR sales_internal.fold(btrim(name)) = ANY (c.names)
    LIMIT 1
$$;
COMMENT ON FUNCTION sales_internal.country_of(text) IS 'The country of a code or of a name in one of the five languages';
REVOKE ALL ON FUNCTION sales_internal.country_of(text) FROM PUBLIC;

-- Countries of several languages are told apart by their regions and cities.
CREATE OR REPLACE FUNCTION sales_internal.language_of(company uuid, prospect uuid) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
    SELECT coalesce(
        (SELECT CASE
            WHEN k.iso2 = 'BE' AND t.place ~ '\m(wallonie|wallonia|namur|liege|hainaut|charleroi|mons)\M' THEN 'fr'
            WHEN k.iso2 = 'BE' AND t.place ~ '\m(eupen)\M' THEN 'de'
            WHEN k.iso2 = 'CH' AND t.place ~ '\m(geneve|geneva|genf|vaud|waadt|lausanne|neuchatel|neuenburg|jura|fribourg|sion|valais)\M' THEN 'fr'
            WHEN k.iso2 = 'CH' AND t.place ~ '\m(ticino|tessin|lugano|bellinzona|locarno)\M' THEN 'it'
            WHEN k.iso2 = 'CH' AND t.place ~ '\m(zurich|zuerich|bern|basel|luzern|lucerne|st\.? gallen|zug|aargau|winterthur|thurgau|schwyz)\M' THEN 'de'
            WHEN k.iso2 = 'CA' AND t.place ~ '\m(quebec|montreal|laval|gatineau|sherbrooke)\M' THEN 'fr'
            WHEN k.iso2 = 'IT' AND t.place ~ '\m(bozen|bolzano|sudtirol)\M' THEN 'de'
            ELSE k.language END
         FROM sales.addresses a
         CROSS JOIN LATERAL sales_internal.country_of(a.country) k
         CROSS JOIN LATERAL (SELECT sales_internal.fold(concat_ws(' ', a.region, a.city)) AS place) t
         WHERE a.company_id = company AND a.address_id = p.address_id),
        (SELECT k.language FROM sales_internal.countries k
         WHERE k.iso2 = CASE upper(substring(p.email FROM '\.([a-zA-Z]+)$')) WHEN 'UK' THEN 'GB'
                             ELSE upper(substring(p.email FROM '\.([a-zA-Z]+)$')) END
           AND k.iso2 NOT IN ('CA', 'CO', 'IN', 'AD')),
        c.language)
    FROM sales.prospects p JOIN sales.companies c ON c.company_id = p.company_id
    WHERE p.company_id = company AND p.prospect_id = prospect
$$;
COMMENT ON FUNCTION sales_internal.language_of(uuid, uuid) IS
    'Language to write to a prospect in: by country and region, else by e-mail domain, else the company''s';
REVOKE ALL ON FUNCTION sales_internal.language_of(uuid, uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.day_text(day date, language text) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT to_char(day, CASE language WHEN 'en' THEN 'FMDD FMMonth YYYY' WHEN 'de' THEN 'DD.MM.YYYY' ELSE 'DD/MM/YYYY' END) $$;
COMMENT ON FUNCTION sales_internal.day_text(date, text) IS 'A day as it is written in a language';
REVOKE ALL ON FUNCTION sales_internal.day_text(date, text) FROM PUBLIC;

-- The day that a text begins with; services write dates and instants.
CREATE OR REPLACE FUNCTION sales_internal.to_day(value text) RETURNS date
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
BEGIN
    RETURN CASE WHEN value ~ '^\d{4}-\d\d-\d\d' THEN make_date(left(value, 4)::integer, substr(value, 6, 2)::integer, substr(value, 9, 2)::integer) END;
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION sales_internal.to_day(text) IS 'The day of a text YYYY-MM-DD...; null where it is none';
REVOKE ALL ON FUNCTION sales_internal.to_day(text) FROM PUBLIC;

-- Public tenders whose deadline is still to come, soonest first.
CREATE OR REPLACE FUNCTION sales_internal.open_tenders(tenders jsonb) RETURNS TABLE (title text, buyer text, deadline date)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT x.title, x.buyer, x.day
    FROM (SELECT t ->> 'title' AS title, t ->> 'buyer' AS buyer,
                 sales_internal.to_day(t ->> 'deadline') AS day
          FROM jsonb_array_elements(CASE WHEN jsonb_typeof(tenders) = 'array' THEN tenders ELSE '[]' END) t
          WHERE jsonb_typeof(t) = 'object') x
    WHERE x.title <> '' AND x.day >= sales_internal.now()::date
    ORDER BY x.day, x.title
$$;
COMMENT ON FUNCTION sales_internal.open_tenders(jsonb) IS 'Of prospects.tender_opportunities, those that are open';
REVOKE ALL ON FUNCTION sales_internal.open_tenders(jsonb) FROM PUBLIC;

-- Only what is there: an empty name, a product without benefits have no variable,
-- so that templates can leave out what speaks of them.
CREATE OR REPLACE FUNCTION sales_internal.prospect_variables(company uuid, prospect uuid, language text DEFAULT NULL, author uuid DEFAULT NULL)
RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
    SELECT jsonb_strip_nulls(jsonb_build_object(
        'first_name', n.first_name, 'last_name', n.last_name,
        'full_name', CASE WHEN n.first_name IS NOT NULL THEN concat_ws(' ', n.first_name, n.last_name) END,
        'job_title', nullif(btrim(p.job_title), ''), 'company_name', nullif(btrim(p.company_name), ''),
        'pain_points', nullif(rtrim(left(regexp_replace(btrim(p.pain_points), '\s+', ' ', 'g'), 300), ' .;:,!'), ''),
        'website', nullif(btrim(p.website), ''), 'industry', i.name,
        'product', d.name, 'product_name', coalesce(d.name, c.name), 'product_description', nullif(left(btrim(d.description), 1000), ''),
        'benefits', b.benefits, 'benefit', b.benefits -> 0,
        'tender', (SELECT jsonb_build_object('title', left(t.title, 150), 'buyer', t.buyer,
                       'deadline', sales_internal.day_text(t.deadline, coalesce(prospect_variables.language, c.language)))
                   FROM sales_internal.open_tenders(p.tender_opportunities) t LIMIT 1),
        'competitors', (SELECT jsonb_agg(left(x ->> 'name', 100)) FROM (
                            SELECT e AS x FROM jsonb_array_elements(
                                CASE WHEN jsonb_typeof(p.competitive_intel -> 'competitors') = 'array'
                                     THEN p.competitive_intel -> 'competitors' ELSE '[]' END) e
                            WHERE e ->> 'name' <> '' LIMIT 5) k),
        'sender', c.name,
        'signature', concat_ws(E'\n', (SELECT nullif(btrim(concat_ws(' ', u.first_name, u.last_name)), '') FROM sales.users u
                                       WHERE u.company_id = company AND u.user_id = author), c.name)))
    FROM sales.prospects p
    JOIN sales.companies c ON c.company_id = p.company_id
    LEFT JOIN sales.industries i ON i.industry_id = p.industry_id
    CROSS JOIN LATERAL (SELECT nullif(regexp_replace(btrim(p.first_name), '\s+', ' ', 'g'), '') AS first_name,
                               nullif(regexp_replace(btrim(p.last_name), '\s+', ' ', 'g'), '') AS last_name) n
    LEFT JOIN LATERAL (
        SELECT * FROM sales.products d WHERE d.company_id = company AND (d.product_id = p.product_id OR p.product_id IS NULL)
        ORDER BY d.is_active DESC, d.created_at, d.product_id LIMIT 1) d ON true
    LEFT JOIN LATERAL (
        SELECT jsonb_agg(x.benefit ORDER BY x.priority_order, x.benefit_id) AS benefits
        FROM (SELECT rtrim(btrim(f.benefit_text), ' .;,') AS benefit, f.priority_order, f.benefit_id FROM sales.product_benefits f
              WHERE f.company_id = company AND f.product_id = d.product_id AND rtrim(btrim(f.benefit_text), ' .;,') <> ''
              ORDER BY f.priority_order, f.benefit_id LIMIT 3) x) b ON true
    WHERE p.company_id = company AND p.prospect_id = prospect AND p.deleted_at IS NULL
$$;
COMMENT ON FUNCTION sales_internal.prospect_variables(uuid, uuid, text, uuid) IS
    'What templates and prompts can say of a prospect, the product and the author; null when the prospect is gone';
REVOKE ALL ON FUNCTION sales_internal.prospect_variables(uuid, uuid, text, uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.visible_prospect(prospect uuid) RETURNS uuid
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    company uuid := sales_internal.require_company();
BEGIN
    IF NOT EXISTS (SELECT FROM sales.prospects p
                   WHERE p.company_id = company AND p.prospect_id = prospect AND p.deleted_at IS NULL) THEN
        RAISE no_data_found USING MESSAGE = format('there is no prospect %s', coalesce(prospect::text, 'null')), HINT = 'See sales.prospects.';
    END IF;
    RETURN company;
END
$$;
COMMENT ON FUNCTION sales_internal.visible_prospect(uuid) IS
    'The current company, if the prospect is its own and not deleted; else an error';
REVOKE ALL ON FUNCTION sales_internal.visible_prospect(uuid) FROM PUBLIC;

-- --- messages ---

-- What is left of a template whose variables were not there: blanks before a
-- comma, double blanks, runs of empty lines.
CREATE OR REPLACE FUNCTION sales_internal.tidy_text(value text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
    SELECT btrim(regexp_replace(regexp_replace(regexp_replace(value, '[ \t]+(?=,|\n|$)', '', 'g'), '(\S)[ \t]{2,}', '\1 ', 'g'), '\n{3,}', E'\n\n', 'g'), E' \t\n')
$$;
COMMENT ON FUNCTION sales_internal.tidy_text(text) IS 'A rendered text without the gaps that absent variables leave';
REVOKE ALL ON FUNCTION sales_internal.tidy_text(text) FROM PUBLIC;

-- At most this many characters, ended after a whole word.
CREATE OR REPLACE FUNCTION sales_internal.clip(value text, most integer) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
    SELECT CASE WHEN length(value) <= most THEN value
                ELSE rtrim(coalesce(substring(left(value, most - 2) FROM '^(.*)\s'), left(value, most - 3)), E' \t\n,;:') || '...' END
$$;
COMMENT ON FUNCTION sales_internal.clip(text, integer) IS 'The text cut to a length after a whole word, with three dots';
REVOKE ALL ON FUNCTION sales_internal.clip(text, integer) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales.generate_message(
    prospect_id uuid, channel sales.message_channel, template_id uuid DEFAULT NULL, language text DEFAULT NULL)
RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    company uuid := sales_internal.visible_prospect(prospect_id);
    own sales.templates;
BEGIN
    PERFORM sales_internal.require('messages', 'create');
    IF channel IS NULL THEN
        RAISE invalid_parameter_value USING MESSAGE = 'the channel is missing', HINT = 'Channels: email, linkedin, sms.';
    END IF;
    IF language NOT IN ('fr', 'en', 'it', 'es', 'de') THEN
        RAISE invalid_parameter_value USING MESSAGE = format('"%s" is no language of the assistant', language),
            HINT = 'Languages: fr, en, it, es, de; null: the prospect''s.';
    END IF;
    IF template_id IS NOT NULL THEN
        SELECT * INTO own FROM sales.templates t WHERE t.company_id = company AND t.template_id = generate_message.template_id;
        IF NOT FOUND THEN
            RAISE no_data_found USING MESSAGE = format('there is no template %s', template_id), HINT = 'See sales.templates.';
        ELSIF own.channel::text <> channel::text THEN
            RAISE invalid_parameter_value USING MESSAGE = format('the template is for %s, not for %s', own.channel, channel),
                HINT = 'Name a template of that channel, or none.';
        ELSIF own.language <> language THEN
            RAISE invalid_parameter_value USING MESSAGE = format('the template is written in "%s", not in "%s"', own.language, language),
                HINT = 'Name a template of that language, or leave the language out.';
        ELSIF NOT own.is_active THEN
            RAISE object_not_in_prerequisite_state USING MESSAGE = format('the template "%s" is not active', own.name),
                HINT = 'Set templates.is_active, or name another.';
        END IF;
    END IF;
    RETURN sales_internal.enqueue('generate_message', company, jsonb_strip_nulls(jsonb_build_object(
        'prospect_id', prospect_id, 'channel', channel, 'template_id', template_id, 'language', language,
        'author', sales.current_user_id())));
END
$$;
COMMENT ON FUNCTION sales.generate_message(uuid, sales.message_channel, uuid, text) IS
    'Has a message written to a prospect, in its language unless another is given; returns the job';
REVOKE ALL ON FUNCTION sales.generate_message(uuid, sales.message_channel, uuid, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.generate_message(uuid, sales.message_channel, uuid, text) TO sales_app;

CREATE OR REPLACE FUNCTION sales_internal.store_message(
    company uuid, args jsonb, language text, subject text, content text, prompt text)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
    new_message uuid;
    words text := sales_internal.tidy_text(content);
BEGIN
    IF coalesce(words, '') = '' THEN
        RETURN jsonb_build_object('outcome', 'retry', 'error', 'the message came out empty');
    END IF;
    INSERT INTO sales.messages (company_id, prospect_id, channel, subject, content, ai_prompt_used, language, template_id)
    SELECT company, p.prospect_id, (args ->> 'channel')::sales.message_channel,
           CASE WHEN args ->> 'channel' = 'email' THEN
                nullif(sales_internal.clip(sales_internal.tidy_text(regexp_replace(subject, '\s+', ' ', 'g')), 200), '') END,
           CASE args ->> 'channel' WHEN 'sms' THEN sales_internal.clip(words, 160) ELSE words END,
           prompt, store_message.language, (args ->> 'template_id')::uuid
    FROM sales.prospects p
    WHERE p.company_id = company AND p.prospect_id = (args ->> 'prospect_id')::uuid AND p.deleted_at IS NULL
    RETURNING message_id INTO new_message;
    IF new_message IS NULL THEN
        RETURN jsonb_build_object('outcome', 'failed', 'error', 'the prospect is gone');
    END IF;
    RETURN jsonb_build_object('outcome', 'done', 'result', jsonb_build_object('message_id', new_message));
END
$$;
COMMENT ON FUNCTION sales_internal.store_message(uuid, jsonb, text, text, text, text) IS
    'Stores a written message, unapproved; the outcome of its job';
REVOKE ALL ON FUNCTION sales_internal.store_message(uuid, jsonb, text, text, text, text) FROM PUBLIC;

-- The company's own template of the channel and language: the prospect's
-- product's before one of no product; one of another product is none.
CREATE OR REPLACE FUNCTION sales_internal.own_template(company uuid, prospect uuid, channel text, language text) RETURNS sales.templates
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT t FROM sales.templates t
    JOIN sales.prospects p ON p.company_id = company AND p.prospect_id = prospect
    WHERE t.company_id = company AND t.channel::text = own_template.channel AND t.language = own_template.language AND t.is_active
      AND (t.product_id IS NULL OR t.product_id = p.product_id)
    ORDER BY t.product_id IS NULL, t.created_at, t.template_id LIMIT 1
$$;
COMMENT ON FUNCTION sales_internal.own_template(uuid, uuid, text, text) IS 'The company''s template that fits a message best, if any';
REVOKE ALL ON FUNCTION sales_internal.own_template(uuid, uuid, text, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.local_message(company uuid, args jsonb, language text, variables jsonb) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    shipped sales_internal.local_texts;
    words text;
BEGIN
    SELECT * INTO shipped FROM sales_internal.local_texts l WHERE l.language = local_message.language AND l.purpose = args ->> 'channel';
    words := sales.render_template(shipped.body, variables);
    IF args ->> 'channel' = 'sms' AND length(words) > 160 THEN
        words := sales.render_template((SELECT l.body FROM sales_internal.local_texts l
                                        WHERE l.language = local_message.language AND l.purpose = 'sms_short'), variables);
    END IF;
    RETURN sales_internal.store_message(company, args, language,
        sales.render_template(coalesce(shipped.subject, ''), variables), words,
        format('local: shipped text, %s, %s', language, args ->> 'channel'));
END
$$;
COMMENT ON FUNCTION sales_internal.local_message(uuid, jsonb, text, jsonb) IS 'Writes a message with a shipped text; the outcome of its job';
REVOKE ALL ON FUNCTION sales_internal.local_message(uuid, jsonb, text, jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.prepare_message(job uuid, company uuid, args jsonb) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    prospect uuid := (args ->> 'prospect_id')::uuid;
    wanted text := coalesce(args ->> 'language', sales_internal.language_of(company, prospect));
    variables jsonb := sales_internal.prospect_variables(company, prospect, wanted, (args ->> 'author')::uuid);
    chosen record;
    own sales.templates;
    subject text;
    words text;
BEGIN
    IF variables IS NULL THEN
        RETURN jsonb_build_object('outcome', 'failed', 'error', 'the prospect is gone');
    END IF;
    IF args ? 'template_id' THEN
        SELECT * INTO own FROM sales.templates t
        WHERE t.company_id = company AND t.template_id = (args ->> 'template_id')::uuid;
        IF NOT FOUND THEN
            RETURN jsonb_build_object('outcome', 'failed', 'error', 'the template is gone');
        END IF;
    ELSE
        SELECT * INTO chosen FROM sales_internal.choose_provider(company, 'chat');
        IF FOUND THEN
            RETURN sales_internal.chat_request(job, company, chosen.provider, chosen.api_key_id,
                format('You write a short, polite, first sales %s to a prospect, in the language "%s". It says what the product can do for the '
                       'prospect''s company, promises nothing that the data do not say, asks for fifteen minutes, and ends with the signature. '
                       'Leave no blanks to fill in.%s The JSON object has the keys "subject" and "content".',
                       CASE args ->> 'channel' WHEN 'sms' THEN 'text message' WHEN 'linkedin' THEN 'LinkedIn message' ELSE 'e-mail' END, wanted,
                       CASE args ->> 'channel' WHEN 'sms' THEN ' "content" has at most 160 characters.'
                                               WHEN 'linkedin' THEN ' "content" has at most 300 characters.' ELSE '' END),
                variables, sales_internal.answer_schema('{"subject": {"type": "string"}, "content": {"type": "string"}}'));
        END IF;
        own := sales_internal.own_template(company, prospect, args ->> 'channel', wanted);
    END IF;
    IF own.template_id IS NULL THEN
        RETURN sales_internal.local_message(company, args, wanted, variables);
    END IF;
    variables := CASE WHEN jsonb_typeof(own.variables) = 'object' THEN own.variables ELSE '{}' END
                 || sales_internal.prospect_variables(company, prospect, own.language, (args ->> 'author')::uuid);
    BEGIN
        subject := sales.render_template(coalesce(own.subject_template, ''), variables);
        words := sales.render_template(own.content_template, variables);
    EXCEPTION WHEN invalid_parameter_value OR program_limit_exceeded THEN
        -- a template that is no Mustache stays so: no repeat
        RETURN jsonb_build_object('outcome', 'failed', 'error', format('template "%s": %s', own.name, SQLERRM));
    END;
    RETURN sales_internal.store_message(company, args || jsonb_build_object('template_id', own.template_id), own.language,
        subject, words, format('local: template "%s"', own.name));
END
$$;
COMMENT ON FUNCTION sales_internal.prepare_message(uuid, uuid, jsonb) IS
    'Job generate_message: the chat request, or the message itself by a template or the provider local';
REVOKE ALL ON FUNCTION sales_internal.prepare_message(uuid, uuid, jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.settle_message(job uuid, company uuid, args jsonb, response jsonb) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
    read jsonb := sales_internal.chat_answer(job, company, 'message', response);
    words text := read #>> '{answer,content}';
    subject text := read #>> '{answer,subject}';
BEGIN
    IF read ? 'trouble' THEN
        RETURN read -> 'trouble';
    END IF;
    IF words ~ '\{\{|\[(your|votre|ihr|il suo|su|nom|name|nome|nombre)\M' OR (args ->> 'channel' = 'email' AND coalesce(btrim(subject), '') = '') THEN
        RETURN jsonb_build_object('outcome', 'retry', 'cost', read -> 'cost',
            'error', format('%s: the message lacks its subject or has blanks to fill in', response ->> 'provider'));
    END IF;
    RETURN sales_internal.store_message(company, args,
        coalesce(args ->> 'language', sales_internal.language_of(company, (args ->> 'prospect_id')::uuid)),
        subject, words, read ->> 'prompt') || jsonb_build_object('cost', read -> 'cost');
END
$$;
COMMENT ON FUNCTION sales_internal.settle_message(uuid, uuid, jsonb, jsonb) IS
    'Job generate_message: stores what the chat provider wrote';
REVOKE ALL ON FUNCTION sales_internal.settle_message(uuid, uuid, jsonb, jsonb) FROM PUBLIC;

-- --- approval ---

CREATE OR REPLACE FUNCTION sales.approve_message(message_id uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    company uuid := sales_internal.require_company();
BEGIN
    PERFORM sales_internal.require('messages', 'approve');
    UPDATE sales.messages m
    SET is_approved = true, approved_by = sales.current_user_id(), approved_at = sales_internal.now()
    WHERE m.company_id = company AND m.message_id = approve_message.message_id AND m.deleted_at IS NULL
      AND NOT m.is_approved;
    IF NOT FOUND AND NOT EXISTS (SELECT FROM sales.messages m WHERE m.company_id = company
                                 AND m.message_id = approve_message.message_id AND m.deleted_at IS NULL) THEN
        RAISE no_data_found USING MESSAGE = format('there is no message %s', coalesce(message_id::text, 'null')), HINT = 'See sales.messages.';
    END IF;
END
$$;
COMMENT ON FUNCTION sales.approve_message(uuid) IS
    'Approves a message, which lets it be sent; needs permission approve on messages';
REVOKE ALL ON FUNCTION sales.approve_message(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.approve_message(uuid) TO sales_app;

-- Approval needs the permission, names who gave it, and ends when the text changes.
CREATE OR REPLACE FUNCTION sales_internal.guard_approval() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    in_tenant boolean := sales_internal.acting_company() IS NOT NULL;
BEGIN
    IF sales_internal.restoring() THEN
        RETURN NEW;
    END IF;
    IF NEW.language IS NULL THEN
        SELECT c.language INTO NEW.language FROM sales.companies c WHERE c.company_id = NEW.company_id;
    END IF;
    IF TG_OP = 'UPDATE' AND OLD.is_approved AND NEW.is_approved THEN
        IF (NEW.content, NEW.subject, NEW.channel, NEW.prospect_id) IS DISTINCT FROM
           (OLD.content, OLD.subject, OLD.channel, OLD.prospect_id) THEN
            NEW.is_approved := false;
        ELSIF in_tenant THEN
            NEW.approved_by := OLD.approved_by;
            NEW.approved_at := OLD.approved_at;
        END IF;
    ELSIF NEW.is_approved AND in_tenant THEN
        IF NOT sales.has_permission('messages', 'approve') THEN
            RAISE insufficient_privilege USING MESSAGE = 'permission to approve messages is missing',
                HINT = 'The user''s role must allow "approve" on "messages".';
        END IF;
        NEW.approved_by := sales.current_user_id();
        NEW.approved_at := sales_internal.now();
    ELSIF NEW.is_approved THEN
        NEW.approved_at := coalesce(NEW.approved_at, sales_internal.now());
    END IF;
    IF NOT NEW.is_approved THEN
        NEW.approved_by := NULL;
        NEW.approved_at := NULL;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION sales_internal.guard_approval() IS
    'Trigger: only who may approve sets is_approved, and a changed text is unapproved again; the language is the company''s where none is given';
REVOKE ALL ON FUNCTION sales_internal.guard_approval() FROM PUBLIC;
CREATE OR REPLACE TRIGGER guard_approval BEFORE INSERT OR UPDATE ON sales.messages
    FOR EACH ROW EXECUTE FUNCTION sales_internal.guard_approval();

DO $$
BEGIN
    INSERT INTO sales_internal.job_kinds (kind, mode, prepare_function, settle_function) VALUES
        ('generate_message', 'http', 'sales_internal.prepare_message', 'sales_internal.settle_message')
    ON CONFLICT (kind) DO NOTHING;
END
$$;
