/*
 * transfer.c
 *		What comes and goes on the wire of a call: the callbacks of libcurl.
 *
 * Nothing here throws or pallocs: libcurl's frames lie between, and a longjmp over
 * them would break its state.  The guard looks at the address that is connected to;
 * what a server sends is taken up to a size, and what has no end is ended.
 */
#include "postgres.h"

#include "http/guard.h"
#include "http/http.h"
#include "http/transfer.h"

#define MAX_HEADERS_SIZE 65536

static curl_socket_t
open_socket(void *data, curlsocktype purpose, struct curl_sockaddr *address)
{
	HttpCall   *call = data;

	if (purpose != CURLSOCKTYPE_IPCXN ||
		(!call->host_allowed && !guard_is_public(&address->addr) &&
		 !guard_is_allowed_address(&address->addr)))
	{
		call->blocked = true;
		return CURL_SOCKET_BAD;
	}
	return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static size_t
take_body(char *data, size_t size, size_t count, void *arg)
{
	HttpCall   *call = arg;
	size_t		bytes = size * count;

	if (call->body_size + bytes > call->max_bytes)
	{
		call->too_large = true;
		return 0;
	}
	if (call->body_size + bytes + 1 > call->body_capacity)
	{
		size_t		capacity = Max(call->body_capacity * 2, call->body_size + bytes + 1);
		char	   *grown = realloc(call->body, capacity);

		if (grown == NULL)
			return 0;
		call->body = grown;
		call->body_capacity = capacity;
	}
	memcpy(call->body + call->body_size, data, bytes);
	call->body_size += bytes;
	call->body[call->body_size] = '\0';
	return bytes;
}

/* Of a line, without its end. */
static size_t
line_length(const char *data, size_t bytes)
{
	while (bytes > 0 && (data[bytes - 1] == '\n' || data[bytes - 1] == '\r'))
		bytes--;
	return bytes;
}

static size_t
take_header(char *data, size_t size, size_t count, void *arg)
{
	HttpCall   *call = arg;
	size_t		bytes = size * count;
	size_t		length = line_length(data, bytes);
	char	   *grown;

	if (bytes > 5 && strncmp(data, "HTTP/", 5) == 0)
	{
		/* A new response begins, as after "100 Continue". */
		call->response_headers_size = 0;
		return bytes;
	}
	/* (a NUL, which some versions of libcurl let through, would hide the end of the line) */
	if (length == 0 || memchr(data, ':', length) == NULL || memchr(data, '\0', length) != NULL)
		return bytes;
	if (call->response_headers_size + length + 2 > MAX_HEADERS_SIZE)
	{
		call->too_large = true;
		return 0;
	}
	grown = realloc(call->response_headers, call->response_headers_size + length + 2);
	if (grown == NULL)
		return 0;
	call->response_headers = grown;
	memcpy(grown + call->response_headers_size, data, length);
	for (char *p = grown + call->response_headers_size; *p != ':'; p++)
		*p = pg_ascii_tolower((unsigned char) *p);
	call->response_headers_size += length;
	grown[call->response_headers_size++] = '\n';
	grown[call->response_headers_size] = '\0';
	return bytes;
}

/* Keeps the last reply of a mail server, its lines joined. */
static size_t
take_reply(char *data, size_t size, size_t count, void *arg)
{
	HttpCall   *call = arg;
	size_t		bytes = size * count;
	size_t		length = line_length(data, bytes);
	size_t		used = call->reply_goes_on ? strlen(call->reply) : 0;

	/* the answer to libcurl's QUIT says nothing of the mail */
	if (bytes >= 3 && strncmp(data, "221", 3) == 0)
		return bytes;
	call->reply_goes_on = length > 3 && data[3] == '-';
	if (used > 0 && used + 1 < sizeof(call->reply))
		call->reply[used++] = ' ';
	length = Min(length, sizeof(call->reply) - 1 - used);
	memcpy(call->reply + used, data, length);
	call->reply[used + length] = '\0';
	return bytes;
}

static size_t
discard(char *data, size_t size, size_t count, void *arg)
{
	return size * count;
}

static size_t
give_upload(char *into, size_t size, size_t count, void *arg)
{
	HttpCall   *call = arg;
	size_t		bytes = Min(size * count, call->upload_size - call->upload_sent);

	memcpy(into, call->upload + call->upload_sent, bytes);
	call->upload_sent += bytes;
	return bytes;
}

void
http_set_transfer(HttpCall *call)
{
	CURL	   *easy = call->easy;
	curl_write_callback lines = discard;	/* of the session, or of an answer's head */
	curl_write_callback body = take_body;

	switch (call->kind)
	{
		case HTTP_WEB:
			lines = take_header;
			break;
		case HTTP_MAIL:
			lines = take_reply;
			curl_easy_setopt(easy, CURLOPT_READFUNCTION, give_upload);
			curl_easy_setopt(easy, CURLOPT_READDATA, call);
			break;
		case HTTP_IMAP:
			/* Literals come by the lines of the session alone; see imap.c of libcurl. */
			lines = take_body;
			body = discard;
			break;
		case HTTP_FILE:
			break;
	}
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, call);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, lines);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, call);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
}
