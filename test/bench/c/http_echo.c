/*
 * http_echo.c
 *		The peer of the worker's bench: an HTTP/1.1 server on 127.0.0.1 that
 *		answers every request with 1 KB of JSON after a delay, keeping
 *		connections open.  Usage: http_echo DELAY_MS; prints its port.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS 4096

typedef struct Peer
{
	int			tail;			/* how much of "\r\n\r\n" has been seen */
	long long	due;			/* when to answer; 0: nothing asked */
	int			next;			/* in the list of those who wait */
} Peer;

static Peer peers[CONNECTIONS];
static int	first = -1,
			last = -1;			/* answers are due in the order of requests */
static char answer[2048];
static int	answer_size;

static long long
now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static void
reply(int fd)
{
	peers[fd].due = 0;
	if (write(fd, answer, answer_size) != answer_size)
		close(fd);
}

int
main(int argc, char **argv)
{
	long long	delay = argc > 1 ? atoll(argv[1]) * 1000 : 0;
	struct sockaddr_in address = {.sin_family = AF_INET,.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t	size = sizeof(address);
	int			listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	int			epoll = epoll_create1(0);
	struct epoll_event event = {.events = EPOLLIN},
				ready[256];
	char		body[1025];

	memset(body, 'x', 1024);
	memcpy(body, "{\"x\": \"", 7);
	memcpy(body + 1022, "\"}", 3);
	answer_size = snprintf(answer, sizeof(answer),
						   "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1024\r\n\r\n%s", body);
	if (bind(listener, (struct sockaddr *) &address, size) != 0 || listen(listener, 4096) != 0)
		return 1;
	getsockname(listener, (struct sockaddr *) &address, &size);
	printf("%d\n", ntohs(address.sin_port));
	fflush(stdout);
	event.data.fd = listener;
	epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
	for (;;)
	{
		int			wait = first < 0 ? -1 : (int) ((peers[first].due - now_us() + 999) / 1000);
		int			n = epoll_wait(epoll, ready, 256, first >= 0 && wait < 0 ? 0 : wait);

		for (int i = 0; i < n; i++)
		{
			int			fd = ready[i].data.fd;
			char		buf[8192];
			ssize_t		got;

			if (fd == listener)
			{
				while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0)
				{
					int			on = 1;

					if (fd >= CONNECTIONS)
					{
						close(fd);
						continue;
					}
					setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
					memset(&peers[fd], 0, sizeof(Peer));
					event.data.fd = fd;
					epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
				}
				continue;
			}
			got = read(fd, buf, sizeof(buf));
			if (got <= 0 && errno != EAGAIN)
			{
				close(fd);		/* a peer never leaves while it waits for its answer */
				continue;
			}
			for (ssize_t k = 0; k < got; k++)
			{
				Peer	   *peer = &peers[fd];

				peer->tail = buf[k] == "\r\n\r\n"[peer->tail] ? peer->tail + 1 : buf[k] == '\r';
				if (peer->tail < 4)
					continue;
				peer->tail = 0;
				if (delay == 0)
				{
					reply(fd);
					continue;
				}
				peer->due = now_us() + delay;
				peer->next = -1;
				if (last >= 0)
					peers[last].next = fd;
				else
					first = fd;
				last = fd;
			}
		}
		while (first >= 0 && peers[first].due <= now_us())
		{
			int			fd = first;

			first = peers[fd].next;
			if (first < 0)
				last = -1;
			reply(fd);
		}
	}
}
