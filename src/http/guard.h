#ifndef SALES_HTTP_GUARD_H
#define SALES_HTTP_GUARD_H

#include <sys/socket.h>

/* Is the address one of the public Internet?  Never throws. */
extern bool guard_is_public(const struct sockaddr *address);

/* Does sales_assistant.allowed_hosts name this host (and port)? */
extern bool guard_is_allowed_host(const char *host, int port);

/* Is the address in one of the address/prefix entries of allowed_hosts? */
extern bool guard_is_allowed_address(const struct sockaddr *address);

#endif							/* SALES_HTTP_GUARD_H */
