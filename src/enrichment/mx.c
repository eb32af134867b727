/*
 * mx.c
 *		Does a domain take mail?  MX look-ups with the C library's resolver.
 *
 * The look-up blocks for two seconds at most, so it runs in jobs, never in the
 * event loop's calls.  When no name server answers at all, that is remembered
 * for a minute: a server without network does not wait for each address.
 */
#include "postgres.h"

#include <arpa/nameser.h>
#include <netdb.h>
#include <resolv.h>

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define UNREACHABLE_SECONDS 60

static TimestampTz unreachable_until = 0;

typedef enum MxAnswer
{
	MX_YES, MX_NO, MX_UNKNOWN
} MxAnswer;

/* Is there a record of this type?  MX 0 "." (RFC 7505) says that there is no mail. */
static MxAnswer
has_record(res_state state, const char *domain, int type)
{
	unsigned char answer[NS_MAXMSG];
	int			length = res_nquery(state, domain, ns_c_in, type, answer, sizeof(answer));
	ns_msg		message;
	ns_rr		record;

	if (length < 0)
		return state->res_h_errno == HOST_NOT_FOUND || state->res_h_errno == NO_DATA
			? MX_NO : MX_UNKNOWN;
	if (ns_initparse(answer, Min(length, (int) sizeof(answer)), &message) != 0)
		return MX_UNKNOWN;
	for (int i = 0; i < ns_msg_count(message, ns_s_an); i++)
		if (ns_parserr(&message, ns_s_an, i, &record) == 0 && ns_rr_type(record) == type &&
			!(type == ns_t_mx && ns_rr_rdlen(record) == 3))
			return MX_YES;
	return MX_NO;
}

PG_FUNCTION_INFO_V1(sales_takes_mail);

/* sales_internal.takes_mail(domain text) → boolean: null when DNS cannot say */
Datum
sales_takes_mail(PG_FUNCTION_ARGS)
{
	char	   *domain = text_to_cstring(PG_GETARG_TEXT_PP(0));
	struct __res_state state;
	MxAnswer	answer;

	if (GetCurrentTimestamp() < unreachable_until)
		PG_RETURN_NULL();
	memset(&state, 0, sizeof(state));
	if (res_ninit(&state) != 0)
		PG_RETURN_NULL();
	state.retrans = 1;
	state.retry = 1;
	answer = has_record(&state, domain, ns_t_mx);
	/* Without MX a domain's own address takes its mail (RFC 5321, 5.1). */
	if (answer == MX_NO)
		answer = has_record(&state, domain, ns_t_a);
	res_nclose(&state);
	if (answer == MX_UNKNOWN)
	{
		unreachable_until = GetCurrentTimestamp() + UNREACHABLE_SECONDS * USECS_PER_SEC;
		PG_RETURN_NULL();
	}
	PG_RETURN_BOOL(answer == MX_YES);
}
