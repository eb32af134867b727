#ifndef SALES_AUDIT_ROW_H
#define SALES_AUDIT_ROW_H

#include "executor/tuptable.h"
#include "utils/jsonb.h"
#include "utils/rel.h"

typedef struct AuditColumn AuditColumn;

/* What the trigger's arguments and the catalogue say about an audited table. */
typedef struct AuditTable
{
	Oid			relid;			/* key of the cache: must come first */
	bool		valid;			/* cleared when the catalogue changes */
	MemoryContext context;		/* holds all below */
	char	   *name;			/* logical name */
	AttrNumber	company;
	AttrNumber	key;
	AttrNumber	deleted_at;		/* 0: none */
	int			natts;
	int			ncolumns;
	AuditColumn *columns;		/* in the order of keys of a jsonb object */
} AuditTable;

/*
 * The table of a trigger with the arguments (logical name, key column, hidden
 * columns separated by commas).  Cached; valid until the next call.
 */
extern const AuditTable *audit_table(Relation relation, char **args);

/* Do two partitions of one table keep the same columns at the same places? */
extern bool audit_table_same_columns(const AuditTable *a, const AuditTable *b);

/*
 * Values of a row before and after as objects, palloc'd in `result`; either
 * slot may be null.  With both, only columns that changed.  False where nothing
 * but updated_at changed.  Garbage goes to the current memory context.
 */
extern bool audit_row_values(const AuditTable *table, TupleTableSlot *before,
							 TupleTableSlot *after, MemoryContext result,
							 Jsonb **old_values, Jsonb **new_values);

extern void audit_row_init(void);

#endif							/* SALES_AUDIT_ROW_H */
