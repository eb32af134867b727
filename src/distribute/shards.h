#ifndef SALES_DISTRIBUTE_SHARDS_H
#define SALES_DISTRIBUTE_SHARDS_H

#include "postgres.h"

/* What Citus has made of a relation. */
typedef enum ShardKind
{
	SHARD_NONE,					/* a plain table, or no Citus here */
	SHARD_SPREAD,				/* the name under which the shards are known */
	SHARD_REFERENCE,			/* the name of a table with the same rows on each node */
	SHARD_PART					/* a shard on this node */
} ShardKind;

/* Is the library of Citus loaded?  Else nothing here does anything. */
extern bool distribute_possible(void);

/* Is this node one of a cluster, but not its coordinator? */
extern bool distribute_is_node(void);

/* Are any tables of ours spread? */
extern bool distribute_any(void);

/* Is the table spread by company, so that its rows are elsewhere? */
extern bool distribute_is_spread(Oid relid);

extern ShardKind distribute_kind(Oid relid);

/*
 * Within a trigger of a shard: the shard of the named table that has the same
 * companies, on this node.  Elsewhere, and for other tables, relid itself.
 */
extern Oid	distribute_beside(Oid relid);

/* Is a shard being written, so that what its triggers name is beside it? */
extern bool distribute_in_range(void);

/* The same, on a node that is not the coordinator? */
extern bool distribute_within(void);

extern void distribute_init(void);
extern void distribute_init_hooks(void);

#endif							/* SALES_DISTRIBUTE_SHARDS_H */
