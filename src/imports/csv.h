#ifndef SALES_IMPORTS_CSV_H
#define SALES_IMPORTS_CSV_H

#include "imports/decode.h"

typedef struct CsvReader CsvReader;

/* One record.  All of it is valid until the next call of csv_next(). */
typedef struct CsvRow
{
	int64		number;			/* 1 is the first of the file, blank lines counted */
	int			nfields;
	char	  **fields;			/* null for an unquoted empty one */
	char	   *raw;			/* as it was read, without its line end */
	const char *problem;		/* why it cannot be taken; then there are no fields */
} CsvRow;

/*
 * Reads CSV in the current memory context.  delimiter '\0': found from the first
 * record.  A "sep=;" line is taken as a hint and skipped.
 */
extern CsvReader *csv_open(Decoder *text, char delimiter);
extern char csv_delimiter(const CsvReader *reader);

/* Number of the last record that was read or passed over. */
extern int64 csv_position(const CsvReader *reader);

/* COPY's parser is set up by csv_begin() and taken down by csv_end(): call both
 * in one statement around any number of csv_next(). */
extern void csv_begin(CsvReader *reader);
extern void csv_end(CsvReader *reader);

/* Passes over the records up to that number, blank ones counted. */
extern void csv_skip(CsvReader *reader, int64 number);

/* The next record that is not blank; false at the end. */
extern bool csv_next(CsvReader *reader, CsvRow *row);

#endif							/* SALES_IMPORTS_CSV_H */
