-- What was learned about prospects from outside.

CREATE TYPE sales.enrichment_type AS ENUM
    ('website', 'linkedin', 'twitter', 'company_info', 'email_validation');
COMMENT ON TYPE sales.enrichment_type IS 'What is looked up';
CREATE TYPE sales.enrichment_status AS ENUM ('pending', 'completed', 'failed', 'expired');
COMMENT ON TYPE sales.enrichment_status IS 'State of an enrichment';

CREATE TABLE sales.enrichments (
    enrichment_id uuid PRIMARY KEY DEFAULT sales.uuidv7(),
    company_id uuid NOT NULL DEFAULT sales.current_company_id(),
    prospect_id uuid NOT NULL,
    enrichment_type sales.enrichment_type NOT NULL,
    source_api varchar(50),
    original_value text,
    enriched_value text,
    confidence_score decimal(3,2) CHECK (confidence_score BETWEEN 0 AND 1),
    cost decimal(6,4) NOT NULL DEFAULT 0 CHECK (cost >= 0),
    status sales.enrichment_status NOT NULL DEFAULT 'pending',
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    UNIQUE (company_id, enrichment_id),
    FOREIGN KEY (company_id, prospect_id)
        REFERENCES sales.prospects (company_id, prospect_id) ON DELETE CASCADE
);
CREATE INDEX enrichments_prospect_idx ON sales.enrichments (company_id, prospect_id);
CREATE INDEX enrichments_company_created_idx ON sales.enrichments (company_id, created_at);
COMMENT ON TABLE sales.enrichments IS 'What was learned about prospects, from where, and what it cost';
COMMENT ON COLUMN sales.enrichments.enrichment_id IS 'Key of the enrichment';
COMMENT ON COLUMN sales.enrichments.company_id IS 'Tenant';
COMMENT ON COLUMN sales.enrichments.prospect_id IS 'Prospect';
COMMENT ON COLUMN sales.enrichments.enrichment_type IS 'website, linkedin, twitter, company_info or email_validation';
COMMENT ON COLUMN sales.enrichments.source_api IS 'Provider that answered, such as hunter; local: this server';
COMMENT ON COLUMN sales.enrichments.original_value IS 'Values before, as JSON; what revert_enrichment() puts back';
COMMENT ON COLUMN sales.enrichments.enriched_value IS 'Values found, as JSON';
COMMENT ON COLUMN sales.enrichments.confidence_score IS 'Trust in the answer, 0.00 to 1.00';
COMMENT ON COLUMN sales.enrichments.cost IS 'Cost of the calls in the setting billing.currency';
COMMENT ON COLUMN sales.enrichments.status IS 'pending, completed, failed or expired';
COMMENT ON COLUMN sales.enrichments.created_at IS 'When it was asked for';
COMMENT ON COLUMN sales.enrichments.expires_at IS 'When the answer is no longer taken as fresh';

CALL sales_internal.protect_table('enrichments', 'enrichment_id');

