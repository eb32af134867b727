/*
 * uuid.c
 *		UUIDv7 (RFC 9562, section 5.7): 48 bits of Unix milliseconds, 12 bits of
 *		the fraction of a millisecond (method 3), 62 random bits.
 *
 * Time order keeps the right edge of each primary key hot and the rest of the
 * index cold.  Within a backend the first 60 bits never go back, also when the
 * system clock does, so ids sort in the order in which they were made.
 */
#include "postgres.h"

#include <time.h>

#include "core/uuid.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "port.h"
#include "utils/builtins.h"
#include "utils/uuid.h"

/* Random bytes are drawn many at a time, as a draw costs more than its bytes. */
#define POOL_SIZE 512

static void
random_bytes(unsigned char *out, int size)
{
	static unsigned char pool[POOL_SIZE];
	static int	left = 0;
	static int	owner = 0;		/* a child process must not repeat its parent's */

	if (left < size || owner != MyProcPid)
	{
		if (!pg_strong_random(pool, POOL_SIZE))
			ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
							errmsg("could not generate random values")));
		left = POOL_SIZE;
		owner = MyProcPid;
	}
	left -= size;
	memcpy(out, pool + left, size);
}

pg_uuid_t *
uuid_v7(void)
{
	pg_uuid_t  *uuid = palloc(sizeof(pg_uuid_t));

	uuid_v7_fill(uuid);
	return uuid;
}

pg_uuid_t *
uuid_copy(const pg_uuid_t *uuid)
{
	return uuid == NULL ? NULL : memcpy(palloc(sizeof(pg_uuid_t)), uuid, sizeof(pg_uuid_t));
}

void
uuid_v7_fill(pg_uuid_t *uuid)
{
	static uint64 last = 0;
	struct timespec ts;
	uint64		ms;
	uint64		stamp;			/* 48 bits of milliseconds, 12 of their fraction */

	clock_gettime(CLOCK_REALTIME, &ts);
	ms = (uint64) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
	stamp = (ms << 12) | (((uint64) (ts.tv_nsec % 1000000) << 12) / 1000000);
	if (stamp <= last)
		stamp = last + 1;
	last = stamp;
	ms = stamp >> 12;

	random_bytes(uuid->data + 8, 8);

	for (int i = 0; i < 6; i++)
		uuid->data[i] = (ms >> (40 - 8 * i)) & 0xFF;
	uuid->data[6] = 0x70 | ((stamp >> 8) & 0x0F);	/* version 7 */
	uuid->data[7] = stamp & 0xFF;
	uuid->data[8] = 0x80 | (uuid->data[8] & 0x3F);	/* variant 10 */
}

char *
uuid_text(const pg_uuid_t *uuid)
{
	return DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(uuid)));
}

bool
uuid_parse(const char *text, pg_uuid_t *uuid)
{
	int			nibbles = 0;

	for (int i = 0; i < 36; i++)
	{
		char		c = text[i];
		int			v;

		if (i == 8 || i == 13 || i == 18 || i == 23)
		{
			if (c != '-')
				return false;
			continue;
		}
		if (c >= '0' && c <= '9')
			v = c - '0';
		else if (c >= 'a' && c <= 'f')
			v = c - 'a' + 10;
		else if (c >= 'A' && c <= 'F')
			v = c - 'A' + 10;
		else
			return false;		/* also stops at the terminator */
		if (nibbles % 2 == 0)
			uuid->data[nibbles / 2] = v << 4;
		else
			uuid->data[nibbles / 2] |= v;
		nibbles++;
	}
	return text[36] == '\0';
}

PG_FUNCTION_INFO_V1(sales_uuidv7);

/* sales.uuidv7() → uuid */
Datum
sales_uuidv7(PG_FUNCTION_ARGS)
{
	PG_RETURN_UUID_P(uuid_v7());
}
