#ifndef SALES_SCORING_RELATION_H
#define SALES_SCORING_RELATION_H

#include "core/json.h"
#include "core/spi.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "scoring/learner.h"
#include "utils/hsearch.h"

typedef enum ColumnKind
{
	COLUMN_NUMBER, COLUMN_TEXT, COLUMN_OTHER
} ColumnKind;

/* How to take a column's values. */
typedef struct Reader
{
	int			number;			/* in the relation's rows, from 1 */
	Oid			type;			/* of the values, domains undone */
	ColumnKind	kind;
	FmgrInfo	output;
} Reader;

/* A column read whole. */
typedef struct Column
{
	char	   *name;
	Reader		reader;
	double	   *numbers;
	int		   *codes;			/* of texts: positions in `texts` */
	HTAB	   *known;
	char	  **texts;
	int			ntexts;
} Column;

typedef struct Rows
{
	int			ncolumns;
	Column	   *columns;
	uint8	   *labels;
	int			nrows;
	int64		seen;			/* rows with a label, those not sampled included */
} Rows;

/* Reads all rows of a relation that the user may read; SPI must be connected. */
extern void scoring_scan(Oid relation, SpiTaker taker, void *state);

/*
 * Reads the rows of `source` that have a label, in an order that depends on
 * their keys (the first column) alone; a sample of them where they would not
 * fit in maintenance_work_mem.
 */
extern Rows *scoring_read_rows(Oid source, const char *label, json_t *options);

extern void scoring_init_reader(Reader *reader, TupleDesc desc, int number);

/* Value of a numeric column's datum; NaN for NaN, infinite for infinities. */
extern double scoring_number(const Reader *reader, Datum datum);

/* Bytes of a text column's datum, and their number. */
extern const char *scoring_text(Reader *reader, Datum datum, int *length);

extern char *scoring_relation_name(Oid relation);

#endif							/* SALES_SCORING_RELATION_H */
