/*
 * compat.h
 *		The only place that tests PG_VERSION_NUM.
 *
 * Each difference between supported servers (15 and later) is given one name
 * here, with one line that says why it is needed.
 */
#ifndef SALES_ASSISTANT_COMPAT_H
#define SALES_ASSISTANT_COMPAT_H

#include "postgres.h"

#if PG_VERSION_NUM < 150000
#error "sales_assistant needs PostgreSQL 15 or later (security_invoker views, MERGE)"
#endif

/* PG 16 gave GUC extra data its own memory context; before, it is malloc'd. */
#if PG_VERSION_NUM >= 160000
#include "utils/guc.h"
#define compat_guc_malloc(size) guc_malloc(LOG, (size))
#define compat_guc_free(ptr) guc_free(ptr)
#else
#define compat_guc_malloc(size) malloc(size)
#define compat_guc_free(ptr) free(ptr)
#endif

/* PG 16 moved the macros of variable-length values out of postgres.h. */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* PG 17 gave sets of wait events to resource owners; one without lives as long as the process. */
#if PG_VERSION_NUM >= 170000
#define compat_create_wait_event_set(n) CreateWaitEventSet(NULL, (n))
#else
#define compat_create_wait_event_set(n) CreateWaitEventSet(TopMemoryContext, (n))
#endif

/* PG 17 moved the local transaction id into the virtual transaction id. */
#if PG_VERSION_NUM >= 170000
#define COMPAT_MY_LXID (MyProc->vxid.lxid)
#else
#define COMPAT_MY_LXID (MyProc->lxid)
#endif

/* PG 16 added the list of unknown fields to DecodeDateTime. */
#if PG_VERSION_NUM >= 160000
#define compat_decode_datetime(field, ftype, nf, dtype, tm, fsec, tz) \
	DecodeDateTime(field, ftype, nf, dtype, tm, fsec, tz, &(DateTimeErrorExtra){0})
#else
#define compat_decode_datetime(field, ftype, nf, dtype, tm, fsec, tz) \
	DecodeDateTime(field, ftype, nf, dtype, tm, fsec, tz)
#endif

/* PG 17 lets an index keep things open from one insert to the next. */
#if PG_VERSION_NUM >= 170000
#define compat_index_insert_end(index, info) index_insert_cleanup(index, info)
#else
#define compat_index_insert_end(index, info) ((void) 0)
#endif

/* PG 16 moved privileges to check from range table entries to a list of their own. */
#if PG_VERSION_NUM >= 160000
#define compat_selected_columns(query, entry) \
	(getRTEPermissionInfo((query)->rteperminfos, (entry))->selectedCols)
#define compat_forget_permissions(entry) ((entry)->perminfoindex = 0)
#else
#define compat_selected_columns(query, entry) ((entry)->selectedCols)
#define compat_forget_permissions(entry) \
	((entry)->requiredPerms = 0, (entry)->checkAsUser = InvalidOid, (entry)->selectedCols = NULL)
#endif

/* PG 17 lets extensions name what they wait for; before, pg_stat_activity says "Extension" of all. */
#include "utils/wait_event.h"
#if PG_VERSION_NUM >= 170000
#define compat_wait_event(known, name) \
	(*(known) != 0 ? *(known) : (*(known) = WaitEventExtensionNew(name)))
#else
#define compat_wait_event(known, name) ((void) (known), PG_WAIT_EXTENSION)
#endif

/* PG 17 promises that tuplestore_putvalues leaves what it is given alone; test/fuzz has one of its own. */
#if PG_VERSION_NUM >= 170000
#define COMPAT_PROMISED const
#else
#define COMPAT_PROMISED
#endif

#endif							/* SALES_ASSISTANT_COMPAT_H */
