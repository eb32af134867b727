/*
 * guard.c
 *		Where calls may go: public addresses, and hosts that the DBA allows.
 *
 * A tenant's URL must not reach the database server's own network.  What
 * counts is the address that is connected to, not the name: names are looked
 * up by the library and may change between a check and the connection.  So the
 * check sits where the socket is opened (see http.c), and this file only says
 * which addresses are public.  For IPv6 that is 2000::/3 less the parts of it
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
