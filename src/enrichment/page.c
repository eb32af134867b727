/*
 * page.c
 *		What a web page says of a company, read with libxml2.
 *
 * The page is a stranger's: libxml2's HTML parser takes anything, network and
 * entities are off, the caller bounds the size (the HTTP job's max_bytes), and
 * every value is cut to a length before it goes on.
 */
#include "postgres.h"

#include <libxml/HTMLparser.h>

#include "compat.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "mb/pg_wchar.h"
#include "core/json.h"

#define MAX_VALUE 500
#define MAX_DEPTH 500

static void
put(json_t *found, const char *key, const xmlChar *value)
{
	const char *text = (const char *) value;
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
	/* runs of white space become one blank */
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

static void
read_meta(xmlNode *node, json_t *found)
{
	xmlChar    *name = xmlGetProp(node, BAD_CAST "name");
	xmlChar    *property = xmlGetProp(node, BAD_CAST "property");
	xmlChar    *content = xmlGetProp(node, BAD_CAST "content");
	const char *key = name ? (char *) name : property ? (char *) property : "";

	if (pg_strcasecmp(key, "description") == 0 || strcmp(key, "og:description") == 0)
		put(found, "description", content);
	else if (strcmp(key, "og:site_name") == 0)
		put(found, "site_name", content);
	else if (pg_strcasecmp(key, "keywords") == 0)
		put(found, "keywords", content);
	xmlFree(name);
	xmlFree(property);
	xmlFree(content);
}

static void
read_link(xmlNode *node, json_t *found)
{
	xmlChar    *href = xmlGetProp(node, BAD_CAST "href");
	const char *url = (const char *) href;

	if (url != NULL)
	{
		if (pg_strncasecmp(url, "mailto:", 7) == 0)
			put(found, "email", href + 7);
		else if (pg_strncasecmp(url, "tel:", 4) == 0)
			put(found, "phone", href + 4);
		else if (strstr(url, "linkedin.com/") != NULL)
			put(found, "linkedin_url", href);
		else if (strstr(url, "twitter.com/") != NULL || strstr(url, "//x.com/") != NULL)
			put(found, "twitter_url", href);
		else if (strstr(url, "/blog") != NULL && strncmp(url, "http", 4) == 0)
			put(found, "blog_url", href);
	}
	xmlFree(href);
}

static void
read_node(xmlNode *node, json_t *found, int depth)
{
	for (; node != NULL; node = node->next)
	{
		if (node->type != XML_ELEMENT_NODE || depth > MAX_DEPTH)
			continue;
		if (xmlStrcasecmp(node->name, BAD_CAST "title") == 0)
		{
			xmlChar    *content = xmlNodeGetContent(node);

			put(found, "title", content);
			xmlFree(content);
		}
		else if (xmlStrcasecmp(node->name, BAD_CAST "html") == 0)
		{
			xmlChar    *language = xmlGetProp(node, BAD_CAST "lang");

			put(found, "language", language);
			xmlFree(language);
		}
		else if (xmlStrcasecmp(node->name, BAD_CAST "meta") == 0)
			read_meta(node, found);
		else if (xmlStrcasecmp(node->name, BAD_CAST "a") == 0)
			read_link(node, found);
		read_node(node->children, found, depth + 1);
	}
}

PG_FUNCTION_INFO_V1(sales_read_page);

/* sales_internal.read_page(html text) → jsonb */
Datum
sales_read_page(PG_FUNCTION_ARGS)
{
	text	   *html = PG_GETARG_TEXT_PP(0);
	json_t	   *found = json_new_object();
	htmlDocPtr	document;
	char	   *encoded;
	char	   *copy;

	document = htmlReadMemory(VARDATA_ANY(html), VARSIZE_ANY_EXHDR(html), NULL, "UTF-8",
							  HTML_PARSE_RECOVER | HTML_PARSE_NOERROR |
							  HTML_PARSE_NOWARNING | HTML_PARSE_NONET);
	if (document != NULL)
	{
		read_node(xmlDocGetRootElement(document), found, 0);
		xmlFreeDoc(document);
	}
	encoded = json_dumps(found, JSON_COMPACT);
	json_decref(found);
	copy = pstrdup(encoded ? encoded : "{}");
	free(encoded);
	PG_RETURN_DATUM(DirectFunctionCall1(jsonb_in, CStringGetDatum(copy)));
}
