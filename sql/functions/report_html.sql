-- The page of a report: one self-contained HTML document without scripts or
-- outside references.  Every value that is not a constant of this file goes
-- through html_text(): cells in html_table(), labels in the charts, the rest
-- in report_html().  Mail clients that drop SVG still show the tables, which
-- hold the same numbers.

CREATE OR REPLACE FUNCTION sales_internal.html_text(value text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
    -- Control characters, and those that turn the direction of writing, are dropped.
    SELECT replace(replace(replace(replace(replace(
        regexp_replace(coalesce(value, ''), U&'[\0001-\0008\000B\000C\000E-\001F\007F-\009F\200E\200F\202A-\202E\2066-\2069\FFFE\FFFF]', '', 'g'),
        '&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '"', '&quot;'), '''', '&#39;')
$$;
COMMENT ON FUNCTION sales_internal.html_text(text) IS 'Text as HTML shows it, in elements and in quoted attributes';
REVOKE ALL ON FUNCTION sales_internal.html_text(text) FROM PUBLIC;

-- kind: count, money, round (money without cents), percent, points, days, p (a probability)
CREATE OR REPLACE FUNCTION sales_internal.report_number(value numeric, kind text, language text, currency text)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
    SELECT CASE WHEN value IS NULL THEN '–'
        WHEN kind IN ('money', 'round') AND language = 'en' AND length(c.sign) = 1
            THEN CASE WHEN value < 0 THEN '-' ELSE '' END || c.sign || ltrim(n.digits, '-')
        ELSE n.digits
             || CASE WHEN kind IN ('money', 'round') THEN U&'\00A0' || c.sign
                     WHEN kind = 'percent' THEN CASE language WHEN 'en' THEN '%' ELSE U&'\00A0%' END
                     ELSE '' END END
    FROM (SELECT CASE currency WHEN 'EUR' THEN '€' WHEN 'USD' THEN '$' WHEN 'GBP' THEN '£' ELSE currency END) AS c (sign),
         (SELECT translate(to_char(value, CASE kind WHEN 'count' THEN 'FM999,999,999,999,990' WHEN 'round' THEN 'FM999,999,999,999,990'
                                                    WHEN 'money' THEN 'FM999,999,999,999,990.00' WHEN 'p' THEN 'FM990.000'
                                                    ELSE 'FM999,999,999,990.0' END),
                           ',.', CASE language WHEN 'en' THEN ',.' WHEN 'fr' THEN U&'\202F,' ELSE '.,' END)) AS n (digits)
$$;
COMMENT ON FUNCTION sales_internal.report_number(numeric, text, text, text) IS
    'A number as the language writes it: count, money, round (money without cents), percent, points, days or p';
REVOKE ALL ON FUNCTION sales_internal.report_number(numeric, text, text, text) FROM PUBLIC;

-- From the period before to this one: percents change by points, all else by
-- percent, and what was nothing before by as much as it is now.
CREATE OR REPLACE FUNCTION sales_internal.report_change(now numeric, before numeric, kind text, language text, currency text, points text)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
    SELECT CASE WHEN now IS NULL OR before IS NULL THEN '–'
        WHEN now = before THEN '='
        WHEN kind = 'percent' THEN CASE WHEN now > before THEN '+' ELSE '' END
             || sales_internal.report_number(now - before, 'points', language, '') || U&'\00A0' || points
        WHEN before = 0 THEN CASE WHEN now > 0 THEN '+' ELSE '' END || sales_internal.report_number(now, kind, language, currency)
        ELSE CASE WHEN now > before THEN '+' ELSE '' END
             || sales_internal.report_number(100 * (now - before) / abs(before), 'percent', language, '') END
$$;
COMMENT ON FUNCTION sales_internal.report_change(numeric, numeric, text, text, text, text) IS
    'How a figure changed, as the language writes it; a dash where there is nothing to compare with';
REVOKE ALL ON FUNCTION sales_internal.report_change(numeric, numeric, text, text, text, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.report_date(day date, language text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT to_char(day::timestamp, CASE language WHEN 'en' THEN 'FMDD Mon YYYY' WHEN 'de' THEN 'DD.MM.YYYY' ELSE 'DD/MM/YYYY' END) $$;
COMMENT ON FUNCTION sales_internal.report_date(date, text) IS 'A day as the language writes it';
REVOKE ALL ON FUNCTION sales_internal.report_date(date, text) FROM PUBLIC;

-- "avril 2026", "week 20, 2026": the period in words; a range of days has none.
CREATE OR REPLACE FUNCTION sales_internal.report_period_text(period text, language text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
    SELECT CASE
        WHEN period ~ '^\d{4}-W\d\d$' THEN replace(replace(w ->> 'week_name', '{n}', ltrim(right(period, 2), '0')), '{year}', left(period, 4))
        WHEN period ~ '^\d{4}-\d\d$' THEN replace(replace(w ->> 'month_name', '{n}', split_part(w ->> 'months', ',', right(period, 2)::integer)), '{year}', left(period, 4))
        WHEN period ~ '^\d{4}-Q\d$' THEN replace(replace(
            CASE WHEN language = 'fr' AND right(period, 1) = '1' THEN '1er trimestre {year}' ELSE w ->> 'quarter_name' END,
            '{n}', right(period, 1)), '{year}', left(period, 4))
        ELSE '' END
    FROM sales_internal.report_words(language) AS w
$$;
COMMENT ON FUNCTION sales_internal.report_period_text(text, text) IS 'A period in words; nothing for a range of days';
REVOKE ALL ON FUNCTION sales_internal.report_period_text(text, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.report_week_text(week text, language text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT replace(sales_internal.report_words(language) ->> 'week_short', '{n}', ltrim(split_part(week, '-W', 2), '0')) $$;
COMMENT ON FUNCTION sales_internal.report_week_text(text, text) IS 'A week such as 2026-W05 in short, as the language writes it: W5, S5, KW5';
REVOKE ALL ON FUNCTION sales_internal.report_week_text(text, text) FROM PUBLIC;

-- Puts values into {name} places; the places of a value stay as they are.
CREATE OR REPLACE FUNCTION sales_internal.report_sentence(template text, names text[], fillers text[]) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(CASE WHEN n % 2 = 0 THEN coalesce(fillers[array_position(names, part)], '') ELSE part END, '' ORDER BY n)
    FROM unnest(regexp_split_to_array(template, '[{}]')) WITH ORDINALITY AS t (part, n)
$$;
COMMENT ON FUNCTION sales_internal.report_sentence(text, text[], text[]) IS 'A sentence with its {places} filled';
REVOKE ALL ON FUNCTION sales_internal.report_sentence(text, text[], text[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.report_span(figures jsonb, language text) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT concat_ws(', ',
        sales_internal.report_sentence(w ->> 'from_to', '{from,to}', ARRAY[
            sales_internal.report_date((figures ->> 'first_day')::date, language),
            sales_internal.report_date((figures ->> 'last_day')::date, language)]),
        CASE WHEN figures ->> 'made_on' < figures ->> 'last_day' THEN
            sales_internal.report_sentence(w ->> 'as_of', '{to}', ARRAY[sales_internal.report_date((figures ->> 'made_on')::date, language)]) END)
    FROM sales_internal.report_words(language) AS w
$$;
COMMENT ON FUNCTION sales_internal.report_span(jsonb, text) IS 'A report''s first and last day, and its day where it is not over';
REVOKE ALL ON FUNCTION sales_internal.report_span(jsonb, text) FROM PUBLIC;

-- body: an array of rows, each an array of plain texts; the first cell names the row.
-- Null where there is no row.
CREATE OR REPLACE FUNCTION sales_internal.html_table(caption text, headers text[], body jsonb)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN jsonb_array_length(body) > 0 THEN
             '<table border="0" cellpadding="6" cellspacing="0" class="data" style="border-collapse:collapse;width:100%"><caption class="hidden">'
             || sales_internal.html_text(caption) || '</caption><thead><tr>'
             || (SELECT string_agg('<th scope="col" style="text-align:' || CASE n WHEN 1 THEN 'left' ELSE 'right' END
                                   || ';border-bottom:2px solid #c3cedd;color:#4d5a6b;font-size:13px">' || sales_internal.html_text(h) || '</th>', '' ORDER BY n)
                 FROM unnest(headers) WITH ORDINALITY AS x (h, n))
             || '</tr></thead><tbody>'
             || (SELECT string_agg('<tr>' || (
                     SELECT string_agg(CASE n WHEN 1
                             THEN '<th scope="row" style="text-align:left;font-weight:normal;border-bottom:1px solid #e4e9f0;min-width:7em;overflow-wrap:anywhere;hyphens:auto"><bdi>'
                                  || sales_internal.html_text(cell) || '</bdi></th>'
                             ELSE '<td style="text-align:right;border-bottom:1px solid #e4e9f0"><bdi>'
                                  || sales_internal.html_text(cell) || '</bdi></td>' END, '' ORDER BY n)
                     FROM jsonb_array_elements_text(r) WITH ORDINALITY AS c (cell, n)) || '</tr>', '' ORDER BY rn)
                 FROM jsonb_array_elements(body) WITH ORDINALITY AS y (r, rn))
             || '</tbody></table>' END
$$;
COMMENT ON FUNCTION sales_internal.html_table(text, text[], jsonb) IS
    'An accessible table of plain texts, each escaped here; null without a row';
REVOKE ALL ON FUNCTION sales_internal.html_table(text, text[], jsonb) FROM PUBLIC;

-- Horizontal bars; low and high, where given, are drawn as a whisker.
CREATE OR REPLACE FUNCTION sales_internal.svg_bars(
    id text, title text, labels text[], bars numeric[], texts text[],
    lows numeric[] DEFAULT NULL, highs numeric[] DEFAULT NULL, colours text[] DEFAULT NULL)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN NOT coalesce(0 < ANY (bars || highs), false) THEN '' ELSE
        '<svg class="chart" role="img" aria-labelledby="' || id || '-t ' || id || '-d" viewBox="0 0 720 '
        || (cardinality(labels) * 32 + 8) || '" xmlns="http://www.w3.org/2000/svg"><title id="' || id || '-t">'
        || sales_internal.html_text(title) || '</title><desc id="' || id || '-d">'
        || sales_internal.html_text((SELECT string_agg(l || ': ' || t, '; ' ORDER BY n)
                                     FROM unnest(labels, texts) WITH ORDINALITY AS x (l, t, n))) || '</desc>'
        || (SELECT string_agg(
                '<text x="176" y="' || (n * 32 - 8) || '" text-anchor="end" class="label">'
                || sales_internal.html_text(left(l, 28)) || '</text>'
                || '<rect x="186" y="' || (n * 32 - 24) || '" width="' || round(380 * greatest(coalesce(b, 0), 0) / m.most, 1)
                || '" height="20" rx="4" fill="' || coalesce(colours[n], '#2f6db5') || '"/>'
                || CASE WHEN lo IS NULL OR hi IS NULL THEN '' ELSE
                   '<line x1="' || round(186 + 380 * lo / m.most, 1) || '" x2="' || round(186 + 380 * hi / m.most, 1)
                   || '" y1="' || (n * 32 - 14) || '" y2="' || (n * 32 - 14) || '" stroke="#b3541e" stroke-width="3"/>' END
                || '<text x="' || round(194 + 380 * greatest(coalesce(b, 0), coalesce(hi, 0), 0) / m.most, 1) || '" y="' || (n * 32 - 8)
                || '" class="label">' || sales_internal.html_text(t) || '</text>', '' ORDER BY n)
            FROM unnest(labels, bars, texts, lows, highs) WITH ORDINALITY AS x (l, b, t, lo, hi, n),
                 (SELECT greatest(max(greatest(b, hi)), 0.000001) AS most FROM unnest(bars, highs) AS y (b, hi)) AS m)
        || '</svg>' END
$$;
COMMENT ON FUNCTION sales_internal.svg_bars(text, text, text[], numeric[], text[], numeric[], numeric[], text[]) IS
    'A bar chart as inline SVG with title and description; nothing where all is zero';
REVOKE ALL ON FUNCTION sales_internal.svg_bars(text, text, text[], numeric[], text[], numeric[], numeric[], text[]) FROM PUBLIC;

-- The distance of gridlines: 1, 2 or 5 times a power of ten, so that three at most reach over a value.
CREATE OR REPLACE FUNCTION sales_internal.axis_step(most numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT min(m * u) FROM (SELECT power(10::numeric, floor(log(greatest(most / 3, 1))))) AS p (u), unnest('{1,2,5,10}'::numeric[]) AS m
    WHERE m * u >= most / 3
$$;
COMMENT ON FUNCTION sales_internal.axis_step(numeric) IS 'A round distance of gridlines, at least 1, of which three at most reach over a value';
REVOKE ALL ON FUNCTION sales_internal.axis_step(numeric) FROM PUBLIC;

-- Columns of one series with a line of another over them, on one scale.  The
-- margin is as wide as the longest number of the axis.
CREATE OR REPLACE FUNCTION sales_internal.svg_trend(
    id text, title text, labels text[], columns_name text, columns_of numeric[], line_name text, line_of numeric[],
    kind text, language text, currency text)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN NOT coalesce(0 < ANY (columns_of || line_of), false) THEN '' ELSE
        '<svg class="chart" role="img" aria-labelledby="' || id || '-t ' || id || '-d" viewBox="0 0 720 240" xmlns="http://www.w3.org/2000/svg"><title id="'
        || id || '-t">' || sales_internal.html_text(title) || '</title><desc id="' || id || '-d">'
        || sales_internal.html_text((SELECT string_agg(l || ': ' || sales_internal.report_number(c, kind, language, currency)
                                                       || coalesce(' / ' || sales_internal.report_number(v, kind, language, currency), ''), '; ' ORDER BY n)
                                     FROM unnest(labels, columns_of, CASE WHEN line_name IS NOT NULL THEN line_of END) WITH ORDINALITY AS x (l, c, v, n)))
        || '</desc>'
        || (SELECT string_agg('<line x1="' || m.edge || '" x2="710" y1="' || y || '" y2="' || y || '" stroke="' || CASE n WHEN 0 THEN '#8494a9' ELSE '#e4e9f0' END
                              || '"/><text x="' || m.edge - 8 || '" y="' || y + 4 || '" text-anchor="end" class="small">'
                              || sales_internal.html_text(sales_internal.report_number(n * m.step, kind, language, currency)) || '</text>', '' ORDER BY n)
            FROM generate_series(0, m.lines) AS n, LATERAL (SELECT round(190 - 165 * n / m.lines, 1)) AS k (y))
        || (SELECT string_agg(
                '<rect x="' || round(m.edge + (n - 1) * m.width + m.width * 0.18, 1) || '" y="' || round(190 - 165 * c / (m.step * m.lines), 1)
                || '" width="' || round(m.width * 0.64, 1) || '" height="' || round(165 * c / (m.step * m.lines), 1) || '" rx="3" fill="#7fa8d6"/>'
                || '<text x="' || round(m.edge + (n - 0.5) * m.width, 1) || '" y="207" text-anchor="middle" class="small">'
                || sales_internal.html_text(l) || '</text>', '' ORDER BY n)
            FROM unnest(labels, columns_of) WITH ORDINALITY AS x (l, c, n))
        || coalesce((SELECT '<polyline fill="none" stroke="#b3541e" stroke-width="3" stroke-linejoin="round" points="'
                            || string_agg(round(m.edge + (n - 0.5) * m.width, 1) || ',' || round(190 - 165 * v / (m.step * m.lines), 1), ' ' ORDER BY n) || '"/>'
                            || string_agg('<circle r="4" fill="#b3541e" cx="' || round(m.edge + (n - 0.5) * m.width, 1) || '" cy="'
                                          || round(190 - 165 * v / (m.step * m.lines), 1) || '"/>', '' ORDER BY n)
                     FROM unnest(line_of) WITH ORDINALITY AS x (v, n)), '')
        || '<rect x="' || m.edge || '" y="220" width="14" height="12" rx="3" fill="#7fa8d6"/><text x="' || m.edge + 20 || '" y="231" class="label">'
        || sales_internal.html_text(columns_name) || '</text>'
        || CASE WHEN line_name IS NULL THEN '' ELSE '<line x1="360" x2="382" y1="226" y2="226" stroke="#b3541e" stroke-width="3"/><circle r="4" cx="371" cy="226" fill="#b3541e"/><text x="388" y="231" class="label">'
        || sales_internal.html_text(line_name) || '</text>' END || '</svg>' END
    FROM (SELECT a.step, greatest(ceil(a.most / a.step), 1)::integer AS lines, e.edge, (710.0 - e.edge) / greatest(cardinality(labels), 1) AS width
          FROM (SELECT y.most, sales_internal.axis_step(y.most) AS step
                FROM (SELECT greatest(max(greatest(c, v)), 1) AS most FROM unnest(columns_of, line_of) AS z (c, v)) AS y) AS a,
               LATERAL (SELECT 16 + 8 * length(sales_internal.report_number(a.step * ceil(a.most / a.step), kind, language, currency))) AS e (edge)) AS m
$$;
COMMENT ON FUNCTION sales_internal.svg_trend(text, text, text[], text, numeric[], text, numeric[], text, text, text) IS
    'Columns and a line over the same weeks as inline SVG with title and description; nothing where all is zero';
REVOKE ALL ON FUNCTION sales_internal.svg_trend(text, text, text[], text, numeric[], text, numeric[], text, text, text) FROM PUBLIC;

-- Under a table that does not hold all: how many of how many.
CREATE OR REPLACE FUNCTION sales_internal.report_list_note(language text, shown bigint, total numeric) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN total > shown THEN '<p class="note">' || sales_internal.html_text(sales_internal.report_sentence(
        sales_internal.report_words(language) ->> 'list_note', '{n,total}',
        ARRAY[shown::text, sales_internal.report_number(total, 'count', language, '')])) || '</p>' ELSE '' END
$$;
COMMENT ON FUNCTION sales_internal.report_list_note(text, bigint, numeric) IS 'A note under a table that shows the first rows only';
REVOKE ALL ON FUNCTION sales_internal.report_list_note(text, bigint, numeric) FROM PUBLIC;

-- An insight or a recommendation in words: its own text, or the sentence of its key.
CREATE OR REPLACE FUNCTION sales_internal.report_item(item jsonb, language text, currency text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(item ->> 'text' || coalesce(' (' || (item ->> 'expected') || ')', ''),
        sales_internal.report_sentence(
            coalesce(CASE WHEN (item ->> 'n')::numeric = 1 THEN w ->> ((item ->> 'key') || '_1') END, w ->> (item ->> 'key')), '{metric,before,after,p,channel,rate,worst,low,reason,n,value}', ARRAY[
            w ->> (item ->> 'metric'),
            sales_internal.report_number((item ->> 'before')::numeric, m.kind, language, currency),
            sales_internal.report_number((item ->> 'after')::numeric, m.kind, language, currency),
            CASE WHEN (item ->> 'p')::numeric < 0.001 THEN '< ' || sales_internal.report_number(0.001, 'p', language, currency)
                 ELSE '= ' || sales_internal.report_number((item ->> 'p')::numeric, 'p', language, currency) END,
            w ->> (item ->> 'channel'), sales_internal.report_number((item ->> 'rate')::numeric, 'percent', language, currency),
            w ->> (item ->> 'worst'), sales_internal.report_number((item ->> 'low')::numeric, 'percent', language, currency),
            item ->> 'reason', sales_internal.report_number((item ->> 'n')::numeric, 'count', language, currency),
            sales_internal.report_number((item ->> 'value')::numeric, 'round', language, currency)]),
        item #>> '{}')
    FROM sales_internal.report_words(language) AS w,
         (SELECT CASE item ->> 'metric' WHEN 'revenue' THEN 'round' WHEN 'response_rate' THEN 'percent' ELSE 'count' END) AS m (kind)
$$;
COMMENT ON FUNCTION sales_internal.report_item(jsonb, text, text) IS 'An insight or a recommendation of a report in words';
REVOKE ALL ON FUNCTION sales_internal.report_item(jsonb, text, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.report_sections(report sales.success_reports, language text)
RETURNS TABLE (place integer, title text, html text)   -- html is null, or the row is not there, where there is nothing to show
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    w jsonb := sales_internal.report_words(language);
    f jsonb := report.key_metrics;
    currency text := f ->> 'currency';
BEGIN
    RETURN QUERY SELECT 1, w ->> 'kpis', sales_internal.html_table(w ->> 'kpis',
        ARRAY[w ->> 'metric', w ->> 'value', w ->> 'previous', w ->> 'change'],
        (SELECT jsonb_agg(jsonb_build_array(
                    w ->> k.metric,
                    sales_internal.report_number(v.now, k.kind, language, currency),
                    sales_internal.report_number(v.old, k.kind, language, currency),
                    sales_internal.report_change(v.now, v.old, k.kind, language, f ->> 'currency', w ->> 'points'))
                    ORDER BY k.place)
         FROM (VALUES (1, 'prospects_added', 'count'), (2, 'prospects_imported', 'count'), (3, 'prospects_contacted', 'count'),
                      (4, 'messages_sent', 'count'), (5, 'responses_received', 'count'), (6, 'response_rate', 'percent'),
                      (7, 'meetings_scheduled', 'count'), (8, 'proposals_sent', 'count'), (9, 'deals_won', 'count'),
                      (10, 'deals_lost', 'count'), (11, 'conversion_rate', 'percent'), (12, 'revenue', 'money'),
                      (13, 'avg_deal_size', 'money'), (14, 'sales_cycle_days', 'days'), (15, 'cost', 'money'), (16, 'roi', 'percent'))
              AS k (place, metric, kind),
              LATERAL (SELECT (f #>> ARRAY['metrics', k.metric])::numeric, (f #>> ARRAY['previous', k.metric])::numeric) AS v (now, old)));

    RETURN QUERY SELECT 2, w ->> 'funnel',
        sales_internal.svg_bars('funnel', w ->> 'funnel', array_agg(w ->> (x ->> 'stage') ORDER BY n),
            array_agg((x ->> 'prospects')::numeric ORDER BY n),
            array_agg(sales_internal.report_number((x ->> 'prospects')::numeric, 'count', language, currency) ORDER BY n), NULL, NULL,
            array_agg(CASE x ->> 'stage' WHEN 'client' THEN '#2e8b57' WHEN 'perdu' THEN '#8a94a3' ELSE '#2f6db5' END ORDER BY n))
        || sales_internal.html_table(w ->> 'funnel', ARRAY[w ->> 'stage', w ->> 'prospects', w ->> 'value'],
            jsonb_agg(jsonb_build_array(w ->> (x ->> 'stage'),
                sales_internal.report_number((x ->> 'prospects')::numeric, 'count', language, currency),
                sales_internal.report_number((x ->> 'value')::numeric, 'money', language, currency)) ORDER BY n))
    FROM jsonb_array_elements(f -> 'funnel') WITH ORDINALITY AS t (x, n)
    HAVING sum((x ->> 'prospects')::numeric) > 0;

    RETURN QUERY SELECT 3, w ->> 'trend',
        sales_internal.svg_trend('trend', w ->> 'trend', array_agg(sales_internal.report_week_text(x ->> 'week', language) ORDER BY n),
            w ->> 'messages_sent', array_agg((x ->> 'messages_sent')::numeric ORDER BY n),
            w ->> 'responses_received', array_agg((x ->> 'responses_received')::numeric ORDER BY n), 'count', language, currency)
        || sales_internal.svg_trend('revenue', (w ->> 'trend') || ': ' || (w ->> 'revenue'),
            array_agg(sales_internal.report_week_text(x ->> 'week', language) ORDER BY n),
            w ->> 'revenue', array_agg((x ->> 'revenue')::numeric ORDER BY n), NULL, NULL, 'round', language, currency)
        || sales_internal.html_table(w ->> 'trend',
            ARRAY[w ->> 'week', w ->> 'messages_sent', w ->> 'responses_received', w ->> 'deals_won', w ->> 'revenue'],
            jsonb_agg(jsonb_build_array(sales_internal.report_week_text(x ->> 'week', language) || ' (' || sales_internal.report_date(to_date(x ->> 'week', 'IYYY-"W"IW'), language) || ')',
                sales_internal.report_number((x ->> 'messages_sent')::numeric, 'count', language, currency),
                sales_internal.report_number((x ->> 'responses_received')::numeric, 'count', language, currency),
                sales_internal.report_number((x ->> 'deals_won')::numeric, 'count', language, currency),
                sales_internal.report_number((x ->> 'revenue')::numeric, 'money', language, currency)) ORDER BY n))
    FROM jsonb_array_elements(f -> 'trend') WITH ORDINALITY AS t (x, n)
    HAVING sum((x ->> 'messages_sent')::numeric + (x ->> 'responses_received')::numeric + (x ->> 'deals_won')::numeric + (x ->> 'revenue')::numeric) > 0;

    RETURN QUERY SELECT 4, w ->> 'users', sales_internal.html_table(w ->> 'users',
            ARRAY[w ->> 'user', w ->> 'messages_sent', w ->> 'response_rate', w ->> 'calls', w ->> 'meetings', w ->> 'deals_won', w ->> 'revenue'],
            jsonb_agg(jsonb_build_array(
                coalesce(nullif(btrim(concat_ws(' ', u.first_name, u.last_name)), ''), u.email, w ->> 'erased'),
                sales_internal.report_number((x ->> 'sent')::numeric, 'count', language, currency),
                sales_internal.report_number(100 * (x ->> 'answered')::numeric / nullif((x ->> 'sent')::numeric, 0), 'percent', language, currency),
                sales_internal.report_number((x ->> 'calls')::numeric, 'count', language, currency),
                sales_internal.report_number((x ->> 'meetings')::numeric, 'count', language, currency),
                sales_internal.report_number((x ->> 'won')::numeric, 'count', language, currency),
                sales_internal.report_number((x ->> 'revenue')::numeric, 'money', language, currency)) ORDER BY n))
        || sales_internal.report_list_note(language, count(x), (f #>> '{totals,users}')::numeric)
    FROM jsonb_array_elements(f -> 'users') WITH ORDINALITY AS t (x, n)
    LEFT JOIN sales.users u ON u.company_id = report.company_id AND u.user_id = (x ->> 'user_id')::uuid;

    RETURN QUERY SELECT 5, w ->> 'channels',
        sales_internal.svg_bars('channels', w ->> 'channels', array_agg(w ->> (x ->> 'channel') ORDER BY n),
            array_agg((x ->> 'sent')::numeric ORDER BY n),
            array_agg(sales_internal.report_number((x ->> 'sent')::numeric, 'count', language, currency) ORDER BY n))
        || sales_internal.html_table(w ->> 'channels', ARRAY[w ->> 'channel', w ->> 'messages_sent', w ->> 'responses_received', w ->> 'response_rate'],
            jsonb_agg(jsonb_build_array(w ->> (x ->> 'channel'),
                sales_internal.report_number((x ->> 'sent')::numeric, 'count', language, currency),
                sales_internal.report_number((x ->> 'responses')::numeric, 'count', language, currency),
                sales_internal.report_number(100 * (x ->> 'answered')::numeric / nullif((x ->> 'sent')::numeric, 0), 'percent', language, currency))
                ORDER BY n))
    FROM jsonb_array_elements(f -> 'channels') WITH ORDINALITY AS t (x, n);

    RETURN QUERY SELECT 6, w ->> 'templates', sales_internal.html_table(w ->> 'templates',
            ARRAY[w ->> 'template', w ->> 'messages_sent', w ->> 'response_rate'],
            jsonb_agg(jsonb_build_array(x ->> 'name',
                sales_internal.report_number((x ->> 'sent')::numeric, 'count', language, currency),
                sales_internal.report_number(100 * (x ->> 'answered')::numeric / nullif((x ->> 'sent')::numeric, 0), 'percent', language, currency))
                ORDER BY n))
        || sales_internal.report_list_note(language, count(x), (f #>> '{totals,templates}')::numeric)
    FROM jsonb_array_elements(f -> 'templates') WITH ORDINALITY AS t (x, n);

    RETURN QUERY SELECT 7, w ->> 'campaigns', sales_internal.html_table(w ->> 'campaigns',
            ARRAY[w ->> 'campaign', w ->> 'sent', w ->> 'opened', w ->> 'replied'],
            jsonb_agg(jsonb_build_array(x ->> 'name',
                sales_internal.report_number((x ->> 'sent')::numeric, 'count', language, currency),
                sales_internal.report_number((x ->> 'opened')::numeric, 'count', language, currency),
                sales_internal.report_number((x ->> 'replied')::numeric, 'count', language, currency)) ORDER BY n))
        || sales_internal.report_list_note(language, count(x), (f #>> '{totals,campaigns}')::numeric)
    FROM jsonb_array_elements(f -> 'campaigns') WITH ORDINALITY AS t (x, n);

    RETURN QUERY SELECT 8, w ->> 'loss_reasons', sales_internal.html_table(w ->> 'loss_reasons',
            ARRAY[w ->> 'reason', w ->> 'deals', w ->> 'value'],
            jsonb_agg(jsonb_build_array(coalesce(x ->> 'reason', w ->> 'unstated'),
                sales_internal.report_number((x ->> 'deals')::numeric, 'count', language, currency),
                sales_internal.report_number((x ->> 'value')::numeric, 'money', language, currency)) ORDER BY n))
        || sales_internal.report_list_note(language, count(x), (f #>> '{totals,loss_reasons}')::numeric)
    FROM jsonb_array_elements(f -> 'loss_reasons') WITH ORDINALITY AS t (x, n);

    -- A mail is made by the worker, who is nobody's user: it names firms, and no person.
    RETURN QUERY SELECT 9, w ->> 'stalled', sales_internal.html_table(w ->> 'stalled',
            ARRAY[w ->> 'prospect', w ->> 'stage', w ->> 'days', w ->> 'value'],
            jsonb_agg(jsonb_build_array(
                CASE WHEN p.prospect_id IS NULL THEN w ->> 'erased'
                     ELSE coalesce(nullif(concat_ws(', ',
                         CASE WHEN sales.has_permission('prospects', 'read') THEN nullif(btrim(concat_ws(' ', p.first_name, p.last_name)), '') END,
                         CASE WHEN sales.has_permission('prospects', 'read') OR sales.current_company_id() IS NULL THEN p.company_name END), ''), '–') END,
                w ->> (x ->> 'stage'),
                sales_internal.report_number((x ->> 'days')::numeric, 'count', language, currency),
                sales_internal.report_number((x ->> 'value')::numeric, 'money', language, currency)) ORDER BY n))
        || CASE WHEN (f #>> '{stalled_total,deals}')::bigint > count(x) THEN '<p class="note">' || sales_internal.html_text(
               sales_internal.report_sentence(w ->> 'stalled_note', '{n,total,value}', ARRAY[count(x)::text,
                   sales_internal.report_number((f #>> '{stalled_total,deals}')::numeric, 'count', language, currency),
                   sales_internal.report_number((f #>> '{stalled_total,value}')::numeric, 'round', language, currency)])) || '</p>' ELSE '' END
    FROM jsonb_array_elements(f -> 'stalled') WITH ORDINALITY AS t (x, n)
    LEFT JOIN sales.prospects p ON p.company_id = report.company_id AND p.prospect_id = (x ->> 'prospect_id')::uuid
        AND p.deleted_at IS NULL;

    RETURN QUERY SELECT 10, w ->> 'forecast',
        sales_internal.svg_bars('forecast', w ->> 'forecast', array_agg(sales_internal.report_period_text(x ->> 'month', language) ORDER BY n),
            array_agg((x ->> 'expected')::numeric ORDER BY n),
            array_agg(sales_internal.report_number((x ->> 'expected')::numeric, 'round', language, currency) ORDER BY n),
            array_agg((x ->> 'low')::numeric ORDER BY n), array_agg((x ->> 'high')::numeric ORDER BY n))
        || sales_internal.html_table(w ->> 'forecast', ARRAY[w ->> 'month', w ->> 'deals', w ->> 'low', w ->> 'expected', w ->> 'high'],
            jsonb_agg(jsonb_build_array(sales_internal.report_period_text(x ->> 'month', language),
                sales_internal.report_number((x ->> 'deals')::numeric, 'count', language, currency),
                sales_internal.report_number((x ->> 'low')::numeric, 'round', language, currency),
                sales_internal.report_number((x ->> 'expected')::numeric, 'round', language, currency),
                sales_internal.report_number((x ->> 'high')::numeric, 'round', language, currency)) ORDER BY n))
        || '<p class="note">' || sales_internal.html_text(w ->> 'forecast_note') || '</p>'
    FROM jsonb_array_elements(f -> 'forecast') WITH ORDINALITY AS t (x, n);

    RETURN QUERY SELECT 11, w ->> 'costs', sales_internal.html_table(w ->> 'costs', ARRAY[w ->> 'metric', w ->> 'value'],
            jsonb_agg(jsonb_build_array(w ->> k.word,
                sales_internal.report_number((f #>> ARRAY['costs', k.key])::numeric, k.kind, language, currency)) ORDER BY k.place))
    FROM (VALUES (1, 'subscription', 'subscription', 'money'), (2, 'enrichment', 'enrichment', 'money'), (3, 'ai', 'ai', 'money'),
                 (4, 'total', 'total', 'money'), (5, 'revenue', 'revenue', 'money'), (6, 'roi', 'roi', 'percent'))
         AS k (place, key, word, kind);

    RETURN QUERY SELECT 12, w ->> 'benchmark', sales_internal.html_table(w ->> 'benchmark', ARRAY[w ->> 'metric', w ->> 'own', w ->> 'sector'],
            jsonb_agg(jsonb_build_array(w ->> k.metric,
                sales_internal.report_number((report.benchmark_data ->> k.metric)::numeric, k.kind, language, currency),
                sales_internal.report_number((report.benchmark_data ->> ('sector_' || k.metric))::numeric, k.kind, language, currency))
                ORDER BY k.place))
        || CASE WHEN report.benchmark_data <> '{}' THEN '<p class="note">'
                || sales_internal.html_text((report.benchmark_data ->> 'sector') || ' – ' || sales_internal.report_sentence(
                       w ->> 'benchmark_note', '{n,from}', ARRAY[report.benchmark_data ->> 'companies',
                       sales_internal.report_date((report.benchmark_data ->> 'quarter_start')::date, language)])) || '</p>' ELSE '' END
    FROM (VALUES (1, 'response_rate', 'percent'), (2, 'conversion_rate', 'percent'), (3, 'sales_cycle_days', 'days'))
         AS k (place, metric, kind)
    WHERE report.benchmark_data <> '{}'
    HAVING count(*) > 0;

    -- In short, before all the figures.
    RETURN QUERY SELECT s.place - 2, w ->> s.word,
        '<ul>' || (
            SELECT string_agg('<li><bdi>' || sales_internal.html_text(sales_internal.report_item(x, language, currency)) || '</bdi></li>', '' ORDER BY n)
            FROM jsonb_array_elements(s.items) WITH ORDINALITY AS t (x, n))
            || '</ul>'
        || CASE WHEN s.word <> 'insights' THEN ''
                WHEN s.items @> '[{"source": "ai"}]' THEN '<p class="note">' || sales_internal.html_text(
                     replace(w ->> 'source_ai', '{provider}', coalesce(s.items #>> '{0,provider}', ''))) || '</p>'
                WHEN s.items @> '[{"source": "local"}]'
                THEN '<p class="note">' || sales_internal.html_text(w ->> 'source_local') || '</p>' ELSE '' END
    FROM (VALUES (1, 'insights', report.insights_generated), (2, 'recommendations', report.recommendations)) AS s (place, word, items);
END
$$;
COMMENT ON FUNCTION sales_internal.report_sections(sales.success_reports, text) IS 'The parts of a report''s page';
REVOKE ALL ON FUNCTION sales_internal.report_sections(sales.success_reports, text) FROM PUBLIC;

-- Eight figures in large; a table for layout, as mail clients lay out nothing else.
CREATE OR REPLACE FUNCTION sales_internal.report_cards(report sales.success_reports, language text) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT '<table role="presentation" class="cards" border="0" cellpadding="0" cellspacing="8" style="width:100%;table-layout:fixed"><tr>'
        || string_agg('<td style="vertical-align:top;padding:12px 14px;border:1px solid #d5dbe3;border-radius:10px;background:#ffffff">'
               || '<div style="font-size:13px;line-height:1.3;color:#4d5a6b">' || sales_internal.html_text(w ->> k.metric)
               || '</div><div style="font-size:22px;line-height:1.4;font-weight:700;color:#1f3a5f;white-space:nowrap">'
               || sales_internal.html_text(sales_internal.report_number(v.now, k.kind, language, f ->> 'currency'))
               || '</div><div style="font-size:13px;color:' || CASE WHEN v.now > v.old THEN '#1a7f37' WHEN v.now < v.old THEN '#b42318' ELSE '#4d5a6b' END || '">'
               || CASE WHEN v.now > v.old THEN '▲ ' WHEN v.now < v.old THEN '▼ ' ELSE '' END
               || sales_internal.html_text(sales_internal.report_change(v.now, v.old, k.kind, language, f ->> 'currency', w ->> 'points'))
               || '</div></td>', CASE WHEN k.place = 5 THEN '</tr><tr>' ELSE '' END ORDER BY k.place)
        || '</tr></table>'
    FROM (SELECT report.key_metrics, sales_internal.report_words(language)) AS r (f, w),
         (VALUES (1, 'revenue', 'round'), (2, 'deals_won', 'count'), (3, 'avg_deal_size', 'round'), (4, 'conversion_rate', 'percent'),
                 (5, 'prospects_contacted', 'count'), (6, 'messages_sent', 'count'), (7, 'response_rate', 'percent'), (8, 'meetings_scheduled', 'count'))
             AS k (place, metric, kind),
         LATERAL (SELECT (f #>> ARRAY['metrics', k.metric])::numeric, (f #>> ARRAY['previous', k.metric])::numeric) AS v (now, old)
$$;
COMMENT ON FUNCTION sales_internal.report_cards(sales.success_reports, text) IS 'The main figures of a report, in large';
REVOKE ALL ON FUNCTION sales_internal.report_cards(sales.success_reports, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.report_page(report sales.success_reports, language text) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
    w jsonb := sales_internal.report_words(language);
    firm text := (SELECT name FROM sales.companies c WHERE c.company_id = report.company_id);
    heading text := w ->> report.report_type::text;
    named text := sales_internal.report_period_text(report.report_period, language);
    span text := sales_internal.report_span(report.key_metrics, language);
    parts text;
    missing text;
    made timestamp := report.generated_at AT TIME ZONE (report.key_metrics ->> 'timezone');
BEGIN
    SELECT string_agg('<section aria-labelledby="s' || t.place + 2 || '" style="background:#ffffff;border:1px solid #d5dbe3;border-radius:10px;padding:16px 20px 18px;margin:8px"><h2 id="s'
                      || t.place + 2 || '">' || sales_internal.html_text(t.title) || '</h2>' || t.html || '</section>', E'\n' ORDER BY t.place)
               FILTER (WHERE t.html IS NOT NULL),
           string_agg(t.title, ', ' ORDER BY t.place) FILTER (WHERE t.html IS NULL AND t.place > 0)
    INTO parts, missing
    FROM (SELECT coalesce(s.place, k.place) AS place, coalesce(s.title, w ->> k.word) AS title, s.html
          FROM sales_internal.report_sections(report, language) s
          FULL JOIN (VALUES (2, 'funnel'), (3, 'trend'), (4, 'users'), (5, 'channels'), (6, 'templates'), (7, 'campaigns'), (8, 'loss_reasons'),
                            (9, 'stalled'), (10, 'forecast')) AS k (place, word) ON k.place = s.place) AS t;
    RETURN '<!DOCTYPE html>' || E'\n<html lang="' || sales_internal.html_text(language)
        || '"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light">'
        || '<meta http-equiv="Content-Security-Policy" content="default-src ''none''; style-src ''unsafe-inline''">'
        || '<title>' || sales_internal.html_text(heading || ' ' || report.report_period || ' – ' || firm) || '</title><style>'
        || 'body{margin:0;background:#eef2f7;color:#1a2433;font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}'
        || 'main{max-width:860px;margin:0 auto;padding:16px}header{background:#1f3a5f;color:#ffffff;border-radius:14px;padding:24px 28px;margin:0 8px 8px}'
        || 'h1{margin:2px 0;font-size:28px;line-height:1.25}header p{margin:0;color:#d9e4f2;overflow-wrap:anywhere}'
        || 'h2{margin:0 0 10px;font-size:18px;color:#1f3a5f}p.note,p.nothing,footer{color:#4d5a6b;font-size:14px;margin:8px 0 0}footer{padding:4px 28px}'
        || 'ul{margin:0;padding-left:20px}li{margin:4px 0;overflow-wrap:anywhere}'
        || 'table{font-size:15px;font-variant-numeric:tabular-nums}.data th,.data td{padding:6px 8px}svg.chart{display:block;width:100%;height:auto;margin:4px 0 12px}'
        || 'svg .label{font-size:14px;fill:#1a2433}svg .small{font-size:12px;fill:#4d5a6b}'
        || '.hidden{position:absolute;width:1px;height:1px;overflow:hidden;clip:rect(0 0 0 0)}'
        || '@media (max-width:620px){main{padding:4px}section{padding:14px 12px !important;overflow-x:auto}.data th,.data td{padding:6px 4px}.data tbody th{min-width:5.5em !important}.data thead th{font-size:12px !important;hyphens:auto;overflow-wrap:anywhere}.cards td{display:inline-block;box-sizing:border-box;width:47%;margin:1%}table{font-size:13px}}'
        || '@media print{body,section,header{background:#ffffff !important}body{font-size:12px}main{max-width:none;padding:0}header,header p{color:#1f3a5f !important}'
        || 'header{padding:0 8px}section{border:0 !important;padding:8px 0 !important}h2{break-after:avoid}tr,svg,li{break-inside:avoid}thead{display:table-header-group}}'
        || '</style></head><body style="margin:0;background:#eef2f7"><main><header style="background:#1f3a5f;color:#ffffff"><p><strong><bdi>'
        || sales_internal.html_text(firm) || '</bdi></strong></p><h1>' || sales_internal.html_text(heading)
        || CASE WHEN named = '' THEN '' ELSE ' – ' || sales_internal.html_text(named) END
        || '</h1><p>' || sales_internal.html_text(span) || '</p></header>'
        || sales_internal.report_cards(report, language)
        || coalesce(parts, '')
        || coalesce('<p class="nothing" style="padding:0 28px">' || sales_internal.html_text(sales_internal.report_sentence(w ->> 'no_data', '{list}', ARRAY[missing])) || '</p>', '')
        || '<footer><p>' || sales_internal.html_text(sales_internal.report_sentence(w ->> 'generated', '{at}', ARRAY[
               sales_internal.report_date(made::date, language) || ', ' || to_char(made, 'HH24:MI')
               || ' (' || (report.key_metrics ->> 'timezone') || ')'])) || '</p></footer></main></body></html>';
END
$$;
COMMENT ON FUNCTION sales_internal.report_page(sales.success_reports, text) IS 'The page of a report in a language';
REVOKE ALL ON FUNCTION sales_internal.report_page(sales.success_reports, text) FROM PUBLIC;

-- For mail clients that show plain text: the figures, the insights, what to do.
CREATE OR REPLACE FUNCTION sales_internal.report_text(report sales.success_reports, language text) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
    SELECT concat_ws(E'\n', (SELECT regexp_replace(c.name, '[[:cntrl:]]', ' ', 'g') FROM sales.companies c WHERE c.company_id = report.company_id),
        concat_ws(' – ', w ->> report.report_type::text, nullif(sales_internal.report_period_text(report.report_period, language), '')),
        sales_internal.report_span(f, language),
        '', (SELECT string_agg((w ->> k.metric) || ': ' || sales_internal.report_number(v.now, k.kind, language, f ->> 'currency')
                               || ' (' || sales_internal.report_change(v.now, v.old, k.kind, language, f ->> 'currency', w ->> 'points') || ')', E'\n' ORDER BY k.place)
             FROM (VALUES (1, 'revenue', 'money'), (2, 'deals_won', 'count'), (3, 'avg_deal_size', 'money'), (4, 'conversion_rate', 'percent'),
                          (5, 'prospects_contacted', 'count'), (6, 'messages_sent', 'count'), (7, 'response_rate', 'percent'),
                          (8, 'meetings_scheduled', 'count'), (9, 'cost', 'money'), (10, 'roi', 'percent')) AS k (place, metric, kind),
                  LATERAL (SELECT (f #>> ARRAY['metrics', k.metric])::numeric, (f #>> ARRAY['previous', k.metric])::numeric) AS v (now, old)),
        (SELECT string_agg(E'\n' || (w ->> i.word) || E'\n' || (
                    SELECT string_agg('- ' || sales_internal.report_item(x, language, f ->> 'currency'), E'\n' ORDER BY n)
                    FROM jsonb_array_elements(i.items) WITH ORDINALITY AS t (x, n)), E'\n' ORDER BY i.place)
         FROM (VALUES (1, 'insights', report.insights_generated), (2, 'recommendations', report.recommendations)) AS i (place, word, items)
         WHERE jsonb_array_length(i.items) > 0), '')
    FROM (SELECT report.key_metrics, sales_internal.report_words(language)) AS r (f, w)
$$;
COMMENT ON FUNCTION sales_internal.report_text(sales.success_reports, text) IS 'A report in short, as plain text';
REVOKE ALL ON FUNCTION sales_internal.report_text(sales.success_reports, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales.report_html(report_id uuid) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    company uuid := sales_internal.require_company();
    wanted uuid := report_html.report_id;
    report sales.success_reports;
BEGIN
    PERFORM sales_internal.require('success_reports', 'read');
    SELECT r.* INTO report FROM sales.success_reports r WHERE r.company_id = company AND r.report_id = wanted;
    IF NOT FOUND OR NOT report.key_metrics ? 'metrics' THEN
        RAISE EXCEPTION 'there is no report %', wanted
            USING ERRCODE = 'no_data_found', HINT = 'Make one with sales.generate_report(type, period).';
    END IF;
    -- The reader's language, else the company's.
    RETURN sales_internal.report_page(report, coalesce(
        (SELECT u.language FROM sales.users u WHERE u.company_id = company AND u.user_id = sales.current_user_id()),
        (SELECT c.language FROM sales.companies c WHERE c.company_id = company)));
END
$$;
COMMENT ON FUNCTION sales.report_html(uuid) IS
    'A report as one self-contained HTML page, in the language of the user, else of the company';
REVOKE ALL ON FUNCTION sales.report_html(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.report_html(uuid) TO sales_app;
