-- Generation: the next action for a prospect, and suggestions for the company.

CREATE OR REPLACE FUNCTION sales.suggest_next_action(prospect_id uuid) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM sales_internal.require('conversion_funnel', 'update');
    RETURN sales_internal.enqueue('suggest_next_action', sales_internal.visible_prospect(prospect_id),
        jsonb_build_object('prospect_id', prospect_id), prospect_id::text);
END
$$;
COMMENT ON FUNCTION sales.suggest_next_action(uuid) IS
    'Has the next action for a prospect suggested, into conversion_funnel.next_action; returns the job';
REVOKE ALL ON FUNCTION sales.suggest_next_action(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.suggest_next_action(uuid) TO sales_app;

CREATE OR REPLACE FUNCTION sales_internal.store_next_action(company uuid, prospect uuid, action text, provider text) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
    words text := sales_internal.clip(btrim(regexp_replace(action, '\s+', ' ', 'g')), 200);
BEGIN
    IF coalesce(words, '') = '' THEN
        RETURN jsonb_build_object('outcome', 'retry', 'error', format('%s: the answer names no action', provider));
    END IF;
    UPDATE sales.conversion_funnel f SET next_action = words
    WHERE f.company_id = company AND f.funnel_id = (
        SELECT g.funnel_id FROM sales.conversion_funnel g
        WHERE g.company_id = company AND g.prospect_id = prospect
        ORDER BY g.stage_entered_at DESC, g.funnel_id DESC LIMIT 1);
    -- a prospect that has not entered a stage yet has it in the job's result
    RETURN jsonb_build_object('outcome', 'done', 'result', jsonb_build_object('next_action', words, 'provider', provider, 'noted', FOUND));
END
$$;
COMMENT ON FUNCTION sales_internal.store_next_action(uuid, uuid, text, text) IS 'Notes the next action on the current stage; the outcome of its job';
REVOKE ALL ON FUNCTION sales_internal.store_next_action(uuid, uuid, text, text) FROM PUBLIC;

-- What has happened with a prospect, as rules and prompts look at it.
CREATE OR REPLACE FUNCTION sales_internal.prospect_history(company uuid, prospect uuid,
    OUT stage sales.funnel_stage, OUT last_at timestamptz, OUT last_type sales.interaction_type, OUT last_channel sales.interaction_channel,
    OUT last_answered boolean, OUT last_sentiment sales.sentiment, OUT unanswered bigint, OUT reachable boolean)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT f.stage, i.interaction_date, i.type, i.channel, i.response_received OR sales_internal.answer_of(i.seen) IS NOT NULL, i.response_sentiment,
           (SELECT count(*) FROM sales.interactions x
            WHERE x.company_id = company AND x.prospect_id = prospect AND x.type = 'sent' AND NOT x.response_received AND x.response_content IS NULL
              AND x.interaction_date > coalesce((SELECT max(y.interaction_date) FROM sales.interactions y
                  WHERE y.company_id = company AND y.prospect_id = prospect AND (y.response_received OR y.response_content IS NOT NULL OR y.type <> 'sent')), '-infinity')),
           coalesce(nullif(btrim(p.email), ''), nullif(btrim(p.phone), ''), nullif(btrim(p.linkedin_url), '')) IS NOT NULL
    FROM sales.prospects p
    LEFT JOIN LATERAL (SELECT g.stage FROM sales.conversion_funnel g WHERE g.company_id = company AND g.prospect_id = prospect
                       ORDER BY g.stage_entered_at DESC, g.funnel_id DESC LIMIT 1) f ON true
    LEFT JOIN LATERAL (SELECT x.*, x AS seen FROM sales.interactions x WHERE x.company_id = company AND x.prospect_id = prospect
                       ORDER BY x.interaction_date DESC, x.interaction_id DESC LIMIT 1) i ON true
    WHERE p.company_id = company AND p.prospect_id = prospect
$$;
COMMENT ON FUNCTION sales_internal.prospect_history(uuid, uuid) IS 'Stage, last contact, tone, messages without an answer of a prospect';
REVOKE ALL ON FUNCTION sales_internal.prospect_history(uuid, uuid) FROM PUBLIC;

-- The rule that fits first; else what one usually does in the stage.
CREATE OR REPLACE FUNCTION sales_internal.local_next_action(company uuid, prospect uuid) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    home sales.companies := (SELECT c FROM sales.companies c WHERE c.company_id = company);
    seen record := sales_internal.prospect_history(company, prospect);
    who sales.prospects := (SELECT p FROM sales.prospects p WHERE p.company_id = company AND p.prospect_id = prospect);
    tender record;
    rule text;
BEGIN
    SELECT * INTO tender FROM sales_internal.open_tenders(who.tender_opportunities) t LIMIT 1;
    rule := CASE
        WHEN seen.stage IN ('client', 'perdu') THEN NULL
        WHEN NOT seen.reachable THEN 'action_contact'
        WHEN seen.last_type = 'meeting_held' THEN 'action_meeting'
        WHEN seen.last_answered AND seen.last_sentiment = 'positive' AND coalesce(seen.stage, 'nouveau') IN ('nouveau', 'contacte', 'interesse')
            THEN 'action_positive'
        WHEN seen.last_answered AND seen.last_sentiment = 'negative' THEN 'action_objection'
        WHEN seen.last_answered THEN 'action_reply'
        WHEN seen.unanswered >= 3 THEN 'action_channel'
        WHEN tender.title IS NOT NULL AND tender.deadline <= sales_internal.now()::date + 45 THEN 'action_tender'
        WHEN seen.unanswered > 0 AND seen.last_at < sales_internal.now() - interval '3 days' THEN 'action_followup' END;
    IF rule IS NULL THEN
        RETURN sales_internal.next_action_text(coalesce(seen.stage, 'nouveau'), home.language);
    END IF;
    RETURN sales.render_template((SELECT l.body FROM sales_internal.local_texts l WHERE l.language = home.language AND l.purpose = rule),
        jsonb_strip_nulls(jsonb_build_object(
            'name', nullif(left(btrim(concat_ws(' ', who.first_name, who.last_name)), 60), ''),
            'date', sales_internal.day_text((seen.last_at AT TIME ZONE home.timezone)::date, home.language),
            'n', seen.unanswered, 'title', left(tender.title, 100),
            'deadline', sales_internal.day_text(tender.deadline, home.language),
            'other', (SELECT l.body FROM sales_internal.local_texts l WHERE l.language = home.language AND l.purpose = 'channel_' || CASE
                WHEN seen.last_channel <> 'phone' AND who.phone <> '' THEN 'phone'
                WHEN seen.last_channel <> 'linkedin' AND who.linkedin_url <> '' THEN 'linkedin'
                WHEN seen.last_channel <> 'email' AND who.email <> '' THEN 'email'
                WHEN seen.last_channel = 'linkedin' THEN 'email' ELSE 'linkedin' END))));
END
$$;
COMMENT ON FUNCTION sales_internal.local_next_action(uuid, uuid) IS
    'Next action by rule, in the company''s language: after an answer, a meeting, silence, with a tender near, else by stage';
REVOKE ALL ON FUNCTION sales_internal.local_next_action(uuid, uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.prepare_next_action(job uuid, company uuid, args jsonb) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    prospect uuid := (args ->> 'prospect_id')::uuid;
    variables jsonb := sales_internal.prospect_variables(company, prospect);
    chosen record;
BEGIN
    IF variables IS NULL THEN
        RETURN jsonb_build_object('outcome', 'failed', 'error', 'the prospect is gone');
    END IF;
    SELECT * INTO chosen FROM sales_internal.choose_provider(company, 'chat');
    IF FOUND THEN
        RETURN sales_internal.chat_request(job, company, chosen.provider, chosen.api_key_id,
            format('You advise a salesperson on the one next action for a prospect, in the language "%s". The JSON object has the key "next_action", at most 200 characters.',
                   (SELECT c.language FROM sales.companies c WHERE c.company_id = company)),
            variables || jsonb_build_object('today', sales_internal.now()::date, 'history', to_jsonb(sales_internal.prospect_history(company, prospect)),
                'last_answers', (SELECT coalesce(jsonb_agg(left(a.answer, 1000)), '[]') FROM (
                    SELECT sales_internal.answer_of(i) AS answer FROM sales.interactions i
                    WHERE i.company_id = company AND i.prospect_id = prospect AND sales_internal.answer_of(i) IS NOT NULL
                    ORDER BY i.interaction_date DESC LIMIT 3) a)),
            sales_internal.answer_schema('{"next_action": {"type": "string"}}'));
    END IF;
    RETURN sales_internal.store_next_action(company, prospect, sales_internal.local_next_action(company, prospect), 'local');
END
$$;
COMMENT ON FUNCTION sales_internal.prepare_next_action(uuid, uuid, jsonb) IS
    'Job suggest_next_action: the chat request, or the action by rule';
REVOKE ALL ON FUNCTION sales_internal.prepare_next_action(uuid, uuid, jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.settle_next_action(job uuid, company uuid, args jsonb, response jsonb) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    read jsonb := sales_internal.chat_answer(job, company, 'next_action', response);
BEGIN
    IF read ? 'trouble' THEN
        RETURN read -> 'trouble';
    END IF;
    RETURN sales_internal.store_next_action(company, (args ->> 'prospect_id')::uuid, read #>> '{answer,next_action}', response ->> 'provider')
        || jsonb_build_object('cost', read -> 'cost');
END
$$;
COMMENT ON FUNCTION sales_internal.settle_next_action(uuid, uuid, jsonb, jsonb) IS
    'Job suggest_next_action: notes what the chat provider advises';
REVOKE ALL ON FUNCTION sales_internal.settle_next_action(uuid, uuid, jsonb, jsonb) FROM PUBLIC;

-- --- suggestions ---

CREATE OR REPLACE FUNCTION sales.suggest_improvements() RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM sales_internal.require('improvement_suggestions', 'create');
    RETURN sales_internal.enqueue('suggest_improvements', sales_internal.require_company(), '{}', 'one');
END
$$;
COMMENT ON FUNCTION sales.suggest_improvements() IS
    'Has the last months looked through for what works better, into improvement_suggestions; returns the job';
REVOKE ALL ON FUNCTION sales.suggest_improvements() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.suggest_improvements() TO sales_app;

-- Each group against all others of its kind: answers by channel, half of the day
-- and template in 90 days, wins by sector in a year.
CREATE OR REPLACE FUNCTION sales_internal.performance_groups(company uuid)
RETURNS TABLE (kind text, value text, days integer, n bigint, hits bigint, other_n bigint, other_hits bigint, p double precision)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH sent AS (
        SELECT i.channel::text AS channel, i.response_received AS answered, t.name AS template,
               CASE WHEN extract(hour FROM i.interaction_date AT TIME ZONE c.timezone) < 12 THEN 'morning' ELSE 'afternoon' END AS half
        FROM sales.interactions i
        JOIN sales.companies c ON c.company_id = i.company_id
        LEFT JOIN sales.messages m ON m.company_id = i.company_id AND m.message_id = i.message_id
        LEFT JOIN sales.templates t ON t.company_id = m.company_id AND t.template_id = m.template_id
        WHERE i.company_id = company AND i.type = 'sent' AND i.interaction_date >= sales_internal.now() - interval '90 days'
    ), decided AS (
        SELECT d.name AS industry, f.stage = 'client' AS won
        FROM sales.prospects p
        JOIN sales.industries d ON d.industry_id = p.industry_id
        CROSS JOIN LATERAL (SELECT g.stage, g.stage_entered_at FROM sales.conversion_funnel g
                            WHERE g.company_id = company AND g.prospect_id = p.prospect_id
                            ORDER BY g.stage_entered_at DESC, g.funnel_id DESC LIMIT 1) f
        WHERE p.company_id = company AND f.stage IN ('client', 'perdu') AND f.stage_entered_at >= sales_internal.now() - interval '365 days'
    ), grouped AS (
        SELECT 'channel_mix' AS kind, channel AS value, 90 AS days, count(*) AS n, count(*) FILTER (WHERE answered) AS hits FROM sent GROUP BY channel
        UNION ALL
        SELECT 'timing_adjustment', half, 90, count(*), count(*) FILTER (WHERE answered) FROM sent GROUP BY half
        UNION ALL
        SELECT 'template_optimization', template, 90, count(*), count(*) FILTER (WHERE answered) FROM sent WHERE template IS NOT NULL GROUP BY template
        UNION ALL
        SELECT 'target_refinement', industry, 365, count(*), count(*) FILTER (WHERE won) FROM decided GROUP BY industry
    ), compared AS (
        SELECT g.kind, g.value, g.days, g.n, g.hits, (sum(g.n) OVER k - g.n)::bigint AS other_n, (sum(g.hits) OVER k - g.hits)::bigint AS other_hits
        FROM grouped g WINDOW k AS (PARTITION BY g.kind)
    )
    SELECT c.kind, c.value, c.days, c.n, c.hits, c.other_n, c.other_hits,
           CASE WHEN c.other_n > 0 THEN sales_internal.proportions_p(c.other_hits, c.other_n, c.hits, c.n) END
    FROM compared c
$$;
COMMENT ON FUNCTION sales_internal.performance_groups(uuid) IS
    'Answers and wins of each channel, half of the day, template and sector, against the rest, with the p-value of the difference';
REVOKE ALL ON FUNCTION sales_internal.performance_groups(uuid) FROM PUBLIC;

-- By calculation: where a group does better by more than chance, do more of it.
-- The level is shared among the comparisons of a kind (Bonferroni).
CREATE OR REPLACE FUNCTION sales_internal.local_improvements(company uuid) RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    made integer := 0;
    better record;
    said record;
    home_language text := (SELECT c.language FROM sales.companies c WHERE c.company_id = company);
    variables jsonb;
BEGIN
    FOR better IN
        SELECT g.*, round(100.0 * g.hits / g.n, 1) AS rate, round(100.0 * g.other_hits / g.other_n, 1) AS other_rate
        FROM (SELECT *, count(*) OVER (PARTITION BY kind) AS tried FROM sales_internal.performance_groups(company)
              WHERE n >= 20 AND other_n >= 20) g
        WHERE g.hits::numeric / g.n > g.other_hits::numeric / g.other_n AND g.p * g.tried < 0.05
        ORDER BY g.p, g.kind, g.value
    LOOP
        variables := jsonb_build_object('rate', better.rate, 'other_rate', better.other_rate, 'gain', better.rate - better.other_rate,
            'days', better.days, 'n', better.n, 'hits', better.hits, 'other_n', better.other_n, 'other_hits', better.other_hits,
            'p', round(better.p::numeric, 4), 'value', coalesce(
                (SELECT l.body FROM sales_internal.local_texts l
                 WHERE better.kind = 'channel_mix' AND l.language = home_language AND l.purpose = 'channel_' || better.value), better.value));
        SELECT sales.render_template(t.subject, variables) AS change, sales.render_template(t.body, variables) AS effect,
               (SELECT sales.render_template(r.body, variables) FROM sales_internal.local_texts r
                WHERE r.language = home_language AND r.purpose = 'improve_reason') AS reason INTO said
        FROM sales_internal.local_texts t
        WHERE t.language = home_language
          AND t.purpose = 'improve_' || CASE better.kind WHEN 'timing_adjustment' THEN better.value ELSE better.kind END;
        -- One open suggestion for each finding; its figures follow the data.
        UPDATE sales.improvement_suggestions s
        SET current_performance = s.current_performance || (to_jsonb(better) - 'tried'), suggested_change = said.change,
            expected_improvement = left(said.effect, 100), ai_reasoning = said.reason,
            confidence_score = least(0.99, round((1 - better.p)::numeric, 2))
        WHERE s.company_id = company AND s.status = 'pending' AND s.suggestion_type = better.kind::sales.suggestion_type
          AND s.current_performance @> jsonb_build_object('source', 'local', 'value', better.value);
        CONTINUE WHEN FOUND OR EXISTS (
            SELECT FROM sales.improvement_suggestions s
            WHERE s.company_id = company AND s.suggestion_type = better.kind::sales.suggestion_type AND s.status <> 'pending'
              AND s.created_at > sales_internal.now() - interval '90 days'
              AND s.current_performance @> jsonb_build_object('source', 'local', 'value', better.value));
        INSERT INTO sales.improvement_suggestions
            (company_id, suggestion_type, current_performance, suggested_change, expected_improvement, confidence_score, ai_reasoning)
        VALUES (company, better.kind::sales.suggestion_type, (to_jsonb(better) - 'tried') || '{"source": "local"}',
                said.change, left(said.effect, 100), least(0.99, round((1 - better.p)::numeric, 2)), said.reason);
        made := made + 1;
    END LOOP;
    RETURN made;
END
$$;
COMMENT ON FUNCTION sales_internal.local_improvements(uuid) IS
    'Notes channels, times, templates and sectors that do better by more than chance; returns how many are new';
REVOKE ALL ON FUNCTION sales_internal.local_improvements(uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.prepare_improvements(job uuid, company uuid, args jsonb) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    made integer := sales_internal.local_improvements(company);
    figures jsonb;
    chosen record;
BEGIN
    SELECT jsonb_agg(to_jsonb(g)) INTO figures FROM sales_internal.performance_groups(company) g;
    SELECT * INTO chosen FROM sales_internal.choose_provider(company, 'chat');
    -- A service is asked where there is something to judge; it gets no person's data.
    IF NOT FOUND OR figures IS NULL THEN
        RETURN jsonb_build_object('outcome', 'done', 'result', jsonb_build_object('suggestions', made, 'provider', 'local'));
    END IF;
    RETURN sales_internal.chat_request(job, company, chosen.provider, chosen.api_key_id,
        format('You advise a sales team on what to change, in the language "%s", from its own figures alone: n messages or deals of a group with so many hits, '
               'against the others of its kind, and the p-value of the difference. Suggest at most three changes that the figures support and no others; none is a good answer. '
               'The JSON object has the key "suggestions", an array of objects with "type" (template_optimization, timing_adjustment, '
               'target_refinement or channel_mix), "change" (one sentence), "expected" (at most 100 characters), "confidence" (0 to 1), "reasoning".',
               (SELECT c.language FROM sales.companies c WHERE c.company_id = company)),
        jsonb_build_object('figures', figures, 'known', (
            SELECT coalesce(jsonb_agg(s.suggested_change), '[]') FROM sales.improvement_suggestions s
            WHERE s.company_id = company AND s.created_at > sales_internal.now() - interval '90 days')),
        sales_internal.answer_schema(jsonb_build_object('suggestions', jsonb_build_object('type', 'array', 'items', sales_internal.answer_schema(
            '{"type": {"type": "string", "enum": ["template_optimization", "timing_adjustment", "target_refinement", "channel_mix"]},
              "change": {"type": "string"}, "expected": {"type": "string"}, "confidence": {"type": "number"}, "reasoning": {"type": "string"}}')))));
END
$$;
COMMENT ON FUNCTION sales_internal.prepare_improvements(uuid, uuid, jsonb) IS
    'Job suggest_improvements: notes what calculation finds, then asks a chat provider, if there is one, about the same figures';
REVOKE ALL ON FUNCTION sales_internal.prepare_improvements(uuid, uuid, jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.settle_improvements(job uuid, company uuid, args jsonb, response jsonb) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    read jsonb := sales_internal.chat_answer(job, company, 'improvement', response);
    made integer;
BEGIN
    IF read ? 'trouble' THEN
        RETURN read -> 'trouble';
    END IF;
    INSERT INTO sales.improvement_suggestions
        (company_id, suggestion_type, current_performance, suggested_change, expected_improvement, confidence_score, ai_reasoning)
    SELECT company, (s ->> 'type')::sales.suggestion_type, jsonb_build_object('source', response ->> 'provider'),
           left(btrim(s ->> 'change'), 1000), sales_internal.clip(btrim(s ->> 'expected'), 100),
           round(coalesce(sales_internal.to_number(s ->> 'confidence', 0, 1), 0.5), 2), left(btrim(s ->> 'reasoning'), 4000)
    FROM (SELECT s FROM jsonb_array_elements(CASE WHEN jsonb_typeof(read #> '{answer,suggestions}') = 'array'
                                                  THEN read #> '{answer,suggestions}' ELSE '[]' END) s
          WHERE s ->> 'type' = ANY (enum_range(NULL::sales.suggestion_type)::text[]) AND btrim(s ->> 'change') <> '' LIMIT 3) x
    WHERE NOT EXISTS (SELECT FROM sales.improvement_suggestions o
                      WHERE o.company_id = company AND o.status = 'pending' AND o.suggested_change = btrim(s ->> 'change'));
    GET DIAGNOSTICS made = ROW_COUNT;
    RETURN jsonb_build_object('outcome', 'done', 'cost', read -> 'cost',
        'result', jsonb_build_object('suggestions', made, 'provider', response ->> 'provider'));
END
$$;
COMMENT ON FUNCTION sales_internal.settle_improvements(uuid, uuid, jsonb, jsonb) IS
    'Job suggest_improvements: notes what the chat provider suggests';
REVOKE ALL ON FUNCTION sales_internal.settle_improvements(uuid, uuid, jsonb, jsonb) FROM PUBLIC;

DO $$
BEGIN
    INSERT INTO sales_internal.job_kinds (kind, mode, prepare_function, settle_function) VALUES
        ('suggest_next_action', 'http', 'sales_internal.prepare_next_action', 'sales_internal.settle_next_action'),
        ('suggest_improvements', 'http', 'sales_internal.prepare_improvements', 'sales_internal.settle_improvements')
    ON CONFLICT (kind) DO NOTHING;
END
$$;
