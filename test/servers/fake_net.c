/*
 * fake_net.c
 *		Preloaded into a test's server: a DNS and an Internet of its own.
 *
 * FAKE_NAMES names a file with lines "NAME ADDRESS[,ADDRESS...] [ADDRESS...]":
 * a name has these addresses at the first look-up, those after the blank at the
 * next.  "*.NAME" stands for all below it; what is not there does not resolve.
 * FAKE_CONNECTS names a file that gets the address of every connection over IP.
 * FAKE_ROUTES holds "PORT=LOCALPORT" pairs, with commas: a connection to a
 * public address goes there on the loopback, others to such addresses are refused.
 * libcurl looks names up in threads of its own, several at a time.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

static int
name_matches(const char *pattern, const char *name)
{
	size_t		n = strlen(name),
				p = strlen(pattern) - 1;

	if (n > 1 && name[n - 1] == '.')
		n--;
	if (pattern[0] == '*')
		return n > p && strncasecmp(name + n - p, pattern + 1, p) == 0;
	return strlen(pattern) == n && strncasecmp(pattern, name, n) == 0;
}

/* The addresses of a name at this look-up, or null; the caller's line holds them. */
static char *
look_up(const char *name, char *line, int size)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static struct
	{
		char		name[256];
		int			count;
	}			asked[64];
	FILE	   *f = fopen(getenv("FAKE_NAMES"), "r");
	char	   *found = NULL;

	while (f != NULL && found == NULL && fgets(line, size, f) != NULL)
	{
		char	   *save,
				   *pattern = strtok_r(line, " \n", &save),
				   *addresses = strtok_r(NULL, " \n", &save),
				   *later = strtok_r(NULL, " \n", &save);

		if (pattern == NULL || addresses == NULL || !name_matches(pattern, name))
			continue;
		found = addresses;
		pthread_mutex_lock(&lock);
		for (int i = 0; later != NULL && i < 64; i++)
			if (asked[i].name[0] == '\0' || strcmp(asked[i].name, name) == 0)
			{
				snprintf(asked[i].name, sizeof(asked[i].name), "%s", name);
				if (asked[i].count++ > 0)
					found = later;
				break;
			}
		pthread_mutex_unlock(&lock);
	}
	if (f != NULL)
		fclose(f);
	return found;
}

int
getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **result)
{
	int			(*real) (const char *, const char *, const struct addrinfo *, struct addrinfo **) =
		dlsym(RTLD_NEXT, "getaddrinfo");
	struct addrinfo numeric = hints ? *hints : (struct addrinfo) {0};
	struct addrinfo *all = NULL,
			  **end = &all;
	char		line[1024];
	char	   *addresses,
			   *save;

	numeric.ai_flags |= AI_NUMERICHOST;
	if (node == NULL || real(node, service, &numeric, result) == 0)
		return node == NULL ? real(node, service, hints, result) : 0;
	addresses = look_up(node, line, sizeof(line));
	for (char *a = addresses ? strtok_r(addresses, ",", &save) : NULL; a != NULL; a = strtok_r(NULL, ",", &save))
		if (real(a, service, &numeric, end) == 0)
			while (*end != NULL)
				end = &(*end)->ai_next;
	*result = all;
	return all != NULL ? 0 : EAI_NONAME;
}

int
connect(int fd, const struct sockaddr *address, socklen_t size)
{
	int			(*real) (int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "connect");
	char		text[INET6_ADDRSTRLEN] = "";
	int			port;
	FILE	   *f;
	char		routes[256],
			   *save;

	if (address->sa_family == AF_INET)
	{
		const struct sockaddr_in *v4 = (const struct sockaddr_in *) address;

		inet_ntop(AF_INET, &v4->sin_addr, text, sizeof(text));
		port = ntohs(v4->sin_port);
	}
	else if (address->sa_family == AF_INET6)
	{
		const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *) address;

		inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof(text));
		port = ntohs(v6->sin6_port);
	}
	else
		return real(fd, address, size);
	f = fopen(getenv("FAKE_CONNECTS"), "a");
	fprintf(f, "%s\n", text);
	fclose(f);
	snprintf(routes, sizeof(routes), "%s", getenv("FAKE_ROUTES") ? getenv("FAKE_ROUTES") : "");
	for (char *r = strtok_r(routes, ",", &save); r != NULL; r = strtok_r(NULL, ",", &save))
		if (address->sa_family == AF_INET && atoi(r) == port && strchr(r, '=') != NULL)
		{
			struct sockaddr_in local = {.sin_family = AF_INET,.sin_port = htons(atoi(strchr(r, '=') + 1)),
			.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

			return real(fd, (struct sockaddr *) &local, sizeof(local));
		}
	errno = ECONNREFUSED;
	return -1;
}
