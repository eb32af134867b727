/*
 * response.c
 *		What came of a call, as the JSON that settle functions read.
 *
 * The key that the call was made with does not come back, even where the service
 * quotes it in its refusal.  Memory is malloc'd, as the call's is; only the end of it
 * is a jsonb.
 */
#include "postgres.h"

#include <openssl/evp.h>

#include "core/json.h"
#include "http/charset.h"
#include "http/dns.h"
#include "http/guard.h"
#include "http/http.h"
#include "mb/pg_wchar.h"

/*
 * A service may quote the key that it refuses.  Whoever reads of the call reads it
 * after this: the text of a body is masked as it is converted, the rest here.
 */
static void
hide_in_session(HttpCall *call)
{
	http_hide_secret(call, call->response_headers, call->response_headers_size);
	http_hide_secret(call, call->error, strlen(call->error));
	http_hide_secret(call, call->reply, strlen(call->reply));
}

static json_t *
headers_json(const char *lines)
{
	json_t	   *headers = json_new_object();

	while (lines != NULL && *lines != '\0')
	{
		const char *end = strchr(lines, '\n');
		const char *colon = memchr(lines, ':', end - lines);
		char		name[256];
		size_t		name_length = colon - lines;
		const char *value = colon + 1;

		while (*value == ' ' || *value == '\t')
			value++;
		if (name_length < sizeof(name))
		{
			char	   *text = charset_to_utf8(value, end - value, NULL);

			memcpy(name, lines, name_length);
			name[name_length] = '\0';
			json_object_set_new(headers, name, json_string(text));
			free(text);
		}
		lines = end + 1;
	}
	return headers;
}

/* What the mail server said, and the body of an answer that came whole byte by byte. */
static void
add_session(HttpCall *call, long status, json_t *response)
{
	if (call->kind == HTTP_MAIL)
	{
		char	   *reply = charset_to_utf8(call->reply, strlen(call->reply), NULL);

		json_object_set_new(response, "smtp",
							json_pack("{s:i, s:s, s:b}", "code", atoi(call->reply),
									  "reply", reply ? reply : "", "handed_over",
									  (int) (call->upload_sent > 0 &&
											 call->upload_sent == call->upload_size)));
		free(reply);
	}
	if (call->binary && status != 0 && call->body_size > 0)
	{
		char	   *encoded = malloc(call->body_size / 3 * 4 + 5);

		if (encoded != NULL)
		{
			EVP_EncodeBlock((unsigned char *) encoded, (unsigned char *) call->body,
							call->body_size);
			json_object_set_new(response, "body_base64", json_string(encoded));
		}
		free(encoded);
	}
}

/* What went wrong, in the words of the one who knows most. */
static const char *
call_error(HttpCall *call, CURLcode result)
{
	return call->refused[0] != '\0' ? call->refused
		: call->error[0] != '\0' ? call->error : curl_easy_strerror(result);
}

bool
http_call_is_healthy(HttpCall *call, CURLcode result, double *retry_after, const char **error)
{
	*retry_after = 0;
	*error = NULL;
	hide_in_session(call);
	if (result != CURLE_OK && !call->too_large)
	{
		*error = call_error(call, result);
		return false;
	}
	if (call->kind != HTTP_WEB || (call->status != 429 && call->status < 500))
		return true;
	*retry_after = Min(call->retry_after, 86400);
	snprintf(call->error, sizeof(call->error), "HTTP status %ld", call->status);
	*error = call->error;
	return false;
}

/* The Content-Type header, malloc'd; null without one. */
static char *
content_type(HttpCall *call)
{
	const char *line = call->response_headers_size > 0 ? call->response_headers : NULL;

	for (; line != NULL && *line != '\0'; line = strchr(line, '\n') + 1)
		if (strncmp(line, "content-type:", 13) == 0)
			return strndup(line + 13, strcspn(line + 13, "\n"));
	return NULL;
}

/* The answer to a question of DNS, in the same shape. */
static Jsonb *
dns_response(HttpCall *call)
{
	return core_take_json(json_pack("{s:i, s:{}, s:n, s:n, s:b, s:s, s:s, s:s}",
									 "status", 200, "headers", "body", "error", "blocked", 0,
									 "dns", dns_verdict(call->dns),
									 "provider", call->provider, "api_key_id", call->api_key_id));
}

/* FTP and SFTP have no common statuses; those of HTTP say the same. */
static long
file_status(CURLcode result)
{
	switch (result)
	{
		case CURLE_OK:
			return 200;
		case CURLE_LOGIN_DENIED:
			return 401;
		case CURLE_REMOTE_ACCESS_DENIED:
			return 403;
		case CURLE_REMOTE_FILE_NOT_FOUND:
		case CURLE_FTP_COULDNT_RETR_FILE:
			return 404;
		default:
			return 0;
	}
}

/* Where redirects led; without the query, which may repeat a key. */
static void
add_url(HttpCall *call, json_t *response)
{
	if (call->last_url == NULL)
		return;
	call->last_url[strcspn(call->last_url, "?#")] = '\0';
	http_hide_secret(call, call->last_url, strlen(call->last_url));
	json_object_set_new(response, "url", json_string(call->last_url));
}

/* Of valid text; jansson's own look at it takes as long as all the rest. */
static json_t *
body_json(const char *body)
{
	size_t		length = body != NULL ? strlen(body) : 0;

	return body != NULL && pg_encoding_verifymbstr(PG_UTF8, body, length) == length
		? json_stringn_nocheck(body, length) : json_null();
}

Jsonb *
http_call_response(HttpCall *call, CURLcode result)
{
	long		status = call->status;
	const char *error = NULL;
	char	   *type;
	char	   *body;
	json_t	   *response;

	if (call->dns != NULL)
		return dns_response(call);
	hide_in_session(call);
	if (call->binary)
		http_hide_secret(call, call->body, call->body_size);
	type = content_type(call);
	body = call->binary ? NULL : charset_to_utf8(call->body ? call->body : "", call->body_size, type);
	if (body != NULL)
		http_hide_secret(call, body, strlen(body));
	free(type);
	if (call->blocked)
		error = GUARD_NOT_PUBLIC;
	else if (call->redirect_refused)
		error = call->error;
	else if (call->too_large)
		error = "the answer is larger than allowed";
	else if (result != CURLE_OK)
		error = call_error(call, result);
	if (call->kind == HTTP_FILE)
		status = file_status(result);
	else if (call->kind == HTTP_IMAP)
		status = result == CURLE_OK ? 200 : result == CURLE_QUOTE_ERROR ? 422 : 0;
	else if (error != NULL)
		status = 0;				/* what came of the answer is not to be used */
	response = json_pack("{s:i, s:o, s:o, s:s?, s:b, s:I, s:s, s:s, s:s}",
						 "status", (int) status,
						 "headers", headers_json(call->response_headers_size > 0
												 ? call->response_headers : NULL),
						 "body", error == NULL ? body_json(body) : json_null(),
						 "error", error,
						 "blocked", (int) call->blocked,
						 "elapsed_ms", (json_int_t) (call->elapsed_us / 1000),
						 "provider", call->provider,
						 "api_key_id", call->api_key_id,
						 "budget_month", call->budget_month);
	if (response != NULL)
		add_session(call, status, response);
	if (response != NULL && call->redirects > 0 && error == NULL)
		add_url(call, response);
	free(body);
	return core_take_json(response);
}
