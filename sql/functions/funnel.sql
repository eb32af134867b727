-- Funnel: stages, their durations, and prospects.status in step with them.

CREATE OR REPLACE FUNCTION sales_internal.stage_status(stage sales.funnel_stage) RETURNS sales.prospect_status
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT (CASE stage
        WHEN 'nouveau' THEN 'nouveau' WHEN 'contacte' THEN 'contacte'
        WHEN 'interesse' THEN 'interesse' WHEN 'demo_programmee' THEN 'interesse'
        WHEN 'proposition_envoyee' THEN 'negocie' WHEN 'negociation' THEN 'negocie'
        WHEN 'client' THEN 'client' WHEN 'perdu' THEN 'perdu' END)::sales.prospect_status
$$;
COMMENT ON FUNCTION sales_internal.stage_status(sales.funnel_stage) IS 'The prospect''s status that goes with a stage';
REVOKE ALL ON FUNCTION sales_internal.stage_status(sales.funnel_stage) FROM PUBLIC;

-- a_contacter has no stage: whoever is to be contacted has not been reached yet.
-- negocie enters negociation, since proposition_envoyee would count a proposal
-- that nobody has sent.
CREATE OR REPLACE FUNCTION sales_internal.status_stage(status sales.prospect_status) RETURNS sales.funnel_stage
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT (CASE status
        WHEN 'nouveau' THEN 'nouveau' WHEN 'contacte' THEN 'contacte' WHEN 'interesse' THEN 'interesse'
        WHEN 'negocie' THEN 'negociation' WHEN 'client' THEN 'client' WHEN 'perdu' THEN 'perdu' END)::sales.funnel_stage
$$;
COMMENT ON FUNCTION sales_internal.status_stage(sales.prospect_status) IS
    'The stage that a status set by hand enters; null for a_contacter';
REVOKE ALL ON FUNCTION sales_internal.status_stage(sales.prospect_status) FROM PUBLIC;

-- Win rates of other sellers' pipelines, worth as much as this many deals of one's own.
CREATE OR REPLACE FUNCTION sales_internal.stage_prior(stage sales.funnel_stage) RETURNS numeric
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE stage WHEN 'nouveau' THEN 0.05 WHEN 'contacte' THEN 0.10 WHEN 'interesse' THEN 0.20
        WHEN 'demo_programmee' THEN 0.35 WHEN 'proposition_envoyee' THEN 0.45 WHEN 'negociation' THEN 0.60
        WHEN 'client' THEN 1 WHEN 'perdu' THEN 0 END
$$;
COMMENT ON FUNCTION sales_internal.stage_prior(sales.funnel_stage) IS
    'Chance of a win from a stage, where a company has no history';
REVOKE ALL ON FUNCTION sales_internal.stage_prior(sales.funnel_stage) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.stage_chance(stage sales.funnel_stage, deals bigint, share numeric)
RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN stage IN ('client', 'perdu') THEN sales_internal.stage_prior(stage)
        ELSE (coalesce(deals * share, 0) + 5 * sales_internal.stage_prior(stage)) / (coalesce(deals, 0) + 5) END
$$;
COMMENT ON FUNCTION sales_internal.stage_chance(sales.funnel_stage, bigint, numeric) IS
    'Share of deals that are won, drawn towards the prior, which weighs as much as 5 deals';
REVOKE ALL ON FUNCTION sales_internal.stage_chance(sales.funnel_stage, bigint, numeric) FROM PUBLIC;

-- How a company's deals went on from a stage: all (from_hours 0), those that
-- stayed as long as a quarter, a half ... of those that left it did, and those
-- that stayed longer than any of these.  src/funnel/outlook.c says how, and what
-- open deals count for.  A prospect that passed a stage more than once counts
-- with its last entry.
-- `deals` is how many the share rests on: the decided ones, and open ones that
-- have waited longer than three in four of the decided (90 days where none is).
-- `leaves` is the share of deals that leave the stage at all and `pace` the mean
-- hours after which they do, each drawn towards what is usual (70 %, 30 days)
-- with the weight of 4 deals.
CREATE OR REPLACE FUNCTION sales_internal.stage_outlook(company uuid, only_stage sales.funnel_stage DEFAULT NULL)
RETURNS TABLE (stage sales.funnel_stage, from_hours float8, deals bigint, share numeric, leaves float8, pace float8)
    AS 'MODULE_PATHNAME', 'sales_stage_outlook'
    LANGUAGE C STABLE ROWS 24;
COMMENT ON FUNCTION sales_internal.stage_outlook(uuid, sales.funnel_stage) IS
    'Of deals that were in a stage for at least so many hours, the share that is won in the end, open ones reckoned with';
REVOKE ALL ON FUNCTION sales_internal.stage_outlook(uuid, sales.funnel_stage) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.refresh_stage_odds(company uuid) RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
    WITH fresh AS MATERIALIZED (
        SELECT s.stage, coalesce(o.deals, 0) AS deals, coalesce(round(o.share, 6), 0) AS share
        FROM unnest(enum_range(NULL::sales.funnel_stage)) AS s (stage)
        LEFT JOIN sales_internal.stage_outlook(company) o ON o.stage = s.stage AND o.from_hours = 0
        WHERE EXISTS (SELECT FROM sales.companies c WHERE c.company_id = company)
    )
    INSERT INTO sales_internal.stage_odds AS o (company_id, stage, deals, share)
    SELECT company, stage, deals, share FROM fresh
    ON CONFLICT (company_id, stage) DO UPDATE SET deals = excluded.deals, share = excluded.share
    WHERE (o.deals, o.share) IS DISTINCT FROM (excluded.deals, excluded.share)
$$;
COMMENT ON FUNCTION sales_internal.refresh_stage_odds(uuid) IS 'Computes anew how a company''s deals go on from each stage';
REVOKE ALL ON FUNCTION sales_internal.refresh_stage_odds(uuid) FROM PUBLIC;

-- The odds take a look at all of a company's stages, so they are computed once in
-- ten minutes at most, however often stages are entered.
CREATE OR REPLACE FUNCTION sales_internal.refresh_stale_odds(only_companies uuid[] DEFAULT NULL) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    company uuid;
BEGIN
    FOR company IN
        SELECT s.company_id FROM sales_internal.metric_state s
        WHERE s.odds_stale AND (s.company_id = ANY (only_companies) OR only_companies IS NULL)
          AND NOT coalesce(s.odds_at BETWEEN sales_internal.now() - interval '10 minutes' AND sales_internal.now(), false)
        ORDER BY s.company_id FOR NO KEY UPDATE SKIP LOCKED
    LOOP
        PERFORM sales_internal.refresh_stage_odds(company);
        UPDATE sales_internal.metric_state s SET odds_stale = false, odds_at = sales_internal.now()
        WHERE s.company_id = company;
    END LOOP;
END
$$;
COMMENT ON FUNCTION sales_internal.refresh_stale_odds(uuid[]) IS
    'Computes stage_odds anew where stages changed and the last time was ten minutes ago';
REVOKE ALL ON FUNCTION sales_internal.refresh_stale_odds(uuid[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.next_action_text(stage sales.funnel_stage, language text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE coalesce(language, 'en')
        WHEN 'fr' THEN CASE stage
            WHEN 'nouveau' THEN 'Envoyer un premier message personnalisé' WHEN 'contacte' THEN 'Relancer dans 3 jours sans réponse'
            WHEN 'interesse' THEN 'Proposer une démonstration' WHEN 'demo_programmee' THEN 'Préparer la démonstration et confirmer le rendez-vous'
            WHEN 'proposition_envoyee' THEN 'Appeler pour répondre aux questions sur la proposition' WHEN 'negociation' THEN 'Lever les dernières objections et fixer une date de signature'
            WHEN 'client' THEN 'Lancer l''accueil du client et demander une recommandation' ELSE 'Noter la raison et reprendre contact dans 6 mois' END
        WHEN 'it' THEN CASE stage
            WHEN 'nouveau' THEN 'Inviare un primo messaggio personalizzato' WHEN 'contacte' THEN 'Sollecitare dopo 3 giorni senza risposta'
            WHEN 'interesse' THEN 'Proporre una dimostrazione' WHEN 'demo_programmee' THEN 'Preparare la dimostrazione e confermare l''appuntamento'
            WHEN 'proposition_envoyee' THEN 'Chiamare per rispondere alle domande sulla proposta' WHEN 'negociation' THEN 'Risolvere le ultime obiezioni e fissare la firma'
            WHEN 'client' THEN 'Avviare l''inserimento del cliente e chiedere una referenza' ELSE 'Annotare il motivo e ricontattare tra 6 mesi' END
        WHEN 'es' THEN CASE stage
            WHEN 'nouveau' THEN 'Enviar un primer mensaje personalizado' WHEN 'contacte' THEN 'Insistir a los 3 días sin respuesta'
            WHEN 'interesse' THEN 'Proponer una demostración' WHEN 'demo_programmee' THEN 'Preparar la demostración y confirmar la cita'
            WHEN 'proposition_envoyee' THEN 'Llamar para resolver dudas sobre la propuesta' WHEN 'negociation' THEN 'Resolver las últimas objeciones y fijar la firma'
            WHEN 'client' THEN 'Iniciar la acogida del cliente y pedir una referencia' ELSE 'Anotar el motivo y volver a contactar en 6 meses' END
        WHEN 'de' THEN CASE stage
            WHEN 'nouveau' THEN 'Erste persönliche Nachricht senden' WHEN 'contacte' THEN 'Nach 3 Tagen ohne Antwort nachfassen'
            WHEN 'interesse' THEN 'Eine Vorführung anbieten' WHEN 'demo_programmee' THEN 'Vorführung vorbereiten und Termin bestätigen'
            WHEN 'proposition_envoyee' THEN 'Anrufen und Fragen zum Angebot klären' WHEN 'negociation' THEN 'Letzte Einwände klären und Termin für die Unterschrift festlegen'
            WHEN 'client' THEN 'Einführung des Kunden beginnen und um Empfehlung bitten' ELSE 'Grund notieren und in 6 Monaten erneut melden' END
        ELSE CASE stage
            WHEN 'nouveau' THEN 'Send a first personal message' WHEN 'contacte' THEN 'Follow up after 3 days without an answer'
            WHEN 'interesse' THEN 'Offer a demonstration' WHEN 'demo_programmee' THEN 'Prepare the demonstration and confirm the appointment'
            WHEN 'proposition_envoyee' THEN 'Call to answer questions on the proposal' WHEN 'negociation' THEN 'Settle the last objections and set a date to sign'
            WHEN 'client' THEN 'Start onboarding and ask for a referral' ELSE 'Note the reason and get in touch again in 6 months' END
    END
$$;
COMMENT ON FUNCTION sales_internal.next_action_text(sales.funnel_stage, text) IS
    'The usual next action in a stage, in the company''s language; suggest_next_action() knows better';
REVOKE ALL ON FUNCTION sales_internal.next_action_text(sales.funnel_stage, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.stage_defaults(
    company uuid, stage sales.funnel_stage, OUT probability numeric, OUT next_action text)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT round(sales_internal.stage_chance(stage_defaults.stage, o.deals, o.share), 2),
           sales_internal.next_action_text(stage_defaults.stage, c.language)
    FROM sales.companies c
    LEFT JOIN sales_internal.stage_odds o ON o.company_id = c.company_id AND o.stage = stage_defaults.stage
    WHERE c.company_id = company
$$;
COMMENT ON FUNCTION sales_internal.stage_defaults(uuid, sales.funnel_stage) IS
    'Probability and next action of an entry into a stage, where the writer gives none';
REVOKE ALL ON FUNCTION sales_internal.stage_defaults(uuid, sales.funnel_stage) FROM PUBLIC;

-- BEFORE INSERT: what the writer left open.
CREATE OR REPLACE FUNCTION sales_internal.funnel_defaults() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF sales_internal.restoring() THEN
        RETURN NEW;
    END IF;
    IF NEW.created_by IS NULL AND NEW.company_id = sales.current_company_id() THEN
        NEW.created_by := sales.current_user_id();
    END IF;
    IF NEW.conversion_probability IS NULL OR NEW.next_action IS NULL THEN
        SELECT coalesce(NEW.conversion_probability, d.probability), coalesce(NEW.next_action, d.next_action)
        INTO NEW.conversion_probability, NEW.next_action
        FROM sales_internal.stage_defaults(NEW.company_id, NEW.stage) AS d;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION sales_internal.funnel_defaults() IS
    'Trigger: user, probability and next action of a stage entry, where the writer gave none';
REVOKE ALL ON FUNCTION sales_internal.funnel_defaults() FROM PUBLIC;
CREATE OR REPLACE TRIGGER funnel_defaults BEFORE INSERT ON sales.conversion_funnel
    FOR EACH ROW EXECUTE FUNCTION sales_internal.funnel_defaults();

CREATE OR REPLACE FUNCTION sales_internal.refuse_stale_funnel(companies uuid[], prospects uuid[]) RETURNS void
    AS 'MODULE_PATHNAME', 'sales_refuse_stale_funnel'
    LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION sales_internal.refuse_stale_funnel(uuid[], uuid[]) IS
    'Serialization failure where an old snapshot hides entries of these prospects, which are locked; nothing under READ COMMITTED';
REVOKE ALL ON FUNCTION sales_internal.refuse_stale_funnel(uuid[], uuid[]) FROM PUBLIC;

-- AFTER each statement: durations and prospects.status follow the entries.
-- The prospects are locked first, so that two who enter stages of one prospect
-- at once are put in order and the second sees the first's entry, or fails
-- where its snapshot is older than that (REPEATABLE READ and SERIALIZABLE).
-- `changed` are the entries that were added or moved, `lost` (by prospect) the
-- last moment at which an entry was taken away: the status follows where one
-- of these is or was the current stage.  An entry that is merely put into the
-- past leaves the status alone, a_contacter set by hand included.
CREATE OR REPLACE FUNCTION sales_internal.funnel_sync_prospects(
    companies uuid[], prospects uuid[], changed uuid[], lost_prospects uuid[], lost timestamptz[])
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
BEGIN
    PERFORM FROM sales.prospects p
    WHERE p.prospect_id = ANY (prospects) AND p.company_id = ANY (companies)
    ORDER BY p.prospect_id FOR NO KEY UPDATE;
    PERFORM sales_internal.refuse_stale_funnel(companies, prospects);

    UPDATE sales.conversion_funnel f SET stage_duration_hours = d.hours
    FROM (SELECT funnel_id,
                 round(extract(epoch FROM lead(stage_entered_at)
                     OVER (PARTITION BY prospect_id ORDER BY stage_entered_at, funnel_id)
                     - stage_entered_at) / 3600)::integer AS hours
          FROM sales.conversion_funnel
          WHERE prospect_id = ANY (prospects) AND company_id = ANY (companies)
            AND isfinite(stage_entered_at)) AS d
    WHERE f.funnel_id = d.funnel_id AND f.prospect_id = ANY (prospects) AND f.company_id = ANY (companies)
      AND f.stage_duration_hours IS DISTINCT FROM d.hours;

    UPDATE sales.prospects p SET status = sales_internal.stage_status(l.stage)
    FROM (SELECT DISTINCT ON (prospect_id) prospect_id, stage, stage_entered_at, funnel_id
          FROM sales.conversion_funnel
          WHERE prospect_id = ANY (prospects) AND company_id = ANY (companies)
          ORDER BY prospect_id, stage_entered_at DESC, funnel_id DESC) AS l
    LEFT JOIN (SELECT u.prospect, max(u.at) AS at FROM unnest(lost_prospects, lost) AS u (prospect, at)
               GROUP BY u.prospect) AS g ON g.prospect = l.prospect_id
    WHERE p.prospect_id = l.prospect_id AND p.company_id = ANY (companies)
      AND p.status <> sales_internal.stage_status(l.stage)
      AND (l.funnel_id IN (SELECT unnest(changed))
           OR l.stage_entered_at <= g.at);
END
$$;
COMMENT ON FUNCTION sales_internal.funnel_sync_prospects(uuid[], uuid[], uuid[], uuid[], timestamptz[]) IS
    'Sets durations and status of prospects after their stages';
REVOKE ALL ON FUNCTION sales_internal.funnel_sync_prospects(uuid[], uuid[], uuid[], uuid[], timestamptz[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.funnel_sync() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    companies uuid[];
    prospects uuid[];
    changed uuid[];
    lost_prospects uuid[];
    lost timestamptz[];
BEGIN
    IF sales_internal.restoring() THEN
        RETURN NULL;
    END IF;
    IF TG_OP = 'INSERT' THEN
        SELECT array_agg(DISTINCT company_id), array_agg(DISTINCT prospect_id), array_agg(funnel_id)
        INTO companies, prospects, changed FROM added;
    ELSIF TG_OP = 'DELETE' THEN
        SELECT array_agg(DISTINCT company_id), array_agg(DISTINCT prospect_id), array_agg(prospect_id), array_agg(stage_entered_at)
        INTO companies, prospects, lost_prospects, lost FROM removed;
    ELSE
        -- Only entries that moved; a new duration or value moves nothing.
        SELECT array_agg(DISTINCT x.company_id), array_agg(DISTINCT x.prospect_id),
               array_agg(x.funnel_id) FILTER (WHERE x.is_new),
               array_agg(x.prospect_id) FILTER (WHERE NOT x.is_new), array_agg(x.stage_entered_at) FILTER (WHERE NOT x.is_new)
        INTO companies, prospects, changed, lost_prospects, lost
        FROM (SELECT *, true AS is_new
              FROM (SELECT funnel_id, company_id, prospect_id, stage, stage_entered_at FROM added
                    EXCEPT SELECT funnel_id, company_id, prospect_id, stage, stage_entered_at FROM removed) AS n
              UNION ALL
              SELECT *, false
              FROM (SELECT funnel_id, company_id, prospect_id, stage, stage_entered_at FROM removed
                    EXCEPT SELECT funnel_id, company_id, prospect_id, stage, stage_entered_at FROM added) AS o) AS x;
    END IF;
    IF prospects IS NOT NULL THEN
        PERFORM sales_internal.funnel_sync_prospects(companies, prospects, changed, lost_prospects, lost);
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION sales_internal.funnel_sync() IS
    'Trigger: durations of stages and status of prospects after stages were entered, changed or removed';
REVOKE ALL ON FUNCTION sales_internal.funnel_sync() FROM PUBLIC;
CREATE OR REPLACE TRIGGER funnel_sync_insert AFTER INSERT ON sales.conversion_funnel
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION sales_internal.funnel_sync();
CREATE OR REPLACE TRIGGER funnel_sync_update AFTER UPDATE ON sales.conversion_funnel
    REFERENCING OLD TABLE AS removed NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION sales_internal.funnel_sync();
CREATE OR REPLACE TRIGGER funnel_sync_delete AFTER DELETE ON sales.conversion_funnel
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION sales_internal.funnel_sync();

-- The moment of an entry made now.  Transactions that began earlier may commit
-- later, and one transaction may move a prospect twice: an entry is always put
-- behind the one that it follows.
CREATE OR REPLACE FUNCTION sales_internal.next_entry_at(latest timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN isfinite(latest) AND latest >= sales_internal.now() THEN latest + interval '1 microsecond'
                ELSE sales_internal.now() END
$$;
COMMENT ON FUNCTION sales_internal.next_entry_at(timestamptz) IS
    'Now, or just after the prospect''s latest entry where that is not past';
REVOKE ALL ON FUNCTION sales_internal.next_entry_at(timestamptz) FROM PUBLIC;

-- The other direction: statuses set by hand enter their stages, all of a
-- statement at once.  Plans must not depend on how small the table was when
-- the session first planned them, hence no sequential scans.
CREATE OR REPLACE FUNCTION sales_internal.enter_status_stages(companies uuid[], prospects uuid[]) RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
    WITH entering AS MATERIALIZED (
        SELECT p.company_id, p.prospect_id, sales_internal.status_stage(p.status) AS stage, l.stage_entered_at AS after
        FROM unnest(companies, prospects) AS n (company_id, prospect_id)
        JOIN sales.prospects p USING (company_id, prospect_id)
        LEFT JOIN LATERAL (
            SELECT f.stage, f.stage_entered_at FROM sales.conversion_funnel f
            WHERE f.company_id = p.company_id AND f.prospect_id = p.prospect_id
            ORDER BY f.stage_entered_at DESC, f.funnel_id DESC LIMIT 1) l ON true
        WHERE p.status <> 'a_contacter'
          AND sales_internal.stage_status(l.stage) IS DISTINCT FROM p.status
    ), defaults AS MATERIALIZED (
        SELECT k.company_id, k.stage, d.* FROM (SELECT DISTINCT company_id, stage FROM entering) AS k
        CROSS JOIN LATERAL sales_internal.stage_defaults(k.company_id, k.stage) AS d
    )
    INSERT INTO sales.conversion_funnel
        (company_id, prospect_id, stage, stage_entered_at, conversion_probability, next_action)
    SELECT e.company_id, e.prospect_id, e.stage, sales_internal.next_entry_at(e.after), d.probability, d.next_action
    FROM entering e JOIN defaults d USING (company_id, stage)
$$;
COMMENT ON FUNCTION sales_internal.enter_status_stages(uuid[], uuid[]) IS
    'Enters the stages of prospects whose status was changed, unless they are in one that maps to it';
REVOKE ALL ON FUNCTION sales_internal.enter_status_stages(uuid[], uuid[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.note_status() RETURNS trigger
    AS 'MODULE_PATHNAME', 'sales_note_status'
    LANGUAGE C;
COMMENT ON FUNCTION sales_internal.note_status() IS
    'Trigger: notes a prospect whose status was changed, for enter_statuses()';
REVOKE ALL ON FUNCTION sales_internal.note_status() FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.enter_statuses() RETURNS trigger
    AS 'MODULE_PATHNAME', 'sales_enter_statuses'
    LANGUAGE C;
COMMENT ON FUNCTION sales_internal.enter_statuses() IS
    'Trigger: prospects whose status the statement changed enter the stages that go with it';
REVOKE ALL ON FUNCTION sales_internal.enter_statuses() FROM PUBLIC;

CREATE OR REPLACE TRIGGER funnel_status AFTER UPDATE ON sales.prospects
    FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status)
    EXECUTE FUNCTION sales_internal.note_status();
CREATE OR REPLACE TRIGGER funnel_statuses AFTER UPDATE ON sales.prospects
    FOR EACH STATEMENT EXECUTE FUNCTION sales_internal.enter_statuses();

CREATE OR REPLACE FUNCTION sales.enter_stage(
    prospect_id uuid, stage text, deal_value numeric DEFAULT NULL, loss_reason text DEFAULT NULL)
RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    company uuid := sales_internal.require_company();
    person uuid := enter_stage.prospect_id;
    target sales.funnel_stage;
    current_entry sales.conversion_funnel;
    entry uuid;
BEGIN
    PERFORM sales_internal.require('conversion_funnel', 'create');
    IF enter_stage.stage IS NULL
       OR enter_stage.stage <> ALL (enum_range(NULL::sales.funnel_stage)::text[]) THEN
        RAISE EXCEPTION 'there is no stage "%"', left(enter_stage.stage, 100)
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = format('Stages are %s.', array_to_string(enum_range(NULL::sales.funnel_stage), ', '));
    END IF;
    target := enter_stage.stage::sales.funnel_stage;
    IF enter_stage.deal_value < 0 OR enter_stage.deal_value = 'NaN' OR round(enter_stage.deal_value, 2) > 99999999.99 THEN
        RAISE EXCEPTION 'a deal cannot be worth %', enter_stage.deal_value
            USING ERRCODE = 'numeric_value_out_of_range', HINT = 'Give deal_value from 0 to 99999999.99.';
    END IF;
    IF enter_stage.loss_reason IS NOT NULL AND target <> 'perdu' THEN
        RAISE EXCEPTION 'a reason of loss goes with the stage "perdu" only'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave loss_reason out, or enter the stage "perdu".';
    END IF;
    IF length(enter_stage.loss_reason) > 100 THEN
        RAISE EXCEPTION 'a reason of loss has at most 100 characters'
            USING ERRCODE = 'string_data_right_truncation', HINT = 'Keep loss_reason short and the details in prospects.notes.';
    END IF;

    -- Whoever moves a prospect waits for whoever moves it already.
    PERFORM FROM sales.prospects p
    WHERE p.company_id = company AND p.prospect_id = person AND p.deleted_at IS NULL
    FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no prospect %', person
            USING ERRCODE = 'no_data_found', HINT = 'Give the prospect_id of one of your company''s prospects.';
    END IF;

    SELECT f.* INTO current_entry FROM sales.conversion_funnel f
    WHERE f.company_id = company AND f.prospect_id = person
    ORDER BY f.stage_entered_at DESC, f.funnel_id DESC LIMIT 1;
    IF current_entry.stage = target THEN
        -- Already there: a call made twice must not count a deal twice.
        IF num_nonnulls(enter_stage.deal_value, enter_stage.loss_reason) > 0 THEN
            UPDATE sales.conversion_funnel f
            SET deal_value = coalesce(enter_stage.deal_value, f.deal_value),
                loss_reason = coalesce(enter_stage.loss_reason, f.loss_reason)
            WHERE f.company_id = company AND f.funnel_id = current_entry.funnel_id;
        END IF;
        RETURN current_entry.funnel_id;
    END IF;

    INSERT INTO sales.conversion_funnel AS f (company_id, prospect_id, stage, stage_entered_at, deal_value, loss_reason)
    VALUES (company, person, target, sales_internal.next_entry_at(current_entry.stage_entered_at),
            enter_stage.deal_value, enter_stage.loss_reason)
    RETURNING f.funnel_id INTO entry;
    RETURN entry;
END
$$;
COMMENT ON FUNCTION sales.enter_stage(uuid, text, numeric, text) IS
    'Moves a prospect into a stage of the funnel; returns the entry. In the stage already: sets its value or reason only';
REVOKE ALL ON FUNCTION sales.enter_stage(uuid, text, numeric, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.enter_stage(uuid, text, numeric, text) TO sales_app;

-- src/funnel/outlook.c says how.
CREATE OR REPLACE FUNCTION sales_internal.waiting_chance(chance float8, leaves float8, pace float8, hours float8) RETURNS float8
    AS 'MODULE_PATHNAME', 'sales_waiting_chance'
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sales_internal.waiting_chance(float8, float8, float8, float8) IS
    'Chance of a win of a deal that has been in its stage for so many hours, where the stage''s own chance is known';
REVOKE ALL ON FUNCTION sales_internal.waiting_chance(float8, float8, float8, float8) FROM PUBLIC;

-- By stage, then by the time spent in it: what deals did that stayed as long is
-- drawn towards waiting_chance() with the weight of 10 deals.  `deals` is how
-- many the chance rests on, these 10 included; deal_value the last that was given.
CREATE OR REPLACE FUNCTION sales_internal.standings(company uuid, only_prospect uuid DEFAULT NULL)
RETURNS TABLE (prospect_id uuid, stage sales.funnel_stage, entered_at timestamptz, hours float8, deal_value numeric, chance numeric, deals numeric)
    AS 'MODULE_PATHNAME', 'sales_standings'
    LANGUAGE C STABLE ROWS 100000;
COMMENT ON FUNCTION sales_internal.standings(uuid, uuid) IS
    'Of each prospect that has entered a stage (or of one): its stage, for how many hours, the deal''s value, and the chance of a win from how the company''s deals went that were in the stage as long';
REVOKE ALL ON FUNCTION sales_internal.standings(uuid, uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales.conversion_probability(prospect_id uuid) RETURNS numeric
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    company uuid := sales_internal.require_company();
    person record;
BEGIN
    PERFORM sales_internal.require('conversion_funnel', 'read');
    SELECT p.status INTO person FROM sales.prospects p
    WHERE p.company_id = company AND p.prospect_id = conversion_probability.prospect_id AND p.deleted_at IS NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no prospect %', conversion_probability.prospect_id
            USING ERRCODE = 'no_data_found', HINT = 'Give the prospect_id of one of your company''s prospects.';
    END IF;
    RETURN coalesce(
        (SELECT round(chance, 2) FROM sales_internal.standings(company, conversion_probability.prospect_id)),
        -- In no stage yet: as if it entered the one of its status now.
        (SELECT round(sales_internal.stage_chance(s.stage, o.deals, o.share), 2)
         FROM (VALUES (coalesce(sales_internal.status_stage(person.status), 'nouveau'))) AS s (stage)
         LEFT JOIN sales_internal.stage_outlook(company, s.stage) o ON o.from_hours = 0));
END
$$;
COMMENT ON FUNCTION sales.conversion_probability(uuid) IS
    'Chance from 0 to 1 that a prospect becomes a client, from how the company''s earlier deals went';
REVOKE ALL ON FUNCTION sales.conversion_probability(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.conversion_probability(uuid) TO sales_app;
