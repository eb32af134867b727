/*
 * http.c
 *		Calls over HTTP(S), SMTP(S) and IMAP(S) with libcurl: bounded, verified,
 *		and only to where the guard lets them.
 *
 * Nothing in a libcurl callback throws or pallocs: libcurl's frames lie
 * between, and a longjmp over them would break its state.  Redirects are not
 * followed: a settle function that wants one asks for it with a new request,
 * which the guard sees again.  Proxies are never used, as the guard could not
 * see past them.
 */
#include "postgres.h"

#include <arpa/inet.h>
#include <poll.h>
#include <openssl/crypto.h>

#include "http/dns.h"
#include "http/guard.h"
#include "http/http.h"
#include "miscadmin.h"
#include "core/json.h"

#define DEFAULT_TIMEOUT_MS 30000
#define MAX_TIMEOUT_MS 600000
#define DEFAULT_MAX_BYTES (1024 * 1024)
#define LIMIT_MAX_BYTES (64 * 1024 * 1024)
#define MAX_HEADERS_SIZE 65536
#define CONNECT_TIMEOUT_MS 10000

/* --- callbacks --- */

static curl_socket_t
open_socket(void *data, curlsocktype purpose, struct curl_sockaddr *address)
{
	HttpCall   *call = data;

	if (purpose != CURLSOCKTYPE_IPCXN ||
		(!call->host_allowed && !guard_is_public(&address->addr) &&
		 !guard_is_allowed_address(&address->addr)))
	{
		call->blocked = true;
		return CURL_SOCKET_BAD;
	}
	return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static size_t
take_body(char *data, size_t size, size_t count, void *arg)
{
	HttpCall   *call = arg;
	size_t		bytes = size * count;

	if (call->body_size + bytes > call->max_bytes)
	{
		call->too_large = true;
		return 0;
	}
	if (call->body_size + bytes + 1 > call->body_capacity)
	{
		size_t		capacity = Max(call->body_capacity * 2, call->body_size + bytes + 1);
		char	   *grown = realloc(call->body, capacity);

		if (grown == NULL)
			return 0;
		call->body = grown;
		call->body_capacity = capacity;
	}
	memcpy(call->body + call->body_size, data, bytes);
	call->body_size += bytes;
	call->body[call->body_size] = '\0';
	return bytes;
}

static size_t
take_header(char *data, size_t size, size_t count, void *arg)
{
	HttpCall   *call = arg;
	size_t		bytes = size * count;
	size_t		length = bytes;
	char	   *grown;

	if (bytes > 5 && strncmp(data, "HTTP/", 5) == 0)
	{
		/* A new response begins, as after "100 Continue". */
		call->response_headers_size = 0;
		return bytes;
	}
	while (length > 0 && (data[length - 1] == '\n' || data[length - 1] == '\r'))
		length--;
	if (length == 0 || memchr(data, ':', length) == NULL)
		return bytes;
	if (call->response_headers_size + length + 2 > MAX_HEADERS_SIZE)
		return 0;
	grown = realloc(call->response_headers, call->response_headers_size + length + 2);
	if (grown == NULL)
		return 0;
	call->response_headers = grown;
	memcpy(grown + call->response_headers_size, data, length);
	for (char *p = grown + call->response_headers_size; *p != ':'; p++)
		*p = pg_ascii_tolower((unsigned char) *p);
	call->response_headers_size += length;
	grown[call->response_headers_size++] = '\n';
	grown[call->response_headers_size] = '\0';
	return bytes;
}

/* Keeps the last reply of a mail server, its lines joined. */
static size_t
take_reply(char *data, size_t size, size_t count, void *arg)
{
	HttpCall   *call = arg;
	size_t		bytes = size * count;
	size_t		length = bytes;
	size_t		used = call->reply_goes_on ? strlen(call->reply) : 0;

	/* the answer to libcurl's QUIT says nothing of the mail */
	if (bytes >= 3 && strncmp(data, "221", 3) == 0)
		return bytes;
	while (length > 0 && (data[length - 1] == '\n' || data[length - 1] == '\r'))
		length--;
	call->reply_goes_on = length > 3 && data[3] == '-';
	if (used > 0 && used + 1 < sizeof(call->reply))
		call->reply[used++] = ' ';
	length = Min(length, sizeof(call->reply) - 1 - used);
	memcpy(call->reply + used, data, length);
	call->reply[used + length] = '\0';
	return bytes;
}

static size_t
discard(char *data, size_t size, size_t count, void *arg)
{
	return size * count;
}

static size_t
give_upload(char *into, size_t size, size_t count, void *arg)
{
	HttpCall   *call = arg;
	size_t		bytes = Min(size * count, call->upload_size - call->upload_sent);

	memcpy(into, call->upload + call->upload_sent, bytes);
	call->upload_sent += bytes;
	return bytes;
}

/* --- building a call --- */

static bool
add_header(HttpCall *call, const char *name, const char *prefix, const char *value)
{
	char	   *line;
	struct curl_slist *list;
	int			size = strlen(name) + strlen(prefix) + strlen(value) + 3;

	/* A line break would start another header. */
	if (strpbrk(name, "\r\n:") != NULL || strpbrk(value, "\r\n") != NULL)
		return false;
	line = malloc(size);
	if (line == NULL)
		return false;
	snprintf(line, size, "%s: %s%s", name, prefix, value);
	list = curl_slist_append(call->headers, line);
	OPENSSL_cleanse(line, size);
	free(line);
	if (list == NULL)
		return false;
	call->headers = list;
	return true;
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
		return add_header(call, header, prefix ? prefix : "", secret)
			? NULL : "the key cannot be sent in a header";
	if (query != NULL)
	{
		char	   *escaped = curl_easy_escape(call->easy, secret, 0);
		int			size = strlen(query) + strlen(escaped) + 2;
		char	   *pair = malloc(size);
		CURLUcode	code;

		snprintf(pair, size, "%s=%s", query, escaped);
		code = curl_url_set(url, CURLUPART_QUERY, pair, CURLU_APPENDQUERY);
		OPENSSL_cleanse(pair, size);
		OPENSSL_cleanse(escaped, strlen(escaped));
		free(pair);
		curl_free(escaped);
		return code == CURLUE_OK ? NULL : "the key cannot be sent in the URL";
	}
	if (json_is_true(json_object_get(auth, "basic")))
	{
		curl_easy_setopt(call->easy, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
		curl_easy_setopt(call->easy, CURLOPT_USERNAME, secret);
		curl_easy_setopt(call->easy, CURLOPT_PASSWORD, "");
		return NULL;
	}
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

static const char *
set_target(HttpCall *call, CURLU *url, json_t *request, const char *secret)
{
	const char *text = json_string_value(json_object_get(request, "url"));
	json_t	   *auth = json_object_get(request, "auth");
	const char *problem = NULL;
	char	   *host = NULL;
	char	   *port = NULL;
	char	   *scheme = NULL;
	char	   *full = NULL;

	if (text == NULL || curl_url_set(url, CURLUPART_URL, text, 0) != CURLUE_OK ||
		curl_url_get(url, CURLUPART_HOST, &host, 0) != CURLUE_OK ||
		curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK)
		problem = "not a valid URL";
	else if (call->is_mail && strcmp(scheme, "smtp") != 0 && strcmp(scheme, "smtps") != 0)
		problem = "a mail needs an smtp or smtps URL";
	else if (call->is_imap && strcmp(scheme, "imap") != 0 && strcmp(scheme, "imaps") != 0)
		problem = "a mailbox needs an imap or imaps URL";
	else if (!call->is_mail && !call->is_imap && strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0)
		problem = "only http and https URLs can be called";
	else if (curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) != CURLUE_OK)
		problem = "not a valid URL";
	if (problem == NULL && json_is_object(auth))
		problem = apply_auth(call, url, auth, secret);
	if (problem == NULL)
	{
		call->host_allowed = guard_is_allowed_host(host, atoi(port));
		if (curl_url_get(url, CURLUPART_URL, &full, 0) != CURLUE_OK)
			problem = "not a valid URL";
		else
			curl_easy_setopt(call->easy, CURLOPT_URL, full);
	}
	curl_free(host);
	curl_free(port);
	curl_free(scheme);
	curl_free(full);
	return problem;
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
		if (!json_is_string(value) || !add_header(call, name, "", json_string_value(value)))
			return "a header of the request is not valid";
	if (body != NULL)
	{
		curl_easy_setopt(call->easy, CURLOPT_POSTFIELDSIZE_LARGE,
						 (curl_off_t) json_string_length(json_object_get(request, "body")));
		curl_easy_setopt(call->easy, CURLOPT_COPYPOSTFIELDS, body);
		/* libcurl would wait for "100 Continue" before a long body */
		add_header(call, "Expect", "", "");
	}
	if (method != NULL && strcmp(method, "GET") != 0)
		curl_easy_setopt(call->easy, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, call->headers);
	return NULL;
}

/* An address that can stand in a command of SMTP. */
static bool
is_mail_address(const char *address)
{
	return address != NULL && strchr(address, '@') != NULL && strlen(address) < 255 &&
		strpbrk(address, " \t\r\n<>\"(),:;") == NULL;
}

/* Login and encryption of a session of SMTP or IMAP. */
static void
set_login(HttpCall *call, json_t *session, const char *secret)
{
	const char *user = json_string_value(json_object_get(session, "user"));
	const char *tls = json_string_value(json_object_get(session, "tls"));
	bool		optional = call->host_allowed && (tls == NULL || strcmp(tls, "required") != 0);

	curl_easy_setopt(call->easy, CURLOPT_USE_SSL,
					 (long) (optional ? CURLUSESSL_TRY : CURLUSESSL_ALL));
	if (user != NULL && secret != NULL)
	{
		curl_easy_setopt(call->easy, CURLOPT_USERNAME, user);
		curl_easy_setopt(call->easy, CURLOPT_PASSWORD, secret);
	}
}

static const char *
set_mail(HttpCall *call, json_t *mail, const char *secret)
{
	const char *from = json_string_value(json_object_get(mail, "from"));
	const char *message = json_string_value(json_object_get(mail, "message"));
	json_t	   *to = json_object_get(mail, "to");
	CURL	   *easy = call->easy;

	if (!is_mail_address(from) || json_array_size(to) == 0 || message == NULL)
		return "the mail needs from, to and message";
	for (size_t i = 0; i < json_array_size(to); i++)
	{
		const char *address = json_string_value(json_array_get(to, i));
		struct curl_slist *list;

		if (!is_mail_address(address))
			return "a recipient is no mail address";
		list = curl_slist_append(call->recipients, address);
		if (list == NULL)
			return "out of memory";
		call->recipients = list;
	}
	call->upload = strdup(message);
	if (call->upload == NULL)
		return "out of memory";
	call->upload_size = strlen(message);
	curl_easy_setopt(easy, CURLOPT_MAIL_FROM, from);
	curl_easy_setopt(easy, CURLOPT_MAIL_RCPT, call->recipients);
	curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
	curl_easy_setopt(easy, CURLOPT_READFUNCTION, give_upload);
	curl_easy_setopt(easy, CURLOPT_READDATA, call);
	curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t) call->upload_size);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_reply);
	set_login(call, mail, secret);
	return NULL;
}

static const char *
set_imap(HttpCall *call, json_t *imap, const char *secret)
{
	const char *command = json_string_value(json_object_get(imap, "command"));
	CURL	   *easy = call->easy;

	if (command == NULL || strpbrk(command, "\r\n") != NULL)
		return "the mailbox needs a command of one line";
	curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, command);
	/* Literals come by the lines of the session alone; see imap.c of libcurl. */
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_body);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, discard);
	curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 262144L);
	/* What a hostile mail could confuse ends with its call. */
	curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
	curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
	set_login(call, imap, secret);
	return NULL;
}

HttpCall *
http_call_new(const char *request_text, const char *secret, const char **problem)
{
	json_t	   *request = json_loads(request_text, 0, NULL);
	HttpCall   *call = calloc(1, sizeof(HttpCall));
	CURLU	   *url = curl_url();

	*problem = NULL;
	if (call == NULL || url == NULL || (call->easy = curl_easy_init()) == NULL)
		*problem = "out of memory";
	else if (!json_is_object(request))
		*problem = "the request is not a JSON object";
	if (*problem == NULL)
	{
		CURL	   *easy = call->easy;
		long		timeout = bounded(request, "timeout_ms", DEFAULT_TIMEOUT_MS, MAX_TIMEOUT_MS);

		call->max_bytes = bounded(request, "max_bytes", DEFAULT_MAX_BYTES, LIMIT_MAX_BYTES);
		curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
		curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
		curl_easy_setopt(easy, CURLOPT_PROXY, "");
		curl_easy_setopt(easy, CURLOPT_NETRC, (long) CURL_NETRC_IGNORED);
		curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
		curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
		curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
		curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
		curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, timeout);
		curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long) CONNECT_TIMEOUT_MS);
		curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "");
		curl_easy_setopt(easy, CURLOPT_USERAGENT, "sales_assistant");
		curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
		curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, call);
		curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
		curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
		curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header);
		curl_easy_setopt(easy, CURLOPT_HEADERDATA, call);
		curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->error);
		call->is_mail = json_is_object(json_object_get(request, "mail"));
		call->is_imap = json_is_object(json_object_get(request, "imap"));
		/* libcurl repeats a request when a kept connection turns out to be closed */
		if (json_is_true(json_object_get(request, "once")))
			curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
		note(request, "provider", call->provider, sizeof(call->provider));
		note(request, "api_key_id", call->api_key_id, sizeof(call->api_key_id));
		if (json_is_string(json_object_get(request, "dns")))
		{
			call->dns = dns_query_new(json_string_value(json_object_get(request, "dns")), call);
			if (call->dns == NULL)
				*problem = "out of memory";
		}
		else
			*problem = set_target(call, url, request, secret);
		if (*problem == NULL && secret != NULL && (call->secret = strdup(secret)) == NULL)
			*problem = "out of memory";
		if (*problem != NULL || call->dns != NULL)
			;
		else if (call->is_mail)
		{
			curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
			*problem = set_mail(call, json_object_get(request, "mail"), secret);
		}
		else if (call->is_imap)
		{
			curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "imap,imaps");
			*problem = set_imap(call, json_object_get(request, "imap"), secret);
		}
		else
			*problem = set_content(call, request);
	}
	curl_url_cleanup(url);
	json_decref(request);
	if (*problem != NULL)
	{
		http_call_free(call);
		return NULL;
	}
	return call;
}

void
http_call_free(HttpCall *call)
{
	if (call == NULL)
		return;
	if (call->easy != NULL)
		curl_easy_cleanup(call->easy);
	dns_query_free(call->dns);
	if (call->secret != NULL)
		OPENSSL_cleanse(call->secret, strlen(call->secret));
	free(call->secret);
	for (struct curl_slist *h = call->headers; h != NULL; h = h->next)
		OPENSSL_cleanse(h->data, strlen(h->data));
	curl_slist_free_all(call->headers);
	curl_slist_free_all(call->recipients);
	free(call->upload);
	free(call->body);
	free(call->response_headers);
	free(call);
}

long
http_timeout_ms(const char *request)
{
	json_t	   *value = json_loads(request, 0, NULL);
	long		timeout = bounded(value, "timeout_ms", DEFAULT_TIMEOUT_MS, MAX_TIMEOUT_MS);

	json_decref(value);
	return timeout;
}

/* --- in the foreground --- */

/* Asks DNS in the foreground. */
static char *
perform_dns(HttpCall *call)
{
	char	   *response = NULL;

	dns_start(call->dns);
	while (response == NULL && !(QueryCancelPending || ProcDiePending))
	{
		struct pollfd wait = {.fd = dns_descriptor(), .events = POLLIN};

		if (dns_next_done() == call)
			response = http_call_response(call, CURLE_OK);
		else
		{
			long		ms = dns_timeout_ms();

			(void) poll(&wait, 1, ms < 0 || ms > 100 ? 100 : (int) ms);
			dns_drive();
		}
	}
	http_call_free(call);
	CHECK_FOR_INTERRUPTS();
	return response;
}

char *
http_perform(const char *request, const char *secret)
{
	const char *problem;
	HttpCall   *call = http_call_new(request, secret, &problem);
	CURLM	   *multi;
	char	   *response = NULL;
	int			running = 1;

	if (call == NULL)
	{
		json_t	   *failed = json_pack("{s:i, s:s, s:b}", "status", 0, "error", problem, "blocked", 0);

		response = json_dumps(failed, JSON_COMPACT);
		json_decref(failed);
		return response;
	}
	if (call->dns != NULL)
		return perform_dns(call);
	multi = curl_multi_init();
	curl_multi_add_handle(multi, call->easy);
	while (running > 0 && !(QueryCancelPending || ProcDiePending))
	{
		curl_multi_perform(multi, &running);
		if (running > 0)
			curl_multi_poll(multi, NULL, 0, 100, NULL);
	}
	if (running == 0)
	{
		int			left;
		CURLMsg    *message = curl_multi_info_read(multi, &left);

		response = http_call_response(call, message != NULL ? message->data.result
									  : CURLE_ABORTED_BY_CALLBACK);
	}
	curl_multi_remove_handle(multi, call->easy);
	curl_multi_cleanup(multi);
	http_call_free(call);
	CHECK_FOR_INTERRUPTS();
	return response;
}
