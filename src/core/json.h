/*
 * json.h
 *		Jansson, included so that it can live in one process with PostgreSQL.
 *
 * The server exports a function json_object() of its own, and the dynamic
 * linker resolves an extension's call to that one.  So jansson's is hidden
 * here and json_new_object() takes its place; inside libjansson the call is
 * bound at link time and is safe.  (A library that calls jansson's
 * json_object() from outside, as libjwt does, must be opened with
 * RTLD_DEEPBIND.)
 *
 * Jansson allocates with malloc: free a json_t with json_decref() before
 * anything that may throw, or hold it in PG_TRY.
 */
#ifndef SALES_CORE_JSON_H
#define SALES_CORE_JSON_H

#include "utils/builtins.h"		/* before jansson.h, which makes json_typeof a macro */
#include "utils/jsonb.h"

#define json_object jansson_json_object_clashes_with_the_server
#include <jansson.h>
#undef json_object

/* A new empty object; a new reference. */
static inline json_t *
json_new_object(void)
{
	return json_pack("{}");
}

/* An object as a jsonb, palloc'd; takes the reference, also where it throws, as it does for null: out of memory. */
extern Jsonb *core_take_json(json_t *value);

#endif							/* SALES_CORE_JSON_H */
