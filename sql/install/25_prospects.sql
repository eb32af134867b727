-- Reference data, addresses, prospects.

CREATE TABLE sales.company_sizes (
    size_id uuid PRIMARY KEY DEFAULT sales.uuidv7(),
    size_range varchar(20) NOT NULL UNIQUE,
    min_employees integer NOT NULL CHECK (min_employees >= 0),
    max_employees integer CHECK (max_employees >= min_employees),
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE sales.company_sizes IS 'Size ranges of companies; reference data of all tenants';
COMMENT ON COLUMN sales.company_sizes.size_id IS 'Key of the range, the same on every installation';
COMMENT ON COLUMN sales.company_sizes.size_range IS 'The range as people write it, such as 11-50';
COMMENT ON COLUMN sales.company_sizes.min_employees IS 'Fewest employees';
COMMENT ON COLUMN sales.company_sizes.max_employees IS 'Most employees; null: no upper end';
COMMENT ON COLUMN sales.company_sizes.created_at IS 'When the row was made';

CREATE TABLE sales.industries (
    industry_id uuid PRIMARY KEY DEFAULT sales.uuidv7(),
    name varchar(100) NOT NULL UNIQUE,
    description text,
    nace_codes jsonb NOT NULL DEFAULT '[]',
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE sales.industries IS 'Sectors of activity; reference data of all tenants, seeded with the sections of NACE';
COMMENT ON COLUMN sales.industries.industry_id IS 'Key of the sector, the same on every installation';
COMMENT ON COLUMN sales.industries.name IS 'Name of the sector';
COMMENT ON COLUMN sales.industries.description IS 'What belongs to it';
COMMENT ON COLUMN sales.industries.nace_codes IS 'European NACE Rev. 2 codes, an array: section letter, then divisions';
COMMENT ON COLUMN sales.industries.created_at IS 'When the row was made';

INSERT INTO sales.company_sizes (size_id, size_range, min_employees, max_employees) VALUES
    ('5a1e5000-0000-7000-8000-000000000001', '1-10', 1, 10),
    ('5a1e5000-0000-7000-8000-000000000002', '11-50', 11, 50),
    ('5a1e5000-0000-7000-8000-000000000003', '51-200', 51, 200),
    ('5a1e5000-0000-7000-8000-000000000004', '201-1000', 201, 1000),
    ('5a1e5000-0000-7000-8000-000000000005', '1000+', 1001, NULL);

INSERT INTO sales.industries (industry_id, name, description, nace_codes) VALUES
    ('5a1e5000-0000-7000-9000-000000000001', 'Agriculture, forestry and fishing', 'Crops, animals, forestry, fishing', '["A","01","02","03"]'),
    ('5a1e5000-0000-7000-9000-000000000002', 'Mining and quarrying', 'Coal, petroleum, ores, stone', '["B","05","06","07","08","09"]'),
    ('5a1e5000-0000-7000-9000-000000000003', 'Manufacturing', 'Food, textiles, chemicals, metals, machines, vehicles and other goods', '["C","10","11","12","13","14","15","16","17","18","19","20","21","22","23","24","25","26","27","28","29","30","31","32","33"]'),
    ('5a1e5000-0000-7000-9000-000000000004', 'Electricity, gas, steam and air conditioning supply', 'Energy supply', '["D","35"]'),
    ('5a1e5000-0000-7000-9000-000000000005', 'Water supply, sewerage and waste management', 'Water, sewerage, waste, remediation', '["E","36","37","38","39"]'),
    ('5a1e5000-0000-7000-9000-000000000006', 'Construction', 'Buildings, civil engineering, specialised trades', '["F","41","42","43"]'),
    ('5a1e5000-0000-7000-9000-000000000007', 'Wholesale and retail trade', 'Trade and repair of motor vehicles, wholesale, retail', '["G","45","46","47"]'),
    ('5a1e5000-0000-7000-9000-000000000008', 'Transportation and storage', 'Land, water and air transport, warehousing, post', '["H","49","50","51","52","53"]'),
    ('5a1e5000-0000-7000-9000-000000000009', 'Accommodation and food service', 'Hotels, restaurants, catering', '["I","55","56"]'),
    ('5a1e5000-0000-7000-9000-000000000010', 'Information and communication', 'Publishing, film, telecommunications, software, information services', '["J","58","59","60","61","62","63"]'),
    ('5a1e5000-0000-7000-9000-000000000011', 'Financial and insurance activities', 'Banks, insurance, pension funds', '["K","64","65","66"]'),
    ('5a1e5000-0000-7000-9000-000000000012', 'Real estate activities', 'Buying, selling, renting and managing real estate', '["L","68"]'),
    ('5a1e5000-0000-7000-9000-000000000013', 'Professional, scientific and technical activities', 'Law, accounting, consulting, engineering, research, advertising', '["M","69","70","71","72","73","74","75"]'),
    ('5a1e5000-0000-7000-9000-000000000014', 'Administrative and support services', 'Rental, employment, travel, security, cleaning, office support', '["N","77","78","79","80","81","82"]'),
    ('5a1e5000-0000-7000-9000-000000000015', 'Public administration and defence', 'Government, compulsory social security', '["O","84"]'),
    ('5a1e5000-0000-7000-9000-000000000016', 'Education', 'Schools, universities, training', '["P","85"]'),
    ('5a1e5000-0000-7000-9000-000000000017', 'Human health and social work', 'Health care, residential care, social work', '["Q","86","87","88"]'),
    ('5a1e5000-0000-7000-9000-000000000018', 'Arts, entertainment and recreation', 'Arts, museums, gambling, sports', '["R","90","91","92","93"]'),
    ('5a1e5000-0000-7000-9000-000000000019', 'Other service activities', 'Associations, repair, personal services', '["S","94","95","96"]'),
    ('5a1e5000-0000-7000-9000-000000000020', 'Households as employers', 'Households that employ or produce for own use', '["T","97","98"]'),
    ('5a1e5000-0000-7000-9000-000000000021', 'Extraterritorial organisations', 'International organisations and bodies', '["U","99"]');

CREATE TRIGGER replace_seed BEFORE INSERT ON sales.company_sizes
    FOR EACH ROW EXECUTE FUNCTION sales_internal.replace_seed('size_id');
ALTER TABLE sales.company_sizes ENABLE ALWAYS TRIGGER replace_seed;
CREATE TRIGGER replace_seed BEFORE INSERT ON sales.industries
    FOR EACH ROW EXECUTE FUNCTION sales_internal.replace_seed('industry_id');
ALTER TABLE sales.industries ENABLE ALWAYS TRIGGER replace_seed;
SELECT sales_internal.dump_table('sales.company_sizes');
SELECT sales_internal.dump_table('sales.industries');
GRANT SELECT ON sales.company_sizes, sales.industries TO sales_app, sales_bi;
GRANT SELECT, INSERT, UPDATE, DELETE ON sales.company_sizes, sales.industries TO sales_admin;

CREATE TABLE sales.addresses (
    address_id uuid PRIMARY KEY DEFAULT sales.uuidv7(),
    company_id uuid NOT NULL DEFAULT sales.current_company_id()
        REFERENCES sales.companies ON DELETE CASCADE,
    street_address varchar(200),
    city varchar(100),
    postal_code varchar(20),
    region varchar(100),
    country varchar(50),
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (company_id, address_id)
);
COMMENT ON TABLE sales.addresses IS 'Addresses; each belongs to one tenant, as an address is personal data';
COMMENT ON COLUMN sales.addresses.address_id IS 'Key of the address';
COMMENT ON COLUMN sales.addresses.company_id IS 'Tenant';
COMMENT ON COLUMN sales.addresses.street_address IS 'Street and number';
COMMENT ON COLUMN sales.addresses.city IS 'City';
COMMENT ON COLUMN sales.addresses.postal_code IS 'Postal code';
COMMENT ON COLUMN sales.addresses.region IS 'State or region';
COMMENT ON COLUMN sales.addresses.country IS 'Country';
COMMENT ON COLUMN sales.addresses.created_at IS 'When the address was made';

CREATE TYPE sales.prospect_status AS ENUM
    ('nouveau', 'a_contacter', 'contacte', 'interesse', 'negocie', 'client', 'perdu');
COMMENT ON TYPE sales.prospect_status IS 'Where a prospect stands; kept in step with conversion_funnel.stage';
CREATE TYPE sales.prospect_source AS ENUM ('import_csv', 'manual', 'api', 'enrichment');
COMMENT ON TYPE sales.prospect_source IS 'Where a prospect came from; file, ftp and e-mail imports are import_csv';

CREATE TABLE sales.prospects (
    prospect_id uuid PRIMARY KEY DEFAULT sales.uuidv7(),
    company_id uuid NOT NULL DEFAULT sales.current_company_id()
        REFERENCES sales.companies ON DELETE CASCADE,
    product_id uuid,
    first_name varchar(50),
    last_name varchar(50),
    email varchar(100),
    phone varchar(20),
    job_title varchar(100),
    company_name varchar(100),
    company_size_id uuid REFERENCES sales.company_sizes,
    industry_id uuid REFERENCES sales.industries,
    address_id uuid,
    website varchar(200),
    linkedin_url varchar(200),
    twitter_url varchar(200),
    blog_url varchar(200),
    ai_score integer CONSTRAINT chk_ai_score CHECK (ai_score >= 0 AND ai_score <= 100),
    estimated_budget_amount decimal(10,2) CHECK (estimated_budget_amount >= 0),
    estimated_budget_currency varchar(3) CHECK (estimated_budget_currency ~ '^[A-Z]{3}$'),
    pain_points text,
    tender_opportunities jsonb,
    tender_last_update timestamptz,
    competitive_intel jsonb,
    status sales.prospect_status NOT NULL DEFAULT 'nouveau',
    source sales.prospect_source NOT NULL DEFAULT 'manual',
    notes text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    UNIQUE (company_id, prospect_id),
    FOREIGN KEY (company_id, product_id) REFERENCES sales.products (company_id, product_id),
    FOREIGN KEY (company_id, address_id) REFERENCES sales.addresses (company_id, address_id)
);
CREATE INDEX idx_prospects_company_status ON sales.prospects (company_id, status);
CREATE INDEX idx_prospects_email ON sales.prospects (email);
CREATE INDEX idx_prospects_company_name ON sales.prospects (company_name);
CREATE INDEX prospects_company_created_idx ON sales.prospects (company_id, created_at DESC);
CREATE INDEX prospects_product_idx ON sales.prospects (company_id, product_id);
CREATE INDEX prospects_address_idx ON sales.prospects (company_id, address_id);
COMMENT ON TABLE sales.prospects IS 'People to win as clients';
COMMENT ON COLUMN sales.prospects.prospect_id IS 'Key of the prospect';
COMMENT ON COLUMN sales.prospects.company_id IS 'Tenant';
COMMENT ON COLUMN sales.prospects.product_id IS 'Product meant for the prospect';
COMMENT ON COLUMN sales.prospects.first_name IS 'First name';
COMMENT ON COLUMN sales.prospects.last_name IS 'Last name';
COMMENT ON COLUMN sales.prospects.email IS 'E-mail address';
COMMENT ON COLUMN sales.prospects.phone IS 'Telephone number';
COMMENT ON COLUMN sales.prospects.job_title IS 'Title in the company';
COMMENT ON COLUMN sales.prospects.company_name IS 'Company that the prospect works for';
COMMENT ON COLUMN sales.prospects.company_size_id IS 'Size range of that company';
COMMENT ON COLUMN sales.prospects.industry_id IS 'Sector of that company';
COMMENT ON COLUMN sales.prospects.address_id IS 'Address';
COMMENT ON COLUMN sales.prospects.website IS 'Web site';
COMMENT ON COLUMN sales.prospects.linkedin_url IS 'LinkedIn profile';
COMMENT ON COLUMN sales.prospects.twitter_url IS 'Twitter profile';
COMMENT ON COLUMN sales.prospects.blog_url IS 'Blog';
COMMENT ON COLUMN sales.prospects.ai_score IS 'Calibrated chance of a win in percent, 0 to 100; null where nothing is known';
COMMENT ON COLUMN sales.prospects.estimated_budget_amount IS 'Budget as estimated';
COMMENT ON COLUMN sales.prospects.estimated_budget_currency IS 'ISO 4217 code of the budget';
COMMENT ON COLUMN sales.prospects.pain_points IS 'What troubles the prospect';
COMMENT ON COLUMN sales.prospects.tender_opportunities IS 'Public tenders that matter for the sector';
COMMENT ON COLUMN sales.prospects.tender_last_update IS 'When the tenders were last looked up';
COMMENT ON COLUMN sales.prospects.competitive_intel IS 'What is known of competitors';
COMMENT ON COLUMN sales.prospects.status IS 'Where the prospect stands; follows conversion_funnel.stage and leads it';
COMMENT ON COLUMN sales.prospects.source IS 'Where the prospect came from';
COMMENT ON COLUMN sales.prospects.notes IS 'Notes';
COMMENT ON COLUMN sales.prospects.created_at IS 'When the prospect was added';
COMMENT ON COLUMN sales.prospects.updated_at IS 'When the row last changed';
COMMENT ON COLUMN sales.prospects.deleted_at IS 'When an application deleted the prospect; hidden from applications since';

CALL sales_internal.protect_table('addresses', 'address_id');
CALL sales_internal.protect_table('prospects', 'prospect_id', soft_delete => true);

