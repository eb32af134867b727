\pset footer off
SELECT sales.use_session(sales.login('lumiere.example', 'claire@lumiere.example', 'demo-Claire-2026'), false)
    \g /dev/null
\echo '   One message in each language:'
SELECT DISTINCT ON (m.language) m.language, p.first_name || ' ' || p.last_name AS "to", m.subject,
       left(regexp_replace(m.content, '\s+', ' ', 'g'), 72) || '…' AS message
FROM sales.messages m JOIN sales.prospects p USING (company_id, prospect_id)
ORDER BY m.language, m.message_id;
SELECT count(*) AS approved
FROM (SELECT sales.approve_message(message_id) FROM sales.messages) a \gset
\echo '   Claire approves' :approved 'messages; none goes out unapproved.'
\echo '   What the address check found (domains in .example do not exist; without a network nothing is known):'
SELECT enriched_value::jsonb ->> 'status' AS verdict, source_api AS provider, count(*),
       round(avg(confidence_score), 2) AS confidence
FROM sales.enrichments WHERE enrichment_type = 'email_validation' GROUP BY 1, 2 ORDER BY 3 DESC;
