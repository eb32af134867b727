/*
 * issuer.c
 *		Tokens of outside identity providers, checked against their key sets.
 *
 * By libcrypto rather than libjwt, which knows no EdDSA and takes keys as PEM.
 * A key decides its algorithm: RSA keys verify RS256 alone, P-256 keys ES256,
 * Ed25519 keys EdDSA.  So a token signed with HMAC under a public key, or with
 * "none", finds no key.
 */
#include "postgres.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>

#include "core/base64url.h"
#include "tenancy/issuer.h"
#include "core/json.h"

#define MAX_TOKEN 16384
#define MIN_RSA_BITS 2048
#define P256_SIZE 32

typedef struct Parts
{
	json_t	   *header;
	json_t	   *payload;
	const char *signed_text;
	int			signed_length;
	unsigned char *signature;
	int			signature_length;
} Parts;

static json_t *
decode_json(const char *text, int length)
{
	int			size;
	unsigned char *bytes = base64url_decode(text, length, &size);
	json_t	   *value = bytes != NULL ? json_loadb((char *) bytes, size, JSON_REJECT_DUPLICATES, NULL) : NULL;

	free(bytes);
	return value;
}

static void
free_parts(Parts *parts)
{
	json_decref(parts->header);
	json_decref(parts->payload);
	free(parts->signature);
}

static bool
split_token(const char *token, Parts *parts)
{
	const char *first = strchr(token, '.');
	const char *second = first != NULL ? strchr(first + 1, '.') : NULL;

	memset(parts, 0, sizeof(Parts));
	if (second == NULL || strlen(token) > MAX_TOKEN || strchr(second + 1, '.') != NULL)
		return false;
	parts->header = decode_json(token, first - token);
	parts->payload = decode_json(first + 1, second - first - 1);
	parts->signed_text = token;
	parts->signed_length = second - token;
	parts->signature = base64url_decode(second + 1, strlen(second + 1),
										&parts->signature_length);
	if (json_is_object(parts->header) && json_is_object(parts->payload) &&
		parts->signature != NULL)
		return true;
	free_parts(parts);
	return false;
}

char *
issuer_peek(const char *token)
{
	Parts		parts;
	char	   *text;
	char	   *copy;

	if (!split_token(token, &parts))
		return NULL;
	text = json_dumps(parts.payload, JSON_COMPACT);
	free_parts(&parts);
	copy = text != NULL ? pstrdup(text) : NULL;
	free(text);
	return copy;
}

/* --- keys --- */

static const char *
algorithm_of(json_t *key)
{
	const char *type = json_string_value(json_object_get(key, "kty"));
	const char *curve = json_string_value(json_object_get(key, "crv"));
	const char *algorithm = json_string_value(json_object_get(key, "alg"));
	const char *use = json_string_value(json_object_get(key, "use"));
	const char *found = NULL;

	if (type == NULL || (use != NULL && strcmp(use, "sig") != 0))
		return NULL;
	if (strcmp(type, "RSA") == 0)
		found = "RS256";
	else if (strcmp(type, "EC") == 0 && curve != NULL && strcmp(curve, "P-256") == 0)
		found = "ES256";
	else if (strcmp(type, "OKP") == 0 && curve != NULL && strcmp(curve, "Ed25519") == 0)
		found = "EdDSA";
	return found != NULL && (algorithm == NULL || strcmp(algorithm, found) == 0) ? found : NULL;
}

static unsigned char *
member_bytes(json_t *key, const char *name, int *size)
{
	const char *text = json_string_value(json_object_get(key, name));

	return text != NULL ? base64url_decode(text, strlen(text), size) : NULL;
}

static EVP_PKEY *
from_params(const char *type, OSSL_PARAM_BLD *builder)
{
	OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(builder);
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	EVP_PKEY   *pkey = NULL;

	if (params == NULL || ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
		EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1)
		pkey = NULL;
	EVP_PKEY_CTX_free(ctx);
	OSSL_PARAM_free(params);
	return pkey;
}

static EVP_PKEY *
rsa_key(json_t *key)
{
	int			n_size;
	int			e_size;
	unsigned char *n = member_bytes(key, "n", &n_size);
	unsigned char *e = member_bytes(key, "e", &e_size);
	OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
	BIGNUM	   *modulus = n != NULL ? BN_bin2bn(n, n_size, NULL) : NULL;
	BIGNUM	   *exponent = e != NULL ? BN_bin2bn(e, e_size, NULL) : NULL;
	EVP_PKEY   *pkey = NULL;

	if (modulus != NULL && exponent != NULL && BN_num_bits(modulus) >= MIN_RSA_BITS &&
		OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, modulus) == 1 &&
		OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, exponent) == 1)
		pkey = from_params("RSA", builder);
	OSSL_PARAM_BLD_free(builder);
	BN_free(modulus);
	BN_free(exponent);
	free(n);
	free(e);
	return pkey;
}

static EVP_PKEY *
ec_key(json_t *key)
{
	int			x_size = 0;
	int			y_size = 0;
	unsigned char *x = member_bytes(key, "x", &x_size);
	unsigned char *y = member_bytes(key, "y", &y_size);
	unsigned char point[1 + 2 * P256_SIZE] = {POINT_CONVERSION_UNCOMPRESSED};
	OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
	EVP_PKEY   *pkey = NULL;

	if (x != NULL && y != NULL && x_size == P256_SIZE && y_size == P256_SIZE)
	{
		memcpy(point + 1, x, P256_SIZE);
		memcpy(point + 1 + P256_SIZE, y, P256_SIZE);
		if (OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME,
											"prime256v1", 0) == 1 &&
			OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point,
											 sizeof(point)) == 1)
			pkey = from_params("EC", builder);
	}
	OSSL_PARAM_BLD_free(builder);
	free(x);
	free(y);
	return pkey;
}

static EVP_PKEY *
ed25519_key(json_t *key)
{
	int			size = 0;
	unsigned char *x = member_bytes(key, "x", &size);
	EVP_PKEY   *pkey = x != NULL && size == 32
		? EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, x, size) : NULL;

	free(x);
	return pkey;
}

static EVP_PKEY *
load_key(json_t *key)
{
	const char *algorithm = algorithm_of(key);

	if (algorithm == NULL)
		return NULL;
	return strcmp(algorithm, "RS256") == 0 ? rsa_key(key)
		: strcmp(algorithm, "ES256") == 0 ? ec_key(key) : ed25519_key(key);
}

const char *
issuer_check_keys(const char *jwks)
{
	json_t	   *set = json_loads(jwks, 0, NULL);
	const char *problem = NULL;
	size_t		i;
	json_t	   *key;

	if (json_array_size(json_object_get(set, "keys")) == 0)
		problem = "it must be an object with an array \"keys\" of at least one key";
	json_array_foreach(json_object_get(set, "keys"), i, key)
	{
		EVP_PKEY   *pkey = load_key(key);

		if (pkey == NULL)
			problem = "a key is neither RSA of 2048 bits or more, nor EC P-256, nor Ed25519, or is damaged";
		EVP_PKEY_free(pkey);
	}
	json_decref(set);
	return problem;
}

/* --- signatures --- */

/* JOSE writes r and s side by side; libcrypto wants them in DER. */
static unsigned char *
ecdsa_der(const unsigned char *raw, int length, int *der_length)
{
	ECDSA_SIG  *signature;
	unsigned char *der = NULL;

	if (length != 2 * P256_SIZE)
		return NULL;
	signature = ECDSA_SIG_new();
	(void) ECDSA_SIG_set0(signature, BN_bin2bn(raw, P256_SIZE, NULL),
						  BN_bin2bn(raw + P256_SIZE, P256_SIZE, NULL));
	*der_length = i2d_ECDSA_SIG(signature, &der);
	ECDSA_SIG_free(signature);
	return der;
}

static bool
signature_is_good(EVP_PKEY *pkey, const char *algorithm, const Parts *parts)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	const EVP_MD *digest = strcmp(algorithm, "EdDSA") == 0 ? NULL : EVP_sha256();
	unsigned char *der = NULL;
	const unsigned char *signature = parts->signature;
	int			length = parts->signature_length;
	bool		good = false;

	if (strcmp(algorithm, "ES256") == 0)
		signature = der = ecdsa_der(parts->signature, parts->signature_length, &length);
	if (signature != NULL && EVP_DigestVerifyInit(ctx, NULL, digest, NULL, pkey) == 1)
		good = EVP_DigestVerify(ctx, signature, length,
								(const unsigned char *) parts->signed_text,
								parts->signed_length) == 1;
	OPENSSL_free(der);
	EVP_MD_CTX_free(ctx);
	return good;
}

const char *
issuer_verify(const char *token, const char *jwks)
{
	Parts		parts;
	json_t	   *set;
	const char *algorithm;
	const char *kid;
	const char *problem = "no key of the issuer fits the token";
	size_t		i;
	json_t	   *key;

	if (!split_token(token, &parts))
		return "it is not of a known form";
	set = json_loads(jwks, 0, NULL);
	algorithm = json_string_value(json_object_get(parts.header, "alg"));
	kid = json_string_value(json_object_get(parts.header, "kid"));
	if (json_object_get(parts.header, "crit") != NULL)
		problem = "it names critical extensions";
	else
		json_array_foreach(json_object_get(set, "keys"), i, key)
	{
		const char *key_kid = json_string_value(json_object_get(key, "kid"));
		const char *key_algorithm = algorithm_of(key);
		EVP_PKEY   *pkey;

		if (algorithm == NULL || key_algorithm == NULL ||
			strcmp(algorithm, key_algorithm) != 0 ||
			(kid != NULL && key_kid != NULL && strcmp(kid, key_kid) != 0))
			continue;
		pkey = load_key(key);
		problem = pkey != NULL && signature_is_good(pkey, key_algorithm, &parts)
			? NULL : "its signature is not valid";
		EVP_PKEY_free(pkey);
		if (problem == NULL)
			break;
	}
	json_decref(set);
	free_parts(&parts);
	return problem;
}
