#ifndef SALES_CORE_BASE64URL_H
#define SALES_CORE_BASE64URL_H

/*
 * Base64 for URLs (RFC 4648, section 5), without padding.  Results are
 * malloc'd, as check hooks use them; null on failure.
 */
extern char *base64url_encode(const unsigned char *data, int len);

/* The result has a NUL after its *outlen bytes. */
extern unsigned char *base64url_decode(const char *text, int len, int *outlen);

#endif							/* SALES_CORE_BASE64URL_H */
