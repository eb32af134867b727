/*
 * mentions.c
 *		Does a text name a person, or hold a key of one of its rows?
 *
 * An export or an erasure asks this of every text of a company, and nearly all
 * say nothing of the person.  A regular expression alone takes microseconds for
 * each, so what it cannot do without is looked for first, in one pass over the
 * bytes: an address or profile, the digits of a number with separators between
 * them at most, or a first and a last name anywhere.  Only a text that has one
 * of these is given to the expressions, which decide.
 *
 * A needle is found in any case that the expression would match, so the sieve
 * drops nothing: each character stands for itself and for what the collation
 * calls its lower and upper case.  Where that is more than one character (ICU's
 * full mappings) or there are more needles than places, nothing is sieved.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/formatting.h"
#include "utils/memutils.h"
#include "utils/uuid.h"

#define MAX_NEEDLES 64			/* bits of a mask */
#define VARIANTS 3				/* as written, lower, upper */

typedef struct Letter
{
	uint8		length[VARIANTS];
	char		bytes[VARIANTS][MAX_MULTIBYTE_CHAR_LEN];
} Letter;

typedef struct Needle
{
	bool		is_number;		/* separators may stand between its digits */
	int			nletters;
	Letter	   *letters;
} Needle;

/* A person's pattern, made ready; kept with the call's plan. */
typedef struct Sieve
{
	HeapTupleHeader person;		/* the value that it was made from */
	bool		lets_all;		/* nothing can be sieved */
	int			nneedles;
	Needle		needles[MAX_NEEDLES];
	uint64		starts[256];	/* needles that begin with a byte */
	uint64		sure;			/* needles of which one is enough */
	uint64		firsts;			/* else one of these and one of the lasts */
	uint64		lasts;
	Datum		pattern;		/* text; 0: none */
	Datum	   *pairs;
	int			npairs;
} Sieve;

/* A character as cased by the collation; false where that is not one character. */
static bool
add_variant(Letter *letter, int variant, char *cased)
{
	int			length = pg_mblen(cased);

	if (*cased == '\0' || cased[length] != '\0')
		return false;
	letter->length[variant] = length;
	memcpy(letter->bytes[variant], cased, length);
	return true;
}

static void
add_needle(Sieve *sieve, uint64 *mask, const char *text, bool is_number, Oid collation)
{
	Needle	   *needle;
	int			length = strlen(text);

	if (sieve->nneedles == MAX_NEEDLES || length == 0)
		sieve->lets_all = true;
	if (sieve->lets_all)
		return;
	needle = &sieve->needles[sieve->nneedles];
	needle->is_number = is_number;
	needle->nletters = 0;
	needle->letters = palloc0(sizeof(Letter) * length);
	for (const char *at = text; *at != '\0'; at += pg_mblen(at))
	{
		Letter	   *letter = &needle->letters[needle->nletters++];
		int			bytes = pg_mblen(at);

		if (!add_variant(letter, 0, pnstrdup(at, bytes)) ||
			!add_variant(letter, 1, str_tolower(at, bytes, collation)) ||
			!add_variant(letter, 2, str_toupper(at, bytes, collation)))
			sieve->lets_all = true;
	}
	for (int v = 0; v < VARIANTS; v++)
		sieve->starts[(unsigned char) needle->letters[0].bytes[v][0]] |= UINT64CONST(1) << sieve->nneedles;
	*mask |= UINT64CONST(1) << sieve->nneedles++;
}

/* Strings of an attribute of the pattern; a null among them, or no such attribute, is none. */
static int
strings_of(HeapTupleHeader person, const char *attribute, Datum **strings)
{
	bool		isnull;
	Datum		array = GetAttributeByName(person, attribute, &isnull);
	bool	   *nulls;
	int			n;
	int			kept = 0;

	if (isnull)
		return 0;
	deconstruct_array(DatumGetArrayTypePCopy(array), TEXTOID, -1, false, TYPALIGN_INT, strings, &nulls, &n);
	for (int i = 0; i < n; i++)
		if (!nulls[i])
			(*strings)[kept++] = (*strings)[i];
	return kept;
}

static void
add_needles(Sieve *sieve, uint64 *mask, const char *attribute, Oid collation)
{
	Datum	   *strings;
	int			n = strings_of(sieve->person, attribute, &strings);

	for (int i = 0; i < n; i++)
		add_needle(sieve, mask, TextDatumGetCString(strings[i]), strcmp(attribute, "numbers") == 0, collation);
}

static Sieve *
make_sieve(HeapTupleHeader person, Oid collation, MemoryContext memory)
{
	MemoryContext before = MemoryContextSwitchTo(memory);
	Sieve	   *sieve = palloc0(sizeof(Sieve));
	Datum		pattern;
	bool		isnull;

	sieve->person = palloc(HeapTupleHeaderGetDatumLength(person));
	memcpy(sieve->person, person, HeapTupleHeaderGetDatumLength(person));
	pattern = GetAttributeByName(sieve->person, "sure", &isnull);
	sieve->pattern = isnull ? (Datum) 0 : PointerGetDatum(PG_DETOAST_DATUM_COPY(pattern));
	sieve->npairs = strings_of(sieve->person, "pairs", &sieve->pairs);
	add_needles(sieve, &sieve->sure, "needles", collation);
	add_needles(sieve, &sieve->sure, "numbers", collation);
	add_needles(sieve, &sieve->firsts, "firsts", collation);
	add_needles(sieve, &sieve->lasts, "lasts", collation);
	MemoryContextSwitchTo(before);
	return sieve;
}

/* Does the needle stand at this place? */
static bool
stands_at(const Needle *needle, const char *at, const char *end)
{
	for (int i = 0; i < needle->nletters; i++)
	{
		const Letter *letter = &needle->letters[i];
		int			v;

		while (needle->is_number && i > 0 && at < end && strchr(" ./()-", *at) != NULL && *at != '\0')
			at++;
		for (v = 0; v < VARIANTS; v++)
			if (end - at >= letter->length[v] && memcmp(at, letter->bytes[v], letter->length[v]) == 0)
				break;
		if (v == VARIANTS)
			return false;
		at += letter->length[v];
	}
	return true;
}

/* May the text name the person? */
static bool
passes(const Sieve *sieve, const char *at, const char *end)
{
	uint64		found = 0;

	if (sieve->lets_all)
		return true;
	for (; at < end; at++)
	{
		uint64		here = sieve->starts[(unsigned char) *at] & ~found;

		for (int i = 0; here != 0; i++, here >>= 1)
			if ((here & 1) != 0 && stands_at(&sieve->needles[i], at, end))
			{
				found |= UINT64CONST(1) << i;
				if ((found & sieve->sure) != 0 || ((found & sieve->firsts) != 0 && (found & sieve->lasts) != 0))
					return true;
			}
	}
	return false;
}

PG_FUNCTION_INFO_V1(sales_mentions);

/* sales_internal.mentions(body text, person person_pattern) → boolean; nulls name nobody */
Datum
sales_mentions(PG_FUNCTION_ARGS)
{
	Sieve	   *sieve = fcinfo->flinfo->fn_extra;
	Oid			collation = OidIsValid(PG_GET_COLLATION()) ? PG_GET_COLLATION() : DEFAULT_COLLATION_OID;
	HeapTupleHeader person;
	text	   *body;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_BOOL(false);
	body = PG_GETARG_TEXT_PP(0);
	person = PG_GETARG_HEAPTUPLEHEADER(1);
	if (sieve == NULL || HeapTupleHeaderGetDatumLength(sieve->person) != HeapTupleHeaderGetDatumLength(person) ||
		memcmp(sieve->person, person, HeapTupleHeaderGetDatumLength(person)) != 0)
		fcinfo->flinfo->fn_extra = sieve = make_sieve(person, collation, fcinfo->flinfo->fn_mcxt);
	if (!passes(sieve, VARDATA_ANY(body), VARDATA_ANY(body) + VARSIZE_ANY_EXHDR(body)))
		PG_RETURN_BOOL(false);
	if (sieve->pattern != (Datum) 0 &&
		DatumGetBool(DirectFunctionCall2Coll(texticregexeq, collation, PointerGetDatum(body), sieve->pattern)))
		PG_RETURN_BOOL(true);
	for (int i = 0; i < sieve->npairs; i++)
		if (DatumGetBool(DirectFunctionCall2Coll(texticregexeq, collation, PointerGetDatum(body), sieve->pairs[i])))
			PG_RETURN_BOOL(true);
	PG_RETURN_BOOL(false);
}

/* --- keys --- */

/* The 36 characters of a key, in lower case as the server writes them. */
static bool
is_key(const char *at, pg_uuid_t *key)
{
	int			digits = 0;

	for (int i = 0; i < 36; i++)
	{
		int			value;

		if (i == 8 || i == 13 || i == 18 || i == 23)
		{
			if (at[i] != '-')
				return false;
			continue;
		}
		if (at[i] >= '0' && at[i] <= '9')
			value = at[i] - '0';
		else if (at[i] >= 'a' && at[i] <= 'f')
			value = at[i] - 'a' + 10;
		else
			return false;
		if (digits % 2 == 0)
			key->data[digits / 2] = value << 4;
		else
			key->data[digits / 2] |= value;
		digits++;
	}
	return true;
}

PG_FUNCTION_INFO_V1(sales_holds_key);

/* sales_internal.holds_key(body text, keys uuid[]) → boolean */
Datum
sales_holds_key(PG_FUNCTION_ARGS)
{
	text	   *body;
	const char *start;
	const char *end;
	ArrayType  *keys;
	const pg_uuid_t *wanted;
	int			nwanted;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_BOOL(false);
	body = PG_GETARG_TEXT_PP(0);
	keys = PG_GETARG_ARRAYTYPE_P(1);
	if (array_contains_nulls(keys))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("a list of keys without nulls is needed")));
	wanted = (const pg_uuid_t *) ARR_DATA_PTR(keys);
	nwanted = ArrayGetNItems(ARR_NDIM(keys), ARR_DIMS(keys));
	start = VARDATA_ANY(body);
	end = start + VARSIZE_ANY_EXHDR(body);
	/* by its first hyphen */
	for (const char *at = start; (at = memchr(at, '-', end - at)) != NULL; at++)
	{
		pg_uuid_t	key;

		if (at - start < 8 || end - at < 28 || !is_key(at - 8, &key))
			continue;
		for (int i = 0; i < nwanted; i++)
			if (memcmp(&key, &wanted[i], UUID_LEN) == 0)
				PG_RETURN_BOOL(true);
	}
	PG_RETURN_BOOL(false);
}
