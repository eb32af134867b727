#ifndef SALES_HTTP_LOGINKEY_H
#define SALES_HTTP_LOGINKEY_H

#include "http/http.h"

/* Is the secret a private key in PEM, rather than a password? */
extern bool http_is_login_key(const char *secret);

/* Has an SFTP call log in with the key and nothing else.  What is wrong (static), or null. */
extern const char *http_login_by_key(HttpCall *call, const char *user, const char *secret);

extern void http_forget_login_key(HttpCall *call);

#endif							/* SALES_HTTP_LOGINKEY_H */
