/*
 * token.c
 *		Session tokens: JSON Web Tokens signed with HS256 by libjwt.
 *
 * libjwt calls jansson's json_object(), a name that the server exports too, so
 * the library is opened with RTLD_DEEPBIND: its own dependencies then come
 * before the server's symbols.  The algorithm is fixed: a token whose header
 * names another one, "none" included, is refused whatever its signature.
 */
#include "postgres.h"

#include <dlfcn.h>
#include <jwt.h>
#include <openssl/crypto.h>

#include "core/uuid.h"
#include "pgtime.h"
#include "secrets/key.h"
#include "tenancy/token.h"

#define TOKEN_PURPOSE "session token v1"
#define TOKEN_ISSUER "sales_assistant"

static struct
{
	typeof(jwt_new) *new;
	typeof(jwt_free) *free;
	typeof(jwt_add_grant) *add_grant;
	typeof(jwt_add_grant_int) *add_grant_int;
	typeof(jwt_get_grant) *get_grant;
	typeof(jwt_get_grant_int) *get_grant_int;
	typeof(jwt_set_alg) *set_alg;
	typeof(jwt_get_alg) *get_alg;
	typeof(jwt_encode_str) *encode_str;
	typeof(jwt_decode) *decode;
} lib;

static void
token_load_library(void)
{
	static bool loaded = false;
	void	   *handle = NULL;
	static const struct
	{
		const char *name;
		void	  **slot;
	}			symbols[] = {
		{"jwt_new", (void **) &lib.new},
		{"jwt_free", (void **) &lib.free},
		{"jwt_add_grant", (void **) &lib.add_grant},
		{"jwt_add_grant_int", (void **) &lib.add_grant_int},
		{"jwt_get_grant", (void **) &lib.get_grant},
		{"jwt_get_grant_int", (void **) &lib.get_grant_int},
		{"jwt_set_alg", (void **) &lib.set_alg},
		{"jwt_get_alg", (void **) &lib.get_alg},
		{"jwt_encode_str", (void **) &lib.encode_str},
		{"jwt_decode", (void **) &lib.decode},
	};
	static const char *const names[] = {"libjwt.so.0", "libjwt.so.1", "libjwt.so.2"};

	if (loaded)
		return;
	for (int i = 0; i < (int) lengthof(names) && handle == NULL; i++)
		handle = dlopen(names[i], RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
	if (handle == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_FILE),
						errmsg("could not load libjwt: %s", dlerror()),
						errhint("Install the package libjwt0.")));
	for (int i = 0; i < (int) lengthof(symbols); i++)
	{
		*symbols[i].slot = dlsym(handle, symbols[i].name);
		if (*symbols[i].slot == NULL)
			elog(ERROR, "libjwt has no function %s", symbols[i].name);
	}
	loaded = true;
}

char *
token_sign(const Token *token)
{
	unsigned char key[KEY_SIZE];
	jwt_t	   *jwt = NULL;
	char	   *encoded = NULL;
	char	   *result;
	char	   *session = uuid_text(&token->session_id);
	char	   *company = uuid_text(&token->company_id);
	char	   *user = uuid_text(&token->user_id);

	token_load_library();
	key_derive_or_fail(TOKEN_PURPOSE, key);
	if (lib.new(&jwt) == 0 &&
		lib.add_grant(jwt, "iss", TOKEN_ISSUER) == 0 &&
		lib.add_grant(jwt, "jti", session) == 0 &&
		lib.add_grant(jwt, "company", company) == 0 &&
		lib.add_grant(jwt, "sub", user) == 0 &&
		lib.add_grant_int(jwt, "exp", (long) token->expires_at) == 0 &&
		lib.set_alg(jwt, JWT_ALG_HS256, key, KEY_SIZE) == 0)
		encoded = lib.encode_str(jwt);
	OPENSSL_cleanse(key, KEY_SIZE);
	if (jwt != NULL)
		lib.free(jwt);
	if (encoded == NULL)
		elog(ERROR, "could not sign a session token");
	result = pstrdup(encoded);
	free(encoded);
	return result;
}

bool
token_verify(const char *text, Token *token)
{
	unsigned char key[KEY_SIZE];
	jwt_t	   *jwt = NULL;
	bool		ok;

	token_load_library();
	key_derive_or_fail(TOKEN_PURPOSE, key);
	ok = lib.decode(&jwt, text, key, KEY_SIZE) == 0 && jwt != NULL;
	OPENSSL_cleanse(key, KEY_SIZE);
	if (ok)
	{
		const char *issuer = lib.get_grant(jwt, "iss");
		const char *session = lib.get_grant(jwt, "jti");
		const char *company = lib.get_grant(jwt, "company");
		const char *user = lib.get_grant(jwt, "sub");

		token->expires_at = lib.get_grant_int(jwt, "exp");
		ok = lib.get_alg(jwt) == JWT_ALG_HS256 && issuer != NULL &&
			strcmp(issuer, TOKEN_ISSUER) == 0 && session != NULL &&
			uuid_parse(session, &token->session_id) && company != NULL &&
			uuid_parse(company, &token->company_id) && user != NULL &&
			uuid_parse(user, &token->user_id);
	}
	if (jwt != NULL)
		lib.free(jwt);
	return ok;
}
