-- As the DBA: two companies and the logins that work with them.
\pset footer off
CREATE ROLE demo_app LOGIN IN ROLE sales_app;      -- the application
CREATE ROLE demo_bi LOGIN IN ROLE sales_bi;        -- a BI tool

SELECT sales.create_company('Lumière Conseil', 'lumiere.example', 'business', 'fr', 'Europe/Paris',
                            'claire@lumiere.example', 'demo-Claire-2026') AS lumiere \gset
SELECT sales.create_company('Northwind Traders', 'northwind.example', 'starter', 'en', 'America/New_York',
                            'sam@northwind.example', 'demo-Sam-2026') AS northwind \gset
SELECT sales.bind_role('demo_bi', :'lumiere') \g /dev/null
-- What selling costs Lumière in a month, the platform included: for the return on investment.
INSERT INTO sales.system_settings (company_id, category, key_name, value, data_type)
VALUES (:'lumiere', 'billing', 'monthly_cost', '7900', 'integer');

SET ROLE demo_app;
SELECT sales.use_session(sales.login('lumiere.example', 'claire@lumiere.example', 'demo-Claire-2026'), false)
    \g /dev/null
UPDATE sales.users SET first_name = 'Claire', last_name = 'Fontaine' WHERE user_id = sales.current_user_id();
INSERT INTO sales.products (name, description, target_market)
VALUES ('Cap Vente', 'Suivi commercial assisté', 'PME et écoles') RETURNING product_id \gset
INSERT INTO sales.product_pricing (product_id, price_amount, currency) VALUES (:'product_id', 1200, 'EUR');
INSERT INTO sales.product_benefits (product_id, benefit_text, priority_order) VALUES
    (:'product_id', 'Deux heures gagnées par jour et par vendeur', 1),
    (:'product_id', 'Chaque relance part à temps', 2),
    (:'product_id', 'Un tableau clair de toutes les affaires', 3);
INSERT INTO sales.templates (name, channel, language, subject_template, content_template) VALUES
    ('Premier contact', 'email', 'fr', '{{company_name}} : {{product_name}}',
     E'Bonjour {{first_name}},\n\n{{benefit}}. C''est ce que {{product_name}} apporte à des entreprises comme {{company_name}}.\n\nAuriez-vous un quart d''heure cette semaine ?'),
    ('First contact', 'email', 'en', '{{product_name}} for {{company_name}}',
     E'Hello {{first_name}},\n\ncompanies like {{company_name}} use {{product_name}} so that no lead goes cold.\n\nWould you have fifteen minutes this week?');
RESET ROLE;
SELECT name AS company, domain, subscription_plan AS plan, language, timezone FROM sales.companies ORDER BY name DESC;
