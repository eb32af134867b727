#ifndef SALES_HTTP_HTTP_H
#define SALES_HTTP_HTTP_H

#include <curl/curl.h>

/* One call under way; all of it is malloc'd, since libcurl's callbacks fill it. */
typedef struct HttpCall
{
	CURL	   *easy;
	struct curl_slist *headers;
	struct curl_slist *recipients;	/* of a mail */
	char	   *upload;			/* the mail itself */
	size_t		upload_size;
	size_t		upload_sent;
	char		reply[512];		/* the mail server's last one */
	bool		reply_goes_on;
	bool		is_mail;
	bool		is_imap;
	bool		host_allowed;	/* named by allowed_hosts: no check of its address */
	bool		blocked;		/* the guard refused an address */
	bool		too_large;
	size_t		max_bytes;
	char	   *body;
	size_t		body_size;
	size_t		body_capacity;
	char	   *response_headers;	/* "name: value\n" lines, names in lower case */
	size_t		response_headers_size;
	char		error[CURL_ERROR_SIZE];
	char		provider[64];	/* as the request named them, for the settle function */
	char		api_key_id[40];
	struct DnsQuery *dns;		/* a question of DNS instead of a call */
	char	   *secret;			/* to be hidden where it comes back */
	void	   *owner;			/* the caller's own data */
} HttpCall;

/*
 * Makes a call from a request, a JSON object:
 *   url (required), method (GET), headers (object), body (text),
 *   timeout_ms (30000), max_bytes (1 MB),
 *   auth: {"header": name, "prefix": text} or {"query": name} or {"basic": true},
 *   once: true has it made once at most, on a connection of its own,
 *   provider, api_key_id: handed back with the answer
 * Or sends a mail: url smtp:// or smtps://, and
 *   mail: {"from": address, "to": [addresses], "message": RFC 5322 text,
 *          "user": login for `secret`, "tls": "required" or "optional"}.
 *   A session in clear takes both: "tls" that is not "required", and allowed_hosts.
 * Or asks a mailbox: url imap:// or imaps:// with the folder as its path, and
 *   imap: {"user": login for `secret`, "command": one IMAP command, "tls": as above}.
 * Or asks DNS: dns: a domain; whether it takes mail comes back as "dns", see dns.h.
 * `secret` goes where auth says; null without one.  Returns null and sets
 * *problem (static) where the request is not well-formed.
 */
extern HttpCall *http_call_new(const char *request, const char *secret,
							   const char **problem);

/* The longest that a request may take, all its redirects included. */
extern long http_timeout_ms(const char *request);

/*
 * Did the service answer as one in good order does?  Else what it said (until
 * the call is freed), and for how long it asked to be left alone (0: not said).
 */
extern bool http_call_is_healthy(HttpCall *call, CURLcode result, double *retry_after,
								 const char **error);

/*
 * What came back, as JSON text (malloc'd):
 *   {"status": n, "headers": {...}, "body": text, "error": text or null,
 *    "blocked": by the guard, "elapsed_ms": n, "provider": text, "api_key_id": text}
 * The body is UTF-8 without NUL, whatever its encoding; see charset.h.  The key
 * does not come back: where the service quotes it, asterisks stand in its place.
 * After a mail there is also
 *   "smtp": {"code": of the last reply, "reply": its text,
 *            "handed_over": was the whole message given away?}:
 *   an error after that, with code 354, leaves open whether it was taken.
 * After imap the body is null and "body_base64" holds every line that the server
 * said, literals included, byte by byte.
 */
extern char *http_call_response(HttpCall *call, CURLcode result);

extern void http_call_free(HttpCall *call);

/* Performs one call in the foreground; interrupts are served.  As above. */
extern char *http_perform(const char *request, const char *secret);

#endif							/* SALES_HTTP_HTTP_H */
