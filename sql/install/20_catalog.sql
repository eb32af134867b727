-- What a company sells: products, prices, benefits, message templates.

CREATE TABLE sales.products (
    product_id uuid PRIMARY KEY DEFAULT sales.uuidv7(),
    company_id uuid NOT NULL DEFAULT sales.current_company_id()
        REFERENCES sales.companies ON DELETE CASCADE,
    name varchar(100) NOT NULL CHECK (name <> ''),
    description text,
    target_market varchar(100),
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (company_id, product_id)
);
COMMENT ON TABLE sales.products IS 'Products that a company sells';
COMMENT ON COLUMN sales.products.product_id IS 'Key of the product';
COMMENT ON COLUMN sales.products.company_id IS 'Tenant';
COMMENT ON COLUMN sales.products.name IS 'Name of the product';
COMMENT ON COLUMN sales.products.description IS 'Description at length';
COMMENT ON COLUMN sales.products.target_market IS 'Market aimed at, such as real estate or schools';
COMMENT ON COLUMN sales.products.is_active IS 'Is it sold now?';
COMMENT ON COLUMN sales.products.created_at IS 'When the product was made';

CREATE TYPE sales.price_type AS ENUM ('fixed', 'range_min', 'range_max');
COMMENT ON TYPE sales.price_type IS 'fixed, or one end of a range; a range is two rows of the same validity';

CREATE TABLE sales.product_pricing (
    pricing_id uuid PRIMARY KEY DEFAULT sales.uuidv7(),
    company_id uuid NOT NULL DEFAULT sales.current_company_id(),
    product_id uuid NOT NULL,
    price_amount decimal(10,2) NOT NULL CHECK (price_amount >= 0),
    currency varchar(3) NOT NULL DEFAULT 'EUR' CHECK (currency ~ '^[A-Z]{3}$'),
    price_type sales.price_type NOT NULL DEFAULT 'fixed',
    valid_from date NOT NULL DEFAULT current_date,
    valid_until date CHECK (valid_until >= valid_from),
    created_at timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (company_id, product_id)
        REFERENCES sales.products (company_id, product_id) ON DELETE CASCADE
);
CREATE INDEX product_pricing_product_idx ON sales.product_pricing (company_id, product_id);
COMMENT ON TABLE sales.product_pricing IS 'Prices of products over time; see the view sales.current_prices';
COMMENT ON COLUMN sales.product_pricing.pricing_id IS 'Key of the price';
COMMENT ON COLUMN sales.product_pricing.company_id IS 'Tenant';
COMMENT ON COLUMN sales.product_pricing.product_id IS 'Product';
COMMENT ON COLUMN sales.product_pricing.price_amount IS 'Amount in the currency';
COMMENT ON COLUMN sales.product_pricing.currency IS 'ISO 4217 code: EUR, USD, GBP';
COMMENT ON COLUMN sales.product_pricing.price_type IS 'fixed, range_min or range_max';
COMMENT ON COLUMN sales.product_pricing.valid_from IS 'First day of validity';
COMMENT ON COLUMN sales.product_pricing.valid_until IS 'Last day of validity; null: open';
COMMENT ON COLUMN sales.product_pricing.created_at IS 'When the price was made';

-- No two validities of one kind and currency overlap.  GiST cannot test a uuid
-- for equality without btree_gist, which an extension cannot ask for without
-- CASCADE; so company, product, currency and kind become one point of a range by
-- a 64-bit hash.  The company is in it: a constraint looks past row security,
-- and must not tell of another company's prices.
ALTER TABLE sales.product_pricing ADD CONSTRAINT product_pricing_no_overlap EXCLUDE USING gist (
    int8range(uuid_hash_extended(product_id, uuid_hash_extended(company_id, (hashenum(price_type)::bigint << 31) # hashtext(currency))) >> 1,
              uuid_hash_extended(product_id, uuid_hash_extended(company_id, (hashenum(price_type)::bigint << 31) # hashtext(currency))) >> 1,
              '[]') WITH &&,
    daterange(valid_from, valid_until, '[]') WITH &&);

CREATE TABLE sales.product_benefits (
    benefit_id uuid PRIMARY KEY DEFAULT sales.uuidv7(),
    company_id uuid NOT NULL DEFAULT sales.current_company_id(),
    product_id uuid NOT NULL,
    benefit_text varchar(200) NOT NULL CHECK (benefit_text <> ''),
    priority_order integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (company_id, product_id)
        REFERENCES sales.products (company_id, product_id) ON DELETE CASCADE
);
CREATE INDEX product_benefits_product_idx
    ON sales.product_benefits (company_id, product_id, priority_order);
COMMENT ON TABLE sales.product_benefits IS 'Benefits of a product, one a row';
COMMENT ON COLUMN sales.product_benefits.benefit_id IS 'Key of the benefit';
COMMENT ON COLUMN sales.product_benefits.company_id IS 'Tenant';
COMMENT ON COLUMN sales.product_benefits.product_id IS 'Product';
COMMENT ON COLUMN sales.product_benefits.benefit_text IS 'The benefit in one sentence';
COMMENT ON COLUMN sales.product_benefits.priority_order IS 'Order of importance, 1 first';
COMMENT ON COLUMN sales.product_benefits.created_at IS 'When the benefit was made';

CREATE TYPE sales.template_channel AS ENUM ('email', 'linkedin');
COMMENT ON TYPE sales.template_channel IS 'Channels that templates are written for';

CREATE TABLE sales.templates (
    template_id uuid PRIMARY KEY DEFAULT sales.uuidv7(),
    company_id uuid NOT NULL DEFAULT sales.current_company_id()
        REFERENCES sales.companies ON DELETE CASCADE,
    product_id uuid,
    name varchar(100) NOT NULL CHECK (name <> ''),
    channel sales.template_channel NOT NULL DEFAULT 'email',
    language varchar(5) NOT NULL DEFAULT 'en'
        CONSTRAINT templates_language_check CHECK (language IN ('fr', 'en', 'it', 'es', 'de')),
    subject_template varchar(200),
    content_template text NOT NULL,
    variables jsonb NOT NULL DEFAULT '{}',
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (company_id, template_id),
    FOREIGN KEY (company_id, product_id) REFERENCES sales.products (company_id, product_id)
);
CREATE INDEX templates_product_idx ON sales.templates (company_id, product_id);
COMMENT ON TABLE sales.templates IS 'Message templates in Mustache';
COMMENT ON COLUMN sales.templates.template_id IS 'Key of the template';
COMMENT ON COLUMN sales.templates.company_id IS 'Tenant';
COMMENT ON COLUMN sales.templates.product_id IS 'Product that it speaks of; null: any';
COMMENT ON COLUMN sales.templates.name IS 'Name of the template';
COMMENT ON COLUMN sales.templates.channel IS 'email or linkedin';
COMMENT ON COLUMN sales.templates.language IS 'Language that it is written in';
COMMENT ON COLUMN sales.templates.subject_template IS 'Subject, Mustache; e-mail only';
COMMENT ON COLUMN sales.templates.content_template IS 'Body, Mustache';
COMMENT ON COLUMN sales.templates.variables IS 'Custom variables and their defaults, an object';
COMMENT ON COLUMN sales.templates.is_active IS 'Is it offered?';
COMMENT ON COLUMN sales.templates.created_at IS 'When the template was made';

CREATE VIEW sales.current_prices WITH (security_invoker = true) AS
SELECT p.company_id, p.product_id, p.currency,
       min(p.price_amount) FILTER (WHERE p.price_type = 'fixed') AS fixed_price,
       min(p.price_amount) FILTER (WHERE p.price_type = 'range_min') AS range_min,
       min(p.price_amount) FILTER (WHERE p.price_type = 'range_max') AS range_max
FROM sales.product_pricing p
WHERE p.valid_from <= current_date AND (p.valid_until IS NULL OR p.valid_until >= current_date)
GROUP BY p.company_id, p.product_id, p.currency;
COMMENT ON VIEW sales.current_prices IS 'Prices valid today: one row a product and currency';
COMMENT ON COLUMN sales.current_prices.company_id IS 'Tenant';
COMMENT ON COLUMN sales.current_prices.product_id IS 'Product';
COMMENT ON COLUMN sales.current_prices.currency IS 'ISO 4217 code';
COMMENT ON COLUMN sales.current_prices.fixed_price IS 'Fixed price, null where there is none';
COMMENT ON COLUMN sales.current_prices.range_min IS 'Lower end of the range, null where there is none';
COMMENT ON COLUMN sales.current_prices.range_max IS 'Upper end of the range, null where there is none';
GRANT SELECT ON sales.current_prices TO sales_app;

-- A range is two rows of one validity with min <= max; checked when the
-- transaction ends, so that the two can be written one after the other.
CREATE FUNCTION sales_internal.check_price_range() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    bad record;
BEGIN
    SELECT low.price_amount AS low, high.price_amount AS high INTO bad
    FROM sales.product_pricing low
    JOIN sales.product_pricing high
      ON high.company_id = low.company_id AND high.product_id = low.product_id
     AND high.currency = low.currency AND high.price_type = 'range_max'
     AND high.valid_from = low.valid_from
     AND high.valid_until IS NOT DISTINCT FROM low.valid_until
    WHERE low.company_id = NEW.company_id AND low.product_id = NEW.product_id
      AND low.currency = NEW.currency AND low.price_type = 'range_min'
      AND low.price_amount > high.price_amount;
    IF FOUND THEN
        RAISE check_violation USING
            MESSAGE = format('price range is upside down: %s to %s', bad.low, bad.high),
            HINT = 'The row range_min must not exceed the row range_max of the same validity.';
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION sales_internal.check_price_range() IS
    'Trigger: the two rows of a price range agree, min no more than max';
REVOKE ALL ON FUNCTION sales_internal.check_price_range() FROM PUBLIC;
CREATE CONSTRAINT TRIGGER check_price_range AFTER INSERT OR UPDATE ON sales.product_pricing
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (NEW.price_type <> 'fixed') EXECUTE FUNCTION sales_internal.check_price_range();

CALL sales_internal.protect_table('products', 'product_id');
CALL sales_internal.protect_table('product_pricing', 'pricing_id');
CALL sales_internal.protect_table('product_benefits', 'benefit_id');
CALL sales_internal.protect_table('templates', 'template_id');

