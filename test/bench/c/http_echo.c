/*
 * http_echo.c
 *		The peer of the worker's bench and of its larger tests: an HTTP/1.1
 *		server on 127.0.0.1 that answers every request with 1 KB of JSON after a
 *		delay, keeping connections open.
 *		Usage: http_echo DELAY_MS [LOG]; prints its port.  LOG gets the target of
 *		each request, one a line, before it is answered.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define HEAD 4096				/* bytes of a request's head; it has no body */
#define ANSWER_BODY 1024

/* One connection. */
typedef struct Peer
{
	unsigned	life;			/* of its descriptor: counts up when it is closed */
	int			used;			/* bytes of a head that is not complete */
	char		head[HEAD];
} Peer;

/* An answer that is due; they are due in the order of the requests. */
typedef struct Due
{
	long long	at;				/* microseconds */
	int			fd;
	unsigned	life;			/* of the connection that asked */
} Due;

static Peer **peers;			/* by descriptor */
static int	npeers;
static Due *due;				/* a ring */
static size_t due_size = 1024,
			due_first,
			ndue;
static char answer[2048];
static int	answer_size;
static FILE *targets;

static long long
now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static void *
must(void *memory)
{
	if (memory == NULL)
		abort();
	return memory;
}

static void
make_answer(void)
{
	char		body[ANSWER_BODY + 1];

	memset(body, 'x', ANSWER_BODY);
	memcpy(body, "{\"x\": \"", 7);
	memcpy(body + ANSWER_BODY - 2, "\"}", 3);
	answer_size = snprintf(answer, sizeof(answer),
						   "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
						   "Content-Length: %d\r\n\r\n%s", ANSWER_BODY, body);
}

static void
leave(int fd)
{
	peers[fd]->life++;			/* what it still waits for is dropped */
	close(fd);
}

static void
reply(int fd)
{
	/* 1 KB always fits into the socket's buffer of a peer that reads */
	if (write(fd, answer, answer_size) != answer_size)
		leave(fd);
}

static void
put_off(int fd, long long at)
{
	if (ndue == due_size)
	{
		Due		   *grown = must(malloc(2 * due_size * sizeof(Due)));

		for (size_t i = 0; i < ndue; i++)
			grown[i] = due[(due_first + i) % due_size];
		free(due);
		due = grown;
		due_first = 0;
		due_size *= 2;
	}
	due[(due_first + ndue++) % due_size] = (Due) {at, fd, peers[fd]->life};
}

static void
reply_to_due(void)
{
	while (ndue > 0 && due[due_first].at <= now_us())
	{
		Due			d = due[due_first];

		due_first = (due_first + 1) % due_size;
		ndue--;
		if (peers[d.fd]->life == d.life)
			reply(d.fd);
	}
}

static void
come_in(int listener, int epoll)
{
	int			fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0)
	{
		struct epoll_event event = {.events = EPOLLIN,.data.fd = fd};
		int			on = 1;

		if (fd >= npeers)
		{
			peers = must(realloc(peers, (fd + 1) * sizeof(Peer *)));
			memset(peers + npeers, 0, (fd + 1 - npeers) * sizeof(Peer *));
			npeers = fd + 1;
		}
		if (peers[fd] == NULL)
			peers[fd] = must(calloc(1, sizeof(Peer)));
		peers[fd]->used = 0;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
	}
}

/* One complete head: "GET /target HTTP/1.1 ..." */
static void
serve(int fd, char *head, long long delay)
{
	char	   *target = strchr(head, ' ');

	if (targets != NULL && target != NULL)
	{
		fprintf(targets, "%.*s\n", (int) strcspn(target + 1, " \r\n"), target + 1);
		fflush(targets);
	}
	if (delay > 0)
		put_off(fd, now_us() + delay);
	else
		reply(fd);
}

static void
hear(int fd, long long delay)
{
	Peer	   *peer = peers[fd];
	unsigned	life = peer->life;
	ssize_t		got = read(fd, peer->head + peer->used, HEAD - 1 - peer->used);
	char	   *end;

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0)
	{
		leave(fd);
		return;
	}
	peer->used += got;
	peer->head[peer->used] = '\0';
	while ((end = strstr(peer->head, "\r\n\r\n")) != NULL)
	{
		*end = '\0';
		serve(fd, peer->head, delay);
		if (peer->life != life)
			return;
		peer->used -= end + 4 - peer->head;
		memmove(peer->head, end + 4, peer->used + 1);
	}
	if (peer->used == HEAD - 1)
		leave(fd);
}

int
main(int argc, char **argv)
{
	long long	delay = argc > 1 ? atoll(argv[1]) * 1000 : 0;
	struct sockaddr_in address = {.sin_family = AF_INET,.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t	size = sizeof(address);
	struct rlimit files;
	int			listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	int			epoll = epoll_create1(0);
	struct epoll_event event = {.events = EPOLLIN,.data.fd = listener},
				ready[256];

	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	make_answer();
	due = must(malloc(due_size * sizeof(Due)));
	if (argc > 2)
		targets = must(fopen(argv[2], "a"));
	if (bind(listener, (struct sockaddr *) &address, size) != 0 || listen(listener, 4096) != 0)
		return 1;
	getsockname(listener, (struct sockaddr *) &address, &size);
	printf("%d\n", ntohs(address.sin_port));
	fflush(stdout);
	epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
	for (;;)
	{
		long long	wait_us = ndue == 0 ? -1 : due[due_first].at - now_us();
		int			n = epoll_wait(epoll, ready, 256,
								   ndue == 0 ? -1 : wait_us <= 0 ? 0 : (int) ((wait_us + 999) / 1000));

		for (int i = 0; i < n; i++)
		{
			if (ready[i].data.fd == listener)
				come_in(listener, epoll);
			else
				hear(ready[i].data.fd, delay);
		}
		reply_to_due();
	}
}
