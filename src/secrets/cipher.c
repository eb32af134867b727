/*
 * cipher.c
 *		Secrets at rest: AES-256-GCM by libcrypto.
 *
 * Form: "sa1:" and base64 of a 12-byte nonce, the ciphertext and a 16-byte tag.
 * The additional data is the owner, so that a sealed value copied to another
 * row, table or company does not open there.
 */
#include "postgres.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "commands/trigger.h"
#include "common/base64.h"
#include "core/spi.h"
#include "core/uuid.h"
#include "fmgr.h"
#include "port.h"
#include "secrets/cipher.h"
#include "secrets/key.h"
#include "utils/builtins.h"
#include "utils/rel.h"

#define CIPHER_PREFIX "sa1:"
#define CIPHER_PURPOSE "secrets v1"
#define NONCE_SIZE 12
#define TAG_SIZE 16

bool
cipher_is_sealed(const char *text)
{
	return strncmp(text, CIPHER_PREFIX, strlen(CIPHER_PREFIX)) == 0;
}

void
cipher_wipe(char *secret)
{
	if (secret == NULL)
		return;
	OPENSSL_cleanse(secret, strlen(secret));
	pfree(secret);
}

char *
cipher_seal(const char *plain, const char *owner)
{
	unsigned char key[KEY_SIZE];
	int			plain_size = strlen(plain);
	int			size = NONCE_SIZE + plain_size + TAG_SIZE;
	unsigned char *raw = palloc(size);
	EVP_CIPHER_CTX *ctx;
	char	   *out;
	int			n;
	bool		ok;

	if (!pg_strong_random(raw, NONCE_SIZE))
		elog(ERROR, "could not generate a nonce");
	key_derive_or_fail(CIPHER_PURPOSE, key);
	ctx = EVP_CIPHER_CTX_new();
	ok = ctx != NULL &&
		EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, raw) == 1 &&
		EVP_EncryptUpdate(ctx, NULL, &n, (const unsigned char *) owner, strlen(owner)) == 1 &&
		EVP_EncryptUpdate(ctx, raw + NONCE_SIZE, &n, (const unsigned char *) plain,
						  plain_size) == 1 &&
		EVP_EncryptFinal_ex(ctx, raw + NONCE_SIZE + plain_size, &n) == 1 &&
		EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, TAG_SIZE,
							raw + NONCE_SIZE + plain_size) == 1;
	EVP_CIPHER_CTX_free(ctx);
	OPENSSL_cleanse(key, KEY_SIZE);
	if (!ok)
		elog(ERROR, "could not encrypt a secret");

	out = palloc(strlen(CIPHER_PREFIX) + pg_b64_enc_len(size) + 1);
	strcpy(out, CIPHER_PREFIX);
	n = pg_b64_encode((char *) raw, size, out + strlen(CIPHER_PREFIX), pg_b64_enc_len(size));
	out[strlen(CIPHER_PREFIX) + n] = '\0';
	pfree(raw);
	return out;
}

char *
cipher_open(const char *sealed, const char *owner)
{
	unsigned char key[KEY_SIZE];
	const char *text = sealed + strlen(CIPHER_PREFIX);
	int			capacity = pg_b64_dec_len(strlen(text));
	unsigned char *raw = palloc(capacity + 1);
	char	   *plain;
	EVP_CIPHER_CTX *ctx;
	int			size = -1;
	int			n;
	bool		ok;

	if (cipher_is_sealed(sealed))
		size = pg_b64_decode(text, strlen(text), (char *) raw, capacity);
	if (size < NONCE_SIZE + TAG_SIZE)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("a stored secret is not of the expected form")));
	plain = palloc(size - NONCE_SIZE - TAG_SIZE + 1);
	key_derive_or_fail(CIPHER_PURPOSE, key);
	ctx = EVP_CIPHER_CTX_new();
	ok = ctx != NULL &&
		EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, raw) == 1 &&
		EVP_DecryptUpdate(ctx, NULL, &n, (const unsigned char *) owner, strlen(owner)) == 1 &&
		EVP_DecryptUpdate(ctx, (unsigned char *) plain, &n, raw + NONCE_SIZE,
						  size - NONCE_SIZE - TAG_SIZE) == 1 &&
		EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, TAG_SIZE, raw + size - TAG_SIZE) == 1 &&
		EVP_DecryptFinal_ex(ctx, (unsigned char *) plain + n, &n) == 1;
	EVP_CIPHER_CTX_free(ctx);
	OPENSSL_cleanse(key, KEY_SIZE);
	if (!ok)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("a stored secret cannot be opened with this master key"),
						errhint("After a restore put the old key file in place (sales_assistant.key_file), or write the secret again.")));
	plain[size - NONCE_SIZE - TAG_SIZE] = '\0';
	pfree(raw);
	return plain;
}

PG_FUNCTION_INFO_V1(sales_seal_column);

/*
 * BEFORE INSERT OR UPDATE; arguments: key column, secret column, column for the
 * last four characters.  Plain text written to the secret column is stored
 * sealed, bound to company, table and row.
 */
Datum
sales_seal_column(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	HeapTuple	tuple;
	TupleDesc	desc;
	int			columns[2];
	Datum		values[2];
	bool		nulls[2] = {false, false};
	char	   *plain;
	char	   *owner;
	int			length;

	if (!CALLED_AS_TRIGGER(fcinfo) || trigger->tg_trigger->tgnargs != 3)
		elog(ERROR, "seal_column is a trigger with three arguments");
	tuple = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple
		: trigger->tg_trigtuple;
	desc = RelationGetDescr(trigger->tg_relation);
	columns[0] = SPI_fnumber(desc, trigger->tg_trigger->tgargs[1]);
	columns[1] = SPI_fnumber(desc, trigger->tg_trigger->tgargs[2]);
	plain = SPI_getvalue(tuple, desc, columns[0]);
	if (plain == NULL || spi_restoring())
		return PointerGetDatum(tuple);
	if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
	{
		char	   *old = SPI_getvalue(trigger->tg_trigtuple, desc, columns[0]);

		if (old != NULL && strcmp(old, plain) == 0)
			return PointerGetDatum(tuple);
	}
	if (cipher_is_sealed(plain))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("a secret cannot begin with \"%s\"", CIPHER_PREFIX),
						errhint("Write the secret itself; it is encrypted as it is stored.")));

	owner = psprintf("%s|%s|%s",
					 SPI_getvalue(tuple, desc, SPI_fnumber(desc, "company_id")),
					 SPI_getrelname(trigger->tg_relation),
					 SPI_getvalue(tuple, desc, SPI_fnumber(desc, trigger->tg_trigger->tgargs[0])));
	length = strlen(plain);
	values[0] = CStringGetTextDatum(cipher_seal(plain, owner));
	/* Of a short secret four characters would tell too much. */
	nulls[1] = length < 12;
	values[1] = nulls[1] ? (Datum) 0 : CStringGetTextDatum(plain + length - 4);
	tuple = heap_modify_tuple_by_cols(tuple, desc, 2, columns, values, nulls);
	cipher_wipe(plain);
	return PointerGetDatum(tuple);
}

PG_FUNCTION_INFO_V1(sales_seal);

/* sales_internal.seal(plain text, owner text) → text */
Datum
sales_seal(PG_FUNCTION_ARGS)
{
	char	   *plain = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *sealed = cipher_seal(plain, text_to_cstring(PG_GETARG_TEXT_PP(1)));

	cipher_wipe(plain);
	PG_RETURN_TEXT_P(cstring_to_text(sealed));
}
