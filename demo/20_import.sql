-- As the application, logged in as Claire of Lumière.
\pset footer off
SELECT sales.use_session(sales.login('lumiere.example', 'claire@lumiere.example', 'demo-Claire-2026'), false)
    \g /dev/null
\set csv `cat "$DEMO_CSV"`
SELECT product_id FROM sales.products LIMIT 1 \gset
SELECT sales.import_csv(:'csv', options => jsonb_build_object('product_id', :'product_id')) AS run \gset
SELECT rows_read, rows_inserted, rows_updated, rows_duplicate, rows_rejected
FROM sales.import_runs WHERE run_id = :'run';
\echo '   Rejected rows, each with its reason:'
SELECT row_number AS row, column_name AS "column", reason, left(raw_text, 46) AS "raw text"
FROM sales.import_rejects WHERE run_id = :'run' ORDER BY row_number LIMIT 8;
