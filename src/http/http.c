/*
 * http.c
 *		The end of a call, and calls in the foreground.
 *
 * A call is made in request.c, driven by the worker's loop (worker/calls.c) or
 * here, and read in response.c.
 */
#include "postgres.h"

#include <openssl/crypto.h>
#include <poll.h>

#include "compat.h"
#include "core/json.h"
#include "http/dns.h"
#include "http/http.h"
#include "http/memory.h"
#include "http/loginkey.h"
#include "miscadmin.h"
#include "pgstat.h"

static uint32 waits_for_call = 0;	/* wait events */
static uint32 waits_for_dns = 0;

void
http_call_end(HttpCall *call)
{
	curl_off_t	seconds = 0;
	curl_off_t	elapsed = 0;
	char	   *url = NULL;

	curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &call->status);
	curl_easy_getinfo(call->easy, CURLINFO_RETRY_AFTER, &seconds);
	curl_easy_getinfo(call->easy, CURLINFO_TOTAL_TIME_T, &elapsed);
	call->retry_after = seconds;
	call->elapsed_us = elapsed;
	if (call->redirects > 0 && curl_easy_getinfo(call->easy, CURLINFO_EFFECTIVE_URL, &url) == CURLE_OK && url != NULL)
		call->last_url = strdup(url);
	curl_easy_cleanup(call->easy);
	call->easy = NULL;
}

void
http_call_free(HttpCall *call)
{
	if (call == NULL)
		return;
	if (call->easy != NULL)
		curl_easy_cleanup(call->easy);
	curl_url_cleanup(call->url);
	dns_query_free(call->dns);
	if (call->secret != NULL)
		OPENSSL_cleanse(call->secret, strlen(call->secret));
	free(call->secret);
	for (struct curl_slist *h = call->headers; h != NULL; h = h->next)
		OPENSSL_cleanse(h->data, strlen(h->data));
	http_forget_login_key(call);
	curl_slist_free_all(call->headers);
	curl_slist_free_all(call->open_headers);
	curl_slist_free_all(call->recipients);
	free(call->host_key);
	free(call->upload);
	free(call->body);
	free(call->last_url);
	free(call->response_headers);
	free(call);
}

/* --- in the foreground --- */

/* The call's response, unless it was interrupted; the call is freed. */
static Jsonb *
take_response(HttpCall *call, CURLcode result, bool has_ended)
{
	Jsonb	   *volatile response = NULL;

	PG_TRY();
	{
		if (has_ended)
			response = http_call_response(call, result);
	}
	PG_CATCH();
	{
		http_call_free(call);
		PG_RE_THROW();
	}
	PG_END_TRY();
	http_call_free(call);
	CHECK_FOR_INTERRUPTS();
	if (response == NULL)
		elog(ERROR, "the call was interrupted");
	return response;
}

/* Asks DNS in the foreground. */
static Jsonb *
perform_dns(HttpCall *call)
{
	bool		has_ended = false;

	dns_start(call->dns);
	while (!(QueryCancelPending || ProcDiePending) && !(has_ended = dns_next_done() == call))
	{
		struct pollfd wait = {.fd = dns_descriptor(), .events = POLLIN};
		long		ms = dns_timeout_ms();

		pgstat_report_wait_start(compat_wait_event(&waits_for_dns, "SalesAssistantDns"));
		(void) poll(&wait, 1, ms < 0 || ms > 100 ? 100 : (int) ms);
		pgstat_report_wait_end();
		dns_drive();
	}
	return take_response(call, CURLE_OK, has_ended);
}

Jsonb *
http_perform(const char *request, const char *secret)
{
	const char *problem = "out of memory";
	HttpCall   *call = http_library_init() ? http_call_new(request, secret, &problem) : NULL;
	CURLM	   *multi;
	CURLcode	result = CURLE_ABORTED_BY_CALLBACK;
	int			running;

	if (call == NULL)
		return core_take_json(json_pack("{s:i, s:s, s:b}", "status", 0, "error", problem, "blocked", 0));
	if (call->dns != NULL)
		return perform_dns(call);
	multi = curl_multi_init();
	do
	{
		running = 1;
		curl_multi_add_handle(multi, call->easy);
		while (!call->blocked && running > 0 && !(QueryCancelPending || ProcDiePending))
		{
			curl_multi_perform(multi, &running);
			if (running > 0)
			{
				pgstat_report_wait_start(compat_wait_event(&waits_for_call, "SalesAssistantCall"));
				curl_multi_poll(multi, NULL, 0, 100, NULL);
				pgstat_report_wait_end();
			}
		}
		if (running == 0 || call->blocked)
		{
			int			left;
			CURLMsg    *message = curl_multi_info_read(multi, &left);

			result = message != NULL ? message->data.result : CURLE_ABORTED_BY_CALLBACK;
		}
		curl_multi_remove_handle(multi, call->easy);
	} while (running == 0 && http_call_follow(call, result));
	http_call_end(call);
	curl_multi_cleanup(multi);
	return take_response(call, result, running == 0 || call->blocked);
}
