/*
 * context_sign.c
 *		A tenant context as text: "v1.PAYLOAD.MAC", both parts base64url; one that
 *		travels between the nodes of a cluster: "n1.PAYLOAD.MAC".
 *
 * The payload is JSON: company (c), user (u), session of login() (t), company
 * status (s), login role (r), database (d), expiry (e), when it was signed (n),
 * address (i) and agent (a) of the client, permissions (p); of one that travels
 * between nodes what it may do (w), whether it is a bound role's (b), what time the
 * sender has (k), and whether a setting says so (f).  The
 * MAC is HMAC-SHA256 under a key derived from the master key; of one that
 * travels, under the key that nodes share (distribute/cluster_key.c), so that a
 * node can make no context for a session on the coordinator.  Whether a
 * well-signed one may be used here and now is context.c's.
 *
 * Check hooks run this at any time: results are malloc'd, and nothing throws
 * but context_sign().
 */
#include "postgres.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "access/parallel.h"
#include "compat.h"
#include "core/base64url.h"
#include "core/json.h"
#include "core/uuid.h"
#include "distribute/cluster_key.h"
#include "secrets/key.h"
#include "tenancy/context.h"
#include "tenancy/context_sign.h"
#include "utils/timestamp.h"

#define PREFIX_SIZE 3
#define CONTEXT_PURPOSE "tenant context v1"
#define CARRIED_PURPOSE "context between nodes v1"
#define MAC_SIZE 32

static const char *const prefixes[] = {[CONTEXT_OWN] = "v1.", [CONTEXT_CARRIED] = "n1."};

static const char *
derive_carried(unsigned char key[KEY_SIZE])
{
	const KeyRing *shared;
	const char *message = distribute_keys(&shared);

	if (message == NULL && !key_derive_of(shared->keys[0], CARRIED_PURPOSE, key))
		message = "could not derive a key";
	return message;
}

/* The MAC under the n-th key of the key file; null, or why there is none. */
static const char *
context_mac(ContextKind kind, int n, const char *payload, int len, unsigned char mac[MAC_SIZE])
{
	unsigned char key[KEY_SIZE];
	unsigned int maclen = MAC_SIZE;
	const char *message = kind == CONTEXT_CARRIED ? derive_carried(key)
		: key_derive_nth(n, CONTEXT_PURPOSE, key);

	if (message != NULL)
		return message;
	if (HMAC(EVP_sha256(), key, KEY_SIZE, (const unsigned char *) payload, len, mac,
			 &maclen) == NULL)
		message = "could not compute a signature";
	OPENSSL_cleanse(key, KEY_SIZE);
	return message;
}

char *
context_sign(ContextKind kind, json_t *payload)
{
	char	   *text = json_dumps(payload, JSON_COMPACT);
	char	   *encoded = base64url_encode((unsigned char *) text, strlen(text));
	unsigned char mac[MAC_SIZE];
	const char *problem = context_mac(kind, 0, encoded, strlen(encoded), mac);
	char	   *encoded_mac;
	char	   *value;

	free(text);
	if (problem != NULL)
	{
		free(encoded);
		ereport(ERROR, (errcode(ERRCODE_CONFIG_FILE_ERROR),
						errmsg("could not sign the tenant context"),
						errdetail_internal("%s", problem)));
	}
	encoded_mac = base64url_encode(mac, MAC_SIZE);
	value = psprintf("%s%s.%s", prefixes[kind], encoded, encoded_mac);
	free(encoded);
	free(encoded_mac);
	return value;
}

/* Where payload and MAC begin; false: it is not of this form. */
static bool
find_parts(ContextKind kind, const char *value, const char **payload, const char **mac)
{
	if (strncmp(value, prefixes[kind], PREFIX_SIZE) != 0)
		return false;
	*payload = value + PREFIX_SIZE;
	*mac = strchr(*payload, '.');
	return *mac != NULL;
}

static json_t *
decode(const char *start, const char *end)
{
	unsigned char *bytes;
	json_t	   *payload;
	int			len = 0;

	bytes = base64url_decode(start, end - start, &len);
	payload = bytes != NULL ? json_loadb((char *) bytes, len, 0, NULL) : NULL;
	free(bytes);
	return payload;
}

json_t *
context_payload(const char *value)
{
	const char *start;
	const char *end;

	return find_parts(CONTEXT_OWN, value, &start, &end) ? decode(start, end) : NULL;
}

/*
 * Which key of the key file signed it: null and *key, or what is wrong.  A former
 * key counts for a setting that bind_role() stored, until rotate_master_key() has
 * signed that afresh.  (A parallel worker is given what its leader has checked,
 * perhaps before a change of the key.)
 */
static const char *
verify(ContextKind kind, const char *payload, const char *mac_text, GucSource source, int *key)
{
	int			mac_len = 0;
	unsigned char *mac = base64url_decode(mac_text + 1, strlen(mac_text + 1), &mac_len);
	const char *problem = "Its signature is not valid.";
	int			most = kind == CONTEXT_OWN && source == PGC_S_DATABASE_USER ? KEY_RING_SIZE : 1;

	*key = 0;
	if (InitializingParallelWorker)
		problem = NULL;
	for (int n = 0; problem != NULL && n < most; n++)
	{
		unsigned char expected[MAC_SIZE];
		const char *no_key = context_mac(kind, n, payload, mac_text - payload, expected);

		if (no_key != NULL)
		{
			if (n == 0)
				problem = no_key;
			break;
		}
		if (mac != NULL && mac_len == MAC_SIZE && CRYPTO_memcmp(mac, expected, MAC_SIZE) == 0)
		{
			*key = n;
			problem = NULL;
		}
	}
	free(mac);
	return problem;
}

const char *
context_open(ContextKind kind, const char *value, GucSource source, int *key, json_t **payload)
{
	const char *start;
	const char *mac;
	const char *problem;

	*payload = NULL;
	if (!find_parts(kind, value, &start, &mac))
		return "It is not of a known form.";
	problem = verify(kind, start, mac, source, key);
	if (problem == NULL && (*payload = decode(start, mac)) == NULL)
		problem = "It is not of a known form.";
	return problem;
}

/* --- the payload as a struct --- */

static bool
fill(TenantContext *context, json_t *payload)
{
	const char *company = json_string_value(json_object_get(payload, "c"));
	const char *user = json_string_value(json_object_get(payload, "u"));
	const char *session = json_string_value(json_object_get(payload, "t"));
	const char *status = json_string_value(json_object_get(payload, "s"));
	const char *ip = json_string_value(json_object_get(payload, "i"));
	const char *agent = json_string_value(json_object_get(payload, "a"));
	json_t	   *expiry = json_object_get(payload, "e");
	json_t	   *signed_at = json_object_get(payload, "n");
	const char *table;
	json_t	   *mask;

	context->carried = json_integer_value(json_object_get(payload, "w"));
	context->sent_now = json_integer_value(json_object_get(payload, "k"));
	context->sent_clock_is_fixed = json_is_true(json_object_get(payload, "f"));
	/* a session without a tenant carries merely what it may do */
	if (company == NULL && status == NULL && json_is_integer(expiry) && json_object_get(payload, "w") != NULL)
	{
		context->expires_at = time_t_to_timestamptz((pg_time_t) json_integer_value(expiry));
		context->is_bound = true;
		return true;
	}
	if (company == NULL || !uuid_parse(company, &context->company_id) || status == NULL ||
		!json_is_integer(signed_at))
		return false;
	context->signed_at = json_integer_value(signed_at);
	if (user != NULL && !uuid_parse(user, &context->user_id))
		return false;
	context->has_user = (user != NULL);
	if (session != NULL && !uuid_parse(session, &context->session_id))
		return false;
	context->has_session = (session != NULL);
	context->is_bound = json_is_true(json_object_get(payload, "b"));
	context->writable = (strcmp(status, "active") == 0);
	context->readable = context->writable || strcmp(status, "suspended") == 0;
	context->expires_at = json_is_integer(expiry)
		? time_t_to_timestamptz((pg_time_t) json_integer_value(expiry))
		: DT_NOEND;
	strlcpy(context->ip, ip ? ip : "", sizeof(context->ip));
	strlcpy(context->user_agent, agent ? agent : "", sizeof(context->user_agent));
	json_object_foreach(json_object_get(payload, "p"), table, mask)
	{
		if (strcmp(table, "*") == 0)
			context->any_mask = json_integer_value(mask);
		else
		{
			PermissionEntry *entry = &context->entries[context->nentries++];

			strlcpy(entry->table, table, NAMEDATALEN);
			entry->mask = json_integer_value(mask);
		}
	}
	return true;
}

TenantContext *
context_read(json_t *payload, bool *known)
{
	size_t		size = offsetof(TenantContext, entries) +
		(json_object_size(json_object_get(payload, "p")) + 1) * sizeof(PermissionEntry);
	TenantContext *context = compat_guc_malloc(size);

	if (context != NULL)
	{
		memset(context, 0, size);
		*known = fill(context, payload);
	}
	return context;
}
