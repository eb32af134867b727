#ifndef SALES_HTTP_TRANSFER_H
#define SALES_HTTP_TRANSFER_H

#include "http/http.h"

/* Has libcurl tell of all that comes and goes, as the kind of the call needs it. */
extern void http_set_transfer(HttpCall *call);

#endif							/* SALES_HTTP_TRANSFER_H */
