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
    job_id uuid,
    error text,
    applied_at timestamptz,
    applied_by uuid,
    applied_value text,
    UNIQUE (company_id, enrichment_id),
    FOREIGN KEY (company_id, applied_by) REFERENCES sales.users (company_id, user_id),
    FOREIGN KEY (company_id, prospect_id)
        REFERENCES sales.prospects (company_id, prospect_id) ON DELETE CASCADE
);
CREATE INDEX enrichments_prospect_idx ON sales.enrichments (company_id, prospect_id);
CREATE INDEX enrichments_job_idx ON sales.enrichments (company_id, job_id);
CREATE INDEX enrichments_expires_idx ON sales.enrichments (expires_at) WHERE status = 'completed';
CREATE INDEX enrichments_company_created_idx ON sales.enrichments (company_id, created_at);
COMMENT ON TABLE sales.enrichments IS 'What was learned about prospects, from where, and what it cost';
COMMENT ON COLUMN sales.enrichments.enrichment_id IS 'Key of the enrichment';
COMMENT ON COLUMN sales.enrichments.company_id IS 'Tenant';
COMMENT ON COLUMN sales.enrichments.prospect_id IS 'Prospect';
COMMENT ON COLUMN sales.enrichments.enrichment_type IS 'website, linkedin, twitter, company_info or email_validation';
COMMENT ON COLUMN sales.enrichments.source_api IS 'Provider that answered, such as hunter; local: this server';
COMMENT ON COLUMN sales.enrichments.original_value IS 'Values of the prospect before, as JSON: when it was found, from apply_enrichment() on when it was applied; what revert_enrichment() puts back';
COMMENT ON COLUMN sales.enrichments.enriched_value IS 'Values found, as JSON';
COMMENT ON COLUMN sales.enrichments.confidence_score IS 'Trust in the answer, 0.00 to 1.00';
COMMENT ON COLUMN sales.enrichments.cost IS 'Cost of the calls in the setting billing.currency';
COMMENT ON COLUMN sales.enrichments.status IS 'pending, completed, failed or expired';
COMMENT ON COLUMN sales.enrichments.created_at IS 'When it was asked for';
COMMENT ON COLUMN sales.enrichments.expires_at IS 'When the answer is no longer taken as fresh';
COMMENT ON COLUMN sales.enrichments.job_id IS 'Job that looks it up, see sales.jobs';
COMMENT ON COLUMN sales.enrichments.error IS 'Why it failed';
COMMENT ON COLUMN sales.enrichments.applied_at IS 'When apply_enrichment() took it over; null: it is not applied, or no more';
COMMENT ON COLUMN sales.enrichments.applied_by IS 'User who applied it';
COMMENT ON COLUMN sales.enrichments.applied_value IS 'Values that were written to the prospect, as JSON';

CALL sales_internal.protect_table('enrichments', 'enrichment_id');

-- Mailboxes of a role rather than a person, and domains that throw mail away.
CREATE TABLE sales_internal.email_lists (
    kind text NOT NULL CHECK (kind IN ('role', 'disposable', 'webmail')),
    value text NOT NULL,
    PRIMARY KEY (kind, value)
);
COMMENT ON TABLE sales_internal.email_lists IS
    'What the provider local knows of addresses: role mailboxes, disposable domains, webmail domains; made by the extension, not dumped';
INSERT INTO sales_internal.email_lists
SELECT 'role', unnest(string_to_array('abuse accounting accounts accueil admin administracion administration administrator amministrazione assistance atencion ayuda bestellung billing bonjour booking buchhaltung bureau careers comercial comercio commande commercial commerciale communication compras comptabilite compta contabilidad contabilita contact contacto contatti contatto customerservice datenschutz direccion direction direzione dpo einkauf empfang enquiries enquiry export facturacion factures fatture feedback finance finanzas general hallo hello help helpdesk hola hostmaster hr info informacion information informations informazioni inquiries it job jobs kontakt kundenservice legal lettres list mail mailer-daemon marketing media newsletter no-reply no_reply noc noreply nospam office ordini order orders pedidos personal post postmaster presse press prensa privacy purchasing qualita rechnung recepcion reception recrutement recruiting recursoshumanos rgpd rh root sales sav sec secretariat secretaria security segreteria service servicio servizio sekretariat shop soporte spam staff stampa support team tech tecnico ufficio ufficioacquisti vendite ventas vente ventes verkauf vertrieb webmaster welcome zentrale', ' '))
UNION
SELECT 'disposable', unnest(string_to_array('0-mail.com 10minutemail.com 10minutemail.net 20minutemail.com 33mail.com anonbox.net burnermail.io byom.de cock.li crazymailing.com deadaddress.com discard.email discardmail.com discardmail.de dispostable.com dropmail.me dodgit.com emailfake.com emailondeck.com emailtemporanea.com emltmp.com fakeinbox.com fakemail.net fakemailgenerator.com fastmazda.com filzmail.com generator.email getairmail.com getnada.com grr.la guerrillamail.biz guerrillamail.com guerrillamail.de guerrillamail.info guerrillamail.net guerrillamail.org guerrillamailblock.com haltospam.com harakirimail.com inboxbear.com inboxkitten.com incognitomail.org jetable.com jetable.net jetable.org kasmail.com luxusmail.org mail-temp.com mail.tm mailcatch.com maildrop.cc mailexpire.com mailforspam.com mailinator.com mailinator.net mailinator2.com mailmetrash.com mailmoat.com mailnesia.com mailnull.com mailpoof.com mailsac.com mailtemp.net mailtothis.com meltmail.com minuteinbox.com mintemail.com moakt.com mohmal.com mt2015.com mvrht.com my10minutemail.com mytemp.email mytrashmail.com nada.email no-spam.ws nospamfor.us nowmymail.com objectmail.com owlpic.com pokemail.net proxymail.eu rcpt.at sharklasers.com sogetthis.com spam4.me spambog.com spambox.us spamcannon.net spamex.com spamfree24.org spamgourmet.com spamhole.com spamspot.com temp-mail.io temp-mail.org tempail.com tempinbox.com tempmail.com tempmail.dev tempmail.net tempmail.plus tempmailaddress.com tempmailo.com tempomail.fr temporaryemail.net temporaryinbox.com throwawaymail.com tmail.ws tmpmail.net tmpmail.org trash-mail.com trash-mail.de trashmail.com trashmail.de trashmail.me trashmail.net trashmail.ws trbvm.com wegwerfemail.de wegwerfmail.de wegwerfmail.net wegwerfmail.org yopmail.com yopmail.fr yopmail.net zetmail.com', ' '))
UNION
SELECT 'webmail', unnest(string_to_array('aim.com alice.it aol.com aol.fr arcor.de bbox.fr bluewin.ch btinternet.com club-internet.fr comcast.net fastmail.com fastmail.fm free.fr freenet.de gmail.com gmx.at gmx.ch gmx.com gmx.de gmx.fr gmx.net googlemail.com hispavista.com hotmail.co.uk hotmail.com hotmail.de hotmail.es hotmail.fr hotmail.it icloud.com inbox.com inwind.it laposte.net libero.it live.co.uk live.com live.de live.fr live.it mac.com mail.com mail.ru mailbox.org me.com mixmail.com msn.com neuf.fr numericable.fr orange.es orange.fr outlook.com outlook.de outlook.es outlook.fr outlook.it pec.it pm.me poste.it posteo.de proton.me protonmail.ch protonmail.com qq.com rocketmail.com sfr.fr sky.com skynet.be t-online.de telefonica.net terra.es tin.it tiscali.it tuta.com tutanota.com tutanota.de verizon.net virgilio.it voila.fr wanadoo.es wanadoo.fr web.de yahoo.ca yahoo.co.uk yahoo.com yahoo.de yahoo.es yahoo.fr yahoo.it yandex.com yandex.ru zoho.com zohomail.eu', ' '));

-- Divisions of the Common Procurement Vocabulary that companies of a section of
-- NACE bid for.
CREATE TABLE sales_internal.nace_cpv (
    section text PRIMARY KEY CHECK (section ~ '^[A-U]$'),
    cpv text[] NOT NULL
);
COMMENT ON TABLE sales_internal.nace_cpv IS
    'CPV divisions of public tenders for each section of NACE; made by the extension, not dumped';
INSERT INTO sales_internal.nace_cpv VALUES
    ('A', '{03,16,77}'), ('B', '{14,43,76}'), ('C', '{15,18,24,31,33,34,39,42,44}'), ('D', '{09,31,65}'), ('E', '{41,65,90}'),
    ('F', '{44,45,71}'), ('G', '{30,37,39,50}'), ('H', '{60,63,64}'), ('I', '{55}'), ('J', '{22,32,48,64,72}'), ('K', '{66}'),
    ('L', '{70}'), ('M', '{71,73,79}'), ('N', '{50,79,90}'), ('O', '{75}'), ('P', '{80}'), ('Q', '{33,85}'), ('R', '{37,92}'),
    ('S', '{50,98}'), ('T', '{98}'), ('U', '{75}');

