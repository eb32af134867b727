SELECT sales.use_session(sales.login('lumiere.example', 'claire@lumiere.example', 'demo-Claire-2026'), false)
    \g /dev/null
SELECT sales.generate_report('quarterly', to_char(now(), 'YYYY-"Q"Q')) AS report \gset
SELECT sales.report_html(:'report');
