-- Four months of sales work, made up but the same on every run: what happens
-- to a prospect follows from its data (so that there is something to learn)
-- and from a hash of its e-mail address.  Run as the DBA, who may back-date
-- freely, in the tenant's context so that triggers and audit see Lumière.
\pset footer off
SELECT c.company_id, u.user_id FROM sales.companies c JOIN sales.users u USING (company_id)
WHERE c.domain = 'lumiere.example' \gset
SELECT sales.set_tenant(:'company_id', :'user_id', false) \g /dev/null
CREATE TEMP TABLE plan AS
SELECT p.prospect_id,
       -- a chance in [0,1), stable for each prospect and purpose
       (hashtextextended(p.email, 1) & 1048575) / 1048576.0 AS luck,
       (hashtextextended(p.email, 2) & 1048575) / 1048576.0 AS luck2,
       date_trunc('day', now()) - interval '112 days'
           + ((hashtextextended(p.email, 3) & 1048575) / 1048576.0 * 110) * interval '1 day'
           + interval '9 hours' AS start,
       0.16 + 0.16 * coalesce((s.min_employees > 50)::int, 0) + 0.18 * coalesce((p.estimated_budget_amount > 8000)::int, 0)
            + 0.12 * (coalesce(p.job_title, '') ~* 'direct|chief|gerente|geschäft|amministratore|founder|gérant|head')::int
            + 0.10 * (p.pain_points IS NOT NULL)::int AS appetite,
       coalesce(p.estimated_budget_amount, 2400) AS budget
FROM sales.prospects p LEFT JOIN sales.company_sizes s ON s.size_id = p.company_size_id
WHERE p.company_id = :'company_id' AND p.email IS NOT NULL;
UPDATE sales.prospects p SET created_at = plan.start - interval '3 days'
FROM plan WHERE plan.prospect_id = p.prospect_id;

-- Everybody is written to; some answer.
INSERT INTO sales.interactions (company_id, prospect_id, user_id, channel, type, subject, content,
    response_received, response_content, interaction_date)
SELECT :'company_id', prospect_id, :'user_id',
       (CASE WHEN luck2 < 0.7 THEN 'email' ELSE 'linkedin' END)::sales.interaction_channel, 'sent',
       'Cap Vente', 'Premier contact', luck < appetite + 0.15,
       CASE WHEN luck < appetite THEN 'Merci, cela m''intéresse beaucoup, appelez-moi.'
            WHEN luck < appetite + 0.15 THEN 'Non merci, pas de budget, ne me contactez plus.' END,
       start
FROM plan WHERE start < now();
-- Those who liked it meet; some get an offer; some buy.
INSERT INTO sales.tasks (company_id, prospect_id, assigned_to, type, title, status, created_at, completed_at)
SELECT :'company_id', prospect_id, :'user_id', 'meeting', 'Démonstration', 'completed',
       start + interval '2 days', start + interval '6 days'
FROM plan WHERE luck < appetite AND start + interval '6 days' < now();
INSERT INTO sales.interactions (company_id, prospect_id, user_id, channel, type, content, interaction_date)
SELECT :'company_id', prospect_id, :'user_id', 'meeting', 'meeting_held', 'Démonstration', start + interval '6 days'
FROM plan WHERE luck < appetite AND start + interval '6 days' < now();
INSERT INTO sales.conversion_funnel (company_id, prospect_id, stage, stage_entered_at, deal_value, loss_reason, created_by)
SELECT :'company_id', prospect_id, stage::sales.funnel_stage, at, value, reason, :'user_id'
FROM (
    SELECT prospect_id, 'contacte' AS stage, start AS at, NULL::numeric AS value, NULL AS reason FROM plan
    UNION ALL
    SELECT prospect_id, 'interesse', start + interval '30 hours', budget, NULL FROM plan WHERE luck < appetite
    UNION ALL
    SELECT prospect_id, 'demo_programmee', start + interval '2 days', budget, NULL FROM plan WHERE luck < appetite
    UNION ALL
    SELECT prospect_id, 'proposition_envoyee', start + interval '8 days', budget, NULL FROM plan WHERE luck < appetite * 0.8
    UNION ALL
    SELECT prospect_id, 'client', start + interval '19 days' + luck2 * interval '12 days', round(budget * 0.9, 2), NULL
    FROM plan WHERE luck < appetite * 0.5
    UNION ALL
    SELECT prospect_id, 'perdu', start + interval '15 days' + luck2 * interval '20 days', budget,
           CASE WHEN luck2 < 0.4 THEN 'prix' WHEN luck2 < 0.75 THEN 'timing' ELSE 'concurrent' END
    FROM plan WHERE luck >= appetite * 0.6 AND luck2 < 0.85
) steps
WHERE at < now()
ORDER BY at;
SELECT (SELECT count(*) FROM sales.interactions WHERE company_id = :'company_id') AS interactions,
       (SELECT count(*) FROM sales.interactions WHERE company_id = :'company_id' AND response_received) AS answers,
       (SELECT count(*) FROM sales.tasks WHERE company_id = :'company_id') AS meetings,
       (SELECT count(*) FROM sales.conversion_funnel WHERE company_id = :'company_id' AND stage = 'client') AS won,
       (SELECT count(*) FROM sales.conversion_funnel WHERE company_id = :'company_id' AND stage = 'perdu') AS lost;
