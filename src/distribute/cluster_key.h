#ifndef SALES_DISTRIBUTE_CLUSTER_KEY_H
#define SALES_DISTRIBUTE_CLUSTER_KEY_H

#include "secrets/key.h"

/*
 * The keys that the nodes of a cluster share for this database, as its file has
 * them: first the one that signs what travels, then the audit keys, the current
 * one first.  Null and *ring, valid until the next call; or what is wrong (static).
 * Never throws: check hooks call it.
 */
extern const char *distribute_keys(const KeyRing **ring);

/* Puts these keys into the file; throws with a hint where that is not possible. */
extern void distribute_keys_replace(const KeyRing *ring);

#endif							/* SALES_DISTRIBUTE_CLUSTER_KEY_H */
