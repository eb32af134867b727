-- Privacy: an erasure and those who write about the person at the same time.
--
-- Who adds a row about a person locks the prospect first (its foreign key does, FOR
-- KEY SHARE), and the erasure locks it FOR UPDATE: so either the row is there before
-- and is erased, or its writer waits and finds the person erased.  Who changes a row
-- that is there holds that row, which the erasure waits for.  In both cases the
-- trigger below leaves nothing in the row; audit rows are blanked last, when all that
-- the erasure waited for has ended.  An import reads persons long before it writes
-- them: it and an erasure of the same company take
-- turns, by the lock that imports take turns by.

CREATE OR REPLACE FUNCTION sales_internal.hold_person(company uuid, person uuid) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    erased timestamptz;
BEGIN
    SELECT p.erased_at INTO erased FROM sales.prospects p WHERE p.company_id = company AND p.prospect_id = person FOR KEY SHARE;
    RETURN erased IS NULL;
END
$$;
COMMENT ON FUNCTION sales_internal.hold_person(uuid, uuid) IS
    'Keeps a prospect from being erased until the transaction ends; false if it is erased already. To be called before rows about it are locked';
REVOKE ALL ON FUNCTION sales_internal.hold_person(uuid, uuid) FROM PUBLIC;

-- Arguments: the personal columns, those that may not be null with a "!" before them.
CREATE OR REPLACE FUNCTION sales_internal.keep_erased() RETURNS trigger
AS 'MODULE_PATHNAME', 'sales_keep_erased' LANGUAGE c;
COMMENT ON FUNCTION sales_internal.keep_erased() IS 'Trigger: rows about an erased person have no personal data; the arguments are the columns that had';
REVOKE ALL ON FUNCTION sales_internal.keep_erased() FROM PUBLIC;

-- The prospect itself: whatever an import or a look-up had read before.
CREATE OR REPLACE FUNCTION sales_internal.stay_erased() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    empty jsonb := (SELECT jsonb_object_agg(c, NULL) FROM unnest(TG_ARGV) c);
BEGIN
    IF to_jsonb(NEW) || empty <> to_jsonb(NEW) THEN
        RAISE WARNING 'nothing is stored about prospect %: the person was erased', NEW.prospect_id;
        NEW := jsonb_populate_record(NEW, empty);
    END IF;
    NEW.erased_at := OLD.erased_at;
    NEW.deleted_at := coalesce(NEW.deleted_at, OLD.deleted_at);
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION sales_internal.stay_erased() IS 'Trigger: an erased prospect stays so; the arguments are its personal columns';
REVOKE ALL ON FUNCTION sales_internal.stay_erased() FROM PUBLIC;

DO $$
DECLARE
    place record;
BEGIN
    FOR place IN
        SELECT c.target, string_agg(quote_ident(c.name), ', ' ORDER BY c.number) AS columns,
               string_agg(quote_literal(CASE WHEN c.not_null THEN '!' ELSE '' END || c.name), ', ' ORDER BY c.number) AS arguments
        FROM sales_internal.personal_columns() c
        WHERE c.found_by = 'prospect' AND c.on_erase = 'erase' AND c.target <> 'sales.prospects'::regclass
        GROUP BY 1 ORDER BY c.target::text
    LOOP
        EXECUTE format('CREATE OR REPLACE TRIGGER keep_erased BEFORE INSERT OR UPDATE OF prospect_id, %2$s ON %1$s '
                       'FOR EACH ROW EXECUTE FUNCTION sales_internal.keep_erased(%3$s)', place.target, place.columns, place.arguments);
    END LOOP;
    EXECUTE (SELECT format('CREATE OR REPLACE TRIGGER stay_erased BEFORE UPDATE ON sales.prospects FOR EACH ROW WHEN (OLD.erased_at IS NOT NULL) '
                           'EXECUTE FUNCTION sales_internal.stay_erased(%s, ''address_id'')', string_agg(quote_literal(c.name), ', ' ORDER BY c.number))
             FROM sales_internal.personal_columns() c WHERE c.target = 'sales.prospects'::regclass AND c.on_erase = 'erase');
END
$$;
