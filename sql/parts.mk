# The order of the install script.  One domain, one word; tables first.
SQL_INSTALL = \
    00_schemas \
    05_core \
    10_tenancy \
    15_directory \
    20_catalog \
    25_prospects \
    30_activity \
    35_funnel \
    40_audit \
    45_secrets \
    50_queue \
    55_providers \
    56_generation \
    60_enrichment \
    65_scoring \
    70_rollup \
    75_reports \
    80_imports \
    85_campaigns \
    86_campaign_zones \
    90_privacy \
    95_partitions \
    96_distribute \
    97_ops

SQL_FUNCTIONS = \
    audit \
    tenancy \
    secrets \
    directory \
    schedule \
    queue \
    campaigns \
    budgets \
    providers \
    scoring \
    funnel \
    generation \
    generation_sentiment \
    generation_advice \
    enrichment \
    enrichment_apply \
    enrichment_intel \
    imports \
    import_jobs \
    prospects \
    rollup \
    bi \
    report_words \
    reports \
    report_html \
    campaigns_audience \
    campaigns_launch \
    campaigns_send \
    campaigns_events \
    campaigns_inbox \
    isolation \
    tenancy_doctor \
    privacy \
    privacy_erased \
    privacy_company \
    privacy_retention \
    partitions \
    ops \
    distribute
