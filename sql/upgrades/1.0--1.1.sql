-- What version 1.1 changes in tables, types and seeds of version 1.0; the functions follow.

-- Legal holds.
ALTER TABLE sales.prospects ADD COLUMN IF NOT EXISTS legal_hold varchar(200);
COMMENT ON COLUMN sales.prospects.legal_hold IS 'Why erasure and retention must wait, such as a lawsuit (art. 17.3); null: nothing stands in the way';
