-- Generation: the tone of answers, by a chat provider or by lexicon.

CREATE OR REPLACE FUNCTION sales_internal.local_sentiment(answer text, likely_language text)
RETURNS TABLE (sentiment sales.sentiment, score integer)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
    WITH words AS MATERIALIZED (
        -- the answer alone, not what it quotes; 400 words tell enough
        SELECT row_number() OVER (ORDER BY n) AS n, word, regexp_replace(word, '^[a-z]''', '') AS stem
        FROM regexp_split_to_table(regexp_replace(sales_internal.fold(left(answer, 20000)), '(^|\n)\s*(>|-----).*', '', 'g'),
                                   '[^[:alnum:]'']+') WITH ORDINALITY w (word, n)
        WHERE word ~ '[[:alnum:]]' ORDER BY 1 LIMIT 400
    ), line AS (
        SELECT coalesce(' ' || string_agg(word, ' ' ORDER BY n) || ' ', ' ') AS text FROM words
    ), known AS MATERIALIZED (
        SELECT w.n, l.language, l.kind, l.weight
        FROM words w JOIN sales_internal.lexicon l ON l.word = w.word
        UNION ALL
        SELECT w.n, l.language, l.kind, l.weight
        FROM words w JOIN sales_internal.lexicon l ON l.word = w.stem WHERE w.stem <> w.word
    ), phrases AS MATERIALIZED (
        SELECT l.language, l.word, l.weight
        FROM sales_internal.lexicon l CROSS JOIN line
        WHERE l.word LIKE '% %' AND position(' ' || l.word || ' ' IN line.text) > 0
    ), languages AS (
        -- of the language that most of its words are of
        SELECT x.language FROM (
            SELECT language, count(*) AS hits FROM known GROUP BY language
            UNION ALL SELECT language, 2 * count(*) FROM phrases GROUP BY language
            UNION ALL SELECT likely_language, 1) x
        WHERE x.language IS NOT NULL
        GROUP BY x.language ORDER BY sum(x.hits) DESC, x.language LIMIT 1
    ), negations AS (
        SELECT k.n FROM known k JOIN languages USING (language) WHERE k.kind = 'negation'
    ), judged AS (
        -- A negation turns good words within three after it round, in German also
        -- within three before it, in French "ne ... pas" around it; it takes the edge
        -- off mildly bad ones.
        SELECT CASE WHEN NOT near.negated THEN k.weight WHEN k.weight > 0 THEN -k.weight WHEN k.weight = -1 THEN 0 ELSE k.weight END AS weight
        FROM known k JOIN languages USING (language)
        CROSS JOIN LATERAL (SELECT EXISTS (
            SELECT FROM negations x
            WHERE x.n BETWEEN k.n - 3 AND k.n - 1 OR (k.language = 'de' AND x.n BETWEEN k.n + 1 AND k.n + 3)
               OR (k.language = 'fr' AND x.n = k.n + 1
                   AND EXISTS (SELECT FROM words w WHERE w.n BETWEEN k.n - 3 AND k.n AND (w.word = 'ne' OR w.word LIKE 'n''%'))))) near (negated)
        WHERE k.kind = 'tone'
    ), total AS (
        SELECT coalesce((SELECT sum(weight) FROM judged), 0)
             + coalesce((SELECT sum(p.weight) FROM phrases p JOIN languages USING (language)), 0)
             -- "No, ..." at the start, where no phrase says what it means
             - CASE WHEN EXISTS (SELECT FROM negations WHERE n = 1) AND NOT EXISTS (SELECT FROM phrases p JOIN languages USING (language))
                    THEN 2 ELSE 0 END AS score
    )
    SELECT (CASE WHEN t.score >= 2 THEN 'positive' WHEN t.score <= -1 THEN 'negative' ELSE 'neutral' END)::sales.sentiment,
           t.score::integer
    FROM total t
$$;
COMMENT ON FUNCTION sales_internal.local_sentiment(text, text) IS
    'Tone of an answer by lexicon, negations turned round; fr, en, it, es, de';
REVOKE ALL ON FUNCTION sales_internal.local_sentiment(text, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales.analyze_sentiment(interaction_id uuid) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    company uuid := sales_internal.require_company();
BEGIN
    PERFORM sales_internal.require('interactions', 'update');
    IF NOT EXISTS (SELECT FROM sales.interactions i
                   WHERE i.company_id = company AND i.interaction_id = analyze_sentiment.interaction_id) THEN
        RAISE no_data_found USING MESSAGE = format('there is no interaction %s', coalesce(interaction_id::text, 'null')),
            HINT = 'See sales.interactions.';
    END IF;
    RETURN sales_internal.enqueue('analyze_sentiment', company,
        jsonb_build_object('interaction_id', interaction_id), interaction_id::text);
END
$$;
COMMENT ON FUNCTION sales.analyze_sentiment(uuid) IS
    'Has the tone of an interaction''s answer judged; returns the job. Answers are queued by themselves as they are recorded';
REVOKE ALL ON FUNCTION sales.analyze_sentiment(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.analyze_sentiment(uuid) TO sales_app;

-- What the prospect said: the answer, or the text of what was received.
CREATE OR REPLACE FUNCTION sales_internal.answer_of(seen sales.interactions) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT nullif(btrim(coalesce((seen).response_content, CASE WHEN (seen).type = 'received' THEN (seen).content END)), '') $$;
COMMENT ON FUNCTION sales_internal.answer_of(sales.interactions) IS 'The prospect''s own words in an interaction; null where there are none';
REVOKE ALL ON FUNCTION sales_internal.answer_of(sales.interactions) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.prepare_sentiment(job uuid, company uuid, args jsonb) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    seen sales.interactions;
    answer text;
    chosen record;
    judged record;
BEGIN
    SELECT * INTO seen FROM sales.interactions i
    WHERE i.company_id = company AND i.interaction_id = (args ->> 'interaction_id')::uuid;
    answer := sales_internal.answer_of(seen);
    IF answer IS NULL THEN
        RETURN jsonb_build_object('outcome', 'failed', 'error', 'the interaction has no answer to judge');
    END IF;
    SELECT * INTO chosen FROM sales_internal.choose_provider(company, 'chat');
    IF FOUND THEN
        -- The answer may be changed while it is judged; see settle_sentiment().
        UPDATE sales_internal.jobs j SET args = j.args || jsonb_build_object('judged', md5(answer)) WHERE j.job_id = job;
        RETURN sales_internal.chat_request(job, company, chosen.provider, chosen.api_key_id,
            'You judge the tone of a prospect''s answer to a sales message: is it positive towards going on, neutral (such as an absence '
            'notice or a mere receipt), or negative? The JSON object has the key "sentiment": "positive", "neutral" or "negative".',
            jsonb_build_object('answer', left(answer, 8000)),
            sales_internal.answer_schema('{"sentiment": {"type": "string", "enum": ["positive", "neutral", "negative"]}}'));
    END IF;
    SELECT * INTO judged FROM sales_internal.local_sentiment(answer, sales_internal.language_of(company, seen.prospect_id));
    UPDATE sales.interactions i SET response_sentiment = judged.sentiment
    WHERE i.company_id = company AND i.interaction_id = seen.interaction_id AND i.interaction_date = seen.interaction_date;
    RETURN jsonb_build_object('outcome', 'done', 'result',
        jsonb_build_object('sentiment', judged.sentiment, 'provider', 'local'));
END
$$;
COMMENT ON FUNCTION sales_internal.prepare_sentiment(uuid, uuid, jsonb) IS
    'Job analyze_sentiment: the chat request, or the judgement of the provider local';
REVOKE ALL ON FUNCTION sales_internal.prepare_sentiment(uuid, uuid, jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.settle_sentiment(job uuid, company uuid, args jsonb, response jsonb) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    read jsonb := sales_internal.chat_answer(job, company, 'sentiment', response);
    found_tone text := lower(btrim(read #>> '{answer,sentiment}'));
    judged text := (SELECT j.args ->> 'judged' FROM sales_internal.jobs j WHERE j.job_id = job);
    seen sales.interactions;
BEGIN
    IF read ? 'trouble' THEN
        RETURN read -> 'trouble';
    END IF;
    IF found_tone IS NULL OR found_tone NOT IN ('positive', 'neutral', 'negative') THEN
        RETURN jsonb_build_object('outcome', 'retry', 'cost', read -> 'cost',
            'error', format('%s: "%s" is no tone', response ->> 'provider', left(coalesce(found_tone, ''), 50)));
    END IF;
    SELECT * INTO seen FROM sales.interactions i
    WHERE i.company_id = company AND i.interaction_id = (args ->> 'interaction_id')::uuid FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'failed', 'cost', read -> 'cost', 'error', 'the interaction is gone');
    ELSIF md5(sales_internal.answer_of(seen)) IS DISTINCT FROM judged THEN
        RETURN jsonb_build_object('outcome', 'retry', 'after', 0, 'cost', read -> 'cost', 'error', 'the answer was changed while it was judged');
    END IF;
    UPDATE sales.interactions i SET response_sentiment = found_tone::sales.sentiment
    WHERE i.company_id = company AND i.interaction_id = seen.interaction_id AND i.interaction_date = seen.interaction_date;
    RETURN jsonb_build_object('outcome', 'done', 'cost', read -> 'cost', 'result',
        jsonb_build_object('sentiment', found_tone, 'provider', response ->> 'provider'));
END
$$;
COMMENT ON FUNCTION sales_internal.settle_sentiment(uuid, uuid, jsonb, jsonb) IS
    'Job analyze_sentiment: stores the chat provider''s judgement';
REVOKE ALL ON FUNCTION sales_internal.settle_sentiment(uuid, uuid, jsonb, jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.queue_sentiment() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- answer_of(NEW), spelt out: on a shard (docs/citus.md) NEW is of another type
    IF NOT sales_internal.restoring()
       AND nullif(btrim(coalesce(NEW.response_content, CASE WHEN NEW.type = 'received' THEN NEW.content END)), '') IS NOT NULL THEN
        PERFORM sales_internal.enqueue('analyze_sentiment', NEW.company_id,
            jsonb_build_object('interaction_id', NEW.interaction_id), NEW.interaction_id::text, priority => -1);
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION sales_internal.queue_sentiment() IS 'Trigger: an answer that is recorded is queued for analyze_sentiment';
REVOKE ALL ON FUNCTION sales_internal.queue_sentiment() FROM PUBLIC;

DO $$
BEGIN
    INSERT INTO sales_internal.job_kinds (kind, mode, prepare_function, settle_function) VALUES
        ('analyze_sentiment', 'http', 'sales_internal.prepare_sentiment', 'sales_internal.settle_sentiment')
    ON CONFLICT (kind) DO NOTHING;
END
$$;

-- A tone that the writer gives stands; a changed text is judged anew.
CREATE OR REPLACE TRIGGER queue_sentiment_insert AFTER INSERT ON sales.interactions FOR EACH ROW
    WHEN (NEW.response_sentiment IS NULL AND (NEW.response_content IS NOT NULL OR (NEW.type = 'received' AND NEW.content IS NOT NULL)))
    EXECUTE FUNCTION sales_internal.queue_sentiment();
CREATE OR REPLACE TRIGGER queue_sentiment_update AFTER UPDATE ON sales.interactions FOR EACH ROW
    WHEN (NEW.response_sentiment IS NOT DISTINCT FROM OLD.response_sentiment
          AND (NEW.response_content IS DISTINCT FROM OLD.response_content
               OR (NEW.type = 'received' AND (NEW.content IS DISTINCT FROM OLD.content OR OLD.type <> 'received'))))
    EXECUTE FUNCTION sales_internal.queue_sentiment();
