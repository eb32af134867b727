/*
 * guard.c
 *		Where calls may go: public addresses, and hosts that the DBA allows.
 *
 * A tenant's URL must not reach the database server's own network.  What
 * counts is the address that is connected to, not the name: names are looked
 * up by the library and may change between a check and the connection.  So the
 * check sits where the socket is opened (see transfer.c), and this file says which
 * addresses are public.  Before that the URL itself is judged, strictly: where
 * two programs could read two hosts out of it (a user name, a backslash, an
 * address in octal, digits of another script) it is refused.  For IPv6 that is 2000::/3 less the parts of it
 * that lead elsewhere; all ranges are those of the IANA special-purpose
 * registries.
 */
#include "postgres.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "core/guc.h"
#include "http/guard.h"

static bool
is_public_v4(uint32 ip)
{
	static const struct
	{
		uint32		net;
		int			bits;
	}			special[] = {
		{0x00000000, 8},		/* this network */
		{0x0A000000, 8},		/* private */
		{0x64400000, 10},		/* carrier-grade NAT */
		{0x7F000000, 8},		/* loopback */
		{0xA9FE0000, 16},		/* link local: cloud metadata */
		{0xAC100000, 12},		/* private */
		{0xC0000000, 24},		/* protocol assignments */
		{0xC0000200, 24},		/* documentation */
		{0xC01FC400, 24},		/* AS112 */
		{0xC034C100, 24},		/* AMT */
		{0xC0586300, 24},		/* 6to4 relay */
		{0xC0A80000, 16},		/* private */
		{0xC0AF3000, 24},		/* AS112 */
		{0xC6120000, 15},		/* benchmarks */
		{0xC6336400, 24},		/* documentation */
		{0xCB007100, 24},		/* documentation */
		{0xE0000000, 4},		/* multicast */
		{0xF0000000, 4},		/* reserved, broadcast */
	};

	for (int i = 0; i < (int) lengthof(special); i++)
		if ((ip ^ special[i].net) >> (32 - special[i].bits) == 0)
			return false;
	/* Azure's metadata and DNS stand on a public address. */
	return ip != 0xA83F8110;
}

static bool
has_prefix(const unsigned char *ip, const unsigned char *net, int bits)
{
	int			bytes = bits / 8;

	if (memcmp(ip, net, bytes) != 0)
		return false;
	return bits % 8 == 0 ||
		((ip[bytes] ^ net[bytes]) & (0xFF << (8 - bits % 8)) & 0xFF) == 0;
}

static bool
is_public_v6(const unsigned char *ip)
{
	static const struct
	{
		unsigned char net[16];
		int			bits;
	}			special[] = {
		{{0x20, 0x01, 0x00, 0x00}, 23}, /* protocol assignments, Teredo */
		{{0x20, 0x01, 0x0d, 0xb8}, 32}, /* documentation */
		{{0x20, 0x02}, 16},		/* 6to4: any IPv4 inside */
		{{0x26, 0x20, 0x00, 0x4f, 0x80, 0x00}, 48}, /* AS112 */
		{{0x3f, 0xff}, 20},		/* documentation */
	};

	if ((ip[0] & 0xE0) != 0x20) /* only 2000::/3 is global unicast */
		return false;
	for (int i = 0; i < (int) lengthof(special); i++)
		if (has_prefix(ip, special[i].net, special[i].bits))
			return false;
	return true;
}

bool
guard_is_public(const struct sockaddr *address)
{
	if (address->sa_family == AF_INET)
		return is_public_v4(ntohl(((const struct sockaddr_in *) address)->sin_addr.s_addr));
	if (address->sa_family == AF_INET6)
		return is_public_v6(((const struct sockaddr_in6 *) address)->sin6_addr.s6_addr);
	return false;
}

/* Next entry of allowed_hosts into buf; false at the end of the list. */
static bool
next_entry(const char **list, char *buf, size_t size)
{
	size_t		n = 0;

	while (**list == ',' || **list == ' ')
		(*list)++;
	if (**list == '\0')
		return false;
	while (**list != '\0' && **list != ',')
	{
		if (**list != ' ' && n + 1 < size)
			buf[n++] = pg_ascii_tolower((unsigned char) **list);
		(*list)++;
	}
	buf[n] = '\0';
	return true;
}

bool
guard_is_allowed_host(const char *host, int port)
{
	const char *list = guc_allowed_hosts ? guc_allowed_hosts : "";
	char		entry[300];
	char		with_port[300];

	snprintf(with_port, sizeof(with_port), "%s:%d", host, port);
	while (next_entry(&list, entry, sizeof(entry)))
		if (pg_strcasecmp(entry, host) == 0 || pg_strcasecmp(entry, with_port) == 0)
			return true;
	return false;
}

bool
guard_is_allowed_address(const struct sockaddr *address)
{
	const char *list = guc_allowed_hosts ? guc_allowed_hosts : "";
	const unsigned char *ip;
	int			family = address->sa_family;
	char		entry[300];

	if (family == AF_INET)
		ip = (const unsigned char *) &((const struct sockaddr_in *) address)->sin_addr;
	else if (family == AF_INET6)
		ip = ((const struct sockaddr_in6 *) address)->sin6_addr.s6_addr;
	else
		return false;
	while (next_entry(&list, entry, sizeof(entry)))
	{
		char	   *slash = strchr(entry, '/');
		unsigned char net[16];
		int			bits;

		if (slash == NULL)
			continue;
		*slash = '\0';
		bits = atoi(slash + 1);
		if (inet_pton(family, entry, net) == 1 && bits >= 0 &&
			bits <= (family == AF_INET ? 32 : 128) && has_prefix(ip, net, bits))
			return true;
	}
	return false;
}

/* --- the URL --- */

/* Names that mean the own machine or network wherever they are asked. */
static bool
is_local_name(const char *host)
{
	static const char *const ends[] = {
		"localhost", "local", "localdomain", "internal", "intranet", "lan", "home", "corp",
		"private", "home.arpa"
	};
	int			length = strlen(host);

	for (int i = 0; i < (int) lengthof(ends); i++)
	{
		int			n = strlen(ends[i]);

		if (length >= n && pg_strcasecmp(host + length - n, ends[i]) == 0 &&
			(length == n || host[length - n - 1] == '.'))
			return true;
	}
	return strchr(host, '.') == NULL;	/* completed by the resolver with its own domain */
}

/* Does the last label look like a number?  Then it is an address or nothing. */
static bool
ends_in_number(const char *host)
{
	const char *last = strrchr(host, '.');

	last = last != NULL ? last + 1 : host;
	if (last[0] == '0' && (last[1] == 'x' || last[1] == 'X'))
		return true;
	return *last != '\0' && strspn(last, "0123456789") == strlen(last);
}

static const char *
address_problem(int family, const char *text, bool *forbidden)
{
	union
	{
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	}			address = {0};

	address.any.sa_family = family;
	if (inet_pton(family, text, family == AF_INET ? (void *) &address.v4.sin_addr
				  : (void *) &address.v6.sin6_addr) != 1)
		return "the host of the URL is no address of the usual form";
	if (guard_is_public(&address.any) || guard_is_allowed_address(&address.any))
		return NULL;
	*forbidden = true;
	return GUARD_NOT_PUBLIC;
}

const char *
guard_url_problem(const char *url, bool host_allowed, bool *forbidden)
{
	const char *authority = strstr(url, "://");
	char		host[256];
	size_t		length;
	const char *port;
	bool		is_v6;

	*forbidden = false;
	if (authority == NULL || strspn(url, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") != authority - url)
		return "not a valid URL";
	authority += 3;
	length = strcspn(authority, "/?#");
	if (memchr(authority, '@', length) != NULL)
		return "the URL must not hold a user name; store the login as a key";
	is_v6 = *authority == '[';
	for (size_t i = 0; i < length; i++)
	{
		unsigned char c = authority[i];

		if (!((c >= '0' && c <= '9') || (pg_ascii_tolower(c) >= 'a' && pg_ascii_tolower(c) <= 'z') || c == '.' || c == '-' || c == '_' || c == ':' || c >= 0x80 ||
			  (is_v6 && (c == '[' || c == ']'))))
			return "the host of the URL has characters that no host has";
	}
	port = is_v6 ? memchr(authority, ']', length) : memchr(authority, ':', length);
	if (is_v6 && port == NULL)
		return "not a valid URL";
	if (is_v6)
		port = port + 1 < authority + length ? port + 1 : NULL;
	if (port != NULL)
	{
		size_t		digits = authority + length - port - 1;

		if (*port != ':' || digits > 5 || strspn(port + 1, "0123456789") < digits)
			return "the port of the URL is not valid";
		length = port - authority;
	}
	if (is_v6)
	{
		authority++;
		length -= 2;
	}
	if (length == 0 || length >= sizeof(host))
		return "not a valid URL";
	memcpy(host, authority, length);
	host[length] = '\0';
	if (length > 1 && host[length - 1] == '.')
		host[length - 1] = '\0';
	if (host_allowed)
		return NULL;
	if (is_v6)
		return address_problem(AF_INET6, host, forbidden);
	if (ends_in_number(host))
		return address_problem(AF_INET, host, forbidden);
	if (is_local_name(host))
	{
		*forbidden = true;
		return GUARD_NOT_PUBLIC;
	}
	return NULL;
}
