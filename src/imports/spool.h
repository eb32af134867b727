#ifndef SALES_IMPORTS_SPOOL_H
#define SALES_IMPORTS_SPOOL_H

/*
 * The file that this process fetched and reads back: one, on disk, without a
 * name, gone with the process.  Nothing here throws but spool_create() and
 * spool_read(); so spool_write() can be called from libcurl.
 */
extern void spool_create(void);

/* False when the disk is full or the file would be larger than `limit`; errno says. */
extern bool spool_write(const char *data, size_t size, size_t limit);

/* From the start again. */
extern void spool_rewind(void);

extern size_t spool_read(char *into, size_t most);
extern size_t spool_size(void);
extern size_t spool_tell(void);
extern void spool_close(void);

#endif							/* SALES_IMPORTS_SPOOL_H */
