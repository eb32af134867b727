/*
 * digest.c
 *		What makes an audit row provable: a keyed digest.
 *
 * The key is derived from the master key, which is a file outside the
 * database: whoever can write SQL but not read that file cannot make a row
 * that fits, nor a link of the chain (sql/functions/audit.sql).  A digest opens
 * with four bytes that name its key, so that rows of before a change of the
 * master key are told from forged ones; former keys are kept, encrypted, in
 * sales_internal.audit_keys.
 *
 * Two steps: the digest of the values, bound to the row's id, goes into the
 * digest of the row.  So values can be erased with their digest put in their
 * place, and the row still fits.  That digest is keyed too, or a guess at an
 * erased telephone number could be tried.
 *
 * Covered are labels and bytes that a dump restores as they were: names, not
 * oids, and jsonb in its stored form, which any parse of its text gives again
 * (on a machine of the same byte order).
 *
 * SHA-256 is called by OpenSSL's low-level functions.  Their successors fetch
 * and allocate for every digest, which costs more than the digest itself, and
 * there are two for each changed row.
 */
#define OPENSSL_SUPPRESS_DEPRECATED

#include "postgres.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include "access/xact.h"
#include "audit/digest.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "core/spi.h"
#include "distribute/cluster_key.h"
#include "distribute/shards.h"
#include "fmgr.h"
#include "port/pg_bswap.h"
#include "secrets/cipher.h"
#include "secrets/key.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#define AUDIT_PURPOSE "audit v1"
#define MAC_SIZE (AUDIT_DIGEST_SIZE - AUDIT_KEY_ID_SIZE)
#define KEY_AGE_MAX_US INT64CONST(60000000) /* the key file is looked at again after that */
#define FORMER_KEYS 8			/* that a session remembers */
#define KEY_LOOKS 3				/* at a kept key, while the master key changes */

/* A key, ready for HMAC-SHA256: both hashes with the padded key taken in. */
typedef struct AuditKey
{
	unsigned char id[AUDIT_KEY_ID_SIZE];
	SHA256_CTX	inner;
	SHA256_CTX	outer;
} AuditKey;

static AuditKey current_key;
static bool current_loaded = false;
static TimestampTz current_at = 0;
static AuditKey former_keys[FORMER_KEYS];
static int	former_count = 0;

/* --- HMAC --- */

static void
mac_finish(const AuditKey *key, SHA256_CTX *inner, unsigned char out[SHA256_DIGEST_LENGTH])
{
	SHA256_CTX	outer = key->outer;

	SHA256_Final(out, inner);
	SHA256_Update(&outer, out, SHA256_DIGEST_LENGTH);
	SHA256_Final(out, &outer);
}

/* Writes the key's name and the MAC. */
static void
digest_finish(const AuditKey *key, SHA256_CTX *inner, unsigned char out[AUDIT_DIGEST_SIZE])
{
	unsigned char mac[SHA256_DIGEST_LENGTH];

	mac_finish(key, inner, mac);
	memcpy(out, key->id, AUDIT_KEY_ID_SIZE);
	memcpy(out + AUDIT_KEY_ID_SIZE, mac, MAC_SIZE);
}

static void
key_prepare(AuditKey *key, const unsigned char raw[KEY_SIZE])
{
	unsigned char pad[SHA256_CBLOCK];
	unsigned char name[SHA256_DIGEST_LENGTH];
	SHA256_CTX	ctx;

	for (int i = 0; i < SHA256_CBLOCK; i++)
		pad[i] = 0x36 ^ (i < KEY_SIZE ? raw[i] : 0);
	SHA256_Init(&key->inner);
	SHA256_Update(&key->inner, pad, SHA256_CBLOCK);
	for (int i = 0; i < SHA256_CBLOCK; i++)
		pad[i] ^= 0x36 ^ 0x5c;
	SHA256_Init(&key->outer);
	SHA256_Update(&key->outer, pad, SHA256_CBLOCK);
	OPENSSL_cleanse(pad, sizeof(pad));

	ctx = key->inner;
	SHA256_Update(&ctx, "name", 4);
	mac_finish(key, &ctx, name);
	memcpy(key->id, name, AUDIT_KEY_ID_SIZE);
}

/* --- keys --- */

/*
 * The n-th key that is in a file: derived from the n-th master key, but on a node
 * of a cluster, which has no master key, as the coordinator has sent it.
 */
static const char *
raw_key(int n, unsigned char raw[KEY_SIZE])
{
	const KeyRing *shared;
	const char *problem;

	if (!distribute_is_node())
		return key_derive_nth(n, AUDIT_PURPOSE, raw);
	problem = distribute_keys(&shared);
	if (problem == NULL && n + 1 >= shared->n)
		problem = "the nodes of the cluster do not share so many keys";
	if (problem == NULL)
		memcpy(raw, shared->keys[n + 1], KEY_SIZE);
	return problem;
}

static void
raw_key_or_fail(unsigned char raw[KEY_SIZE])
{
	const char *problem;

	if (!distribute_is_node())
		key_derive_or_fail(AUDIT_PURPOSE, raw);
	else if ((problem = raw_key(0, raw)) != NULL)
		ereport(ERROR, (errcode(ERRCODE_CONFIG_FILE_ERROR), errmsg("this node has no audit key"),
						errdetail_internal("%s", problem),
						errhint("Call sales.distribute() on the coordinator, which sends it.")));
}

/* The key of now.  A key file put in place later is taken up within a minute. */
static const AuditKey *
key_now(void)
{
	TimestampTz now = GetCurrentStatementStartTimestamp();

	if (!current_loaded || now - current_at > KEY_AGE_MAX_US || now < current_at)
	{
		unsigned char raw[KEY_SIZE];

		raw_key_or_fail(raw);
		key_prepare(&current_key, raw);
		OPENSSL_cleanse(raw, sizeof(raw));
		current_loaded = true;
		current_at = now;
	}
	return &current_key;
}

static char *
key_owner(const unsigned char id[AUDIT_KEY_ID_SIZE])
{
	return psprintf("audit_keys|%02x%02x%02x%02x", id[0], id[1], id[2], id[3]);
}

static bool
key_from_hex(const char *hex, unsigned char raw[KEY_SIZE])
{
	if (strlen(hex) != 2 * KEY_SIZE)
		return false;
	(void) hex_decode(hex, 2 * KEY_SIZE, (char *) raw);
	return true;
}

/* Is it one of those in a file?  There are several master keys while they change. */
static bool
key_of_file(const unsigned char *id, AuditKey *key)
{
	unsigned char raw[KEY_SIZE];

	for (int n = 0; raw_key(n, raw) == NULL; n++)
	{
		key_prepare(key, raw);
		OPENSSL_cleanse(raw, sizeof(raw));
		if (memcmp(key->id, id, AUDIT_KEY_ID_SIZE) == 0)
			return true;
	}
	return false;
}

/*
 * The kept keys are sealed again as the master key changes, and a statement may go
 * on for longer than that takes: what is committed by now counts, not its snapshot.
 * Where the master key changes between a look and the opening, the next look finds
 * the key under the new one.
 */
static bool
key_that_was_kept(const unsigned char *id, AuditKey *key)
{
	unsigned char raw[KEY_SIZE];
	bytea	   *name = palloc(VARHDRSZ + AUDIT_KEY_ID_SIZE);
	SpiArg		arg;
	char	   *hex = NULL;
	bool		found;

	SET_VARSIZE(name, VARHDRSZ + AUDIT_KEY_ID_SIZE);
	memcpy(VARDATA(name), id, AUDIT_KEY_ID_SIZE);
	arg = SPI_ARG(BYTEAOID, PointerGetDatum(name));
	SPI_connect();
	for (int look = 1; hex == NULL; look++)
	{
		uint64		rows;

		PushActiveSnapshot(GetLatestSnapshot());
		rows = spi_run_as_owner("SELECT sealed FROM sales_internal.audit_keys WHERE key_id = $1",
								true, 1, 1, &arg);
		PopActiveSnapshot();
		if (rows == 0)
			break;
		hex = look < KEY_LOOKS ? cipher_try_open(spi_text(0, 1), key_owner(id), NULL)
			: cipher_open(spi_text(0, 1), key_owner(id));
	}
	found = hex != NULL && key_from_hex(hex, raw);
	cipher_wipe(hex);
	SPI_finish();
	if (found)
	{
		key_prepare(key, raw);
		OPENSSL_cleanse(raw, sizeof(raw));
	}
	return found;
}

/* A key by its name: the current one, or a former one that was kept; else null. */
static const AuditKey *
key_named(const unsigned char *id)
{
	const AuditKey *now = key_now();
	AuditKey	key;

	if (memcmp(now->id, id, AUDIT_KEY_ID_SIZE) == 0)
		return now;
	for (int i = 0; i < Min(former_count, FORMER_KEYS); i++)
		if (memcmp(former_keys[i].id, id, AUDIT_KEY_ID_SIZE) == 0)
			return &former_keys[i];
	if (!key_of_file(id, &key) && !key_that_was_kept(id, &key))
		return NULL;
	former_keys[former_count % FORMER_KEYS] = key;
	return &former_keys[former_count++ % FORMER_KEYS];
}

int
audit_keys(unsigned char out[][KEY_SIZE], int max)
{
	int			n = 0;

	while (n < max && key_derive_nth(n, AUDIT_PURPOSE, out[n]) == NULL)
		n++;
	if (n == 0)
		key_derive_or_fail(AUDIT_PURPOSE, out[0]);	/* says why */
	SPI_connect();
	spi_run_as_owner("SELECT key_id, sealed FROM sales_internal.audit_keys ORDER BY kept_at DESC, key_id", true, 0, 0, NULL);
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		bool		isnull;
		bytea	   *id = DatumGetByteaPP(spi_datum(row, 1, &isnull));
		char	   *hex = cipher_open(spi_text(row, 2), key_owner((unsigned char *) VARDATA_ANY(id)));
		unsigned char raw[KEY_SIZE];
		bool		known = hex == NULL || !key_from_hex(hex, raw);

		cipher_wipe(hex);
		for (int i = 0; i < n && !known; i++)
			known = memcmp(out[i], raw, KEY_SIZE) == 0;
		if (!known && n == max)
			ereport(WARNING, (errmsg("the nodes of the cluster share no more than %d audit keys", max),
							  errdetail("Audit rows from before the last %d changes of the master key cannot be erased there.", max)));
		if (!known && n == max)
			break;
		if (!known)
			memcpy(out[n++], raw, KEY_SIZE);
		OPENSSL_cleanse(raw, sizeof(raw));
	}
	SPI_finish();
	return n;
}

/* --- digests --- */

static inline void
add_int32(SHA256_CTX *ctx, int32 value)
{
	uint32		network = pg_hton32((uint32) value);

	SHA256_Update(ctx, &network, sizeof(network));
}

/* Length, then bytes: no two lists of fields look the same.  -1 is NULL. */
static void
add_bytes(SHA256_CTX *ctx, const void *bytes, int32 length)
{
	add_int32(ctx, bytes != NULL ? length : -1);
	if (bytes != NULL)
		SHA256_Update(ctx, bytes, length);
}

/* An empty text is stored as null, so it counts as null: a worker has no application_name. */
static void
add_text(SHA256_CTX *ctx, const char *text)
{
	if (text != NULL && *text == '\0')
		text = NULL;
	add_bytes(ctx, text, text != NULL ? (int32) strlen(text) : -1);
}

static void
add_jsonb(SHA256_CTX *ctx, const Jsonb *json)
{
	add_bytes(ctx, json, json != NULL ? (int32) VARSIZE(json) : -1);
}

static void
digest_of_values(const AuditKey *key, const pg_uuid_t *audit_id, const Jsonb *old_values,
				 const Jsonb *new_values, unsigned char out[AUDIT_DIGEST_SIZE])
{
	SHA256_CTX	ctx = key->inner;

	SHA256_Update(&ctx, "V", 1);
	SHA256_Update(&ctx, audit_id->data, UUID_LEN);
	add_jsonb(&ctx, old_values);
	add_jsonb(&ctx, new_values);
	digest_finish(key, &ctx, out);
}

static void
digest_of_row(const AuditKey *key, const AuditEntry *entry, const unsigned char *values_digest,
			  unsigned char out[AUDIT_DIGEST_SIZE])
{
	SHA256_CTX	ctx;
	unsigned char values[AUDIT_DIGEST_SIZE];
	uint64		at = pg_hton64((uint64) entry->created_at);

	if (values_digest == NULL)
	{
		digest_of_values(key, &entry->audit_id, entry->old_values, entry->new_values, values);
		values_digest = values;
	}
	ctx = key->inner;
	SHA256_Update(&ctx, "R", 1);
	SHA256_Update(&ctx, entry->audit_id.data, UUID_LEN);
	SHA256_Update(&ctx, entry->company_id.data, UUID_LEN);
	SHA256_Update(&ctx, &at, sizeof(at));
	add_bytes(&ctx, entry->user_id, UUID_LEN);
	add_text(&ctx, entry->table_name);
	add_bytes(&ctx, entry->record_id, UUID_LEN);
	add_text(&ctx, entry->action);
	add_text(&ctx, entry->ip_address);
	add_text(&ctx, entry->user_agent);
	add_text(&ctx, entry->gdpr_basis);
	SHA256_Update(&ctx, values_digest, AUDIT_DIGEST_SIZE);
	digest_finish(key, &ctx, out);
}

void
audit_digest(const AuditEntry *entry, const unsigned char *values_digest,
			 unsigned char out[AUDIT_DIGEST_SIZE])
{
	digest_of_row(key_now(), entry, values_digest, out);
}

/* --- for SQL --- */

PG_FUNCTION_INFO_V1(sales_audit_digest);
PG_FUNCTION_INFO_V1(sales_audit_values_digest);
PG_FUNCTION_INFO_V1(sales_audit_mac);
PG_FUNCTION_INFO_V1(sales_audit_keep_key);

static const unsigned char *
digest_argument(FunctionCallInfo fcinfo, int n)
{
	bytea	   *value;

	if (PG_ARGISNULL(n))
		return NULL;
	value = PG_GETARG_BYTEA_PP(n);
	if (VARSIZE_ANY_EXHDR(value) != AUDIT_DIGEST_SIZE)
		return NULL;
	return (const unsigned char *) VARDATA_ANY(value);
}

static Datum
digest_datum(const unsigned char digest[AUDIT_DIGEST_SIZE])
{
	bytea	   *result = palloc(VARHDRSZ + AUDIT_DIGEST_SIZE);

	SET_VARSIZE(result, VARHDRSZ + AUDIT_DIGEST_SIZE);
	memcpy(VARDATA(result), digest, AUDIT_DIGEST_SIZE);
	return PointerGetDatum(result);
}

static char *
text_argument(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n));
}

/*
 * sales_internal.audit_digest(digest, values_digest, audit_id, company_id,
 * user_id, table_name, record_id, action, old_values, new_values, ip_address,
 * user_agent, gdpr_basis, created_at) → bytea: what the digest should be,
 * under the key that `digest` names; null where that key is not here.
 */
Datum
sales_audit_digest(PG_FUNCTION_ARGS)
{
	const unsigned char *stored = digest_argument(fcinfo, 0);
	const AuditKey *key = stored != NULL ? key_named(stored) : key_now();
	AuditEntry	entry = {0};
	unsigned char digest[AUDIT_DIGEST_SIZE];

	if (key == NULL || PG_ARGISNULL(2) || PG_ARGISNULL(3) || PG_ARGISNULL(13))
		PG_RETURN_NULL();
	entry.audit_id = *PG_GETARG_UUID_P(2);
	entry.company_id = *PG_GETARG_UUID_P(3);
	entry.user_id = PG_ARGISNULL(4) ? NULL : PG_GETARG_UUID_P(4);
	entry.table_name = text_argument(fcinfo, 5);
	entry.record_id = PG_ARGISNULL(6) ? NULL : PG_GETARG_UUID_P(6);
	entry.action = text_argument(fcinfo, 7);
	entry.old_values = PG_ARGISNULL(8) ? NULL : PG_GETARG_JSONB_P(8);
	entry.new_values = PG_ARGISNULL(9) ? NULL : PG_GETARG_JSONB_P(9);
	entry.ip_address = text_argument(fcinfo, 10);
	entry.user_agent = text_argument(fcinfo, 11);
	entry.gdpr_basis = text_argument(fcinfo, 12);
	entry.created_at = PG_GETARG_TIMESTAMPTZ(13);
	digest_of_row(key, &entry, digest_argument(fcinfo, 1), digest);
	PG_RETURN_DATUM(digest_datum(digest));
}

/*
 * sales_internal.audit_values_digest(digest, audit_id, old_values, new_values)
 * → bytea: what stands for the values in the row of that digest; null where
 * its key is not here.
 */
Datum
sales_audit_values_digest(PG_FUNCTION_ARGS)
{
	const unsigned char *stored = digest_argument(fcinfo, 0);
	const AuditKey *key = stored != NULL ? key_named(stored) : NULL;
	unsigned char digest[AUDIT_DIGEST_SIZE];

	if (key == NULL || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	digest_of_values(key, PG_GETARG_UUID_P(1),
					 PG_ARGISNULL(2) ? NULL : PG_GETARG_JSONB_P(2),
					 PG_ARGISNULL(3) ? NULL : PG_GETARG_JSONB_P(3), digest);
	PG_RETURN_DATUM(digest_datum(digest));
}

/*
 * sales_internal.audit_mac(data bytea, like bytea) → bytea: a link of the
 * chain, under the key that `like` names, or the current one where it is null;
 * null where that key is not here.
 */
Datum
sales_audit_mac(PG_FUNCTION_ARGS)
{
	const unsigned char *like = digest_argument(fcinfo, 1);
	const AuditKey *key = like != NULL ? key_named(like) : key_now();
	bytea	   *data;
	SHA256_CTX	ctx;
	unsigned char digest[AUDIT_DIGEST_SIZE];

	if (key == NULL || PG_ARGISNULL(0))
		PG_RETURN_NULL();
	data = PG_GETARG_BYTEA_PP(0);
	ctx = key->inner;
	SHA256_Update(&ctx, "C", 1);
	SHA256_Update(&ctx, VARDATA_ANY(data), VARSIZE_ANY_EXHDR(data));
	digest_finish(key, &ctx, digest);
	PG_RETURN_DATUM(digest_datum(digest));
}

/*
 * sales_internal.audit_keep_key(): stores the audit keys of all master keys in
 * the key file, sealed under the current one, so that rows of before a change of
 * the master key can be verified after it.
 */
Datum
sales_audit_keep_key(PG_FUNCTION_ARGS)
{
	unsigned char raw[KEY_SIZE];

	SPI_connect();
	for (int n = 0; key_derive_nth(n, AUDIT_PURPOSE, raw) == NULL; n++)
	{
		char		hex[2 * KEY_SIZE + 1];
		AuditKey	key;
		bytea	   *name = palloc(VARHDRSZ + AUDIT_KEY_ID_SIZE);
		SpiArg		args[2];

		key_prepare(&key, raw);
		(void) hex_encode((char *) raw, KEY_SIZE, hex);
		hex[2 * KEY_SIZE] = '\0';
		SET_VARSIZE(name, VARHDRSZ + AUDIT_KEY_ID_SIZE);
		memcpy(VARDATA(name), key.id, AUDIT_KEY_ID_SIZE);
		args[0] = SPI_ARG(BYTEAOID, PointerGetDatum(name));
		args[1] = SPI_ARG_TEXT(cipher_seal(hex, key_owner(key.id)));
		OPENSSL_cleanse(hex, sizeof(hex));
		spi_run_as_owner("INSERT INTO sales_internal.audit_keys (key_id, sealed) VALUES ($1, $2) "
						 "ON CONFLICT (key_id) DO UPDATE SET sealed = excluded.sealed",
						 false, 0, 2, args);
	}
	OPENSSL_cleanse(raw, sizeof(raw));
	SPI_finish();
	PG_RETURN_VOID();
}
