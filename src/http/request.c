/*
 * request.c
 *		From a request in JSON to a libcurl handle; bounded, verified, and only to
 *		where the guard lets it.  What is not HTTP is in session.c, what comes and
 *		goes on the wire in transfer.c.
 *
 * libcurl never follows a redirect by itself: http_call_follow() has the guard judge
 * the next URL as it judged the first, and leaves the key behind.  Proxies are never
 * used, as the guard could not see past them.
 */
#include "postgres.h"

#include <arpa/inet.h>
#include <idn2.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <time.h>

#include "core/guc.h"
#include "core/json.h"
#include "http/dns.h"
#include "http/guard.h"
#include "http/http.h"
#include "http/session.h"
#include "http/transfer.h"

#define DEFAULT_TIMEOUT_MS 30000
#define MAX_TIMEOUT_MS 600000
#define DEFAULT_MAX_BYTES (1024 * 1024)
#define LIMIT_MAX_BYTES (64 * 1024 * 1024)
#define CONNECT_TIMEOUT_MS 10000
#define MAX_REDIRECTS 5

/* --- building a call --- */

static bool
add_header(struct curl_slist **headers, const char *name, const char *prefix, const char *value)
{
	char	   *line;
	struct curl_slist *list;
	int			size = strlen(name) + strlen(prefix) + strlen(value) + 3;

	/* A line break would start another header. */
	if (strpbrk(name, "\r\n:") != NULL || strpbrk(prefix, "\r\n") != NULL || strpbrk(value, "\r\n") != NULL)
		return false;
	line = malloc(size);
	if (line == NULL)
		return false;
	snprintf(line, size, "%s: %s%s", name, prefix, value);
	list = curl_slist_append(*headers, line);
	OPENSSL_cleanse(line, size);
	free(line);
	if (list == NULL)
		return false;
	*headers = list;
	return true;
}

/* The secret as a user without a password: libcurl would keep it with the connection. */
static bool
add_basic_auth(struct curl_slist **headers, const char *secret)
{
	size_t		size = strlen(secret) + 1;
	char	   *login = malloc(size + 1);
	char	   *encoded = malloc((size + 2) / 3 * 4 + 1);
	bool		ok = false;

	if (login != NULL && encoded != NULL)
	{
		snprintf(login, size + 1, "%s:", secret);
		EVP_EncodeBlock((unsigned char *) encoded, (unsigned char *) login, size);
		ok = add_header(headers, "Authorization", "Basic ", encoded);
		OPENSSL_cleanse(login, size);
		OPENSSL_cleanse(encoded, strlen(encoded));
	}
	free(login);
	free(encoded);
	return ok;
}

static const char *
apply_auth(HttpCall *call, CURLU *url, json_t *auth, const char *secret)
{
	const char *header = json_string_value(json_object_get(auth, "header"));
	const char *prefix = json_string_value(json_object_get(auth, "prefix"));
	const char *query = json_string_value(json_object_get(auth, "query"));

	if (secret == NULL)
		return "the request needs a key and there is none";
	if (header != NULL)
		return add_header(&call->headers, header, prefix ? prefix : "", secret)
			? NULL : "the key cannot be sent in a header";
	if (query != NULL)
	{
		char	   *escaped = curl_easy_escape(call->easy, secret, 0);
		int			size = strlen(query) + (escaped != NULL ? strlen(escaped) : 0) + 2;
		char	   *pair = malloc(size);
		CURLUcode	code = CURLUE_OUT_OF_MEMORY;

		if (escaped != NULL && pair != NULL)
		{
			snprintf(pair, size, "%s=%s", query, escaped);
			code = curl_url_set(url, CURLUPART_QUERY, pair, CURLU_APPENDQUERY);
			OPENSSL_cleanse(pair, size);
			OPENSSL_cleanse(escaped, strlen(escaped));
		}
		free(pair);
		curl_free(escaped);
		return code == CURLUE_OK ? NULL : "the key cannot be sent in the URL";
	}
	if (json_is_true(json_object_get(auth, "basic")))
		return add_basic_auth(&call->headers, secret) ? NULL : "out of memory";
	return "the request's auth is of no known kind";
}

static long
bounded(json_t *request, const char *key, long otherwise, long most)
{
	json_t	   *value = json_object_get(request, key);

	if (!json_is_integer(value) || json_integer_value(value) <= 0)
		return otherwise;
	return Min(json_integer_value(value), most);
}

/*
 * Names in other scripts are looked up in their ASCII form.  Strictly by
 * IDNA2008: what only maps to a name (circled or wide letters) is none.
 */
static const char *
host_to_ascii(CURLU *url)
{
	char	   *host = NULL;
	uint8_t    *ascii = NULL;
	const char *problem = NULL;
	bool		plain = true;

	if (curl_url_get(url, CURLUPART_HOST, &host, 0) != CURLUE_OK)
		return "not a valid URL";
	for (char *c = host; *c != '\0'; c++)
		plain = plain && !IS_HIGHBIT_SET(*c);
	if (!plain &&
		(idn2_lookup_u8((uint8_t *) host, &ascii, IDN2_NFC_INPUT | IDN2_NO_TR46) != IDN2_OK ||
		 curl_url_set(url, CURLUPART_HOST, (char *) ascii, 0) != CURLUE_OK))
		problem = "the host of the URL is no valid international name";
	idn2_free(ascii);
	curl_free(host);
	return problem;
}

static bool
is_scheme_of(const HttpCall *call, const char *scheme)
{
	static const char *const schemes[][4] = {
		[HTTP_WEB] = {"http", "https"},
		[HTTP_MAIL] = {"smtp", "smtps"},
		[HTTP_IMAP] = {"imap", "imaps"},
		[HTTP_FILE] = {"ftp", "ftps", "sftp"},
	};

	for (int i = 0; i < 4 && schemes[call->kind][i] != NULL; i++)
		if (strcmp(scheme, schemes[call->kind][i]) == 0)
			return true;
	return false;
}

/*
 * Reads a URL into `url` and judges it; a key of the query is added after that.  Sets
 * host_allowed for this host.
 */
static const char *
read_url(HttpCall *call, CURLU *url, const char *text, json_t *auth, const char *secret)
{
	static const char *const complaints[] = {
		[HTTP_WEB] = "only http and https URLs can be called",
		[HTTP_MAIL] = "a mail needs an smtp or smtps URL",
		[HTTP_IMAP] = "a mailbox needs an imap or imaps URL",
		[HTTP_FILE] = "a file needs an ftp, ftps or sftp URL",
	};
	char	   *host = NULL;
	char	   *port = NULL;
	char	   *scheme = NULL;
	const char *problem = NULL;

	if (text == NULL ||
		curl_url_set(url, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME | CURLU_URLENCODE) != CURLUE_OK ||
		curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK)
		problem = "not a valid URL";
	else if (!is_scheme_of(call, scheme))
		problem = complaints[call->kind];
	else if (curl_easy_setopt(call->easy, CURLOPT_PROTOCOLS_STR, scheme) != CURLE_OK)
		problem = "this server's libcurl does not speak the protocol of the URL";
	else if (curl_url_get(url, CURLUPART_HOST, &host, 0) != CURLUE_OK ||
			 curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) != CURLUE_OK)
		problem = "not a valid URL";
	if (problem == NULL)
	{
		Assert(host != NULL && port != NULL);
		call->host_allowed = guard_is_allowed_host(host, atoi(port));
		problem = guard_url_problem(text, call->host_allowed, &call->blocked);
	}
	if (problem == NULL)
		problem = host_to_ascii(url);
	if (problem == NULL && json_is_object(auth))
		problem = apply_auth(call, url, auth, secret);
	curl_free(host);
	curl_free(port);
	curl_free(scheme);
	return problem;
}

/* Makes a URL that may be called the call's. */
static const char *
set_url(HttpCall *call, const char *text, json_t *auth, const char *secret)
{
	CURLU	   *url = curl_url();
	const char *problem = url != NULL ? read_url(call, url, text, auth, secret) : "out of memory";

	if (problem != NULL)
	{
		curl_url_cleanup(url);
		return problem;
	}
	curl_easy_setopt(call->easy, CURLOPT_URL, NULL);	/* of an earlier one, before a redirect */
	curl_easy_setopt(call->easy, CURLOPT_CURLU, url);
	curl_url_cleanup(call->url);
	call->url = url;
	return NULL;
}

static void
note(json_t *request, const char *key, char *into, size_t size)
{
	const char *value = json_string_value(json_object_get(request, key));

	strlcpy(into, value ? value : "", size);
}

static const char *
set_content(HttpCall *call, json_t *request)
{
	const char *method = json_string_value(json_object_get(request, "method"));
	const char *body = json_string_value(json_object_get(request, "body"));
	const char *name;
	json_t	   *value;

	json_object_foreach(json_object_get(request, "headers"), name, value)
		if (!json_is_string(value) || !add_header(&call->headers, name, "", json_string_value(value)) ||
			!add_header(&call->open_headers, name, "", json_string_value(value)))
			return "a header of the request is not valid";
	if (body != NULL)
	{
		curl_easy_setopt(call->easy, CURLOPT_POSTFIELDSIZE_LARGE,
						 (curl_off_t) json_string_length(json_object_get(request, "body")));
		curl_easy_setopt(call->easy, CURLOPT_COPYPOSTFIELDS, body);
		/* libcurl would wait for "100 Continue" before a long body */
		add_header(&call->headers, "Expect", "", "");
	}
	if (method != NULL && strcmp(method, "GET") != 0)
	{
		if (strspn(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != strlen(method) || strlen(method) > 16)
			return "the method of the request is not valid";
		if (strcmp(method, "HEAD") == 0)
			curl_easy_setopt(call->easy, CURLOPT_NOBODY, 1L);
		else
			curl_easy_setopt(call->easy, CURLOPT_CUSTOMREQUEST, method);
	}
	if (body == NULL && (method == NULL || strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0))
		call->follow = bounded(request, "follow", 0, MAX_REDIRECTS);
	curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, call->headers);
	return NULL;
}

static void
set_common(HttpCall *call, long timeout)
{
	CURL	   *easy = call->easy;

	curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_NETRC, (long) CURL_NETRC_IGNORED);
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
	if (guc_ca_file != NULL && guc_ca_file[0] != '\0')
		curl_easy_setopt(easy, CURLOPT_CAINFO, guc_ca_file);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, timeout);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long) CONNECT_TIMEOUT_MS);
	curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "");
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "sales_assistant");
	http_set_transfer(call);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->error);
}

static int64
monotonic_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Fills a call whose handle is there; what is wrong with the request, or null. */
static const char *
set_call(HttpCall *call, json_t *request, const char *secret)
{
	const char *text = json_string_value(json_object_get(request, "url"));
	json_t	   *mail = json_object_get(request, "mail");
	json_t	   *imap = json_object_get(request, "imap");
	json_t	   *file = json_object_get(request, "file");
	long		timeout = bounded(request, "timeout_ms", DEFAULT_TIMEOUT_MS, MAX_TIMEOUT_MS);
	const char *problem;

	call->kind = json_is_object(mail) ? HTTP_MAIL : json_is_object(imap) ? HTTP_IMAP
		: json_is_object(file) ? HTTP_FILE : HTTP_WEB;
	call->deadline_ms = monotonic_ms() + timeout;
	call->max_bytes = bounded(request, "max_bytes", DEFAULT_MAX_BYTES, LIMIT_MAX_BYTES);
	call->binary = call->kind == HTTP_IMAP || json_is_true(json_object_get(request, "binary"));
	note(request, "provider", call->provider, sizeof(call->provider));
	note(request, "api_key_id", call->api_key_id, sizeof(call->api_key_id));
	note(request, "budget_month", call->budget_month, sizeof(call->budget_month));
	if (json_is_string(json_object_get(request, "dns")))
	{
		call->dns = dns_query_new(json_string_value(json_object_get(request, "dns")), call);
		return call->dns == NULL ? "out of memory" : NULL;
	}
	if (secret != NULL && (call->secret = strdup(secret)) == NULL)
		return "out of memory";
	set_common(call, timeout);
	/* libcurl repeats a request when a kept connection turns out to be closed */
	if (json_is_true(json_object_get(request, "once")))
		curl_easy_setopt(call->easy, CURLOPT_FRESH_CONNECT, 1L);
	/*
	 * On a kept FTP connection libcurl 7.88 reads the answer to EPSV at once
	 * and then waits for an event of the socket that it has emptied: the call
	 * moves on only when its time is over.
	 */
	if (call->kind == HTTP_FILE)
		curl_easy_setopt(call->easy, CURLOPT_FORBID_REUSE, 1L);
	problem = set_url(call, text, json_object_get(request, "auth"), secret);
	if (problem != NULL)
		return problem;
	switch (call->kind)
	{
		case HTTP_MAIL:
			return http_set_mail(call, mail, secret);
		case HTTP_IMAP:
			return http_set_imap(call, imap, secret);
		case HTTP_FILE:
			return http_set_file(call, file, text, secret);
		case HTTP_WEB:
			break;
	}
	return set_content(call, request);
}

HttpCall *
http_call_new(const char *request_text, const char *secret, const char **problem)
{
	json_t	   *request = json_loads(request_text, 0, NULL);
	HttpCall   *call = calloc(1, sizeof(HttpCall));

	*problem = NULL;
	if (call != NULL)
		call->key_file = -1;
	if (call == NULL || (call->easy = curl_easy_init()) == NULL)
		*problem = "out of memory";
	else if (!json_is_object(request))
		*problem = "the request is not a JSON object";
	else
		*problem = set_call(call, request, secret);
	json_decref(request);
	/* A host that is not public is an answer, as it is when DNS says so. */
	if (*problem != NULL && call != NULL && call->blocked && call->easy != NULL)
		*problem = NULL;
	if (*problem != NULL)
	{
		http_call_free(call);
		return NULL;
	}
	return call;
}

bool
http_call_follow(HttpCall *call, CURLcode result)
{
	long		status = 0;
	char	   *target = NULL;
	const char *problem;
	int64		left = call->deadline_ms - monotonic_ms();

	curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(call->easy, CURLINFO_REDIRECT_URL, &target);
	if (call->follow <= 0 || result != CURLE_OK || target == NULL || left <= 0 ||
		!(status == 301 || status == 302 || status == 303 || status == 307 || status == 308))
		return false;
	call->follow--;
	call->redirects++;
	target = strdup(target);
	problem = target != NULL ? set_url(call, target, NULL, NULL) : "out of memory";
	if (problem != NULL)
	{
		/* where it must not go; the redirect itself is no answer either */
		strlcpy(call->error, problem, sizeof(call->error));
		call->redirect_refused = true;
		free(target);
		return false;
	}
	/* The key is for the host that it was given for. */
	curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, call->open_headers);
	curl_easy_setopt(call->easy, CURLOPT_TIMEOUT_MS, (long) left);
	call->body_size = 0;
	call->response_headers_size = 0;
	free(target);
	return true;
}

long
http_timeout_ms(const char *request)
{
	json_t	   *value;
	long		timeout;

	if (strstr(request, "\"timeout_ms\"") == NULL)
		return DEFAULT_TIMEOUT_MS;
	value = json_loads(request, 0, NULL);
	timeout = bounded(value, "timeout_ms", DEFAULT_TIMEOUT_MS, MAX_TIMEOUT_MS);
	json_decref(value);
	return timeout;
}
