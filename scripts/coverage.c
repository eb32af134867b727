/*
 * coverage.c
 *		Counts of processes that end without exit(): make coverage.
 *
 * gcov writes its counts when a process calls exit().  Servers that a test stops at once
 * (SIGQUIT), and most workers with them, call _exit() instead.  Built twice: as a part of
 * sales_assistant.so this gives the counts' writer a name; as a library of LD_PRELOAD it
 * calls that before _exit().  Only what SIGKILL ends, or a crash, stays uncounted.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef PRELOADED

void
_exit(int status)
{
	void		(*dump) (void) = (void (*) (void)) dlsym(RTLD_DEFAULT, "sales_coverage_dump");

	if (dump != NULL)
		dump();
	for (;;)
		syscall(SYS_exit_group, status);
}

#else

extern void __gcov_dump(void);
extern void sales_coverage_dump(void);

void
sales_coverage_dump(void)
{
	__gcov_dump();
}

#endif
