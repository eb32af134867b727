/*
 * session.c
 *		Calls that are no HTTP: mails by SMTP, mailboxes by IMAP, files by FTP and SFTP.
 *
 * A session is encrypted, unless its host is one of allowed_hosts, offers nothing better,
 * and the request does not require it.  An SFTP server has to show the key that it is
 * known by (hostkey.c), and may be logged in to by a private key (loginkey.c).
 */
#include "postgres.h"

#include "core/json.h"
#include "http/hostkey.h"
#include "http/http.h"
#include "http/loginkey.h"
#include "http/session.h"

/* An address that can stand in a command of SMTP. */
static bool
is_mail_address(const char *address)
{
	return address != NULL && strchr(address, '@') != NULL && strlen(address) < 255 &&
		strpbrk(address, " \t\r\n<>\"(),:;") == NULL;
}

/* Login and encryption of a session of SMTP or IMAP. */
static void
set_login(HttpCall *call, json_t *session, const char *secret)
{
	const char *user = json_string_value(json_object_get(session, "user"));
	const char *tls = json_string_value(json_object_get(session, "tls"));
	bool		optional = call->host_allowed && (tls == NULL || strcmp(tls, "required") != 0);

	curl_easy_setopt(call->easy, CURLOPT_USE_SSL,
					 (long) (optional ? CURLUSESSL_TRY : CURLUSESSL_ALL));
	if (user != NULL && secret != NULL)
	{
		curl_easy_setopt(call->easy, CURLOPT_USERNAME, user);
		curl_easy_setopt(call->easy, CURLOPT_PASSWORD, secret);
	}
}

const char *
http_set_mail(HttpCall *call, json_t *mail, const char *secret)
{
	const char *from = json_string_value(json_object_get(mail, "from"));
	const char *message = json_string_value(json_object_get(mail, "message"));
	json_t	   *to = json_object_get(mail, "to");
	CURL	   *easy = call->easy;

	if (!is_mail_address(from) || json_array_size(to) == 0 || message == NULL)
		return "the mail needs from, to and message";
	for (size_t i = 0; i < json_array_size(to); i++)
	{
		const char *address = json_string_value(json_array_get(to, i));
		struct curl_slist *list;

		if (!is_mail_address(address))
			return "a recipient is no mail address";
		list = curl_slist_append(call->recipients, address);
		if (list == NULL)
			return "out of memory";
		call->recipients = list;
	}
	call->upload = strdup(message);
	if (call->upload == NULL)
		return "out of memory";
	call->upload_size = strlen(message);
	curl_easy_setopt(easy, CURLOPT_MAIL_FROM, from);
	curl_easy_setopt(easy, CURLOPT_MAIL_RCPT, call->recipients);
	curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
	curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t) call->upload_size);
	set_login(call, mail, secret);
	return NULL;
}

const char *
http_set_imap(HttpCall *call, json_t *imap, const char *secret)
{
	const char *command = json_string_value(json_object_get(imap, "command"));
	CURL	   *easy = call->easy;

	if (command == NULL || strpbrk(command, "\r\n") != NULL)
		return "the mailbox needs a command of one line";
	curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, command);
	curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 262144L);
	/* What a hostile mail could confuse ends with its call. */
	curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
	curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
	set_login(call, imap, secret);
	return NULL;
}

const char *
http_set_file(HttpCall *call, json_t *file, const char *url, const char *secret)
{
	CURL	   *easy = call->easy;
	bool		by_key = http_is_login_key(secret);
	const char *problem;

	set_login(call, file, by_key ? NULL : secret);
	curl_easy_setopt(easy, CURLOPT_FTP_SKIP_PASV_IP, 1L);
	if (json_is_true(json_object_get(file, "list")))
	{
		if (url[strlen(url) - 1] != '/')
			return "the URL of a folder ends with a slash";
		curl_easy_setopt(easy, CURLOPT_DIRLISTONLY, 1L);
	}
	if (pg_strncasecmp(url, "sftp:", 5) != 0)
		return by_key ? "a private key logs in at sftp alone" : NULL;
	curl_easy_setopt(easy, CURLOPT_SSH_AUTH_TYPES, (long) (CURLSSH_AUTH_PASSWORD | CURLSSH_AUTH_KEYBOARD));
	problem = http_pin_host_key(call, json_string_value(json_object_get(file, "host_key")));
	if (problem == NULL && by_key)
		problem = http_login_by_key(call, json_string_value(json_object_get(file, "user")), secret);
	return problem;
}
