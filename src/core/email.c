/*
 * email.c
 *		Syntax of e-mail addresses as a CRM wants them.
 *
 * Narrower than RFC 5322 on purpose: comments, quoted local parts, address
 * literals and single-label domains other than a country's are legal in a mail
 * header, and in a list of prospects they are mistakes.  Letters beyond ASCII are taken in the local
 * part and in the domain (RFC 6531); the database's encoding is UTF-8.
 */
#include "postgres.h"

#include <idn2.h>

#include "compat.h"
#include "core/email.h"
#include "fmgr.h"
#include "utils/builtins.h"

#define MAX_LOCAL 64
#define MAX_DOMAIN 253
#define MAX_LABEL 63
#define MAX_ADDRESS 254

static bool
is_atom_char(unsigned char c)
{
	return c >= 0x80 || isalnum(c) || (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

static const char *
check_local(const char *local, int length)
{
	if (length == 0)
		return "nothing stands before the @";
	if (length > MAX_LOCAL)
		return "the part before the @ is longer than 64 bytes";
	for (int i = 0; i < length; i++)
	{
		if (local[i] == '.')
		{
			if (i == 0 || i == length - 1 || local[i - 1] == '.')
				return "a dot is at the wrong place before the @";
		}
		else if (!is_atom_char((unsigned char) local[i]))
			return "a character before the @ is not allowed";
	}
	return NULL;
}

/* A host name in ASCII. */
static const char *
check_host(const char *host, int length)
{
	int			label = 0;
	int			labels = 1;
	bool		only_digits = true;

	if (length > MAX_DOMAIN)
		return "the domain is too long";
	for (int i = 0; i <= length; i++)
	{
		unsigned char c = i < length ? host[i] : '.';

		if (c == '.')
		{
			if (label == 0)
				return "a part of the domain is empty";
			if (label > MAX_LABEL)
				return "a part of the domain is longer than 63 bytes";
			if (host[i - 1] == '-' || host[i - label] == '-')
				return "a part of the domain starts or ends with a hyphen";
			if (i < length)
			{
				labels++;
				only_digits = true;
			}
			label = 0;
			continue;
		}
		if (!isalnum(c) && c != '-')
			return "a character of the domain is not allowed";
		only_digits = only_digits && isdigit(c);
		label++;
	}
	/* Registries of countries may take mail at their own domain; no others do (RFC 7085). */
	if (labels < 2 && !(length == 2 && isalpha((unsigned char) host[0]) && isalpha((unsigned char) host[1])))
		return "the domain has one part only";
	if (only_digits)
		return "the last part of the domain is a number";
	return NULL;
}

static const char *
check_domain(const char *domain, int length)
{
	bool		ascii = true;
	char	   *copy;
	char	   *encoded = NULL;
	const char *reason;

	if (length == 0)
		return "nothing stands after the @";
	if (length > MAX_DOMAIN)
		return "the domain is too long";
	for (int i = 0; i < length; i++)
		ascii = ascii && (unsigned char) domain[i] < 0x80;
	if (ascii)
		return check_host(domain, length);
	copy = pnstrdup(domain, length);
	if (idn2_to_ascii_8z(copy, &encoded, IDN2_NONTRANSITIONAL) != IDN2_OK)
		reason = "the domain is no valid international name";
	else
		reason = check_host(encoded, strlen(encoded));
	idn2_free(encoded);
	pfree(copy);
	return reason;
}

bool
email_is_valid(const char *address, int length, const char **reason)
{
	const char *at = NULL;

	for (int i = 0; i < length; i++)
		if (address[i] == '@')
			at = address + i;
	if (at == NULL)
		*reason = "it has no @";
	else if (length > MAX_ADDRESS)
		*reason = "it is longer than 254 bytes";
	else
	{
		*reason = check_local(address, at - address);
		if (*reason == NULL)
			*reason = check_domain(at + 1, address + length - at - 1);
	}
	return *reason == NULL;
}

PG_FUNCTION_INFO_V1(sales_email_problem);

/* sales_internal.email_problem(address text) → text: null when it is fine */
Datum
sales_email_problem(PG_FUNCTION_ARGS)
{
	text	   *address = PG_GETARG_TEXT_PP(0);
	const char *reason;

	if (email_is_valid(VARDATA_ANY(address), VARSIZE_ANY_EXHDR(address), &reason))
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(reason));
}
