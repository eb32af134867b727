#ifndef SALES_FUZZ_SHIM_H
#define SALES_FUZZ_SHIM_H

#include "postgres.h"

/*
 * Runs what a target does with one input, as a function would run in a backend:
 * memory is freed and errors of ereport() are caught behind it.  True: no error.
 */
typedef void (*FuzzBody) (const char *data, size_t size);
extern bool fuzz_run(FuzzBody body, const char *data, size_t size);

/* SQLSTATE category of the last error that fuzz_run() caught; its message. */
extern int	fuzz_errcode;
extern char fuzz_message[1024];

/* Ends the process with a report: what a target claims does not hold. */
#define fuzz_claim(condition) \
	((condition) ? (void) 0 : fuzz_broken(#condition, __FILE__, __LINE__))
extern void fuzz_broken(const char *claim, const char *file, int line) pg_attribute_noreturn();

/* The input as a string of its own, so that reading past its end is seen. */
extern char *fuzz_string(const char *data, size_t size);

/* The input as a value of bytea or text. */
extern Datum fuzz_varlena(const char *data, size_t size);

extern int	LLVMFuzzerTestOneInput(const uint8 *data, size_t size);

#endif							/* SALES_FUZZ_SHIM_H */
