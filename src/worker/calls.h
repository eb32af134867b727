#ifndef SALES_WORKER_CALLS_H
#define SALES_WORKER_CALLS_H

#include <curl/curl.h>

#include "http/http.h"

/* What became of a call. */
typedef void (*CallDone) (HttpCall *call, CURLcode result);

/* Sets up libcurl for this worker. */
extern void calls_init(void);

/* Starts a call; it belongs to this module until it is handed to CallDone. */
extern void calls_start(HttpCall *call);

/* How many calls the process has descriptors for. */
extern int	calls_limit(void);

/*
 * Sleeps until the latch is set, a call moves or `timeout_ms` is over (-1:
 * forever), drives the calls and hands over those that ended; did any move?
 * CallDone must not throw.
 */
extern bool calls_wait(long timeout_ms, CallDone done);

#endif							/* SALES_WORKER_CALLS_H */
