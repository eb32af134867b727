/*
 * address.c
 *		Addresses as campaigns compare them, and the hashes that stand for them.
 *
 * Two spellings of one mailbox must give one hash, today and after a restore
 * into a database of another locale: so letters are lowered by ASCII's rules
 * alone, and an international domain becomes its ASCII form.  The local part's
 * dots and +tags are kept: what they mean is the other server's affair.
 */
#include "postgres.h"

#include <idn2.h>
#include <openssl/hmac.h>

#include "compat.h"
#include "core/email.h"
#include "fmgr.h"
#include "utils/builtins.h"

#define HASH_SIZE 32

PG_FUNCTION_INFO_V1(sales_normal_email);
PG_FUNCTION_INFO_V1(sales_keyed_hash);

/* sales_internal.normal_email(address text) → text; null where it is no address */
Datum
sales_normal_email(PG_FUNCTION_ARGS)
{
	char	   *address = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *end = address + strlen(address);
	char	   *at;
	char	   *domain = NULL;
	const char *reason;
	char	   *normal;

	while (isspace((unsigned char) *address))
		address++;
	while (end > address && isspace((unsigned char) end[-1]))
		*--end = '\0';
	if (!email_is_valid(address, end - address, &reason))
		PG_RETURN_NULL();
	for (char *p = address; *p; p++)
		*p = pg_ascii_tolower((unsigned char) *p);
	at = strrchr(address, '@');
	*at = '\0';
	if (idn2_to_ascii_8z(at + 1, &domain, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) != IDN2_OK)
		PG_RETURN_NULL();
	normal = psprintf("%s@%s", address, domain);
	idn2_free(domain);
	/* in ASCII it may be longer than an address can be */
	if (!email_is_valid(normal, strlen(normal), &reason))
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(normal));
}

/* sales_internal.keyed_hash(key bytea, data bytea) → bytea: HMAC-SHA256 */
Datum
sales_keyed_hash(PG_FUNCTION_ARGS)
{
	bytea	   *key = PG_GETARG_BYTEA_PP(0);
	bytea	   *data = PG_GETARG_BYTEA_PP(1);
	bytea	   *hash = palloc(VARHDRSZ + HASH_SIZE);

	SET_VARSIZE(hash, VARHDRSZ + HASH_SIZE);
	if (HMAC(EVP_sha256(), VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key),
			 (unsigned char *) VARDATA_ANY(data), VARSIZE_ANY_EXHDR(data),
			 (unsigned char *) VARDATA(hash), NULL) == NULL)
		elog(ERROR, "could not compute a hash");
	PG_RETURN_BYTEA_P(hash);
}
