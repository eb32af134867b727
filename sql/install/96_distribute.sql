-- A cluster of nodes (Citus): what the coordinator and the triggers on other nodes leave for each other.

-- Domains are unique over all companies, which spread tables cannot check.
CREATE TABLE sales_internal.company_domains (
    domain varchar(50) PRIMARY KEY,
    company_id uuid
);
COMMENT ON TABLE sales_internal.company_domains IS 'Domains of companies once they are spread over nodes, kept by the coordinator; empty before';
COMMENT ON COLUMN sales_internal.company_domains.company_id IS 'Company that has the domain';
SELECT sales_internal.dump_table('sales_internal.company_domains');

CREATE TABLE sales_internal.shard_requests (
    request_id uuid NOT NULL DEFAULT sales.uuidv7(),
    company_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('job', 'revoke')),
    args jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, request_id)
);
COMMENT ON TABLE sales_internal.shard_requests IS 'What triggers on other nodes ask of the coordinator, in the transaction of the change; its worker does it and removes the row';
COMMENT ON COLUMN sales_internal.shard_requests.kind IS 'job: arguments of sales_internal.enqueue(); revoke: whose contexts end, and whose roles are bound again';
SELECT sales_internal.dump_table('sales_internal.shard_requests');
