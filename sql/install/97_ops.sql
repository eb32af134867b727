-- Operations: the database's worker starts when the extension is there.
SELECT sales_internal.wake_workers();

