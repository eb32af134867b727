#ifndef SALES_HTTP_GUARD_H
#define SALES_HTTP_GUARD_H

#include <sys/socket.h>

#define GUARD_NOT_PUBLIC \
	"the address is not public; the setting sales_assistant.allowed_hosts can allow it"

/*
 * What is wrong with the host of a URL before any name is looked up; null when
 * it may be tried; host_allowed as guard_is_allowed_host() says of it.  *forbidden tells a host that is not public from a URL that
 * is no good.  Never throws.
 */
extern const char *guard_url_problem(const char *url, bool host_allowed, bool *forbidden);

/* Is the address one of the public Internet?  Never throws. */
extern bool guard_is_public(const struct sockaddr *address);

/* Does sales_assistant.allowed_hosts name this host (and port)? */
extern bool guard_is_allowed_host(const char *host, int port);

/* Is the address in one of the address/prefix entries of allowed_hosts? */
extern bool guard_is_allowed_address(const struct sockaddr *address);

#endif							/* SALES_HTTP_GUARD_H */
