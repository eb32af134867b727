/*
 * fuzz_url.c
 *		URLs: where the guard lets one pass, libcurl reads the same host out of it, and
 *		one that is an address is public.  Lines: the URL, allowed_hosts, host_key.
 */
#include "postgres.h"

#include "http/guard.c"
#include "http/hostkey.c"
#include "shim.h"

char	   *guc_allowed_hosts;

/* Is what libcurl would connect to an address that is not public? */
static bool
is_inner_address(const char *host)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
	char		bare[300];

	strlcpy(bare, host + (*host == '['), sizeof(bare));
	if (*host == '[')
		bare[strcspn(bare, "]%")] = '\0';
	if (inet_pton(AF_INET, bare, &v4.sin_addr) == 1)
		return !guard_is_public((struct sockaddr *) &v4);
	return inet_pton(AF_INET6, bare, &v6.sin6_addr) == 1 && !guard_is_public((struct sockaddr *) &v6);
}

static void
judge(const char *data, size_t size)
{
	char	   *rest = fuzz_string(data, size);
	char	   *text = strsep(&rest, "\n");
	char	   *hosts = rest != NULL ? strsep(&rest, "\n") : "";
	CURLU	   *url = curl_url();
	char	   *host = NULL;
	bool		forbidden = true;
	HttpCall	call = {.easy = curl_easy_init()};

	guc_allowed_hosts = "";
	/* as request.c's set_url() does it */
	if (curl_url_set(url, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME | CURLU_URLENCODE) == CURLUE_OK &&
		curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK)
	{
		const char *problem = guard_url_problem(text, false, &forbidden);

		if (problem == NULL)
		{
			fuzz_claim(!forbidden && !is_inner_address(host));
			/* libcurl writes an IPv6 address in the shortest way */
			fuzz_claim(*host == '[' || strcasestr(text, host) != NULL);
		}
		guc_allowed_hosts = hosts;
		(void) guard_url_problem(text, guard_is_allowed_host(host, 443), &forbidden);
	}
	curl_free(host);
	curl_url_cleanup(url);
	if (rest != NULL && http_pin_host_key(&call, rest) == NULL)
	{
		/* the empty key is nobody's */
		fuzz_claim(judge_host_key(&call, 0, "", 0) == CURLKHMATCH_MISMATCH ||
				   strstr(rest, "47DEQpj8HBSa") != NULL);
	}
	free(call.host_key);
	curl_easy_cleanup(call.easy);
}

int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	size = strnlen((const char *) data, size);
	fuzz_claim(fuzz_run(judge, (const char *) data, size));
	return 0;
}
