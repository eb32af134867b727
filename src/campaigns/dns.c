/*
 * dns.c
 *		TXT records, for doctor(): do a sender's SPF, DKIM and DMARC exist?
 *
 * A look-up blocks for two seconds at most.  When no name server answers, that
 * is remembered for a minute: a server without network does not wait for each
 * domain.
 */
#include "postgres.h"

#include <arpa/nameser.h>
#include <netdb.h>
#include <resolv.h>

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define UNREACHABLE_SECONDS 60
#define MAX_RECORDS 64

static TimestampTz unreachable_until = 0;

/* A record is a row of counted strings that belong together. */
static char *
record_text(const unsigned char *data, int length)
{
	char	   *text = palloc(length + 1);
	int			n = 0;

	for (int i = 0; i < length; i += data[i] + 1)
	{
		int			size = Min(data[i], length - i - 1);

		memcpy(text + n, data + i + 1, size);
		n += size;
	}
	for (int i = 0; i < n; i++)
		if (text[i] < 0x20 || text[i] > 0x7e)
			text[i] = '?';
	text[n] = '\0';
	return text;
}

PG_FUNCTION_INFO_V1(sales_dns_txt);

/* sales_internal.dns_txt(name text) → text[]: empty where there is none, null when DNS cannot say */
Datum
sales_dns_txt(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	struct __res_state state;
	unsigned char answer[NS_MAXMSG];
	ns_msg		message;
	ns_rr		record;
	Datum		texts[MAX_RECORDS];
	int			n = 0;
	int			length;
	bool		unknown;

	if (GetCurrentTimestamp() < unreachable_until)
		PG_RETURN_NULL();
	memset(&state, 0, sizeof(state));
	if (res_ninit(&state) != 0)
		PG_RETURN_NULL();
	state.retrans = 1;
	state.retry = 1;
	length = res_nquery(&state, name, ns_c_in, ns_t_txt, answer, sizeof(answer));
	unknown = length < 0 && state.res_h_errno != HOST_NOT_FOUND && state.res_h_errno != NO_DATA;
	res_nclose(&state);
	if (unknown)
	{
		unreachable_until = GetCurrentTimestamp() + UNREACHABLE_SECONDS * USECS_PER_SEC;
		PG_RETURN_NULL();
	}
	if (length >= 0 && ns_initparse(answer, Min(length, (int) sizeof(answer)), &message) == 0)
		for (int i = 0; i < ns_msg_count(message, ns_s_an) && n < MAX_RECORDS; i++)
			if (ns_parserr(&message, ns_s_an, i, &record) == 0 && ns_rr_type(record) == ns_t_txt)
				texts[n++] = CStringGetTextDatum(record_text(ns_rr_rdata(record), ns_rr_rdlen(record)));
	PG_RETURN_ARRAYTYPE_P(construct_array(texts, n, TEXTOID, -1, false, TYPALIGN_INT));
}
