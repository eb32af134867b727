#ifndef SALES_HTTP_HTTP_H
#define SALES_HTTP_HTTP_H

#include <curl/curl.h>

#include "lib/ilist.h"
#include "utils/jsonb.h"

typedef enum HttpKind
{
	HTTP_WEB, HTTP_MAIL, HTTP_IMAP, HTTP_FILE
} HttpKind;

/* One call under way; all of it is malloc'd, since libcurl's callbacks fill it. */
typedef struct HttpCall
{
	CURL	   *easy;
	CURLU	   *url;			/* as it was judged; libcurl calls this, and no text that it reads again */
	HttpKind	kind;
	struct curl_slist *headers;
	struct curl_slist *open_headers;	/* those without a key, for redirects */
	int			follow;			/* redirects that may still be followed */
	int			redirects;		/* that were followed */
	bool		redirect_refused;	/* the last one leads where it must not */
	bool		binary;			/* the body comes as base64 */
	int64		deadline_ms;	/* by the monotonic clock, redirects included */
	struct curl_slist *recipients;	/* of a mail */
	char	   *upload;			/* the mail itself */
	size_t		upload_size;
	size_t		upload_sent;
	char		reply[512];		/* the mail server's last one */
	bool		reply_goes_on;
	bool		host_allowed;	/* named by allowed_hosts: no check of its address */
	bool		blocked;		/* the guard refused an address */
	bool		too_large;
	size_t		max_bytes;
	char	   *body;
	size_t		body_size;
	size_t		body_capacity;
	char	   *response_headers;	/* "name: value\n" lines, names in lower case */
	size_t		response_headers_size;
	long		status;			/* these four are there when the call has ended */
	int64		retry_after;	/* seconds that the service asks to be left alone for */
	int64		elapsed_us;
	char	   *last_url;		/* where redirects led, malloc'd; else null */
	char		error[CURL_ERROR_SIZE];
	char		provider[64];	/* as the request named them, for the settle function */
	char		api_key_id[40];
	char		budget_month[16];
	char	   *host_key;		/* keys that an SFTP server may show */
	int			key_file;		/* descriptor of the key that logs in there; -1: none */
	char		refused[192];	/* what the server showed instead; empty: nothing */
	struct DnsQuery *dns;		/* a question of DNS instead of a call */
	char	   *secret;			/* to be hidden where it comes back */
	void	   *owner;			/* the caller's own data */
	dlist_node	session;		/* of the event loop: calls that are no HTTP */
	curl_socket_t waits_for;	/* what libcurl last asked to watch for it */
} HttpCall;

/*
 * Makes a call from a request, a JSON object; docs/queue.md describes it for
 * those who write kinds of jobs:
 *   url (required), method (GET), headers (object), body (text),
 *   timeout_ms (30000, at most 600000), max_bytes (1 MB, at most 64 MB),
 *   follow (0): redirects of a GET that are followed, at most 5,
 *   binary (false): the body comes as base64,
 *   auth: {"header": name, "prefix": text} or {"query": name} or {"basic": true},
 *   once: true has it made once at most, on a connection of its own,
 *   provider, api_key_id, budget_month: handed back with the answer.
 * Or sends a mail: url smtp:// or smtps://, and
 *   mail: {"from": address, "to": [addresses], "message": RFC 5322 text,
 *          "user": login for `secret`, "tls": "required" or "optional"}.
 *   A session in clear takes both: "tls" that is not "required", and allowed_hosts.
 * Or asks a mailbox: url imap:// or imaps:// with the folder as its path, and
 *   imap: {"user": login for `secret`, "command": one IMAP command, "tls": as above}.
 *   libcurl takes what a mail holds for lines of the session: at most 300 KB of them
 *   (whence mails are fetched in parts), and one that reads like the end of the
 *   command ends it (whence a mail is fetched by itself).
 * Or asks DNS: dns: a domain; whether it takes mail comes back as "dns", see dns.h.
 * Or reads a file: url ftp://, ftps:// or sftp://, and
 *   file: {"user": login for `secret`, "tls": as above, "list": names of a folder,
 *          "host_key": of an SFTP server, always needed; see hostkey.h}.
 *   There `secret` may be a private key; see loginkey.h.
 * `secret` goes where auth or user says; null without one.  Returns null and sets
 * *problem (static) where the request is not well-formed.  A host that is not
 * public makes a call all the same, which must not be started: it is `blocked`
 * and its response says so.
 */
extern HttpCall *http_call_new(const char *request, const char *secret,
							   const char **problem);

/*
 * After libcurl is done with a call: true if it is to be started again, as it was
 * redirected and may follow.  Else it is to be ended.
 */
extern bool http_call_follow(HttpCall *call, CURLcode result);

/*
 * Keeps what the response needs to know of libcurl's handle and frees that, which is
 * larger than most answers.
 */
extern void http_call_end(HttpCall *call);

/* The longest that a request may take, all its redirects included. */
extern long http_timeout_ms(const char *request);

/*
 * Did the service answer as one in good order does?  Else what it said (until
 * the call is freed), and for how long it asked to be left alone (0: not said).
 */
extern bool http_call_is_healthy(HttpCall *call, CURLcode result, double *retry_after,
								 const char **error);

/*
 * What came back, as JSON (palloc'd):
 *   {"status": n, "headers": {...}, "body": text, "error": text or null,
 *    "blocked": by the guard, "elapsed_ms": n, "provider": text, "api_key_id": text,
 *    "budget_month": text}
 * The body is UTF-8 without NUL: of the encoding that charset.c finds it in; a
 * byte that does not fit becomes U+FFFD.
 * The key of the call stands nowhere in it: asterisks take its place.
 * After a mail there is also
 *   "smtp": {"code": of the last reply, "reply": its text,
 *            "handed_over": was the whole message given away?}:
 *   an error after that, with code 354, leaves open whether it was taken.
 * With binary the body is null and "body_base64" holds it byte by byte; after imap
 * that is every line that the server said, literals included.  After redirects
 * "url" is where they led.  Of a file, status is 200, or 401, 403, 404 as the
 * server's words mean; of a mailbox 200, or 422 where the command itself was refused.
 */
extern Jsonb *http_call_response(HttpCall *call, CURLcode result);

/*
 * Overwrites the key of the call with asterisks where it stands in the text, also
 * percent-encoded, with the escapes of JSON or HTML, or in base64.
 */
extern void http_hide_secret(const HttpCall *call, char *text, size_t size);

extern void http_call_free(HttpCall *call);

/* Performs one call in the foreground; interrupts are served.  As http_call_response(). */
extern Jsonb *http_perform(const char *request, const char *secret);

#endif							/* SALES_HTTP_HTTP_H */
