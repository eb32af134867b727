#ifndef SALES_HTTP_MEMORY_H
#define SALES_HTTP_MEMORY_H

/* Makes libcurl ready, once in a process, before anything else of it is called; false if that fails. */
extern bool http_library_init(void);

#endif							/* SALES_HTTP_MEMORY_H */
