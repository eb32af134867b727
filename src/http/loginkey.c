/*
 * loginkey.c
 *		Logging in at an SFTP server by a private key instead of a password.
 *
 * libcurl takes the name of a file, and a key must not lie in one: so it is put
 * into memory that has a descriptor, whose name under /proc only this process can
 * open, and that is gone with the call.  What libssh2 1.10 takes are keys without a
 * passphrase; with servers that refuse SHA-1 signatures, as OpenSSH does since 8.8,
 * Ed25519 and ECDSA but not RSA.
 */
#include "postgres.h"

#include <sys/mman.h>
#include <unistd.h>

#include "http/loginkey.h"

#define KEY_BEGINS "-----BEGIN "

bool
http_is_login_key(const char *secret)
{
	return secret != NULL && strncmp(secret, KEY_BEGINS, strlen(KEY_BEGINS)) == 0;
}

const char *
http_login_by_key(HttpCall *call, const char *user, const char *secret)
{
	size_t		left = strlen(secret);
	char		path[64];

	if (user == NULL)
		return "a login by key needs a user";
	call->key_file = memfd_create("login key", MFD_CLOEXEC);
	if (call->key_file < 0)
		return "no memory for the key of a login";
	for (ssize_t n; left > 0; secret += n, left -= n)
		if ((n = write(call->key_file, secret, left)) <= 0)
			return "no memory for the key of a login";
	snprintf(path, sizeof(path), "/proc/self/fd/%d", call->key_file);
	if (curl_easy_setopt(call->easy, CURLOPT_USERNAME, user) != CURLE_OK ||
		curl_easy_setopt(call->easy, CURLOPT_SSH_PRIVATE_KEYFILE, path) != CURLE_OK ||
		curl_easy_setopt(call->easy, CURLOPT_SSH_AUTH_TYPES, (long) CURLSSH_AUTH_PUBLICKEY) != CURLE_OK)
		return "this server's libcurl cannot log in by key";
	return NULL;
}

void
http_forget_login_key(HttpCall *call)
{
	if (call->key_file >= 0)
		close(call->key_file);
	call->key_file = -1;
}
