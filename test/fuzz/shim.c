/*
 * shim.c
 *		As much of a backend as the parsers need, for fuzzing them without one.
 *
 * palloc() is malloc() with a list, so that AddressSanitizer sees each allocation
 * by itself and one input's memory is freed behind it.  ereport(ERROR) jumps, as
 * in a backend; every error must carry a code that a user's input may cause.
 * What only the SQL functions around the parsers call is named here and never called.
 */
#include "postgres.h"

#include <setjmp.h>

#include "catalog/pg_collation.h"
#include "common/hashfn.h"
#include "compat.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "nodes/value.h"
#include "shim.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/formatting.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* --- memory --- */

typedef struct Chunk
{
	struct Chunk *previous;
	struct Chunk *next;
	size_t		size;
	size_t		pad;			/* keeps the data aligned */
} Chunk;

static Chunk chunks = {&chunks, &chunks};
static MemoryContextCallback *callbacks = NULL;
MemoryContext CurrentMemoryContext = NULL;
MemoryContext TopTransactionContext = NULL;

void *
palloc_extended(Size size, int flags)
{
	Chunk	   *c;

	if (size > MaxAllocSize && !(flags & MCXT_ALLOC_HUGE))
		elog(ERROR, "invalid memory alloc request size %zu", size);
	c = malloc(sizeof(Chunk) + size);
	c->size = size;
	c->previous = chunks.previous;
	c->next = &chunks;
	c->previous->next = c->next->previous = c;
	if (flags & MCXT_ALLOC_ZERO)
		memset(c + 1, 0, size);
	return c + 1;
}

void *
palloc(Size size)
{
	return palloc_extended(size, 0);
}

void *
palloc0(Size size)
{
	return palloc_extended(size, MCXT_ALLOC_ZERO);
}

void
pfree(void *pointer)
{
	Chunk	   *c = (Chunk *) pointer - 1;

	c->previous->next = c->next;
	c->next->previous = c->previous;
	free(c);
}

void *
repalloc(void *pointer, Size size)
{
	void	   *grown = palloc(size);
	Chunk	   *c = (Chunk *) pointer - 1;

	memcpy(grown, pointer, Min(c->size, size));
	pfree(pointer);
	return grown;
}

char *
pnstrdup(const char *in, Size length)
{
	size_t		n = strnlen(in, length);
	char	   *out = palloc(n + 1);

	memcpy(out, in, n);
	out[n] = '\0';
	return out;
}

char *
pstrdup(const char *in)
{
	return pnstrdup(in, strlen(in));
}

void
MemoryContextRegisterResetCallback(MemoryContext context, MemoryContextCallback *callback)
{
	callback->next = callbacks;
	callbacks = callback;
}

static void
free_everything(void)
{
	for (; callbacks != NULL; callbacks = callbacks->next)
		callbacks->func(callbacks->arg);
	while (chunks.next != &chunks)
		pfree(chunks.next + 1);
}

/* --- errors --- */

sigjmp_buf *PG_exception_stack = NULL;
ErrorContextCallback *error_context_stack = NULL;
volatile sig_atomic_t InterruptPending = false;
int			fuzz_errcode;
char		fuzz_message[1024];
static int	level;

void ProcessInterrupts(void) {}

bool
errstart(int elevel, const char *domain)
{
	level = elevel;
	if (elevel < ERROR)
		return false;
	fuzz_errcode = ERRCODE_INTERNAL_ERROR;
	fuzz_message[0] = '\0';
	return true;
}

bool
errstart_cold(int elevel, const char *domain)
{
	return errstart(elevel, domain);
}

int
errcode(int code)
{
	fuzz_errcode = code;
	return 0;
}

#define TAKE_MESSAGE(into, size) \
	do { va_list args; va_start(args, fmt); vsnprintf(into, size, fmt, args); va_end(args); } while (0)

int
errmsg(const char *fmt,...)
{
	TAKE_MESSAGE(fuzz_message, sizeof(fuzz_message));
	return 0;
}

int
errmsg_internal(const char *fmt,...)
{
	TAKE_MESSAGE(fuzz_message, sizeof(fuzz_message));
	return 0;
}

/* Hints and details are made, and so looked at, but not kept. */
int
errhint(const char *fmt,...)
{
	char		text[1024];

	TAKE_MESSAGE(text, sizeof(text));
	return 0;
}

int
errdetail(const char *fmt,...)
{
	char		text[1024];

	TAKE_MESSAGE(text, sizeof(text));
	return 0;
}

int
errdetail_internal(const char *fmt,...)
{
	char		text[1024];

	TAKE_MESSAGE(text, sizeof(text));
	return 0;
}

void
errfinish(const char *file, int line, const char *function)
{
	if (level < ERROR)
		return;
	if (fuzz_errcode == ERRCODE_INTERNAL_ERROR)
		fuzz_broken(fuzz_message, file, line);
	siglongjmp(*PG_exception_stack, 1);
}

void
pg_re_throw(void)
{
	siglongjmp(*PG_exception_stack, 1);
}

int
geterrcode(void)
{
	return fuzz_errcode;
}

void FlushErrorState(void) {}

/* PG 16 took the type away. */
void
#if PG_VERSION_NUM >= 160000
ExceptionalCondition(const char *condition, const char *file, int line)
#else
ExceptionalCondition(const char *condition, const char *type, const char *file, int line)
#endif
{
	fuzz_broken(condition, file, line);
}

void
fuzz_broken(const char *claim, const char *file, int line)
{
	fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, claim);
	abort();
}

bool
fuzz_run(FuzzBody body, const char *data, size_t size)
{
	sigjmp_buf	here;
	bool		fine = true;

	fuzz_errcode = 0;
	if (sigsetjmp(here, 0) == 0)
	{
		PG_exception_stack = &here;
		body(data, size);
	}
	else
		fine = false;
	PG_exception_stack = NULL;
	free_everything();
	return fine;
}

/* --- values --- */

char *
fuzz_string(const char *data, size_t size)
{
	char	   *copy = palloc(size + 1);

	memcpy(copy, data, size);
	copy[size] = '\0';
	return copy;
}

Datum
fuzz_varlena(const char *data, size_t size)
{
	struct varlena *value = palloc(VARHDRSZ + size);

	SET_VARSIZE(value, VARHDRSZ + size);
	memcpy(VARDATA(value), data, size);
	return PointerGetDatum(value);
}

struct varlena *
pg_detoast_datum_packed(struct varlena *datum)
{
	return datum;
}

struct varlena *
pg_detoast_datum(struct varlena *datum)
{
	return datum;
}

char *
text_to_cstring(const text *t)
{
	return fuzz_string(VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t));
}

text *
cstring_to_text_with_len(const char *s, int length)
{
	return (text *) DatumGetPointer(fuzz_varlena(s, length));
}

text *
cstring_to_text(const char *s)
{
	return cstring_to_text_with_len(s, strlen(s));
}

/* Reads what it is given, as the real one does, and keeps the count. */
ArrayType *
construct_array(Datum *items, int n, Oid type, int length, bool by_value, char align)
{
	ArrayType  *array = palloc0(sizeof(ArrayType));
	uint64		sum = 0;

	for (int i = 0; i < n; i++)
	{
		if (by_value)
			sum += items[i];
		else
			for (size_t k = 0; k < VARSIZE_ANY(DatumGetPointer(items[i])); k++)
				sum += ((unsigned char *) DatumGetPointer(items[i]))[k];
	}
	array->ndim = n;
	array->dataoffset = (int32) sum;
	return array;
}

List *
lappend(List *list, void *item)
{
	List	   *longer = palloc(sizeof(List));
	int			n = list != NIL ? list->length : 0;

	longer->type = T_List;
	longer->length = longer->max_length = n + 1;
	longer->elements = palloc(sizeof(ListCell) * (n + 1));
	if (n > 0)
		memcpy(longer->elements, list->elements, sizeof(ListCell) * n);
	longer->elements[n].ptr_value = item;
	return longer;
}

String *
makeString(char *s)
{
	String	   *value = palloc(sizeof(String));

	value->type = T_String;
	value->sval = s;
	return value;
}

/* --- text; the server's own follow a locale --- */

static char *
map_ascii(const char *text, size_t length, unsigned char (*change) (unsigned char))
{
	char	   *copy = pnstrdup(text, length);

	for (char *p = copy; *p != '\0'; p++)
		*p = change((unsigned char) *p);
	return copy;
}

char *
str_tolower(const char *text, size_t length, Oid collation)
{
	return map_ascii(text, length, pg_ascii_tolower);
}

char *
str_toupper(const char *text, size_t length, Oid collation)
{
	return map_ascii(text, length, pg_ascii_toupper);
}

char *
str_initcap(const char *text, size_t length, Oid collation)
{
	return map_ascii(text, length, pg_ascii_toupper);
}

int
pg_mbstrlen(const char *text)
{
	int			n = 0;

	for (; *text != '\0'; n++)
		text += strnlen(text, pg_utf_mblen((const unsigned char *) text));
	return n;
}

/* Of UTF-8. */
int
pg_encoding_mbcliplen(int encoding, const char *text, int length, int limit)
{
	int			n = 0;

	while (n < length && text[n] != '\0')
	{
		int			one = pg_utf_mblen((const unsigned char *) text + n);

		if (n + one > limit || n + one > length)
			break;
		n += one;
	}
	return n;
}

uint64
hex_encode(const char *in, size_t length, char *out)
{
	for (size_t i = 0; i < length; i++)
	{
		out[2 * i] = "0123456789abcdef"[(unsigned char) in[i] >> 4];
		out[2 * i + 1] = "0123456789abcdef"[in[i] & 15];
	}
	return 2 * length;
}

TimestampTz
time_t_to_timestamptz(pg_time_t seconds)
{
	return (TimestampTz) ((uint64) seconds * USECS_PER_SEC);
}

void check_stack_depth(void) {}

/* --- never called here --- */

#define ABSENT(returns, name, arguments) \
	returns name arguments { fuzz_broken("not called: " #name, __FILE__, __LINE__); }

struct Tuplestorestate;
ABSENT(void, InitMaterializedSRF, (FunctionCallInfo call, bits32 flags))
ABSENT(void, tuplestore_putvalues, (struct Tuplestorestate *state, TupleDesc desc, COMPAT_PROMISED Datum *values, COMPAT_PROMISED bool *nulls))
ABSENT(Datum, jsonb_in, (FunctionCallInfo call))
ABSENT(Datum, jsonb_out, (FunctionCallInfo call))
ABSENT(Datum, to_timestamp, (FunctionCallInfo call))
ABSENT(Datum, timestamp_in, (FunctionCallInfo call))
ABSENT(Datum, timestamptz_in, (FunctionCallInfo call))
ABSENT(bool, list_member, (const List *list, const void *item))
__attribute__((weak)) ABSENT(Datum, DirectFunctionCall1Coll, (PGFunction f, Oid collation, Datum a))
