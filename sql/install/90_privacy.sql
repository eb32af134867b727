-- Privacy: what erasure and retention need beside the tables of the domains.

ALTER TABLE sales.prospects ADD COLUMN erased_at timestamptz;
COMMENT ON COLUMN sales.prospects.erased_at IS 'When sales.gdpr_erase() erased the person; the row stays for the metrics';
ALTER TABLE sales.prospects ADD COLUMN legal_hold varchar(200);
COMMENT ON COLUMN sales.prospects.legal_hold IS 'Why erasure and retention must wait, such as a lawsuit (art. 17.3); null: nothing stands in the way';

-- How to find a person in text: patterns are regular expressions, case aside.
CREATE TYPE sales_internal.person_pattern AS (
    sure text,          -- addresses, numbers, profiles, full names: each is the person
    pairs text[],       -- first and last name, both somewhere in the text
    words text,         -- first or last name alone: the person only where a pair is found
    -- what a text that matches sure or pairs cannot do without, case aside: one of needles or numbers, or a first and a last name
    needles text[],     -- addresses and profiles
    numbers text[],     -- eight digits, with separators between them at most
    firsts text[],
    lasts text[]
);
COMMENT ON TYPE sales_internal.person_pattern IS 'Patterns by which a person is found in text; made by sales_internal.person_pattern()';

INSERT INTO sales_internal.setting_defaults VALUES
    ('privacy.retention_prospects_months', NULL, 'Prospects that are no clients and without any activity for so many months are erased; none: kept'),
    ('privacy.retention_deleted_days', NULL, 'Prospects that were deleted are erased after so many days; none: kept'),
    ('privacy.retention_texts_months', NULL, 'Texts of messages, interactions and tasks older than so many months are removed, their rows stay for the metrics; none: kept'),
    ('privacy.retention_audit_months', NULL, 'Audit rows older than so many whole months are removed; none: kept'),
    ('privacy.retention_jobs_days', '90', 'Ended jobs older than so many days are removed; none: kept'),
    ('privacy.retention_rejects_days', '90', 'Rows that imports did not take are removed after so many days; none: kept');
