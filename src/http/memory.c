/*
 * memory.c
 *		libcurl's memory: what it frees is wiped first.
 *
 * A key that a call is made with is copied by libcurl, and by libssh2, which it lends its
 * memory to: into the header, the URL, the bytes to be sent.  None of that is to be left
 * behind when the call is over.  It costs about a microsecond a call.
 *
 * These run in the threads of libcurl's resolver, too: nothing here may be PostgreSQL's.
 */
#include "postgres.h"

#include <curl/curl.h>
#include <malloc.h>
#include <openssl/crypto.h>

#include "http/memory.h"

static void
wipe_and_free(void *memory)
{
	if (memory != NULL)
		OPENSSL_cleanse(memory, malloc_usable_size(memory));
	free(memory);
}

/* realloc() may move what it has and leave it behind. */
static void *
wipe_and_realloc(void *memory, size_t size)
{
	size_t		before = memory != NULL ? malloc_usable_size(memory) : 0;
	void	   *grown;

	if (memory != NULL && size > 0 && size <= before)
		return memory;
	grown = malloc(size);
	if (grown == NULL)
		return NULL;
	if (memory != NULL)
		memcpy(grown, memory, Min(size, before));
	wipe_and_free(memory);
	return grown;
}

bool
http_library_init(void)
{
	static bool done = false;

	if (!done)
		done = curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, wipe_and_free, wipe_and_realloc,
									strdup, calloc) == CURLE_OK;
	return done;
}
