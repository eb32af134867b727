#ifndef SALES_HTTP_CHARSET_H
#define SALES_HTTP_CHARSET_H

/*
 * The body as UTF-8 without NUL, malloc'd (null when out of memory).  Its
 * encoding is what a byte order mark says, else the Content-Type header's
 * charset (null without one), else UTF-8 where it is valid, else what a <meta>
 * tag at its start says, else Windows-1252.
 */
extern char *charset_to_utf8(const char *body, size_t size, const char *content_type);

#endif							/* SALES_HTTP_CHARSET_H */
