/*
 * fake_machine.c
 *		Preloaded into a test's server: a clock that is set and a disk that is full.
 *
 * FAKE_MACHINE names a file of two 64-bit numbers, which may change at any time:
 * seconds that the clock is ahead of the real one, and whether the disk of the
 * database's folder has no room (writes within files go on, none grows).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *machine = NULL;

__attribute__((constructor)) static void
attach(void)
{
	const char *file = getenv("FAKE_MACHINE");
	int			fd = file ? open(file, O_RDONLY | O_CLOEXEC) : -1;
	void	   *map = fd >= 0 ? mmap(NULL, 2 * sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;

	if (map != MAP_FAILED)
		machine = map;
	if (fd >= 0)
		close(fd);
}

/* --- the clock --- */

int
clock_gettime(clockid_t which, struct timespec *now)
{
	static int	(*real) (clockid_t, struct timespec *) = NULL;
	int			result;

	if (real == NULL)
		real = dlsym(RTLD_NEXT, "clock_gettime");
	result = real(which, now);
	if (result == 0 && which == CLOCK_REALTIME && machine != NULL)
		now->tv_sec += machine[0];
	return result;
}

int
gettimeofday(struct timeval *now, void *zone)
{
	struct timespec exact;
	int			result = clock_gettime(CLOCK_REALTIME, &exact);

	(void) zone;
	now->tv_sec = exact.tv_sec;
	now->tv_usec = exact.tv_nsec / 1000;
	return result;
}

time_t
time(time_t *out)
{
	struct timespec exact;

	clock_gettime(CLOCK_REALTIME, &exact);
	if (out != NULL)
		*out = exact.tv_sec;
	return exact.tv_sec;
}

/* --- the disk --- */

/* Would a file of the database grow to `end`, and is there no room? */
static int
has_no_room(int fd, off_t end)
{
	char		link[64];
	char		path[1024];
	ssize_t		length;
	struct stat st;

	if (machine == NULL || machine[1] == 0 || fstat(fd, &st) != 0 || end <= st.st_size)
		return 0;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	length = readlink(link, path, sizeof(path) - 1);
	path[length > 0 ? length : 0] = '\0';
	return strstr(path, "/base/") != NULL;
}

static ssize_t
no_room(void)
{
	errno = ENOSPC;
	return -1;
}

ssize_t
pwrite64(int fd, const void *data, size_t size, off64_t at)
{
	static ssize_t (*real) (int, const void *, size_t, off64_t) = NULL;

	if (real == NULL)
		real = dlsym(RTLD_NEXT, "pwrite64");
	return has_no_room(fd, at + size) ? no_room() : real(fd, data, size, at);
}

ssize_t
pwrite(int fd, const void *data, size_t size, off_t at)
{
	return pwrite64(fd, data, size, at);
}

ssize_t
pwritev64(int fd, const struct iovec *parts, int n, off64_t at)
{
	static ssize_t (*real) (int, const struct iovec *, int, off64_t) = NULL;
	off_t		end = at;

	for (int i = 0; i < n; i++)
		end += parts[i].iov_len;
	if (real == NULL)
		real = dlsym(RTLD_NEXT, "pwritev64");
	return has_no_room(fd, end) ? no_room() : real(fd, parts, n, at);
}

ssize_t
pwritev(int fd, const struct iovec *parts, int n, off_t at)
{
	return pwritev64(fd, parts, n, at);
}

int
posix_fallocate64(int fd, off64_t at, off64_t size)
{
	static int	(*real) (int, off64_t, off64_t) = NULL;

	if (real == NULL)
		real = dlsym(RTLD_NEXT, "posix_fallocate64");
	return has_no_room(fd, at + size) ? ENOSPC : real(fd, at, size);
}

int
posix_fallocate(int fd, off_t at, off_t size)
{
	return posix_fallocate64(fd, at, size);
}
