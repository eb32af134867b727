/*
 * curl_floor.c
 *		The floor of the worker's bench: the same calls by a bare program with
 *		libcurl's multi interface and epoll, and nothing done with the answers.
 *		Usage: curl_floor URL CALLS OPEN; prints seconds of wall and of CPU time.
 */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>

static CURLM *multi;
static int	epoll;
static long timeout = -1;

static int
socket_changed(CURL *easy, curl_socket_t fd, int what, void *data, void *known)
{
	struct epoll_event event = {.data.fd = fd};

	event.events = (what & CURL_POLL_IN ? EPOLLIN : 0) | (what & CURL_POLL_OUT ? EPOLLOUT : 0);
	if (what == CURL_POLL_REMOVE)
		epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL);
	else if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
		epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event);
	return 0;
}

static int
timer_changed(CURLM *m, long ms, void *data)
{
	timeout = ms;
	return 0;
}

static size_t
take(char *data, size_t size, size_t n, void *arg)
{
	*(size_t *) arg += size * n;
	return size * n;
}

static double
seconds(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

int
main(int argc, char **argv)
{
	int			calls = atoi(argv[2]),
				open = 0,
				most = atoi(argv[3]),
				done = 0,
				begun = 0,
				running;
	size_t		bytes = 0;
	double		start = seconds(CLOCK_MONOTONIC);
	CURLMsg    *message;

	curl_global_init(CURL_GLOBAL_DEFAULT);
	multi = curl_multi_init();
	epoll = epoll_create1(0);
	curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, socket_changed);
	curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, timer_changed);
	curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long) most);
	while (done < calls)
	{
		struct epoll_event ready[256];
		int			n;

		for (; begun < calls && open < most; begun++, open++)
		{
			CURL	   *easy = curl_easy_init();

			curl_easy_setopt(easy, CURLOPT_URL, argv[1]);
			curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take);
			curl_easy_setopt(easy, CURLOPT_WRITEDATA, &bytes);
			curl_multi_add_handle(multi, easy);
		}
		n = epoll_wait(epoll, ready, 256, timeout < 0 ? -1 : (int) timeout);
		if (n == 0)
			curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &running);
		for (int i = 0; i < n; i++)
			curl_multi_socket_action(multi, ready[i].data.fd,
									 (ready[i].events & EPOLLIN ? CURL_CSELECT_IN : 0) |
									 (ready[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0), &running);
		while ((message = curl_multi_info_read(multi, &n)) != NULL)
			if (message->msg == CURLMSG_DONE)
			{
				CURL	   *easy = message->easy_handle;

				if (message->data.result != CURLE_OK)
					fprintf(stderr, "%s\n", curl_easy_strerror(message->data.result));
				curl_multi_remove_handle(multi, easy);
				curl_easy_cleanup(easy);
				open--;
				done++;
			}
	}
	printf("%.4f %.4f %zu\n", seconds(CLOCK_MONOTONIC) - start, seconds(CLOCK_PROCESS_CPUTIME_ID), bytes);
	return 0;
}
