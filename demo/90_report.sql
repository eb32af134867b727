SELECT sales.use_session(sales.login('lumiere.example', 'claire@lumiere.example', 'demo-Claire-2026'), false)
    \g /dev/null
-- the last month that is over
SELECT sales.generate_report('monthly') AS report \gset
SELECT sales.report_html(:'report');
