/*
 * spool.c
 *		Where a fetched file waits to be imported: on disk, never in memory.
 *
 * A plain descriptor rather than PostgreSQL's temporary files, whose writing
 * may throw, which libcurl's frames do not survive.  The file is made among
 * PostgreSQL's temporary files, with their prefix (so that a crashed server
 * cleans up after us), and unlinked at once (so that a killed worker does).
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file_perm.h"
#include "imports/spool.h"
#include "miscadmin.h"
#include "storage/fd.h"

static int	spool_fd = -1;
static size_t written = 0;
static size_t read_to = 0;

void
spool_create(void)
{
	char		path[MAXPGPATH];

	spool_close();
	snprintf(path, sizeof(path), "base/%s", PG_TEMP_FILES_DIR);
	(void) MakePGDirectory(path);	/* may be there */
	snprintf(path, sizeof(path), "base/%s/%s%d.import", PG_TEMP_FILES_DIR, PG_TEMP_FILE_PREFIX, MyProcPid);
	(void) unlink(path);		/* of an earlier process with this number */
	ReserveExternalFD();
	spool_fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | PG_BINARY, pg_file_create_mode);
	if (spool_fd < 0)
	{
		ReleaseExternalFD();
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not create file \"%s\": %m", path)));
	}
	(void) unlink(path);
}

bool
spool_write(const char *data, size_t size, size_t limit)
{
	if (written + size > limit)
	{
		errno = EFBIG;
		return false;
	}
	while (size > 0)
	{
		ssize_t		n = pwrite(spool_fd, data, size, written);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
		{
			errno = n == 0 ? ENOSPC : errno;
			return false;
		}
		written += n;
		data += n;
		size -= n;
	}
	return true;
}

void
spool_rewind(void)
{
	read_to = 0;
}

size_t
spool_read(char *into, size_t most)
{
	ssize_t		n;

	if (spool_fd < 0)
		return 0;
	n = pread(spool_fd, into, most, read_to);
	if (n < 0)
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not read the spooled file: %m")));
	read_to += n;
	return n;
}

size_t
spool_size(void)
{
	return written;
}

size_t
spool_tell(void)
{
	return read_to;
}

void
spool_close(void)
{
	if (spool_fd >= 0)
	{
		close(spool_fd);
		ReleaseExternalFD();
	}
	spool_fd = -1;
	written = read_to = 0;
}
