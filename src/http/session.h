#ifndef SALES_HTTP_SESSION_H
#define SALES_HTTP_SESSION_H

#include "core/json.h"
#include "http/http.h"

/*
 * What the request of a mail, of a command to a mailbox, of a file or folder says, as http.h
 * describes it, for a call whose URL is set.  Each returns what is wrong with it, or null.
 */
extern const char *http_set_mail(HttpCall *call, json_t *mail, const char *secret);
extern const char *http_set_imap(HttpCall *call, json_t *imap, const char *secret);
extern const char *http_set_file(HttpCall *call, json_t *file, const char *url, const char *secret);

#endif							/* SALES_HTTP_SESSION_H */
