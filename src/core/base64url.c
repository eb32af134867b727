/*
 * base64url.c
 *		Base64 for URLs, as tokens and signed contexts carry it.
 */
#include "postgres.h"

#include "common/base64.h"
#include "core/base64url.h"

char *
base64url_encode(const unsigned char *data, int len)
{
	int			cap = pg_b64_enc_len(len);
	char	   *out = malloc(cap + 1);
	int			n;

	if (out == NULL)
		return NULL;
	n = pg_b64_encode((const char *) data, len, out, cap);
	if (n < 0)
	{
		free(out);
		return NULL;
	}
	while (n > 0 && out[n - 1] == '=')
		n--;
	out[n] = '\0';
	for (char *p = out; *p; p++)
		*p = (*p == '+') ? '-' : (*p == '/') ? '_' : *p;
	return out;
}

unsigned char *
base64url_decode(const char *text, int len, int *outlen)
{
	int			padded = (len + 3) / 4 * 4;
	char	   *buf = malloc(padded + 1);
	unsigned char *out = malloc(padded + 1);

	if (buf == NULL || out == NULL)
	{
		free(buf);
		free(out);
		return NULL;
	}
	for (int i = 0; i < padded; i++)
		buf[i] = i >= len ? '=' : text[i] == '-' ? '+' : text[i] == '_' ? '/' : text[i];
	*outlen = pg_b64_decode(buf, padded, (char *) out, padded);
	free(buf);
	if (*outlen < 0)
	{
		free(out);
		return NULL;
	}
	out[*outlen] = '\0';
	return out;
}
