-- Budgets, pace and switches of calls to outside services: what is asked before
-- a call is made, and noted after it.

CREATE OR REPLACE FUNCTION sales_internal.current_month(company uuid) RETURNS date
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT date_trunc('month', sales_internal.now() AT TIME ZONE timezone)::date FROM sales.companies WHERE company_id = company
$$;
COMMENT ON FUNCTION sales_internal.current_month(uuid) IS 'First day of the month in the company''s timezone';
REVOKE ALL ON FUNCTION sales_internal.current_month(uuid) FROM PUBLIC;

-- --- the switch ---

-- Either can stop all calls: the platform for everyone, a company for itself.
CREATE OR REPLACE FUNCTION sales_internal.check_calls_allowed(company uuid) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM sales.system_settings s
               WHERE (s.company_id = company OR s.company_id IS NULL) AND s.category = 'calls' AND s.key_name = 'enabled'
                 AND s.data_type <> 'encrypted' AND lower(btrim(s.value)) IN ('false', 'off', 'no', '0', 'f')) THEN
        RAISE SQLSTATE 'SAW01' USING
            MESSAGE = 'calls to outside services are switched off',
            DETAIL = '{"after": 60, "error": "calls to outside services are switched off (setting calls.enabled)"}',
            HINT = 'The setting calls.enabled of the company or of the platform switches them on.';
    END IF;
END
$$;
COMMENT ON FUNCTION sales_internal.check_calls_allowed(uuid) IS
    'Error SAW01, after which the job waits, while the setting calls.enabled of the company or the platform is off';
REVOKE ALL ON FUNCTION sales_internal.check_calls_allowed(uuid) FROM PUBLIC;

-- --- pace ---

-- limits: {"per_second": n, "per_minute": n, "open": n}, any of them, by key.
-- A service with a pace has its turns booked: who comes too early waits for a
-- turn of its own, once, and nobody has to ask again and again.  Turns are evenly
-- spaced, so that no second and no minute, wherever it begins, has more than its number.
CREATE OR REPLACE FUNCTION sales_internal.pace_call(service text, key_id uuid, limits jsonb DEFAULT NULL) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    known sales_internal.service_pace;
    moment timestamptz := sales_internal.now();
    key uuid := coalesce(key_id, '00000000-0000-0000-0000-000000000000');
    open_limit integer := (limits ->> 'open')::integer;
    spacing double precision := greatest(1 / (limits ->> 'per_second')::double precision,
                                         60 / (limits ->> 'per_minute')::double precision, 0);
BEGIN
    SELECT * INTO known FROM sales_internal.service_pace p WHERE p.service = pace_call.service AND p.api_key_id = key;
    IF known.closed_until > moment THEN
        RAISE SQLSTATE 'SAW01' USING
            MESSAGE = format('%s is not called at the moment', service),
            DETAIL = jsonb_build_object('after', extract(epoch FROM known.closed_until - moment) + random(),
                                        'error', format('%s is left alone for a while: %s', service, known.last_error));
    END IF;
    IF known.failures >= 5 THEN
        -- after a pause, one call a second until one is answered
        spacing := greatest(spacing, 1);
    END IF;
    IF open_limit IS NOT NULL AND sales_internal.open_calls(service, key_id) >= open_limit THEN
        RAISE SQLSTATE 'SAW01' USING
            MESSAGE = format('%s has %s calls open already', service, open_limit),
            DETAIL = jsonb_build_object('service', service, 'key', key, 'spacing', greatest(spacing, 1.0 / open_limit));
    END IF;
    IF spacing = 0 OR (SELECT booked FROM sales_internal.current_job()) THEN
        RETURN;
    END IF;
    INSERT INTO sales_internal.service_pace AS p (service, api_key_id, next_turn)
    VALUES (pace_call.service, key, moment + spacing * interval '1 second')
    ON CONFLICT (service, api_key_id) DO UPDATE
    SET next_turn = excluded.next_turn
    WHERE p.next_turn <= moment;
    IF NOT FOUND THEN
        RAISE SQLSTATE 'SAW01' USING
            MESSAGE = format('%s allows no further call now', service),
            DETAIL = jsonb_build_object('service', service, 'key', key, 'spacing', spacing);
    END IF;
END
$$;
COMMENT ON FUNCTION sales_internal.pace_call(text, uuid, jsonb) IS
    'Error SAW01, after which the job waits, where the service must not be called now: too fast, too many open, or its breaker has tripped';
REVOKE ALL ON FUNCTION sales_internal.pace_call(text, uuid, jsonb) FROM PUBLIC;

-- What SAW01 means for the job; a turn is booked here, after all else was undone.
CREATE OR REPLACE FUNCTION sales_internal.wait_outcome(why jsonb) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    moment timestamptz := sales_internal.now();
    step interval := (why ->> 'spacing')::double precision * interval '1 second';
    turn timestamptz;
BEGIN
    IF NOT why ? 'service' THEN
        RETURN jsonb_build_object('outcome', 'wait', 'after', coalesce((why ->> 'after')::double precision, 5), 'error', why ->> 'error');
    END IF;
    INSERT INTO sales_internal.service_pace AS p (service, api_key_id, next_turn)
    VALUES (why ->> 'service', (why ->> 'key')::uuid, moment + 2 * step)
    ON CONFLICT (service, api_key_id) DO UPDATE SET next_turn = greatest(p.next_turn, moment) + step
    RETURNING next_turn - step INTO turn;
    -- Nobody books further ahead than ten minutes: there is a new look then.
    IF turn > moment + interval '10 minutes' THEN
        UPDATE sales_internal.service_pace p SET next_turn = p.next_turn - step
        WHERE p.service = why ->> 'service' AND p.api_key_id = (why ->> 'key')::uuid;
        RETURN jsonb_build_object('outcome', 'wait', 'after', 540 + 60 * random());
    END IF;
    RETURN jsonb_build_object('outcome', 'wait', 'booked', true, 'after', greatest(extract(epoch FROM turn - moment), 0.01));
END
$$;
COMMENT ON FUNCTION sales_internal.wait_outcome(jsonb) IS 'Outcome of a job that has to wait: until when, and books its turn with the service';
REVOKE ALL ON FUNCTION sales_internal.wait_outcome(jsonb) FROM PUBLIC;

-- What calls told of their services.  Five failures in a row (no answer, 5xx,
-- 429) trip the breaker of that key, for 5 seconds, doubled each time up to 5
-- minutes; what Retry-After asks for is kept in any case.  True while any
-- service is in trouble.
CREATE OR REPLACE FUNCTION sales_internal.note_calls(
    services text[], keys text[], healthy boolean[], retry_after double precision[], errors text[])
RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    moment timestamptz := sales_internal.now();
    call record;
    failed integer;
BEGIN
    FOR call IN
        SELECT CASE WHEN u.key = '' THEN u.service ELSE k.service_name::text END AS service,
               coalesce(nullif(u.key, '')::uuid, '00000000-0000-0000-0000-000000000000') AS key,
               u.ok, u.after, u.error
        FROM unnest(services, keys, healthy, retry_after, errors) WITH ORDINALITY u (service, key, ok, after, error, n)
        LEFT JOIN sales.api_keys k ON k.api_key_id = nullif(u.key, '')::uuid
        WHERE u.key = '' OR k.api_key_id IS NOT NULL
        ORDER BY 1, 2, u.n
    LOOP
        IF call.ok THEN
            UPDATE sales_internal.service_pace p SET failures = 0, closed_until = NULL, last_error = NULL
            FROM sales_internal.service_pace o
            WHERE p.service = call.service AND p.api_key_id = call.key AND p.failures > 0 AND o.service = p.service AND o.api_key_id = p.api_key_id
            RETURNING o.failures INTO failed;
            IF failed >= 5 THEN
                RAISE LOG 'sales_assistant: service "%" answers again (key %)', call.service, call.key;
            END IF;
        ELSE
            INSERT INTO sales_internal.service_pace AS p (service, api_key_id, next_turn, failures, closed_until, last_error)
            VALUES (call.service, call.key, moment, 1,
                    CASE WHEN call.after > 0 THEN moment + call.after * interval '1 second' END, left(call.error, 200))
            ON CONFLICT (service, api_key_id) DO UPDATE
            SET failures = p.failures + 1, last_error = excluded.last_error,
                closed_until = greatest(p.closed_until, excluded.closed_until,
                    CASE WHEN p.failures >= 4 AND coalesce(p.closed_until, '-infinity') <= moment
                         THEN moment + least(300, 5 * 2 ^ least(p.failures - 4, 10)) * interval '1 second' END)
            RETURNING p.failures INTO failed;
            IF failed = 5 THEN
                RAISE LOG 'sales_assistant: service "%" is left alone for a while (key %)', call.service, call.key
                    USING DETAIL = 'Five calls in a row have failed: sales_internal.service_pace.last_error.';
            END IF;
        END IF;
    END LOOP;
    RETURN EXISTS (SELECT FROM sales_internal.service_pace WHERE failures > 0);
END
$$;
COMMENT ON FUNCTION sales_internal.note_calls(text[], text[], boolean[], double precision[], text[]) IS
    'Keeps the breakers of services by what their calls came to; true while any service is in trouble';
REVOKE ALL ON FUNCTION sales_internal.note_calls(text[], text[], boolean[], double precision[], text[]) FROM PUBLIC;

-- --- budgets ---

-- One row lock makes it exact under concurrency: nobody spends what another
-- has reserved, and chk_usage cannot fail after money was spent.  The month never
-- turns back: who began before its end and comes after a call of the next one is
-- counted there.  Returns the month that the call was taken from.
CREATE OR REPLACE FUNCTION sales_internal.reserve_call(company uuid, key_id uuid) RETURNS date
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    month date := sales_internal.current_month(company);
    service_name text;
    limits jsonb;
BEGIN
    SELECT k.service_name INTO service_name FROM sales.api_keys k WHERE k.company_id = company AND k.api_key_id = key_id;
    SELECT p.request -> 'limits' INTO limits FROM sales.providers p
    WHERE coalesce(p.service, p.name) = sales_internal.service_of(service_name) AND p.request ? 'limits' ORDER BY p.rank LIMIT 1;
    PERFORM sales_internal.pace_call(service_name, key_id, limits);
    -- A job is put back where somebody has the key locked: a company that keeps it so shall not hold up the worker.
    IF (sales_internal.current_job()).job_id IS NOT NULL THEN
        PERFORM FROM sales.api_keys WHERE company_id = company AND api_key_id = key_id FOR NO KEY UPDATE NOWAIT;
    END IF;
    UPDATE sales.api_keys
    SET usage_current_month = CASE WHEN usage_month >= month THEN usage_current_month ELSE 0 END + 1, usage_month = greatest(usage_month, month)
    WHERE company_id = company AND api_key_id = key_id
      AND (usage_limit_monthly IS NULL
           OR CASE WHEN usage_month >= month THEN usage_current_month ELSE 0 END < usage_limit_monthly)
    RETURNING usage_month INTO month;
    IF NOT FOUND THEN
        RAISE insufficient_resources USING
            MESSAGE = 'the monthly budget of this API key is used up',
            HINT = 'Raise api_keys.usage_limit_monthly or wait for the next month.';
    END IF;
    RETURN month;
END
$$;
COMMENT ON FUNCTION sales_internal.reserve_call(uuid, uuid) IS
    'Takes one call from the month''s budget of a key before it is made, at the pace that its service allows; error when none is left';
REVOKE ALL ON FUNCTION sales_internal.reserve_call(uuid, uuid) FROM PUBLIC;

-- A call that never reached the service is given back, to the month that it was
-- taken from; when that is over there is nothing to give back to.
CREATE OR REPLACE FUNCTION sales_internal.release_call(company uuid, key_id uuid, month date DEFAULT NULL) RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE sales.api_keys SET usage_current_month = usage_current_month - 1
    WHERE company_id = company AND api_key_id = key_id AND usage_current_month > 0
      AND usage_month = coalesce(month, sales_internal.current_month(company))
$$;
COMMENT ON FUNCTION sales_internal.release_call(uuid, uuid, date) IS 'Gives a reserved call back to its month';
REVOKE ALL ON FUNCTION sales_internal.release_call(uuid, uuid, date) FROM PUBLIC;
