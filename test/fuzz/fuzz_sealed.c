/*
 * fuzz_sealed.c
 *		What carries a signature or a seal, as an attacker would change it: signed
 *		contexts, stored secrets, boxes with keys, and the file of the master key.
 *
 * The input is given as it is, and also laid over a true one of its kind: nothing
 * but the true one may open.
 */
#include "postgres.h"

#include <unistd.h>

#include "distribute/key_exchange.c"
#undef TAG_SIZE
#undef CIPHER_PREFIX
#include "secrets/cipher.c"
#include "secrets/key_file.c"
#include "tenancy/context_sign.c"
#include "shim.h"

static KeyRing ring = {2, {{1, 2, 3}, {4, 5, 6}}};
bool		InitializingParallelWorker = false;
static uint8 lay[512];
static size_t nlay;

/* --- in place of the key file, and of what only SQL functions call --- */

const KeyRing *key_ring_or_fail(void) { return &ring; }

bool
key_derive_of(const unsigned char master[KEY_SIZE], const char *purpose, unsigned char out[KEY_SIZE])
{
	unsigned int len = KEY_SIZE;

	return HMAC(EVP_sha256(), master, KEY_SIZE, (const unsigned char *) purpose, strlen(purpose), out, &len) != NULL;
}

const char *
key_derive_nth(int n, const char *purpose, unsigned char out[KEY_SIZE])
{
	return n < ring.n && key_derive_of(ring.keys[n], purpose, out) ? NULL : "none";
}

void key_derive_or_fail(const char *purpose, unsigned char out[KEY_SIZE]) { (void) key_derive_of(ring.keys[0], purpose, out); }
void key_name(const unsigned char key[KEY_SIZE], char name[KEY_NAME_SIZE]) { snprintf(name, KEY_NAME_SIZE, "%02x%02x%02x%02x", key[0], key[1], key[2], key[3]); }
int durable_rename(const char *from, const char *to, int level) { fuzz_broken("not called", __FILE__, __LINE__); }
const char *distribute_keys(const KeyRing **shared) { *shared = &ring; return NULL; }

/* Changes some bytes of a true one, from a place on; false: none is changed. */
static bool
lay_over(char *text, size_t size)
{
	size_t		at = nlay > 0 ? lay[0] * 2 % size : 0;
	bool		changed = false;

	for (size_t i = 1; i < nlay && at + i - 1 < size; i++)
		if (lay[i] != 0)
		{
			changed |= text[at + i - 1] != (char) lay[i];
			text[at + i - 1] = (char) lay[i];
		}
	return changed;
}

static void
open_context(const char *value, bool must_not)
{
	json_t	   *payload;
	int			key;
	const char *problem = context_open(CONTEXT_OWN, value, PGC_S_DATABASE_USER, &key, &payload);

	fuzz_claim((problem == NULL) == (payload != NULL));
	fuzz_claim(!must_not || problem != NULL);
	json_decref(payload);
	/* and what is in one that is signed */
	payload = context_payload(value);
	if (payload != NULL)
	{
		bool		known = false;
		TenantContext *context = context_read(payload, &known);

		fuzz_claim(context->nentries <= (int) json_object_size(json_object_get(payload, "p")));
		free(context);
	}
	json_decref(payload);
}

static void
contexts(const char *data, size_t size)
{
	char	   *given = fuzz_string(data, size);
	json_t	   *payload = json_loads("{\"c\": \"00000000-0000-7000-8000-000000000001\", \"s\": \"active\", \"n\": 1}", 0, NULL);
	char	   *truth = context_sign(CONTEXT_OWN, payload);
	char	   *end;

	open_context(given, true);
	/* any JSON as what is signed: a later version's, or a mistake of ours */
	given = psprintf("v1.%s.x", given);
	open_context(given, true);
	/* a payload that is changed; of the MAC's last digit some bits count for nothing */
	end = strrchr(truth, '.');
	open_context(truth, false);
	if (lay_over(truth, end - truth))
		open_context(truth, true);
	json_decref(payload);
}

static void
secrets(const char *data, size_t size)
{
	char	   *sealed = cipher_seal("a secret", "company|api_keys|row");
	char	   *plain;
	size_t		payload = PREFIX_SIZE + KEY_NAME_SIZE;

	fuzz_claim(cipher_try_open(fuzz_string(data, size), "company|api_keys|row", NULL) == NULL);
	plain = cipher_try_open(sealed, "company|api_keys|row", NULL);
	fuzz_claim(plain != NULL && strcmp(plain, "a secret") == 0);
	fuzz_claim(cipher_try_open(sealed, "company|api_keys|other", NULL) == NULL);
	if (lay_over(sealed + payload, strlen(sealed) - payload))
		fuzz_claim(cipher_try_open(sealed, "company|api_keys|row", NULL) == NULL);
}

static void
boxes(const char *data, size_t size)
{
	EVP_PKEY   *pair = own_pair();
	unsigned char receiver[KEY_SIZE];
	KeyRing		opened;
	char	   *box;
	size_t		length;
	unsigned char *bytes;

	fuzz_claim(public_half(pair, receiver));
	EVP_PKEY_free(pair);
	fuzz_claim(!open_box((unsigned char *) fuzz_string(data, size), size, &opened));
	box = box_for(receiver, &ring);
	length = strlen(box) / 2;
	bytes = palloc(length);
	for (size_t i = 0; i < length; i++)
		bytes[i] = digit_value(box[2 * i]) << 4 | digit_value(box[2 * i + 1]);
	fuzz_claim(open_box(bytes, length, &opened) && opened.n == ring.n && memcmp(opened.keys, ring.keys, ring.n * KEY_SIZE) == 0);
	if (lay_over((char *) bytes, length))
		fuzz_claim(!open_box(bytes, length, &opened));
	fuzz_claim(!open_box(bytes, nlay % length, &opened));
}

static void
key_files(const char *data, size_t size)
{
	KeyRing		read;

	if (parse_keys(fuzz_string(data, size), "file", &read) == NULL)
	{
		fuzz_claim(read.n >= 1 && read.n <= KEY_RING_SIZE);
		for (int i = 0; i < read.n; i++)
			fuzz_claim(looks_random(read.keys[i]));
	}
}

int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	const char *bytes = (const char *) data;
	size_t		length = strnlen(bytes, size);

	nlay = Min(size, sizeof(lay));
	memcpy(lay, data, nlay);
	fuzz_claim(fuzz_run(contexts, bytes, length));
	fuzz_claim(fuzz_run(secrets, bytes, length));
	fuzz_claim(fuzz_run(boxes, bytes, size));
	fuzz_claim(fuzz_run(key_files, bytes, Min(length, MAX_FILE_SIZE)));
	return 0;
}
