/*
 * calls.c
 *		The worker's event loop: many HTTP calls, one wait.
 *
 * libcurl's multi interface tells which sockets it waits for; they go into an
 * epoll set of our own, and that set's descriptor, which can itself be waited
 * for, goes into PostgreSQL's WaitEventSet beside the latch.  So one wait
 * covers signals, the queue and all calls, and nothing is rebuilt when a
 * socket comes or goes.
 *
 * Sessions of FTP, SMTP and IMAP are also looked at twenty times a second: where
 * two replies come in one TLS record, or before they are waited for, libcurl
 * (7.88) has read the second already and then waits for its socket to say so,
 * which it does not; such a call stood still until one of its timers ran out.
 *
 * libcurl looks names up in threads.  Signals are blocked while it may start
 * one, so that PostgreSQL's handlers run in the main thread alone.
 */
#include "postgres.h"

#include <malloc.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "compat.h"
#include "core/clock.h"
#include "http/dns.h"
#include "http/memory.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "worker/calls.h"

#define EVENTS_PER_WAIT 256
#define SESSION_TICK_MS 50
#define OTHER_FILES 200			/* descriptors that are not for calls */
#define KEPT_MEMORY (32 * 1024 * 1024)	/* free memory that is not given back at once */
#define OWN_PAGES (4 * 1024 * 1024)	/* what is larger, as a large answer, always is */

static CURLM *multi = NULL;
static int	epoll_fd = -1;
static WaitEventSet *wait_set = NULL;
static int64 curl_due = PG_INT64_MAX; /* when libcurl wants to be called, by clock_monotonic() */
static dlist_head sessions = DLIST_STATIC_INIT(sessions);
static int64 tick_due = 0;		/* when the sessions are looked at again */
static uint32 waits_for_work = 0; /* wait events */
static uint32 waits_for_calls = 0;
static int	most_calls = 0;		/* as far as descriptors go */

static int
socket_changed(CURL *easy, curl_socket_t fd, int what, void *data, void *known)
{
	struct epoll_event event = {0};
	HttpCall   *call = NULL;

	if (curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **) &call) == CURLE_OK && call != NULL)
		call->waits_for = what == CURL_POLL_REMOVE ? CURL_SOCKET_BAD : fd;
	if (what == CURL_POLL_REMOVE)
	{
		(void) epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, NULL);
		return 0;
	}
	event.data.fd = fd;
	event.events = (what & CURL_POLL_IN ? EPOLLIN : 0) | (what & CURL_POLL_OUT ? EPOLLOUT : 0);
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0 && errno == EEXIST)
		(void) epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &event);
	return 0;
}

static int
timer_changed(CURLM *m, long timeout_ms, void *data)
{
	curl_due = timeout_ms < 0 ? PG_INT64_MAX
		: clock_monotonic() + (int64) timeout_ms * 1000;
	return 0;
}

static void
block_signals(sigset_t *saved)
{
	sigset_t	all;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, saved);
}

/* Signals are blocked. */
static void
drive(curl_socket_t fd, int mask)
{
	int			running;

	(void) curl_multi_socket_action(multi, fd, mask, &running);
}

/* As many descriptors as the process may have at all. */
static void
raise_file_limit(void)
{
	struct rlimit limit;

	most_calls = 512;
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	if (limit.rlim_cur < limit.rlim_max)
	{
		struct rlimit raised = {limit.rlim_max, limit.rlim_max};

		if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
			limit = raised;
	}
	most_calls = limit.rlim_cur > 1000000 ? 1000000 : Max((int) limit.rlim_cur - OTHER_FILES, 16);
}

int
calls_limit(void)
{
	return most_calls;
}

/* What calls take and give back, the next take: not by way of the kernel. */
static void
keep_memory(void)
{
#ifdef __GLIBC__
	(void) mallopt(M_TRIM_THRESHOLD, KEPT_MEMORY);
	(void) mallopt(M_MMAP_THRESHOLD, OWN_PAGES);
#endif
}

void
calls_init(void)
{
	raise_file_limit();
	keep_memory();
	if (!http_library_init())
		elog(ERROR, "could not initialize libcurl");
	multi = curl_multi_init();
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (multi == NULL || epoll_fd < 0)
		elog(ERROR, "could not set up the event loop: %m");
	curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, socket_changed);
	curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, timer_changed);
	curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long) Min(most_calls, 1024));
	if (dns_descriptor() >= 0)
	{
		struct epoll_event event = {.events = EPOLLIN, .data.fd = dns_descriptor()};

		(void) epoll_ctl(epoll_fd, EPOLL_CTL_ADD, dns_descriptor(), &event);
	}
	wait_set = compat_create_wait_event_set(3);
	AddWaitEventToSet(wait_set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(wait_set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	AddWaitEventToSet(wait_set, WL_SOCKET_READABLE, epoll_fd, NULL, NULL);
}

void
calls_start(HttpCall *call)
{
	if (call->dns != NULL)
	{
		dns_start(call->dns);
		return;
	}
	call->waits_for = CURL_SOCKET_BAD;
	if (call->kind != HTTP_WEB)
		dlist_push_tail(&sessions, &call->session);
	(void) curl_multi_add_handle(multi, call->easy);
}

/*
 * Calls that have ended leave libcurl when all its messages are read: it looks
 * for a message of each that leaves, among those that it has.
 */
static void
hand_over(CallDone done)
{
	struct
	{
		HttpCall   *call;
		CURLcode	result;
	}			ended[EVENTS_PER_WAIT];
	CURLMsg    *message;
	int			left;
	int			n;

	do
	{
		for (n = 0; n < lengthof(ended) && (message = curl_multi_info_read(multi, &left)) != NULL; n++)
		{
			ended[n].result = message->data.result;
			curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **) &ended[n].call);
		}
		for (int i = 0; i < n; i++)
		{
			HttpCall   *call = ended[i].call;

			(void) curl_multi_remove_handle(multi, call->easy);
			if (call->kind != HTTP_WEB)
				dlist_delete(&call->session);
			if (http_call_follow(call, ended[i].result))
			{
				calls_start(call);
				continue;
			}
			http_call_end(call);
			done(call, ended[i].result);
		}
	} while (n == lengthof(ended));
	for (HttpCall *call; (call = dns_next_done()) != NULL;)
		done(call, CURLE_OK);
}

bool
calls_wait(long timeout_ms, CallDone done)
{
	WaitEvent	events[3];
	struct epoll_event ready[EVENTS_PER_WAIT];
	uint32		waits_for = compat_wait_event(&waits_for_work, "SalesAssistantIdle");
	sigset_t	saved;
	bool		moved = false;
	int			n;

	/* libcurl has a timer as long as a call is open */
	if (curl_due != PG_INT64_MAX || !dlist_is_empty(&sessions) || dns_timeout_ms() >= 0)
		waits_for = compat_wait_event(&waits_for_calls, "SalesAssistantCalls");
	if (curl_due != PG_INT64_MAX)
	{
		long		curl_ms = Max((curl_due - clock_monotonic() + 999) / 1000, 0);

		timeout_ms = timeout_ms < 0 ? curl_ms : Min(timeout_ms, curl_ms);
	}
	if (!dlist_is_empty(&sessions))
		timeout_ms = timeout_ms < 0 ? SESSION_TICK_MS : Min(timeout_ms, SESSION_TICK_MS);
	if (dns_timeout_ms() >= 0)
		timeout_ms = timeout_ms < 0 ? dns_timeout_ms() : Min(timeout_ms, dns_timeout_ms());
	n = WaitEventSetWait(wait_set, timeout_ms, events, lengthof(events), waits_for);
	block_signals(&saved);
	for (int i = 0; i < n; i++)
	{
		int			sockets;

		if (events[i].events & WL_LATCH_SET)
			ResetLatch(MyLatch);
		if (!(events[i].events & WL_SOCKET_READABLE))
			continue;
		sockets = epoll_wait(epoll_fd, ready, EVENTS_PER_WAIT, 0);
		moved = moved || sockets > 0;
		for (int s = 0; s < sockets; s++)
			if (ready[s].data.fd != dns_descriptor())
				drive(ready[s].data.fd,
				  (ready[s].events & EPOLLIN ? CURL_CSELECT_IN : 0) |
				  (ready[s].events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
				  (ready[s].events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0));
	}
	if (curl_due <= clock_monotonic())
	{
		curl_due = PG_INT64_MAX;
		drive(CURL_SOCKET_TIMEOUT, 0);
	}
	if (!dlist_is_empty(&sessions) && tick_due <= clock_monotonic())
	{
		dlist_iter	each;

		tick_due = clock_monotonic() + SESSION_TICK_MS * INT64CONST(1000);
		dlist_foreach(each, &sessions)
		{
			HttpCall   *call = dlist_container(HttpCall, session, each.cur);

			if (call->waits_for != CURL_SOCKET_BAD)
				drive(call->waits_for, 0);
		}
	}
	sigprocmask(SIG_SETMASK, &saved, NULL);
	dns_drive();
	hand_over(done);
	return moved;
}
