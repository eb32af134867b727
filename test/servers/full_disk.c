/*
 * full_disk.c
 *		Preloaded into a test's server: a disk that can be full.
 *
 * While the file that FULL_DISK names is there, no file of a table or index
 * grows any more ("No space left on device"); what lies within a file is written.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* Is the disk too full for this file to reach that far? */
static int
is_full(int fd, off_t end)
{
	const char *flag = getenv("FULL_DISK");
	char		link[64],
				path[4096];
	struct stat st;
	ssize_t		n;

	if (flag == NULL || access(flag, F_OK) != 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || end <= st.st_size)
		return 0;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n <= 0)
		return 0;
	path[n] = '\0';
	return strstr(path, "/base/") != NULL;
}

#define REAL(name) ({ static __typeof__(name) *real; if (!real) real = (__typeof__(name) *) dlsym(RTLD_NEXT, #name); real; })
#define FULL (errno = ENOSPC, -1)

static off_t
length_of(const struct iovec *parts, int n)
{
	off_t		length = 0;

	for (int i = 0; i < n; i++)
		length += parts[i].iov_len;
	return length;
}

ssize_t
pwrite(int fd, const void *from, size_t n, off_t at)
{
	return is_full(fd, at + n) ? FULL : REAL(pwrite) (fd, from, n, at);
}

ssize_t
pwrite64(int fd, const void *from, size_t n, off_t at)
{
	return is_full(fd, at + n) ? FULL : REAL(pwrite64) (fd, from, n, at);
}

ssize_t
pwritev(int fd, const struct iovec *parts, int n, off_t at)
{
	return is_full(fd, at + length_of(parts, n)) ? FULL : REAL(pwritev) (fd, parts, n, at);
}

ssize_t
pwritev64(int fd, const struct iovec *parts, int n, off_t at)
{
	return is_full(fd, at + length_of(parts, n)) ? FULL : REAL(pwritev64) (fd, parts, n, at);
}

int
posix_fallocate(int fd, off_t at, off_t n)
{
	return is_full(fd, at + n) ? ENOSPC : REAL(posix_fallocate) (fd, at, n);
}

int
posix_fallocate64(int fd, off_t at, off_t n)
{
	return is_full(fd, at + n) ? ENOSPC : REAL(posix_fallocate64) (fd, at, n);
}
