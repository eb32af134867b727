/*
 * fuzz_csv.c
 *		Files of any bytes to records: decode.c and csv.c.
 *
 * COPY's place is taken by a reader of RFC 4180 that forgives nothing: what csv.c
 * cuts must be one record, as the real COPY would give up on the file otherwise.
 * The first bytes choose delimiter, encoding, and how the file comes in pieces.
 */
#include "postgres.h"

#include <iconv.h>

#include "access/table.h"
#include "catalog/namespace.h"
#include "commands/copy.h"
#include "imports/csv.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "nodes/makefuncs.h"
#include "shim.h"

/* --- COPY --- */

static copy_data_source_cb feed;
static char separator;
static char *parsed[10000];
static char *(*fields) = parsed;

CopyFromState
BeginCopyFrom(ParseState *state, Relation rel, Node *where, const char *file, bool program,
			  copy_data_source_cb source, List *names, List *options)
{
	feed = source;
	return NULL;
}

void EndCopyFrom(CopyFromState state) {}
Oid get_relname_relid(const char *name, Oid schema) { return 1; }
Oid get_namespace_oid(const char *name, bool missing_ok) { return 1; }
Relation table_open(Oid oid, LOCKMODE mode) { return NULL; }
void table_close(Relation rel, LOCKMODE mode) {}
DefElem *makeDefElem(char *name, Node *value, int at) { return NULL; }
List *list_make3_impl(NodeTag t, ListCell a, ListCell b, ListCell c) { return NIL; }

bool
NextCopyFromRawFields(CopyFromState state, char ***into, int *n)
{
	StringInfoData line;
	char		piece[512];
	char	   *p;
	int			bytes;

	initStringInfo(&line);
	while ((bytes = feed(piece, 1, sizeof(piece))) > 0)
		appendBinaryStringInfo(&line, piece, bytes);
	fuzz_claim(line.len > 1 && line.data[line.len - 1] == '\n');
	fuzz_claim(strlen(line.data) == line.len);
	fuzz_claim(strcmp(line.data, "\\.\n") != 0);
	line.data[--line.len] = '\0';
	*n = 0;
	for (p = line.data;; p++)
	{
		StringInfoData field;
		bool		quoted = *p == '"';

		initStringInfo(&field);
		if (quoted)
		{
			for (p++; *p != '"' || p[1] == '"'; p++)
			{
				fuzz_claim(*p != '\0');
				p += *p == '"';
				appendStringInfoChar(&field, *p);
			}
			p++;
			fuzz_claim(*p == separator || *p == '\0');
		}
		for (; *p != separator && *p != '\0'; p++)
		{
			fuzz_claim(*p != '"' && *p != '\n' && *p != '\r');
			appendStringInfoChar(&field, *p);
		}
		fuzz_claim(*n < 10000);
		parsed[(*n)++] = !quoted && field.len == 0 ? NULL : field.data;
		if (*p == '\0')
			break;
	}
	*into = fields;
	return true;
}

/* --- the file --- */

typedef struct Source
{
	const char *data;
	size_t		left;
	size_t		piece;
} Source;

static size_t
read_source(void *arg, char *into, size_t most)
{
	Source	   *s = arg;
	size_t		n = Min(Min(most, s->left), s->piece);

	memcpy(into, s->data, n);
	s->data += n;
	s->left -= n;
	return n;
}

static void
read_file(const char *data, size_t size)
{
	static const char *const encodings[] = {NULL, NULL, "UTF-8", "CP1252", "UTF-16LE", "UTF-16", "MACINTOSH", "SHIFT_JIS", "UTF-7"};
	static const char delimiters[] = {'\0', '\0', ',', ';', '\t', '|'};
	unsigned char how[3];
	Source		source;
	CsvReader  *reader;
	CsvRow		row;
	int64		last = 0;

	if (size < sizeof(how))
		return;
	memcpy(how, data, sizeof(how));
	source.data = fuzz_string(data + sizeof(how), size - sizeof(how));
	source.left = size - sizeof(how);
	source.piece = how[2] + 1;
	reader = csv_open(decode_open(read_source, &source, encodings[how[0] % lengthof(encodings)]),
					  delimiters[how[1] % lengthof(delimiters)]);
	separator = csv_delimiter(reader);
	csv_begin(reader);
	if (how[1] >= 240)
		csv_skip(reader, how[1] - 240);
	last = csv_position(reader);
	while (csv_next(reader, &row))
	{
		fuzz_claim(row.number > last);
		fuzz_claim((row.problem == NULL) == (row.nfields > 0) || row.nfields > 1600);
		fuzz_claim(row.raw != NULL);
		if (row.problem == NULL)
			fuzz_claim(pg_encoding_verifymbstr(PG_UTF8, row.raw, strlen(row.raw)) == strlen(row.raw));
		last = row.number;
	}
	fuzz_claim(source.left == 0);
	csv_end(reader);
}

int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	if (!fuzz_run(read_file, (const char *) data, size))
		fuzz_claim(fuzz_errcode == ERRCODE_INVALID_PARAMETER_VALUE);
	return 0;
}
