/*
 * dns.c
 *		Does a domain take mail?  Asked of DNS with c-ares, beside all other calls.
 *
 * Nothing here blocks: c-ares' sockets go into an epoll set of our own, whose
 * descriptor the worker's event loop waits for together with everything else.
 * A question asks for MX records, then for addresses where there is none.
 * c-ares bounds each step by its own timeouts, some seconds for each server; after
 * a step in which nobody answered, half a second for a while, so that a server
 * without network does not wait long for each address.
 *
 * The channel is made for the first question and closed after the last, so that
 * a change of /etc/resolv.conf or of the setting is noticed.  Callbacks of
 * c-ares neither throw nor palloc.
 */
#include "postgres.h"

/* the calls that c-ares 1.28 calls deprecated are the only ones that older ones have */
#define CARES_NO_DEPRECATED
#include <ares.h>
#include <arpa/nameser.h>
#include <idn2.h>
#include <netdb.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "core/clock.h"
#include "http/dns.h"
#include "utils/guc.h"

#define TIMEOUT_MS 1500			/* of the first try; the second has twice that */
#define TRIES 2
#define SHORT_TIMEOUT_MS 500	/* while nobody answers, and one try */
#define SILENCE_SECONDS 30
#define MAX_DOMAIN 253

struct DnsQuery
{
	char	   *domain;			/* as it was given */
	int			type;			/* of the records that are asked for now */
	const char *verdict;		/* null until it is answered */
	bool		running;
	bool		abandoned;		/* freed by its owner while c-ares had it */
	void	   *owner;
	DnsQuery   *next_done;
};

static char *guc_servers = NULL;
static ares_channel channel;
static bool channel_open = false;
static int	queries_open = 0;
static int	epoll_fd = -1;
static DnsQuery *done_first = NULL;
static int64 silent_until = 0;	/* by clock_monotonic() */

static void ask(DnsQuery *query, int type);

void
dns_init(void)
{
	DefineCustomStringVariable("sales_assistant.dns_servers",
							   "Name servers to ask about mail domains.",
							   "Such as 192.0.2.1:53,192.0.2.2; empty: those of the system.",
							   &guc_servers, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL, NULL, NULL);
}

const char *
dns_servers(void)
{
	return guc_servers != NULL ? guc_servers : "";
}

static void
finish(DnsQuery *query, const char *verdict)
{
	query->verdict = verdict;
	query->next_done = done_first;
	done_first = query;
}

static void
socket_changed(void *data, ares_socket_t fd, int readable, int writable)
{
	struct epoll_event event = {0};

	if (!readable && !writable)
	{
		(void) epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, NULL);
		return;
	}
	event.data.fd = fd;
	event.events = (readable ? EPOLLIN : 0) | (writable ? EPOLLOUT : 0);
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0 && errno == EEXIST)
		(void) epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &event);
}

static bool
open_channel(void)
{
	struct ares_options options = {0};
	bool		silent = clock_monotonic() < silent_until;

	if (channel_open)
		return true;
	if (dns_descriptor() < 0)
		return false;
	options.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES;
	options.timeout = silent ? SHORT_TIMEOUT_MS : TIMEOUT_MS;
	options.tries = silent ? 1 : TRIES;
	options.sock_state_cb = socket_changed;
	if (ares_init_options(&channel, &options, ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS |
						  ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB) != ARES_SUCCESS)
		return false;
	if (dns_servers()[0] != '\0' &&
		ares_set_servers_ports_csv(channel, guc_servers) != ARES_SUCCESS)
	{
		ares_destroy(channel);
		return false;
	}
	channel_open = true;
	return true;
}

/* --- answers --- */

/* "mx" or "null_mx"; null where the answer has no record of the type. */
static const char *
read_mx(unsigned char *answer, int length)
{
	struct ares_mx_reply *records = NULL;
	const char *verdict = NULL;

	if (ares_parse_mx_reply(answer, length, &records) != ARES_SUCCESS)
		return NULL;
	for (struct ares_mx_reply *r = records; r != NULL; r = r->next)
	{
		bool		is_root = r->host[0] == '\0' || strcmp(r->host, ".") == 0;

		if (!is_root)
			verdict = "mx";
		else if (verdict == NULL)
			verdict = "null_mx";
	}
	ares_free_data(records);
	return verdict;
}

static bool
has_address(unsigned char *answer, int length, int type)
{
	struct hostent *host = NULL;
	int			status = type == ns_t_a ? ares_parse_a_reply(answer, length, &host, NULL, NULL)
		: ares_parse_aaaa_reply(answer, length, &host, NULL, NULL);
	bool		found = status == ARES_SUCCESS && host != NULL && host->h_addr_list[0] != NULL;

	if (host != NULL)
		ares_free_hostent(host);
	return found;
}

static void
answered(void *arg, int status, int timeouts, unsigned char *answer, int length)
{
	DnsQuery   *query = arg;
	const char *verdict = NULL;

	query->running = false;
	queries_open--;
	if (status == ARES_ETIMEOUT || status == ARES_ECONNREFUSED)
		silent_until = clock_monotonic() + SILENCE_SECONDS * INT64CONST(1000000);
	else if (status != ARES_EDESTRUCTION)
		silent_until = 0;
	if (query->abandoned)
	{
		dns_query_free(query);
		return;
	}
	if (status == ARES_ENOTFOUND)
		verdict = "no_domain";
	else if (status != ARES_SUCCESS && status != ARES_ENODATA)
		verdict = "unknown";
	else if (status == ARES_SUCCESS)
		verdict = query->type == ns_t_mx ? read_mx(answer, length)
			: has_address(answer, length, query->type) ? "address" : NULL;
	if (verdict != NULL)
		finish(query, verdict);
	else if (query->type == ns_t_mx)
		ask(query, ns_t_a);
	else if (query->type == ns_t_a)
		ask(query, ns_t_aaaa);
	else
		finish(query, "no_mail");
}

/* --- questions --- */

DnsQuery *
dns_query_new(const char *domain, void *owner)
{
	DnsQuery   *query = calloc(1, sizeof(DnsQuery));

	if (query == NULL)
		return NULL;
	query->domain = strdup(domain);
	query->owner = owner;
	if (query->domain == NULL)
	{
		free(query);
		return NULL;
	}
	return query;
}

void
dns_query_free(DnsQuery *query)
{
	if (query == NULL)
		return;
	if (query->running)
	{
		query->abandoned = true;	/* answered() comes back here */
		return;
	}
	for (DnsQuery **link = &done_first; *link != NULL; link = &(*link)->next_done)
		if (*link == query)
		{
			*link = query->next_done;
			break;
		}
	free(query->domain);
	free(query);
}

static void
ask(DnsQuery *query, int type)
{
	char	   *ascii = NULL;

	query->type = type;
	if (idn2_to_ascii_8z(query->domain, &ascii, IDN2_NONTRANSITIONAL) != IDN2_OK ||
		strlen(ascii) > MAX_DOMAIN)
		finish(query, "no_domain");
	else if (!open_channel())
		finish(query, "unknown");
	else
	{
		query->running = true;
		queries_open++;
		ares_query(channel, ascii, ns_c_in, type, answered, query);
	}
	idn2_free(ascii);
}

void
dns_start(DnsQuery *query)
{
	ask(query, ns_t_mx);
}

int
dns_descriptor(void)
{
	if (epoll_fd < 0)
		epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	return epoll_fd;
}

long
dns_timeout_ms(void)
{
	struct timeval most = {600, 0};
	struct timeval wait;
	struct timeval *next;

	if (done_first != NULL)
		return 0;
	if (queries_open == 0)
		return -1;
	next = ares_timeout(channel, &most, &wait);
	return next->tv_sec * 1000 + (next->tv_usec + 999) / 1000;
}

void
dns_drive(void)
{
	struct epoll_event ready[16];
	int			n;

	if (!channel_open)
		return;
	n = epoll_wait(epoll_fd, ready, lengthof(ready), 0);
	for (int i = 0; i < n; i++)
		ares_process_fd(channel,
						ready[i].events & ~EPOLLOUT ? ready[i].data.fd : ARES_SOCKET_BAD,
						ready[i].events & EPOLLOUT ? ready[i].data.fd : ARES_SOCKET_BAD);
	ares_process_fd(channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD); /* timeouts */
	if (queries_open == 0)
	{
		ares_destroy(channel);
		channel_open = false;
	}
}

void *
dns_next_done(void)
{
	DnsQuery   *query = done_first;

	if (query == NULL)
		return NULL;
	done_first = query->next_done;
	query->next_done = NULL;
	return query->owner;
}

const char *
dns_verdict(const DnsQuery *query)
{
	return query->verdict != NULL ? query->verdict : "unknown";
}
