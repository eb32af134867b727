\pset footer off
\pset null '-'
SELECT sales.use_session(sales.login('lumiere.example', 'claire@lumiere.example', 'demo-Claire-2026'), false)
    \g /dev/null
SELECT sales.refresh_metrics() AS n \gset
\echo '  ' :n 'days recomputed; check_metrics() finds this many differences:'
SELECT count(*) AS differences FROM sales.check_metrics();
SELECT to_char(period_start, 'YYYY-MM') AS month, prospects_contacted AS contacted, responses_received AS answers,
       meetings_scheduled AS meetings, deals_won AS won, deals_lost AS lost, total_revenue AS revenue,
       response_rate_percent AS "answer %", conversion_rate_percent AS "won %", roi_calculated AS "ROI %"
FROM sales.success_metrics
WHERE period_end = (period_start + interval '1 month' - interval '1 day')::date
ORDER BY period_start;
\echo '   The funnel now, each stage with what is to be expected of it:'
SELECT stage, prospects, deal_value, expected_value, median_hours FROM sales_bi.funnel_now ORDER BY stage_order;
\echo '   What will come, and the interval in which it lies in eight cases out of ten:'
SELECT month, deals, pipeline_value, expected_value, low_value, high_value, round(expected_deals, 1) AS expected_deals FROM sales_bi.forecast ORDER BY month;
