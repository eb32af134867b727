#ifndef SALES_CORE_SHMEM_H
#define SALES_CORE_SHMEM_H

/*
 * A part of the server's shared memory, of a fixed size, that begins with an
 * LWLock *: its lock.  Asked for while the library is preloaded; without
 * preloading there is no part and attach() is not called.  attach() is called at
 * the server's start; a part that is new is all zeros but for its lock, and is
 * no other process's yet.
 */
typedef void (*shmem_attach) (void *part, bool is_new);

extern void shmem_add(const char *name, Size size, shmem_attach attach);

#endif							/* SALES_CORE_SHMEM_H */
