/*
 * hostkey.c
 *		Which SFTP server it is: its key must be one that the import names.
 *
 * There is no trust on first use and no way around it, allowed_hosts or not:
 * without its key a server is anybody.  A server may have keys of several types
 * and libssh2, not the user, chooses which is shown, so several may be given and
 * the error tells the fingerprint that was met.  Here libcurl calls back with
 * the key (libcurl's own comparison takes a single fingerprint); libssh2 has by
 * then verified that the server holds its private half.
 */
#include "postgres.h"

#include <openssl/evp.h>

#include "http/hostkey.h"

#define SEPARATORS " \t\r\n,"
#define FINGERPRINT_LENGTH 43	/* SHA-256 in base64 without padding */

/* Is the word a fingerprint or a key, rather than a host's name or a key's type? */
static bool
names_key(const char *word, size_t length)
{
	return (length == FINGERPRINT_LENGTH + 7 && strncmp(word, "SHA256:", 7) == 0) ||
		(length == FINGERPRINT_LENGTH && memchr(word, '.', length) == NULL) ||
		(length > 60 && strncmp(word, "AAAA", 4) == 0);
}

/* Is `text` (of base64, without padding) one of the words? */
static bool
is_among(const char *words, const char *text)
{
	size_t		wanted = strlen(text);

	for (words += strspn(words, SEPARATORS); *words != '\0';)
	{
		size_t		length = strcspn(words, SEPARATORS);
		const char *word = words;

		words += length + strspn(words + length, SEPARATORS);
		if (!names_key(word, length))
			continue;
		if (strncmp(word, "SHA256:", 7) == 0)
			word += 7, length -= 7;
		while (length > 0 && word[length - 1] == '=')
			length--;
		if (length == wanted && memcmp(word, text, length) == 0)
			return true;
	}
	return false;
}

static void
to_base64(const unsigned char *bytes, size_t length, char *into)
{
	int			n = EVP_EncodeBlock((unsigned char *) into, bytes, length);

	while (n > 0 && into[n - 1] == '=')
		into[--n] = '\0';
}

/* libcurl's callback: nothing here throws or pallocs. */
static int
judge_host_key(void *arg, int type, const char *key, size_t length)
{
	HttpCall   *call = arg;
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int digest_length = 0;
	char		fingerprint[EVP_MAX_MD_SIZE * 2];
	char	   *whole = malloc(length / 3 * 4 + 8);
	bool		known;

	if (whole == NULL || EVP_Digest(key, length, digest, &digest_length, EVP_sha256(), NULL) != 1)
	{
		free(whole);
		return CURLKHMATCH_MISMATCH;
	}
	to_base64(digest, digest_length, fingerprint);
	to_base64((const unsigned char *) key, length, whole);
	known = is_among(call->host_key, fingerprint) || is_among(call->host_key, whole);
	free(whole);
	if (known)
		return CURLKHMATCH_OK;
	snprintf(call->refused, sizeof(call->refused),
			 "the server's key is SHA256:%s, which host_key does not name: another server answers, or its key was changed",
			 fingerprint);
	return CURLKHMATCH_MISMATCH;
}

const char *
http_pin_host_key(HttpCall *call, const char *given)
{
	bool		any = false;

	for (const char *word = given; word != NULL && *(word += strspn(word, SEPARATORS)) != '\0';
		 word += strcspn(word, SEPARATORS))
		any = any || names_key(word, strcspn(word, SEPARATORS));
	if (!any)
		return given == NULL
			? "sftp needs host_key, the SHA256 fingerprint of the server's key as ssh-keygen -l shows it"
			: "host_key is neither a fingerprint such as SHA256:... nor a public key such as ssh-ed25519 AAAA...";
	call->host_key = strdup(given);
	if (call->host_key == NULL)
		return "out of memory";
	if (curl_easy_setopt(call->easy, CURLOPT_SSH_HOSTKEYFUNCTION, judge_host_key) != CURLE_OK ||
		curl_easy_setopt(call->easy, CURLOPT_SSH_HOSTKEYDATA, call) != CURLE_OK)
		return "this server's libcurl cannot verify the key of an SFTP server; it needs one built with libssh2";
	return NULL;
}
