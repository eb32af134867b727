/*
 * page.c
 *		What a web page says of a company, read with libxml2.
 *
 * The page is a stranger's.  libxml2's HTML parser takes anything; it is fed in
 * pieces and calls back as it goes (SAX), so no tree is built, memory stays
 * small whatever is nested in whatever, and interrupts are served between the
 * pieces.  HTML has no entities but the known ones and nothing is loaded from
 * elsewhere.  The text is UTF-8 whatever the page says of itself.  Reading stops at MAX_ELEMENTS or at MAX_DEPTH, and every value is
 * cut to a length before it goes on.  Beside the page's own tags the
 * schema.org description of the organisation (JSON-LD) is read where there is one.
 *
 * Callbacks of libxml2 neither throw nor palloc.
 */
#include "postgres.h"

#include <libxml/HTMLparser.h>
#include <libxml/uri.h>

#include "compat.h"
#include "core/json.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#define MAX_VALUE 500
#define MAX_DEPTH 256
#define MAX_ELEMENTS 200000
#define MAX_TEXT 65536			/* of a title or a JSON-LD script */
#define MAX_LD_DEPTH 6
#define CHUNK 32768

typedef struct Reader
{
	htmlParserCtxtPtr parser;
	json_t	   *found;
	int			depth;
	int			elements;
	bool		in_title;
	bool		in_ld;
	char	   *text;			/* of the title or script that is open */
	int			text_length;
} Reader;

/* Keeps the first value of a key, runs of white space as one blank. */
static void
put(json_t *found, const char *key, const char *text)
{
	int			length;
	char		copy[MAX_VALUE + 1];
	int			n = 0;

	if (text == NULL || json_object_get(found, key) != NULL)
		return;
	while (isspace((unsigned char) *text))
		text++;
	length = strlen(text);
	if (length > MAX_VALUE)
		length = pg_encoding_mbcliplen(PG_UTF8, text, length, MAX_VALUE);
	for (int i = 0; i < length; i++)
	{
		char		c = isspace((unsigned char) text[i]) ? ' ' : text[i];

		if (c != ' ' || (n > 0 && copy[n - 1] != ' '))
			copy[n++] = c;
	}
	while (n > 0 && copy[n - 1] == ' ')
		n--;
	if (n > 0)
		json_object_set_new(found, key, json_stringn(copy, n));
}

/* Is this the host of the URL, or a domain above it? */
static bool
is_host(const char *url, const char *domain)
{
	const char *host = strstr(url, "//");
	size_t		length;
	size_t		size = strlen(domain);

	if (host == NULL)
		return false;
	host += 2;
	length = strcspn(host, "/:?#@");
	return length >= size && pg_strncasecmp(host + length - size, domain, size) == 0 &&
		(length == size || host[length - size - 1] == '.');
}

/* A profile of a network, if the link is one and not a button to share the page. */
static void
put_profile(json_t *found, const char *url)
{
	static const char *const buttons[] = {"/share", "/intent", "/sharer", "/home?", "/search", "/hashtag"};

	for (int i = 0; i < lengthof(buttons); i++)
		if (strstr(url, buttons[i]) != NULL)
			return;
	if (is_host(url, "linkedin.com"))
		put(found, "linkedin_url", url);
	else if (is_host(url, "twitter.com") || is_host(url, "x.com"))
		put(found, "twitter_url", url);
}

/* What stands in mailto: and tel: links up to "?", percent-decoded. */
static void
put_contact(json_t *found, const char *key, const char *value)
{
	char	   *plain = xmlURIUnescapeString(value, (int) strcspn(value, "?"), NULL);

	put(found, key, plain);
	xmlFree(plain);
}

static void
read_link(json_t *found, const char *url)
{
	if (pg_strncasecmp(url, "mailto:", 7) == 0)
		put_contact(found, "email", url + 7);
	else if (pg_strncasecmp(url, "tel:", 4) == 0)
		put_contact(found, "phone", url + 4);
	else if (is_host(url, "linkedin.com") || is_host(url, "twitter.com") || is_host(url, "x.com"))
		put_profile(found, url);
	else if (pg_strncasecmp(url, "/blog", 5) == 0 || strstr(url, "://blog.") != NULL ||
			 (pg_strncasecmp(url, "http", 4) == 0 && strstr(url, "/blog") != NULL))
		put(found, "blog_url", url);
}

static const char *
attribute(const xmlChar **attributes, const char *name)
{
	for (int i = 0; attributes != NULL && attributes[i] != NULL; i += 2)
		if (strcmp((const char *) attributes[i], name) == 0)
			return (const char *) attributes[i + 1];
	return NULL;
}

static void
read_meta(json_t *found, const xmlChar **attributes)
{
	const char *key = attribute(attributes, "name");
	const char *content = attribute(attributes, "content");

	if (key == NULL)
		key = attribute(attributes, "property");
	if (key == NULL)
		return;
	if (pg_strcasecmp(key, "description") == 0 || strcmp(key, "og:description") == 0)
		put(found, "description", content);
	else if (strcmp(key, "og:site_name") == 0)
		put(found, "site_name", content);
	else if (pg_strcasecmp(key, "keywords") == 0)
		put(found, "keywords", content);
}

/* --- schema.org --- */

static const char *
text_of(json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static bool
is_organization(json_t *object)
{
	static const char *const kinds[] = {"Organization", "Business", "Corporation", "Company", "Store",
	"Agency", "Service", "Restaurant", "Hotel", "School"};
	json_t	   *type = json_object_get(object, "@type");
	const char *name = json_string_value(json_is_array(type) ? json_array_get(type, 0) : type);

	for (int i = 0; name != NULL && i < lengthof(kinds); i++)
		if (strstr(name, kinds[i]) != NULL)
			return true;
	return false;
}

static void
put_number(json_t *found, const char *key, json_t *value)
{
	char		text[32];

	if (json_is_object(value))
		value = json_object_get(value, "value");
	if (json_is_integer(value))
	{
		snprintf(text, sizeof(text), "%lld", (long long) json_integer_value(value));
		put(found, key, text);
	}
	else
		put(found, key, json_string_value(value));
}

static void
read_organization(json_t *found, json_t *object)
{
	json_t	   *address = json_object_get(object, "address");
	json_t	   *country;
	json_t	   *same = json_object_get(object, "sameAs");
	const char *founded = text_of(object, "foundingDate");
	json_t	   *link;
	size_t		i;

	json_object_set_new(found, "organization", json_true());
	put(found, "company_name", text_of(object, "name"));
	put(found, "description", text_of(object, "description"));
	put(found, "phone", text_of(object, "telephone"));
	put(found, "email", text_of(object, "email"));
	put_number(found, "employees", json_object_get(object, "numberOfEmployees"));
	if (founded != NULL && strlen(founded) >= 4)
	{
		char		year[5];

		strlcpy(year, founded, sizeof(year));
		put(found, "founded_year", year);
	}
	if (json_is_array(address))
		address = json_array_get(address, 0);
	put(found, "street_address", text_of(address, "streetAddress"));
	put(found, "postal_code", text_of(address, "postalCode"));
	put(found, "city", text_of(address, "addressLocality"));
	put(found, "region", text_of(address, "addressRegion"));
	country = json_object_get(address, "addressCountry");
	put(found, "country", json_is_object(country) ? text_of(country, "name") : json_string_value(country));
	if (json_is_string(same))
		put_profile(found, json_string_value(same));
	json_array_foreach(same, i, link)
		if (json_is_string(link))
			put_profile(found, json_string_value(link));
}

static void
read_ld(json_t *found, json_t *value, int depth)
{
	const char *key;
	json_t	   *part;
	size_t		i;

	if (depth > MAX_LD_DEPTH)
		return;
	if (json_is_object(value) && is_organization(value))
	{
		if (json_object_get(found, "organization") == NULL)
			read_organization(found, value);
		return;
	}
	json_array_foreach(value, i, part)
		read_ld(found, part, depth + 1);
	json_object_foreach(value, key, part)
		read_ld(found, part, depth + 1);
}

/* --- callbacks --- */

static void
start_element(void *arg, const xmlChar *name, const xmlChar **attributes)
{
	Reader	   *reader = arg;
	const char *tag = (const char *) name;
	const char *value;

	if (++reader->elements > MAX_ELEMENTS || ++reader->depth > MAX_DEPTH)
	{
		xmlStopParser(reader->parser);
		return;
	}
	if (strcmp(tag, "title") == 0 || strcmp(tag, "script") == 0)
	{
		value = attribute(attributes, "type");
		reader->in_title = tag[0] == 't' && json_object_get(reader->found, "title") == NULL;
		reader->in_ld = tag[0] == 's' && value != NULL && pg_strcasecmp(value, "application/ld+json") == 0;
		reader->text_length = 0;
	}
	else if (strcmp(tag, "meta") == 0)
		read_meta(reader->found, attributes);
	else if (strcmp(tag, "html") == 0)
		put(reader->found, "language", attribute(attributes, "lang"));
	else if (strcmp(tag, "a") == 0 && (value = attribute(attributes, "href")) != NULL)
		read_link(reader->found, value);
}

static void
take_text(void *arg, const xmlChar *text, int length)
{
	Reader	   *reader = arg;

	if (!reader->in_title && !reader->in_ld)
		return;
	length = Min(length, MAX_TEXT - reader->text_length);
	memcpy(reader->text + reader->text_length, text, length);
	reader->text_length += length;
}

static void
end_element(void *arg, const xmlChar *name)
{
	Reader	   *reader = arg;

	reader->depth--;
	if (!reader->in_title && !reader->in_ld)
		return;
	reader->text[reader->text_length] = '\0';
	if (reader->in_title && strcmp((const char *) name, "title") == 0)
	{
		put(reader->found, "title", reader->text);
		reader->in_title = false;
	}
	else if (reader->in_ld && strcmp((const char *) name, "script") == 0)
	{
		json_t	   *value = json_loads(reader->text, 0, NULL);

		read_ld(reader->found, value, 0);
		json_decref(value);
		reader->in_ld = false;
	}
}

PG_FUNCTION_INFO_V1(sales_read_page);

/* sales_internal.read_page(html text) → jsonb */
Datum
sales_read_page(PG_FUNCTION_ARGS)
{
	text	   *html = PG_GETARG_TEXT_PP(0);
	const char *bytes = VARDATA_ANY(html);
	int			size = VARSIZE_ANY_EXHDR(html);
	Reader		reader = {0};
	htmlSAXHandler sax = {0};
	char	   *volatile encoded = NULL;
	Datum		result;

	sax.startElement = start_element;
	sax.endElement = end_element;
	sax.characters = take_text;
	sax.cdataBlock = take_text;
	reader.text = palloc(MAX_TEXT + 1);
	reader.found = json_new_object();
	reader.parser = htmlCreatePushParserCtxt(&sax, &reader, NULL, 0, NULL, XML_CHAR_ENCODING_UTF8);
	if (reader.found == NULL || reader.parser == NULL)
	{
		json_decref(reader.found);
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	}
	htmlCtxtUseOptions(reader.parser, HTML_PARSE_RECOVER | HTML_PARSE_NOERROR |
					   HTML_PARSE_NOWARNING | HTML_PARSE_NONET | HTML_PARSE_IGNORE_ENC);
	PG_TRY();
	{
		for (int at = 0; at < size && reader.parser->disableSAX == 0; at += CHUNK)
		{
			CHECK_FOR_INTERRUPTS();
			(void) htmlParseChunk(reader.parser, bytes + at, Min(CHUNK, size - at), at + CHUNK >= size);
		}
		encoded = json_dumps(reader.found, JSON_COMPACT);
		result = DirectFunctionCall1(jsonb_in, CStringGetDatum(encoded ? encoded : "{}"));
	}
	PG_FINALLY();
	{
		free(encoded);
		json_decref(reader.found);
		htmlFreeParserCtxt(reader.parser);
	}
	PG_END_TRY();
	PG_RETURN_DATUM(result);
}

PG_FUNCTION_INFO_V1(sales_resolve_url);

/* sales_internal.resolve_url(base text, target text) → text */
Datum
sales_resolve_url(PG_FUNCTION_ARGS)
{
	char	   *base = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *target = text_to_cstring(PG_GETARG_TEXT_PP(1));
	xmlChar    *full;
	text	   *result = NULL;

	if (strlen(base) > 4096 || strlen(target) > 4096)
		PG_RETURN_NULL();
	target[strcspn(target, "#")] = '\0';
	full = xmlBuildURI(BAD_CAST target, BAD_CAST base);
	if (full != NULL && (pg_strncasecmp((char *) full, "http://", 7) == 0 ||
						 pg_strncasecmp((char *) full, "https://", 8) == 0))
		result = cstring_to_text((char *) full);
	xmlFree(full);
	if (result == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(result);
}
