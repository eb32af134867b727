/*
 * dns.c
 *		TXT records, for doctor(): do a sender's SPF, DKIM and DMARC exist?
 *
 * c-ares asks, as the worker's look-ups do (http/dns.c), but here in the
 * foreground and for two seconds at most.  When no name server answers at all,
 * that is remembered for a minute: a server without network does not wait for
 * each domain.
 */
#include "postgres.h"

/* as in http/dns.c */
#define CARES_NO_DEPRECATED
#include <ares.h>
#include <arpa/nameser.h>
#include <poll.h>

#include "catalog/pg_type.h"
#include "compat.h"
#include "fmgr.h"
#include "http/dns.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define PATIENCE_MS 2000
#define UNREACHABLE_SECONDS 60
#define MAX_RECORDS 64

static TimestampTz unreachable_until = 0;
static uint32 waits_for_dns = 0;	/* wait event */

typedef struct Answer
{
	bool		over;
	int			status;			/* of c-ares */
	struct ares_txt_ext *records;
} Answer;

/* c-ares's callback: nothing here throws. */
static void
take_answer(void *arg, int status, int timeouts, unsigned char *bytes, int length)
{
	Answer	   *answer = arg;

	answer->over = true;
	answer->status = status == ARES_SUCCESS
		? ares_parse_txt_reply_ext(bytes, length, &answer->records) : status;
}

/* Asks and waits; false without an answer in time. */
static bool
ask_txt(const char *name, Answer *answer)
{
	struct ares_options options = {.timeout = PATIENCE_MS / 2, .tries = 2};
	ares_channel channel;
	TimestampTz until = GetCurrentTimestamp() + PATIENCE_MS * INT64CONST(1000);

	if (ares_init_options(&channel, &options, ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES) != ARES_SUCCESS)
		return false;
	if (dns_servers()[0] == '\0' || ares_set_servers_ports_csv(channel, dns_servers()) == ARES_SUCCESS)
	{
		ares_query(channel, name, ns_c_in, ns_t_txt, take_answer, answer);
		while (!answer->over && GetCurrentTimestamp() < until && !(QueryCancelPending || ProcDiePending))
		{
			ares_socket_t sockets[ARES_GETSOCK_MAXNUM];
			int			wanted = ares_getsock(channel, sockets, ARES_GETSOCK_MAXNUM);
			struct pollfd waits[ARES_GETSOCK_MAXNUM];
			int			n = 0;

			for (int i = 0; i < ARES_GETSOCK_MAXNUM; i++)
			{
				short		events = (ARES_GETSOCK_READABLE(wanted, i) ? POLLIN : 0) |
					(ARES_GETSOCK_WRITABLE(wanted, i) ? POLLOUT : 0);

				if (events != 0)
					waits[n++] = (struct pollfd) {.fd = sockets[i], .events = events};
			}
			pgstat_report_wait_start(compat_wait_event(&waits_for_dns, "SalesAssistantDns"));
			(void) poll(waits, n, 50);
			pgstat_report_wait_end();
			for (int i = 0; i < n; i++)
				ares_process_fd(channel, waits[i].revents & (POLLIN | POLLERR | POLLHUP) ? waits[i].fd : ARES_SOCKET_BAD,
								waits[i].revents & POLLOUT ? waits[i].fd : ARES_SOCKET_BAD);
			ares_process_fd(channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD); /* its timers */
		}
	}
	ares_destroy(channel);		/* ends an open question, with ARES_EDESTRUCTION */
	return answer->status == ARES_SUCCESS || answer->status == ARES_ENODATA || answer->status == ARES_ENOTFOUND;
}

/* The texts of an answer: a record is a row of strings that belong together. */
static int
collect_texts(const struct ares_txt_ext *record, Datum *texts)
{
	StringInfoData text;
	int			n = 0;

	initStringInfo(&text);
	for (; record != NULL && n < MAX_RECORDS; record = record->next)
	{
		for (size_t i = 0; i < record->length; i++)
			appendStringInfoChar(&text, record->txt[i] < 0x20 || record->txt[i] > 0x7e ? '?' : (char) record->txt[i]);
		if (record->next == NULL || record->next->record_start)
		{
			texts[n++] = CStringGetTextDatum(text.data);
			resetStringInfo(&text);
		}
	}
	return n;
}

PG_FUNCTION_INFO_V1(sales_dns_txt);

/* sales_internal.dns_txt(name text) → text[]: empty where there is none, null when DNS cannot say */
Datum
sales_dns_txt(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Answer		answer = {.status = ARES_ETIMEOUT};
	Datum		texts[MAX_RECORDS];
	int			n = 0;

	if (GetCurrentTimestamp() < unreachable_until)
		PG_RETURN_NULL();
	if (!ask_txt(name, &answer))
	{
		CHECK_FOR_INTERRUPTS();
		/* one domain's servers may be broken: that says nothing of the next domain */
		if (answer.status != ARES_ESERVFAIL && answer.status != ARES_EREFUSED && answer.status != ARES_EBADRESP)
			unreachable_until = GetCurrentTimestamp() + UNREACHABLE_SECONDS * USECS_PER_SEC;
		PG_RETURN_NULL();
	}
	PG_TRY();
	{
		n = collect_texts(answer.records, texts);
	}
	PG_FINALLY();
	{
		if (answer.records != NULL)
			ares_free_data(answer.records);
	}
	PG_END_TRY();
	PG_RETURN_ARRAYTYPE_P(construct_array(texts, n, TEXTOID, -1, false, TYPALIGN_INT));
}
