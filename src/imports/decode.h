#ifndef SALES_IMPORTS_DECODE_H
#define SALES_IMPORTS_DECODE_H

/* Fills `into` with up to `most` bytes of the source; 0 at its end. */
typedef size_t (*ReadBytes) (void *arg, char *into, size_t most);

/* What stands in decoded text for bytes that are no text: never part of UTF-8. */
#define DECODE_BAD_BYTE '\xFF'

typedef struct Decoder Decoder;

/*
 * Reads bytes as UTF-8 text, in the caller's memory context.  `encoding` is a
 * name that iconv knows, or null: it is then found from the first 256 kB.
 * Throws invalid_parameter_value for an unknown name.
 */
extern Decoder *decode_open(ReadBytes read, void *arg, const char *encoding);

/* Name of the encoding, such as "UTF-8" or "CP1252". */
extern const char *decode_encoding(const Decoder *decoder);

/* Do line ends consist of CR alone, as old Macs wrote them? */
extern bool decode_has_cr_lines(const Decoder *decoder);

/* Up to `most` bytes of UTF-8 (at least 16); 0 at the end. */
extern size_t decode_read(Decoder *decoder, char *into, size_t most);

#endif							/* SALES_IMPORTS_DECODE_H */
