#ifndef SALES_CORE_UUID_H
#define SALES_CORE_UUID_H

#include "utils/uuid.h"

/* A new UUIDv7 (RFC 9562): time-ordered, monotonic within one backend. */
extern pg_uuid_t *uuid_v7(void);

/* The same, into memory of the caller. */
extern void uuid_v7_fill(pg_uuid_t *uuid);

/* A copy, palloc'd; null of null. */
extern pg_uuid_t *uuid_copy(const pg_uuid_t *uuid);

/* Text of a uuid, 36 characters, palloc'd. */
extern char *uuid_text(const pg_uuid_t *uuid);

/* Parses 36 characters; false where they are not a uuid.  Never throws. */
extern bool uuid_parse(const char *text, pg_uuid_t *uuid);

#endif							/* SALES_CORE_UUID_H */
