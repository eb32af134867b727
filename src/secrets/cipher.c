/*
 * cipher.c
 *		Secrets at rest: AES-256-GCM by libcrypto.
 *
 * Form: "sa2:", the name of the master key, ":" and base64 of a 12-byte nonce,
 * the ciphertext and a 16-byte tag.  (The first form, "sa1:" without a name, is
 * still opened.)  The additional data is the owner, so that a sealed value copied
 * to another row, table or company does not open there.
 */
#include "postgres.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "common/base64.h"
#include "core/spi.h"
#include "core/uuid.h"
#include "fmgr.h"
#include "port.h"
#include "secrets/cipher.h"
#include "secrets/key.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/rel.h"

#define CIPHER_PREFIX "sa2:"
#define CIPHER_PREFIX_1 "sa1:"
#define PREFIX_SIZE 4
#define CIPHER_PURPOSE "secrets v1"
#define NONCE_SIZE 12
#define TAG_SIZE 16

bool
cipher_is_sealed(const char *text)
{
	return strncmp(text, CIPHER_PREFIX, PREFIX_SIZE) == 0 ||
		strncmp(text, CIPHER_PREFIX_1, PREFIX_SIZE) == 0;
}

void
cipher_wipe(char *secret)
{
	if (secret == NULL)
		return;
	OPENSSL_cleanse(secret, strlen(secret));
	pfree(secret);
}

/* --- sealing --- */

char *
cipher_seal(const char *plain, const char *owner)
{
	const unsigned char *master;
	unsigned char key[KEY_SIZE];
	char		name[KEY_NAME_SIZE];
	int			plain_size = strlen(plain);
	int			size = NONCE_SIZE + plain_size + TAG_SIZE;
	unsigned char *raw = palloc(size);
	EVP_CIPHER_CTX *ctx;
	char	   *out;
	int			used;
	int			n;
	bool		ok;

	if (!pg_strong_random(raw, NONCE_SIZE))
		elog(ERROR, "could not generate a nonce");
	/* name and key of one look at the key file, which may change */
	master = key_ring_or_fail()->keys[0];
	key_name(master, name);
	if (!key_derive_of(master, CIPHER_PURPOSE, key))
		elog(ERROR, "could not derive a key");
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

	used = PREFIX_SIZE + KEY_NAME_SIZE;
	out = palloc(used + pg_b64_enc_len(size) + 1);
	snprintf(out, used + 1, "%s%s:", CIPHER_PREFIX, name);
	n = pg_b64_encode((char *) raw, size, out + used, pg_b64_enc_len(size));
	out[used + n] = '\0';
	pfree(raw);
	return out;
}

/* --- opening --- */

/* What stands after the prefix and the key's name; null if of another form. */
static const char *
sealed_payload(const char *sealed)
{
	if (strncmp(sealed, CIPHER_PREFIX_1, PREFIX_SIZE) == 0)
		return sealed + PREFIX_SIZE;
	if (strncmp(sealed, CIPHER_PREFIX, PREFIX_SIZE) == 0 &&
		strcspn(sealed + PREFIX_SIZE, ":") == KEY_NAME_SIZE - 1 &&
		sealed[PREFIX_SIZE + KEY_NAME_SIZE - 1] == ':')
		return sealed + PREFIX_SIZE + KEY_NAME_SIZE;
	return NULL;
}

/* May that key have sealed it?  The first form does not say. */
static bool
names_key(const char *sealed, const unsigned char key[KEY_SIZE])
{
	char		name[KEY_NAME_SIZE];

	if (strncmp(sealed, CIPHER_PREFIX_1, PREFIX_SIZE) == 0)
		return true;
	key_name(key, name);
	return strncmp(sealed + PREFIX_SIZE, name, KEY_NAME_SIZE - 1) == 0;
}

static bool
decrypt(const unsigned char *raw, int size, const char *owner, const unsigned char key[KEY_SIZE],
		char *plain)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int			text_size = size - NONCE_SIZE - TAG_SIZE;
	int			n = 0;
	bool		ok;

	ok = ctx != NULL &&
		EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, raw) == 1 &&
		EVP_DecryptUpdate(ctx, NULL, &n, (const unsigned char *) owner, strlen(owner)) == 1 &&
		EVP_DecryptUpdate(ctx, (unsigned char *) plain, &n, raw + NONCE_SIZE, text_size) == 1 &&
		EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, TAG_SIZE,
							(void *) (raw + size - TAG_SIZE)) == 1 &&
		EVP_DecryptFinal_ex(ctx, (unsigned char *) plain + n, &n) == 1;
	EVP_CIPHER_CTX_free(ctx);
	if (!ok)
		OPENSSL_cleanse(plain, text_size);
	else
		plain[text_size] = '\0';
	return ok;
}

char *
cipher_try_open(const char *sealed, const char *owner, bool *by_current)
{
	const char *text = sealed_payload(sealed);
	const KeyRing *ring;
	unsigned char *raw;
	char	   *plain;
	int			size;

	if (text == NULL)
		return NULL;
	raw = palloc(pg_b64_dec_len(strlen(text)) + 1);
	size = pg_b64_decode(text, strlen(text), (char *) raw, pg_b64_dec_len(strlen(text)));
	if (size < NONCE_SIZE + TAG_SIZE)
		return NULL;
	plain = palloc(size - NONCE_SIZE - TAG_SIZE + 1);
	ring = key_ring_or_fail();
	for (int k = 0; k < ring->n; k++)
	{
		unsigned char key[KEY_SIZE];
		bool		ok;

		if (!names_key(sealed, ring->keys[k]) ||
			!key_derive_of(ring->keys[k], CIPHER_PURPOSE, key))
			continue;
		ok = decrypt(raw, size, owner, key, plain);
		OPENSSL_cleanse(key, KEY_SIZE);
		if (ok)
		{
			if (by_current != NULL)
				*by_current = k == 0 && strncmp(sealed, CIPHER_PREFIX, PREFIX_SIZE) == 0;
			pfree(raw);
			return plain;
		}
	}
	pfree(raw);
	pfree(plain);
	return NULL;
}

char *
cipher_open(const char *sealed, const char *owner)
{
	char	   *plain = cipher_try_open(sealed, owner, NULL);
	const KeyRing *ring;

	if (plain != NULL)
		return plain;
	if (sealed_payload(sealed) == NULL)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("a stored secret is not of the expected form"),
						errhint("Write the secret again.")));
	ring = key_ring_or_fail();
	for (int k = 0; k < ring->n; k++)
		if (names_key(sealed, ring->keys[k]))
			ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
							errmsg("a stored secret cannot be opened with this master key"),
							errdetail("It was changed, or belongs to another row or key."),
							errhint("After a restore put the old key file in place (sales_assistant.key_file), or write the secret again.")));
	ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
					errmsg("a stored secret cannot be opened with this master key"),
					errdetail("It was sealed under the master key %.8s, which is not in the key file.",
							  sealed + PREFIX_SIZE),
					errhint("Add the old key as a further line to the key file (sales_assistant.key_file), or write the secret again.")));
}

/* --- for SQL --- */

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
						errmsg("a secret cannot begin with \"%.*s\"", PREFIX_SIZE, plain),
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

PG_FUNCTION_INFO_V1(sales_reseal);
PG_FUNCTION_INFO_V1(sales_key_names);

/*
 * sales_internal.reseal(sealed text, owner text) → text: the same secret under
 * the current key; as it is where it is that already, null where no key opens it.
 */
Datum
sales_reseal(PG_FUNCTION_ARGS)
{
	char	   *sealed = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *owner = text_to_cstring(PG_GETARG_TEXT_PP(1));
	bool		by_current = false;
	char	   *plain = cipher_try_open(sealed, owner, &by_current);
	text	   *result;

	if (plain == NULL)
		PG_RETURN_NULL();
	result = cstring_to_text(by_current ? sealed : cipher_seal(plain, owner));
	cipher_wipe(plain);
	PG_RETURN_TEXT_P(result);
}

/* sales_internal.key_names() → text[]: the keys of the key file, the current one first */
Datum
sales_key_names(PG_FUNCTION_ARGS)
{
	const KeyRing *ring = key_ring_or_fail();
	Datum		names[KEY_RING_SIZE];

	for (int k = 0; k < ring->n; k++)
	{
		char		name[KEY_NAME_SIZE];

		key_name(ring->keys[k], name);
		names[k] = CStringGetTextDatum(name);
	}
	PG_RETURN_ARRAYTYPE_P(construct_array(names, ring->n, TEXTOID, -1, false, TYPALIGN_INT));
}
