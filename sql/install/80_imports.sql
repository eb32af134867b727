-- Scheduled imports.

CREATE TYPE sales.import_source_type AS ENUM ('csv', 'api', 'ftp', 'email_attachment');
COMMENT ON TYPE sales.import_source_type IS 'Where an import reads from';
CREATE TYPE sales.import_job_status AS ENUM ('active', 'paused', 'failed', 'disabled');
COMMENT ON TYPE sales.import_job_status IS 'State of a scheduled import';

CREATE TABLE sales.import_jobs (
    import_job_id uuid PRIMARY KEY DEFAULT sales.uuidv7(),
    company_id uuid NOT NULL DEFAULT sales.current_company_id()
        REFERENCES sales.companies ON DELETE CASCADE,
    user_id uuid,
    name varchar(100) NOT NULL CHECK (name <> ''),
    source_type sales.import_source_type NOT NULL,
    source_config jsonb NOT NULL DEFAULT '{}',
    schedule_cron varchar(50),
    field_mapping jsonb,
    last_run timestamptz,
    next_run timestamptz,
    status sales.import_job_status NOT NULL DEFAULT 'active',
    records_processed integer NOT NULL DEFAULT 0,
    records_succeeded integer NOT NULL DEFAULT 0,
    records_failed integer NOT NULL DEFAULT 0,
    error_log text,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (company_id, import_job_id),
    FOREIGN KEY (company_id, user_id) REFERENCES sales.users (company_id, user_id)
);
COMMENT ON TABLE sales.import_jobs IS 'Imports of prospects, run by hand or on a schedule';
COMMENT ON COLUMN sales.import_jobs.import_job_id IS 'Key of the import';
COMMENT ON COLUMN sales.import_jobs.company_id IS 'Tenant';
COMMENT ON COLUMN sales.import_jobs.user_id IS 'User who made it';
COMMENT ON COLUMN sales.import_jobs.name IS 'Name';
COMMENT ON COLUMN sales.import_jobs.source_type IS 'csv, api, ftp or email_attachment';
COMMENT ON COLUMN sales.import_jobs.source_config IS 'How to connect; credentials in it are stored encrypted';
COMMENT ON COLUMN sales.import_jobs.schedule_cron IS 'Five-field cron expression in the company''s timezone; null: by hand';
COMMENT ON COLUMN sales.import_jobs.field_mapping IS 'Source header to column, constants, transforms; null: automatic';
COMMENT ON COLUMN sales.import_jobs.last_run IS 'When it last ran';
COMMENT ON COLUMN sales.import_jobs.next_run IS 'When it runs next';
COMMENT ON COLUMN sales.import_jobs.status IS 'active, paused, failed or disabled';
COMMENT ON COLUMN sales.import_jobs.records_processed IS 'Rows read by the last run';
COMMENT ON COLUMN sales.import_jobs.records_succeeded IS 'Rows inserted, updated, unchanged or duplicate';
COMMENT ON COLUMN sales.import_jobs.records_failed IS 'Rows rejected';
COMMENT ON COLUMN sales.import_jobs.error_log IS 'What went wrong in the last run';
COMMENT ON COLUMN sales.import_jobs.created_at IS 'When the import was made';

CALL sales_internal.protect_table('import_jobs', 'import_job_id');

CREATE TABLE sales.import_runs (
    run_id uuid PRIMARY KEY DEFAULT sales.uuidv7(),
    company_id uuid NOT NULL DEFAULT sales.current_company_id()
        REFERENCES sales.companies ON DELETE CASCADE,
    import_job_id uuid,
    user_id uuid,
    status text NOT NULL DEFAULT 'running'
        CHECK (status IN ('running', 'done', 'failed', 'cancelled', 'undone')),
    dry_run boolean NOT NULL DEFAULT false,
    mapping jsonb NOT NULL DEFAULT '{}',
    options jsonb NOT NULL DEFAULT '{}',
    detected jsonb,
    progress jsonb,
    rows_read integer NOT NULL DEFAULT 0,
    rows_inserted integer NOT NULL DEFAULT 0,
    rows_updated integer NOT NULL DEFAULT 0,
    rows_unchanged integer NOT NULL DEFAULT 0,
    rows_duplicate integer NOT NULL DEFAULT 0,
    rows_rejected integer NOT NULL DEFAULT 0,
    error text,
    started_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    UNIQUE (company_id, run_id),
    FOREIGN KEY (company_id, import_job_id) REFERENCES sales.import_jobs (company_id, import_job_id) ON DELETE CASCADE,
    FOREIGN KEY (company_id, user_id) REFERENCES sales.users (company_id, user_id)
);
CREATE INDEX import_runs_company_idx ON sales.import_runs (company_id, started_at DESC);
COMMENT ON TABLE sales.import_runs IS 'Runs of imports: every row read is inserted, updated, unchanged, duplicate or rejected';
COMMENT ON COLUMN sales.import_runs.run_id IS 'Key of the run';
COMMENT ON COLUMN sales.import_runs.company_id IS 'Tenant';
COMMENT ON COLUMN sales.import_runs.import_job_id IS 'Scheduled import that it belongs to; null for import_csv()';
COMMENT ON COLUMN sales.import_runs.user_id IS 'User who imported';
COMMENT ON COLUMN sales.import_runs.status IS 'running, done, failed, cancelled or undone; what a failed or cancelled run had done stays and can be undone';
COMMENT ON COLUMN sales.import_runs.dry_run IS 'True: reported only, nothing was written';
COMMENT ON COLUMN sales.import_runs.mapping IS 'Header to column, as it was used';
COMMENT ON COLUMN sales.import_runs.options IS 'Options of the call';
COMMENT ON COLUMN sales.import_runs.detected IS 'Encoding and delimiter of the file, found or given';
COMMENT ON COLUMN sales.import_runs.progress IS
    'How far it is: file, row, bytes and total of it, files done; a run that was cut off goes on from here';
COMMENT ON COLUMN sales.import_runs.rows_read IS 'Rows after the header; the sum of the five counts below';
COMMENT ON COLUMN sales.import_runs.rows_inserted IS 'New prospects';
COMMENT ON COLUMN sales.import_runs.rows_updated IS 'Prospects that were there and got new values';
COMMENT ON COLUMN sales.import_runs.rows_unchanged IS 'Prospects that were there and stay as they are';
COMMENT ON COLUMN sales.import_runs.rows_duplicate IS 'Rows about the same person as an earlier row of the file';
COMMENT ON COLUMN sales.import_runs.rows_rejected IS 'Rows in import_rejects';
COMMENT ON COLUMN sales.import_runs.error IS 'Why the whole run failed';
COMMENT ON COLUMN sales.import_runs.started_at IS 'When it started';
COMMENT ON COLUMN sales.import_runs.finished_at IS 'When it ended';

CREATE TABLE sales.import_rejects (
    reject_id uuid PRIMARY KEY DEFAULT sales.uuidv7(),
    company_id uuid NOT NULL DEFAULT sales.current_company_id(),
    run_id uuid NOT NULL,
    row_number integer NOT NULL,
    column_name text,
    reason text NOT NULL,
    raw_text text,
    source_name text,
    FOREIGN KEY (company_id, run_id) REFERENCES sales.import_runs (company_id, run_id) ON DELETE CASCADE
);
CREATE INDEX import_rejects_run_idx ON sales.import_rejects (company_id, run_id, row_number);
COMMENT ON TABLE sales.import_rejects IS 'Rows that an import did not take, with the reason';
COMMENT ON COLUMN sales.import_rejects.reject_id IS 'Key of the reject';
COMMENT ON COLUMN sales.import_rejects.company_id IS 'Tenant';
COMMENT ON COLUMN sales.import_rejects.run_id IS 'Run';
COMMENT ON COLUMN sales.import_rejects.row_number IS 'Row of the file, the header being row 1';
COMMENT ON COLUMN sales.import_rejects.column_name IS 'Column that was at fault, if one was';
COMMENT ON COLUMN sales.import_rejects.reason IS 'What is wrong';
COMMENT ON COLUMN sales.import_rejects.raw_text IS 'The row as it was read, at most 10 kB of it';
COMMENT ON COLUMN sales.import_rejects.source_name IS 'File that it stands in, where a run has several';

-- What a run did to prospects, so that it can be undone.
CREATE TABLE sales_internal.import_changes (
    company_id uuid NOT NULL,
    run_id uuid NOT NULL,
    prospect_id uuid NOT NULL,
    address_id uuid,
    before jsonb,
    after jsonb,
    FOREIGN KEY (company_id, run_id) REFERENCES sales.import_runs (company_id, run_id) ON DELETE CASCADE
);
CREATE INDEX import_changes_run_idx ON sales_internal.import_changes (company_id, run_id, prospect_id);
COMMENT ON TABLE sales_internal.import_changes IS
    'Prospects that a run inserted (before is null), updated (the old values) or, while it runs, met unchanged ({}); for undo_import()';
COMMENT ON COLUMN sales_internal.import_changes.after IS 'What the run wrote in place of them; null of runs before version 1.1';
SELECT sales_internal.dump_table('sales_internal.import_changes');

-- Headers of known exports, letters and digits only, lower case, no accents.
CREATE TABLE sales_internal.import_headers (
    header text PRIMARY KEY,
    field text NOT NULL
);
COMMENT ON TABLE sales_internal.import_headers IS
    'Which column a header of a CRM export means; rows are made by the extension';
INSERT INTO sales_internal.import_headers
SELECT header, field FROM (VALUES
    ('first_name', 'firstname prenom nome nombre vorname givenname fname'),
    ('last_name', 'lastname cognome apellido apellidos nachname familyname surname lname nomdefamille'),
    ('full_name', 'name fullname nometcognome nomcomplet nombrecompleto nomecompleto vollername contactname contact'),
    ('email', 'email mail emailaddress courriel correo correoelectronico adressemail adresseemail indirizzoemail emailadresse workemail primaryemail'),
    ('phone', 'phone phonenumber telephone tel telefono telefon mobile mobilephone workdirectphone corporatephone firstphone cellulare portable movil handy numerodetelephone'),
    ('job_title', 'jobtitle title poste fonction titre ruolo qualifica cargo puesto position funktion titel berufsbezeichnung role'),
    ('company_name', 'company companyname societe entreprise raisonsociale ragionesociale azienda impresa empresa razonsocial firma unternehmen organization organisation account accountname associatedcompany'),
    ('company_size', 'numberofemployees employees companysize taille tailleentreprise effectif effectifs dipendenti numerodipendenti empleados numerodeempleados mitarbeiter mitarbeiterzahl noofemployees headcount'),
    ('industry', 'industry secteur secteurdactivite settore sector branche industrie activite'),
    ('street_address', 'address streetaddress street adresse rue indirizzo via direccion calle strasse anschrift'),
    ('city', 'city ville citta ciudad stadt ort companycity'),
    ('postal_code', 'zip zipcode postalcode postcode codepostal cap codigopostal plz postleitzahl'),
    ('region', 'state region stateregion prov provincia provinz bundesland departement companystate'),
    ('country', 'country countryregion pays paese nazione pais land companycountry'),
    ('website', 'website websiteurl url siteweb site sitoweb sitio paginaweb webseite homepage companywebsite web'),
    ('linkedin_url', 'linkedin linkedinurl linkedinprofile personlinkedinurl profillinkedin linkedinbio profileurl'),
    ('twitter_url', 'twitter twitterurl twitterhandle twitterusername'),
    ('blog_url', 'blog blogurl'),
    ('estimated_budget_amount', 'budget estimatedbudget estimatedbudgetamount budgetestime bilancio presupuesto'),
    ('estimated_budget_currency', 'budgetcurrency currency devise divisa valuta moneda wahrung'),
    ('pain_points', 'painpoints besoins problemes esigenze problemi necesidades bedarf'),
    ('notes', 'notes note notas notizen bemerkung bemerkungen commentaire commentaires comments remarks description')) v (field, headers)
CROSS JOIN LATERAL unnest(string_to_array(headers, ' ')) header
ON CONFLICT DO NOTHING;

-- What people are matched by, with the company inside: one condition, one index.
CREATE FUNCTION sales_internal.email_key(company uuid, email text) RETURNS uuid
    AS 'MODULE_PATHNAME', 'sales_email_key'
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sales_internal.email_key(uuid, text) IS 'An e-mail address without case, and its company';
REVOKE ALL ON FUNCTION sales_internal.email_key(uuid, text) FROM PUBLIC;
CREATE FUNCTION sales_internal.linkedin_key(company uuid, url text) RETURNS uuid
    AS 'MODULE_PATHNAME', 'sales_linkedin_key'
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sales_internal.linkedin_key(uuid, text) IS 'A LinkedIn address without host, query and case, and its company';
REVOKE ALL ON FUNCTION sales_internal.linkedin_key(uuid, text) FROM PUBLIC;
CREATE FUNCTION sales_internal.phone_key(company uuid, phone text) RETURNS uuid
    AS 'MODULE_PATHNAME', 'sales_phone_key'
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sales_internal.phone_key(uuid, text) IS
    'The last nine digits of a telephone number (so with or without its country), and its company; null for what cannot tell people apart';
REVOKE ALL ON FUNCTION sales_internal.phone_key(uuid, text) FROM PUBLIC;
CREATE FUNCTION sales_internal.name_key(company uuid, first_name text, last_name text, company_name text) RETURNS uuid
    AS 'MODULE_PATHNAME', 'sales_name_key'
    LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION sales_internal.name_key(uuid, text, text, text) IS
    'Name and company name, if there is one, without case, and the company; null without a name';
REVOKE ALL ON FUNCTION sales_internal.name_key(uuid, text, text, text) FROM PUBLIC;

-- Whoever writes a prospect computes them, for the indexes.
GRANT EXECUTE ON FUNCTION sales_internal.email_key(uuid, text), sales_internal.linkedin_key(uuid, text),
    sales_internal.phone_key(uuid, text), sales_internal.name_key(uuid, text, text, text) TO sales_app, sales_admin;
CREATE INDEX prospects_email_key_idx ON sales.prospects (sales_internal.email_key(company_id, email))
    WHERE deleted_at IS NULL AND email IS NOT NULL;
CREATE INDEX prospects_linkedin_key_idx ON sales.prospects (sales_internal.linkedin_key(company_id, linkedin_url))
    WHERE deleted_at IS NULL AND linkedin_url IS NOT NULL;
CREATE INDEX prospects_phone_key_idx ON sales.prospects (sales_internal.phone_key(company_id, phone))
    WHERE deleted_at IS NULL AND phone IS NOT NULL;
CREATE INDEX prospects_name_key_idx ON sales.prospects (sales_internal.name_key(company_id, first_name, last_name, company_name))
    WHERE deleted_at IS NULL;

-- Files of a company's own, in parts of a size that a client can send.
CREATE TABLE sales.import_uploads (
    upload_id uuid NOT NULL DEFAULT sales.uuidv7(),
    part integer NOT NULL DEFAULT 1 CHECK (part > 0),
    company_id uuid NOT NULL DEFAULT sales.current_company_id()
        REFERENCES sales.companies ON DELETE CASCADE,
    name text,
    content bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (upload_id, part),
    UNIQUE (company_id, upload_id, part)
);
ALTER TABLE sales.import_uploads ALTER COLUMN content SET STORAGE EXTERNAL;
COMMENT ON TABLE sales.import_uploads IS
    'Files for imports of type csv: one row a part, to be read one after the other; removed when they are imported';
COMMENT ON COLUMN sales.import_uploads.upload_id IS 'Key of the file; source_config names it as upload_id';
COMMENT ON COLUMN sales.import_uploads.part IS 'Number of the part, from 1 without a gap';
COMMENT ON COLUMN sales.import_uploads.company_id IS 'Tenant';
COMMENT ON COLUMN sales.import_uploads.name IS 'Name of the file';
COMMENT ON COLUMN sales.import_uploads.content IS 'Bytes of the part, in any encoding; some megabytes are a good size';
COMMENT ON COLUMN sales.import_uploads.created_at IS 'When it was sent';

-- What a run fetched and has to import; the content goes when it is done.
CREATE TABLE sales_internal.import_files (
    file_id uuid PRIMARY KEY DEFAULT sales.uuidv7(),
    company_id uuid NOT NULL,
    run_id uuid NOT NULL,
    source_key text NOT NULL,
    name text,
    content bytea,
    state text NOT NULL DEFAULT 'new' CHECK (state IN ('new', 'done', 'failed')),
    rows_done bigint NOT NULL DEFAULT 0,
    UNIQUE (run_id, source_key),
    FOREIGN KEY (company_id, run_id) REFERENCES sales.import_runs (company_id, run_id) ON DELETE CASCADE
);
ALTER TABLE sales_internal.import_files ALTER COLUMN content SET STORAGE EXTERNAL;
COMMENT ON TABLE sales_internal.import_files IS 'Files of runs: fetched, or (content null) an upload';
COMMENT ON COLUMN sales_internal.import_files.rows_done IS 'Number of the last row that was imported; the run goes on behind it';
SELECT sales_internal.dump_table('sales_internal.import_files');

CREATE TABLE sales_internal.import_taken (
    company_id uuid NOT NULL,
    import_job_id uuid NOT NULL,
    source_key text NOT NULL,
    taken_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, import_job_id, source_key),
    FOREIGN KEY (company_id, import_job_id) REFERENCES sales.import_jobs (company_id, import_job_id) ON DELETE CASCADE
);
COMMENT ON TABLE sales_internal.import_taken IS 'Files and mails that an import has taken: each is taken once';
SELECT sales_internal.dump_table('sales_internal.import_taken');

CALL sales_internal.protect_table('import_uploads', 'upload_id', commands => '{select,insert,delete}', audited => false);
-- Who sent a file and who took it away; what is in it may be read and is not kept.
SELECT sales_internal.audit_table('import_uploads', 'upload_id', '{name,content}');
CALL sales_internal.protect_table('import_runs', 'run_id', commands => '{select}');
CALL sales_internal.protect_table('import_rejects', 'reject_id', commands => '{select}', audited => false);

