/*
 * key_exchange.c
 *		How the keys of a cluster get from the coordinator to its workers.
 *
 * Statements end up in logs, and not every connection is encrypted.  So what is
 * sent is sealed for the worker that it is for: each has an X25519 key pair,
 * derived from its own master key, and tells the public half.  The coordinator
 * makes a pair for each box and forgets it, and both know the key of an
 * AES-256-GCM box, which nobody who reads along does.
 *
 * That is all that it is for.  Who the worker is, and that a box comes from the
 * coordinator, is told by Citus's connection, which is a superuser's: whoever can
 * put statements of his own into it needs no keys.  And who has a worker's master
 * key opens the boxes that were ever sent to it.
 *
 * A box is 32 bytes of the sender's public key, 16 of the tag, and the sealed
 * keys.  The box's key is HMAC-SHA256, keyed by what X25519 agrees on, of the
 * purpose and both public keys, sender's first; it is used once, so the nonce is
 * zero.  In SQL: hexadecimal.
 */
#include "postgres.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include "audit/digest.h"
#include "core/spi.h"
#include "distribute/cluster_key.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "secrets/key.h"
#include "utils/builtins.h"

#define EXCHANGE_PURPOSE "exchange of cluster keys v1"	/* of a worker's pair */
#define BOX_PURPOSE "box of cluster keys v1"
#define FINGERPRINT_SIZE 8
#define TAG_SIZE 16
#define BOX_HEAD (KEY_SIZE + TAG_SIZE)

PG_FUNCTION_INFO_V1(sales_key_fingerprint);
PG_FUNCTION_INFO_V1(sales_exchange_key);
PG_FUNCTION_INFO_V1(sales_share_key);
PG_FUNCTION_INFO_V1(sales_take_key);

static void
require_superuser(void)
{
	if (!superuser())
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("only superusers handle the keys of a cluster")));
}

static char *
to_hex(const unsigned char *bytes, int len)
{
	char	   *text = palloc(2 * len + 1);

	text[hex_encode((const char *) bytes, len, text)] = '\0';
	return text;
}

/* --- boxes --- */

static EVP_PKEY *
own_pair(void)
{
	unsigned char raw[KEY_SIZE];
	EVP_PKEY   *pair;

	key_derive_or_fail(EXCHANGE_PURPOSE, raw);
	pair = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, raw, KEY_SIZE);
	OPENSSL_cleanse(raw, KEY_SIZE);
	if (pair == NULL)
		elog(ERROR, "could not make a key pair");
	return pair;
}

static bool
public_half(EVP_PKEY *pair, unsigned char out[KEY_SIZE])
{
	size_t		len = KEY_SIZE;

	return EVP_PKEY_get_raw_public_key(pair, out, &len) == 1 && len == KEY_SIZE;
}

/*
 * The key of a box, of what both sides know and both public keys.  False also
 * where the other's is one of the few points that any secret agrees with on
 * zero: OpenSSL refuses those.
 */
static bool
agree(EVP_PKEY *mine, const unsigned char theirs[KEY_SIZE], const unsigned char sender[KEY_SIZE],
	  const unsigned char receiver[KEY_SIZE], unsigned char key[KEY_SIZE])
{
	EVP_PKEY   *peer = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, theirs, KEY_SIZE);
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(mine, NULL);
	unsigned char shared[KEY_SIZE];
	unsigned char text[sizeof(BOX_PURPOSE) + 2 * KEY_SIZE];
	size_t		len = KEY_SIZE;
	bool		ok = peer != NULL && ctx != NULL && EVP_PKEY_derive_init(ctx) == 1 &&
		EVP_PKEY_derive_set_peer(ctx, peer) == 1 && EVP_PKEY_derive(ctx, shared, &len) == 1 && len == KEY_SIZE;

	memcpy(text, BOX_PURPOSE, sizeof(BOX_PURPOSE));
	memcpy(text + sizeof(BOX_PURPOSE), sender, KEY_SIZE);
	memcpy(text + sizeof(BOX_PURPOSE) + KEY_SIZE, receiver, KEY_SIZE);
	ok = ok && HMAC(EVP_sha256(), shared, KEY_SIZE, text, sizeof(text), key, NULL) != NULL;
	OPENSSL_cleanse(shared, KEY_SIZE);
	EVP_PKEY_CTX_free(ctx);
	EVP_PKEY_free(peer);
	return ok;
}

/* Seals or opens; the tag is written or compared. */
static bool
crypt_box(bool seal, const unsigned char key[KEY_SIZE], const unsigned char *in, int len,
		  unsigned char *out, unsigned char tag[TAG_SIZE])
{
	static const unsigned char nonce[12] = {0};
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int			n;
	bool		ok = ctx != NULL &&
		EVP_CipherInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, nonce, seal) == 1 &&
		EVP_CipherUpdate(ctx, out, &n, in, len) == 1 &&
		(seal || EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, TAG_SIZE, tag) == 1) &&
		EVP_CipherFinal_ex(ctx, out + len, &n) == 1 &&
		(!seal || EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, TAG_SIZE, tag) == 1);

	EVP_CIPHER_CTX_free(ctx);
	return ok;
}

/* The keys in a box that the holder of that public half can open, as hexadecimal digits. */
static char *
box_for(const unsigned char receiver[KEY_SIZE], const KeyRing *ring)
{
	int			len = ring->n * KEY_SIZE;
	unsigned char *box = palloc(BOX_HEAD + len);
	unsigned char key[KEY_SIZE];
	EVP_PKEY   *pair = EVP_PKEY_Q_keygen(NULL, NULL, "X25519");
	bool		ok = pair != NULL && public_half(pair, box) && agree(pair, receiver, box, receiver, key) &&
		crypt_box(true, key, (const unsigned char *) ring->keys, len, box + BOX_HEAD, box + KEY_SIZE);

	EVP_PKEY_free(pair);
	OPENSSL_cleanse(key, KEY_SIZE);
	if (!ok)
		elog(ERROR, "could not seal the keys of the cluster");
	return to_hex(box, BOX_HEAD + len);
}

/* Opens a box that is for us; false where it is for another. */
static bool
open_box(const unsigned char *box, int size, KeyRing *ring)
{
	EVP_PKEY   *pair = own_pair();
	unsigned char receiver[KEY_SIZE];
	unsigned char key[KEY_SIZE];
	unsigned char tag[TAG_SIZE];
	int			len = size - BOX_HEAD;
	bool		ok;

	if (len < KEY_SIZE || len % KEY_SIZE != 0 || len > (int) sizeof(ring->keys))
		ok = false;
	else
	{
		memcpy(tag, box + KEY_SIZE, TAG_SIZE);
		ok = public_half(pair, receiver) && agree(pair, box, box, receiver, key) &&
			crypt_box(false, key, box + BOX_HEAD, len, (unsigned char *) ring->keys, tag);
		ring->n = len / KEY_SIZE;
	}
	OPENSSL_cleanse(key, KEY_SIZE);
	EVP_PKEY_free(pair);
	return ok;
}

/* --- the keys of this node --- */

static char *
fingerprint(const KeyRing *ring)
{
	unsigned char hash[SHA256_DIGEST_LENGTH];

	SHA256((const unsigned char *) ring->keys, ring->n * KEY_SIZE, hash);
	return to_hex(hash, FINGERPRINT_SIZE);
}

/* sales_internal.key_fingerprint(): tells the keys of nodes apart and nothing else; null: none. */
Datum
sales_key_fingerprint(PG_FUNCTION_ARGS)
{
	const KeyRing *ring;

	if (distribute_keys(&ring) != NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(fingerprint(ring)));
}

/* sales_internal.exchange_key(): the public half of this node's pair, hexadecimal. */
Datum
sales_exchange_key(PG_FUNCTION_ARGS)
{
	EVP_PKEY   *pair = own_pair();
	unsigned char public[KEY_SIZE];
	bool		ok = public_half(pair, public);

	EVP_PKEY_free(pair);
	if (!ok)
		elog(ERROR, "could not tell the public key");
	PG_RETURN_TEXT_P(cstring_to_text(to_hex(public, KEY_SIZE)));
}

/* The coordinator's keys as they should be now, in its own file too. */
static void
renew_own(KeyRing *ring)
{
	const KeyRing *old;
	const char *before = "";

	ring->n = 1;
	if (distribute_keys(&old) == NULL)
	{
		memcpy(ring->keys[0], old->keys[0], KEY_SIZE);
		before = fingerprint(old);
	}
	else if (!pg_strong_random(ring->keys[0], KEY_SIZE))
		elog(ERROR, "could not generate a random key");
	ring->n += audit_keys(ring->keys + 1, KEY_RING_SIZE - 1);
	if (strcmp(before, fingerprint(ring)) != 0)
		distribute_keys_replace(ring);
}

/* A box for each worker whose keys are others, with commas between; how many. */
static int
boxes_for_workers(const KeyRing *ring, StringInfo boxes)
{
	const char *mine = fingerprint(ring);
	int			n = 0;

	/* one that answers anything else has no extension, or another: distribute() finds that it lacks the keys */
	spi_run("SELECT pg_catalog.split_part(r.result, '|', 1), pg_catalog.split_part(r.result, '|', 2) "
			"FROM pg_catalog.run_command_on_workers("
			"'SELECT pg_catalog.concat(sales_internal.key_fingerprint(), ''|'', sales_internal.exchange_key())') r "
			"WHERE r.success AND r.result OPERATOR(pg_catalog.~) '^[0-9a-f]*[|][0-9a-f]{64}$'", false, 0, 0, NULL);
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		unsigned char receiver[KEY_SIZE];

		if (strcmp(spi_text(row, 1), mine) == 0)
			continue;
		(void) hex_decode(spi_text(row, 2), 2 * KEY_SIZE, (char *) receiver);
		appendStringInfo(boxes, "%s%s", n > 0 ? "," : "", box_for(receiver, ring));
		n++;
	}
	return n;
}

/*
 * sales_internal.share_key(): on the coordinator; how many workers were sent the
 * keys, as theirs were others.  Whether they have them then: key_fingerprint().
 */
Datum
sales_share_key(PG_FUNCTION_ARGS)
{
	KeyRing		ring;
	StringInfoData boxes;
	volatile int sent = 0;

	require_superuser();
	SPI_connect();
	initStringInfo(&boxes);
	PG_TRY();
	{
		renew_own(&ring);
		sent = boxes_for_workers(&ring, &boxes);
	}
	PG_FINALLY();
	{
		OPENSSL_cleanse(&ring, sizeof(ring));
	}
	PG_END_TRY();
	if (sent > 0)
	{
		SpiArg		args[1] = {SPI_ARG_TEXT(psprintf("SELECT sales_internal.take_key('%s')", boxes.data))};

		spi_run("SELECT FROM pg_catalog.run_command_on_workers($1)", false, 0, 1, args);
	}
	SPI_finish();
	PG_RETURN_INT32(sent);
}

/*
 * sales_internal.take_key(boxes): on a worker; opens the box that is for it, of
 * a list separated by commas.  False where there is none.
 */
Datum
sales_take_key(PG_FUNCTION_ARGS)
{
	char	   *boxes = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *rest;
	KeyRing		ring;
	volatile bool taken = false;

	require_superuser();
	PG_TRY();
	{
		for (char *box = strtok_r(boxes, ",", &rest); box != NULL && !taken; box = strtok_r(NULL, ",", &rest))
		{
			int			len = strlen(box);
			unsigned char *bytes = palloc(len / 2 + 1);

			if (len % 2 == 0)
				taken = open_box(bytes, hex_decode(box, len, (char *) bytes), &ring);
		}
		if (taken)
			distribute_keys_replace(&ring);
	}
	PG_FINALLY();
	{
		/* also what was opened and then found to be for another */
		OPENSSL_cleanse(&ring, sizeof(ring));
	}
	PG_END_TRY();
	PG_RETURN_BOOL(taken);
}
