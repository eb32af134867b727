/*
 * shmem.c
 *		Shared memory of the extension, one part for each who needs some.
 */
#include "postgres.h"

#include "core/shmem.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

#define PARTS 4

typedef struct Part
{
	const char *name;			/* also the lock's, in wait events */
	Size		size;
	shmem_attach attach;
} Part;

static Part parts[PARTS];
static int	added = 0;
static shmem_request_hook_type prev_shmem_request_hook = NULL;
static shmem_startup_hook_type prev_shmem_startup_hook = NULL;

static void
shmem_request(void)
{
	if (prev_shmem_request_hook)
		prev_shmem_request_hook();
	for (int i = 0; i < added; i++)
	{
		RequestAddinShmemSpace(MAXALIGN(parts[i].size));
		RequestNamedLWLockTranche(parts[i].name, 1);
	}
}

static void
shmem_startup(void)
{
	if (prev_shmem_startup_hook)
		prev_shmem_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	for (int i = 0; i < added; i++)
	{
		bool		found;
		void	   *part = ShmemInitStruct(parts[i].name, parts[i].size, &found);

		if (!found)
		{
			memset(part, 0, parts[i].size);
			*(LWLock **) part = &GetNamedLWLockTranche(parts[i].name)->lock;
		}
		parts[i].attach(part, !found);
	}
	LWLockRelease(AddinShmemInitLock);
}

void
shmem_add(const char *name, Size size, shmem_attach attach)
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	if (added == 0)
	{
		prev_shmem_request_hook = shmem_request_hook;
		shmem_request_hook = shmem_request;
		prev_shmem_startup_hook = shmem_startup_hook;
		shmem_startup_hook = shmem_startup;
	}
	Assert(added < PARTS);
	parts[added++] = (Part) {name, size, attach};
}
