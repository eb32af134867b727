/*
 * password.c
 *		Password hashes by libcrypt: yescrypt for new ones, and whatever else
 *		crypt_r knows (bcrypt, SHA-512) for those brought from elsewhere.
 */
#include "postgres.h"

#include <crypt.h>
#include <openssl/crypto.h>

#include "tenancy/password.h"

#define PASSWORD_MIN_LENGTH 8
#define PASSWORD_MAX_LENGTH 500	/* below crypt's own limit of 512 */

void
password_check_strength(const char *password)
{
	size_t		length = strlen(password);

	if (length < PASSWORD_MIN_LENGTH || length > PASSWORD_MAX_LENGTH)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PASSWORD),
						errmsg("password must have %d to %d bytes", PASSWORD_MIN_LENGTH,
							   PASSWORD_MAX_LENGTH),
						errhint("Choose a longer or a shorter one.")));
}

/* crypt_r into a palloc'd copy; null where the setting is of no known kind. */
static char *
crypt_copy(const char *password, const char *setting)
{
	struct crypt_data *data = palloc0(sizeof(struct crypt_data));
	char	   *hash = crypt_r(password, setting, data);
	char	   *copy = (hash != NULL && hash[0] != '*') ? pstrdup(hash) : NULL;

	OPENSSL_cleanse(data, sizeof(struct crypt_data));
	pfree(data);
	return copy;
}

char *
password_hash(const char *password)
{
	char		setting[CRYPT_GENSALT_OUTPUT_SIZE];
	char	   *hash;

	password_check_strength(password);
	if (crypt_gensalt_rn("$y$", 0, NULL, 0, setting, sizeof(setting)) == NULL)
		elog(ERROR, "could not make a salt: %m");
	hash = crypt_copy(password, setting);
	if (hash == NULL)
		elog(ERROR, "could not hash a password: %m");
	return hash;
}

/* The number that stands at the place; -1 where there is none. */
static int
number_at(const char *text)
{
	char	   *end;
	long		number = strtol(text, &end, 10);

	return end == text || *end != '$' || number < 0 || number > INT_MAX ? -1 : (int) number;
}

/*
 * Does a check take about a second at most?  Hashes come from elsewhere too, a
 * user may write its own, and nothing can interrupt crypt_r: one that takes hours
 * would hold a backend through a shutdown.
 */
static bool
is_affordable(const char *hash)
{
	static const char digits[] = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

	if (strncmp(hash, "$y$", 3) == 0)
		/* flavour j, memory of 2^n blocks, block size: "j9T" is the usual one */
		return hash[3] == 'j' && hash[4] != '\0' && hash[5] != '\0' && hash[6] == '$' &&
			strchr(digits, hash[4]) != NULL && strchr(digits, hash[4]) <= strchr(digits, 'B') &&
			strchr(digits, hash[5]) != NULL && strchr(digits, hash[5]) <= strchr(digits, 'T');
	if (hash[0] == '$' && hash[1] == '2' && hash[2] != '\0' && hash[3] == '$')
		return number_at(hash + 4) >= 0 && number_at(hash + 4) <= 14;
	if (strncmp(hash, "$5$", 3) == 0 || strncmp(hash, "$6$", 3) == 0)
		return strncmp(hash + 3, "rounds=", 7) != 0 ||
			(number_at(hash + 10) >= 0 && number_at(hash + 10) <= 1000000);
	return strncmp(hash, "$1$", 3) == 0;
}

bool
password_verify(const char *password, const char *hash)
{
	/* Hash of a random password that was thrown away; same cost as real ones. */
	static const char decoy[] =
		"$y$j9T$Nd11VJxRm.6Ajv7Z.y5Cd.$LWWCewpOUqEvNrSCgJZAf0aL2r8uSPoNoJJaF65A309";
	const char *expected;
	char	   *actual;
	bool		same;

	if (hash != NULL && !is_affordable(hash))
		hash = NULL;
	expected = hash != NULL ? hash : decoy;

	if (strlen(password) > PASSWORD_MAX_LENGTH)
		return false;
	actual = crypt_copy(password, expected);
	same = actual != NULL && strlen(actual) == strlen(expected) &&
		CRYPTO_memcmp(actual, expected, strlen(expected)) == 0;
	if (actual != NULL)
		pfree(actual);
	return same && hash != NULL;
}
