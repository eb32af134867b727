#ifndef SALES_HTTP_DNS_H
#define SALES_HTTP_DNS_H

typedef struct DnsQuery DnsQuery;

/* Defines the setting sales_assistant.dns_servers. */
extern void dns_init(void);

/* What it says; empty: the system's name servers. */
extern const char *dns_servers(void);

/*
 * Makes the question whether a domain takes mail; malloc'd, null when out of
 * memory.  `owner` is handed back by dns_next_done().
 */
extern DnsQuery *dns_query_new(const char *domain, void *owner);
extern void dns_query_free(DnsQuery *query);

extern void dns_start(DnsQuery *query);

/* A descriptor that is readable when dns_drive() has something to do; -1: none. */
extern int	dns_descriptor(void);

/* Milliseconds until dns_drive() must be called in any case; -1: never. */
extern long dns_timeout_ms(void);

extern void dns_drive(void);

/* Owner of a question that has been answered since; null when there is none. */
extern void *dns_next_done(void);

/*
 * "mx", "address" (no MX, but a host: RFC 5321, 5.1), "null_mx" (takes no mail:
 * RFC 7505), "no_mail", "no_domain" or "unknown".
 */
extern const char *dns_verdict(const DnsQuery *query);

#endif							/* SALES_HTTP_DNS_H */
