/*
 * mustache.c
 *		render_template(): Mustache templates over JSON; and which variables a
 *		template cannot do without.
 *
 * Covered: the whole core of the specification, that is variables with and
 * without HTML escaping, dotted names, implicit iterators, sections, inverted
 * sections, comments, set delimiters, partials, and the rules for tags that
 * stand alone on a line.  A partial is looked up in the object "_partials" of
 * the variables; one that is not there is empty.  Left out are the optional
 * modules: lambdas, inheritance, dynamic names.
 *
 * A template is rendered straight from its text with a stack of JSON values.
 * Depth and output size are bounded, since a template is tenants' input.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "nodes/value.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "core/json.h"

#define MAX_DEPTH 64
#define MAX_OUTPUT (16 * 1024 * 1024)
#define MAX_DELIMITER 16

typedef struct Mustache
{
	const char *text;			/* the whole template */
	char		open[MAX_DELIMITER];
	char		close[MAX_DELIMITER];
	json_t	   *stack[MAX_DEPTH + 1];
	int			depth;
	int			partial_depth;
	bool		html;
	StringInfo	out;
} Mustache;

/* One tag: its kind, its name, and where the text goes on. */
typedef struct Tag
{
	char		kind;			/* 0 variable, & { # ^ / ! > = */
	char	   *name;
	const char *start;			/* of the tag, or of its line if alone there */
	const char *end;			/* after the tag, or after its line */
	int			indent;			/* of a partial alone on its line, in bytes */
} Tag;

static void render_part(Mustache *m, const char *from, const char *until);
static void template_error(Mustache *m, const char *at, const char *message) pg_attribute_noreturn();

static void
template_error(Mustache *m, const char *at, const char *message)
{
	int			line = 1;

	for (const char *p = m->text; p < at; p++)
		line += (*p == '\n');
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("template, line %d: %s", line, message),
					errhint("Templates are Mustache: {{name}}, {{#list}}...{{/list}}, {{^empty}}...{{/empty}}.")));
}

/* --- values --- */

static json_t *
lookup(Mustache *m, const char *name)
{
	char	   *copy;
	char	   *dot;
	char	   *rest;
	json_t	   *value = NULL;

	if (strcmp(name, ".") == 0)
		return m->stack[m->depth - 1];
	copy = pstrdup(name);
	dot = strchr(copy, '.');
	rest = dot != NULL ? dot + 1 : NULL;
	if (dot != NULL)
		*dot = '\0';
	/* The first part is looked for outwards, the others inside what it names. */
	for (int i = m->depth - 1; i >= 0 && value == NULL; i--)
		value = json_object_get(m->stack[i], copy);
	while (value != NULL && rest != NULL)
	{
		char	   *part = rest;

		dot = strchr(part, '.');
		rest = dot != NULL ? dot + 1 : NULL;
		if (dot != NULL)
			*dot = '\0';
		value = json_object_get(value, part);
	}
	pfree(copy);
	return value;
}

static bool
is_truthy(json_t *value)
{
	return value != NULL && !json_is_null(value) && !json_is_false(value) &&
		!(json_is_array(value) && json_array_size(value) == 0);
}

static void
append_escaped(StringInfo out, const char *text)
{
	for (; *text; text++)
	{
		switch (*text)
		{
			case '&':
				appendStringInfoString(out, "&amp;");
				break;
			case '<':
				appendStringInfoString(out, "&lt;");
				break;
			case '>':
				appendStringInfoString(out, "&gt;");
				break;
			case '"':
				appendStringInfoString(out, "&quot;");
				break;
			case '\'':
				appendStringInfoString(out, "&#39;");
				break;
			default:
				appendStringInfoChar(out, *text);
		}
	}
}

static void
append_value(Mustache *m, json_t *value, bool escape)
{
	char	   *text = NULL;
	const char *shown;

	if (value == NULL || json_is_null(value))
		return;
	if (json_is_string(value))
		shown = json_string_value(value);
	else
		shown = text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(15));
	if (shown != NULL && escape)
		append_escaped(m->out, shown);
	else if (shown != NULL)
		appendStringInfoString(m->out, shown);
	free(text);
	if (m->out->len > MAX_OUTPUT)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("the rendered template is larger than %d MB",
							   MAX_OUTPUT / 1024 / 1024)));
}

/* --- tags --- */

static void
set_delimiters(Mustache *m, const char *at, const char *spec)
{
	char		open[MAX_DELIMITER];
	char		close[MAX_DELIMITER];
	char		more[2];

	if (sscanf(spec, "%15s %15s %1s", open, close, more) != 2 || strchr(open, '=') != NULL ||
		strchr(close, '=') != NULL)
		template_error(m, at, "a change of delimiters must be written {{=<% %>=}}");
	strcpy(m->open, open);
	strcpy(m->close, close);
}

/* A tag of these kinds takes its line with it when nothing else is there. */
static void
take_line(Mustache *m, Tag *tag)
{
	const char *start = tag->start;
	const char *end = tag->end;

	while (start > m->text && (start[-1] == ' ' || start[-1] == '\t'))
		start--;
	while (*end == ' ' || *end == '\t')
		end++;
	if ((start == m->text || start[-1] == '\n') && (*end == '\0' || *end == '\n' ||
													(end[0] == '\r' && end[1] == '\n')))
	{
		tag->indent = tag->start - start;
		tag->start = start;
		tag->end = *end == '\r' ? end + 2 : *end == '\n' ? end + 1 : end;
	}
}

/* The next tag from `from` on; false when there is none before `until`. */
static bool
next_tag(Mustache *m, const char *from, const char *until, Tag *tag)
{
	const char *open = strstr(from, m->open);
	const char *body;
	const char *close;
	char		closer[MAX_DELIMITER + 1];

	if (open == NULL || open >= until)
		return false;
	body = open + strlen(m->open);
	tag->start = open;
	tag->indent = 0;
	tag->kind = strchr("&{#^/!>=", *body) != NULL && *body != '\0' ? *body : 0;
	if (tag->kind != 0)
		body++;
	snprintf(closer, sizeof(closer), "%s%s",
			 tag->kind == '{' ? "}" : tag->kind == '=' ? "=" : "", m->close);
	close = strstr(body, closer);
	if (close == NULL || close >= until)
		template_error(m, open, "a tag is not closed");
	tag->end = close + strlen(closer);
	while (body < close && isspace((unsigned char) *body))
		body++;
	while (close > body && isspace((unsigned char) close[-1]))
		close--;
	tag->name = pnstrdup(body, close - body);
	if (tag->name[0] == '\0' && tag->kind != '!')
		template_error(m, open, "a tag has no name");
	if (tag->kind != 0 && strchr("#^/!=>", tag->kind) != NULL)
		take_line(m, tag);
	return true;
}

/* Finds the tag that closes a section; delimiters may change on the way. */
static Tag
find_close(Mustache *m, const Tag *section, const char *until)
{
	const char *from = section->end;
	Tag			tag;
	int			level = 1;
	char		open[MAX_DELIMITER];
	char		close[MAX_DELIMITER];

	strcpy(open, m->open);
	strcpy(close, m->close);
	while (next_tag(m, from, until, &tag))
	{
		if (tag.kind == '=')
			set_delimiters(m, tag.start, tag.name);
		else if (tag.kind == '#' || tag.kind == '^')
			level++;
		else if (tag.kind == '/' && --level == 0)
		{
			if (strcmp(tag.name, section->name) != 0)
				template_error(m, tag.start, "a section is closed by another name than it was opened with");
			strcpy(m->open, open);
			strcpy(m->close, close);
			return tag;
		}
		from = tag.end;
	}
	template_error(m, section->start, psprintf("section \"%s\" is not closed", section->name));
	return tag;					/* not reached */
}

static void
render_with(Mustache *m, json_t *value, const char *from, const char *until)
{
	char		open[MAX_DELIMITER];
	char		close[MAX_DELIMITER];

	if (m->depth >= MAX_DEPTH)
		template_error(m, from, "sections are nested too deeply");
	strcpy(open, m->open);
	strcpy(close, m->close);
	m->stack[m->depth++] = value;
	render_part(m, from, until);
	m->depth--;
	strcpy(m->open, open);
	strcpy(m->close, close);
}

/* A partial's own lines get the indentation of its tag. */
static char *
indented(const char *text, const char *indent, int length)
{
	StringInfoData out;

	initStringInfo(&out);
	for (const char *p = text; *p; p++)
	{
		if (p == text || p[-1] == '\n')
			appendBinaryStringInfo(&out, indent, length);
		appendStringInfoChar(&out, *p);
	}
	return out.data;
}

static void
render_partial(Mustache *m, const Tag *tag)
{
	json_t	   *partials = json_object_get(m->stack[0], "_partials");
	const char *text = json_string_value(json_object_get(partials, tag->name));
	Mustache	inner = *m;

	if (text == NULL)
		return;
	if (m->partial_depth >= MAX_DEPTH)
		template_error(m, tag->start, "partials are nested too deeply");
	inner.text = tag->indent > 0 ? indented(text, tag->start, tag->indent) : text;
	inner.partial_depth++;
	strcpy(inner.open, "{{");
	strcpy(inner.close, "}}");
	render_part(&inner, inner.text, inner.text + strlen(inner.text));
}

static void
render_section(Mustache *m, const Tag *section, const char *until_section)
{
	json_t	   *value = lookup(m, section->name);

	if (section->kind == '^')
	{
		if (!is_truthy(value))
			render_with(m, m->stack[m->depth - 1], section->end, until_section);
	}
	else if (json_is_array(value))
	{
		size_t		i;
		json_t	   *item;

		json_array_foreach(value, i, item)
		{
			CHECK_FOR_INTERRUPTS();
			render_with(m, item, section->end, until_section);
		}
	}
	else if (is_truthy(value))
		render_with(m, value, section->end, until_section);
}

static void
render_part(Mustache *m, const char *from, const char *until)
{
	Tag			tag;

	check_stack_depth();
	while (next_tag(m, from, until, &tag))
	{
		if (tag.start > from)
			appendBinaryStringInfo(m->out, from, tag.start - from);
		from = tag.end;
		switch (tag.kind)
		{
			case '#':
			case '^':
				{
					Tag			close = find_close(m, &tag, until);

					render_section(m, &tag, close.start);
					from = close.end;
					break;
				}
			case '/':
				template_error(m, tag.start, "a section is closed that was not opened");
				break;
			case '=':
				set_delimiters(m, tag.start, tag.name);
				break;
			case '!':
				break;
			case '>':
				render_partial(m, &tag);
				break;
			default:
				append_value(m, lookup(m, tag.name), tag.kind == 0 && m->html);
				break;
		}
	}
	if (until > from)
		appendBinaryStringInfo(m->out, from, until - from);
}

PG_FUNCTION_INFO_V1(sales_render_template);
PG_FUNCTION_INFO_V1(sales_template_variables);

/*
 * Names of variables that stand outside any section: where one is missing,
 * the text has a hole.  (Inside a section its writer has said what happens.)
 */
static void
required_variables(Mustache *m, const char *from, const char *until, List **names)
{
	Tag			tag;

	while (next_tag(m, from, until, &tag))
	{
		from = tag.end;
		if (tag.kind == '#' || tag.kind == '^')
			from = find_close(m, &tag, until).end;
		else if (tag.kind == '/')
			template_error(m, tag.start, "a section is closed that was not opened");
		else if (tag.kind == '=')
			set_delimiters(m, tag.start, tag.name);
		else if (tag.kind == 0 || tag.kind == '&' || tag.kind == '{')
			*names = lappend(*names, makeString(tag.name));
	}
}

/* sales_internal.template_variables(template text) → text[], each once */
Datum
sales_template_variables(PG_FUNCTION_ARGS)
{
	char	   *source = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Mustache	m = {0};
	List	   *names = NIL;
	List	   *seen = NIL;
	ListCell   *cell;
	Datum	   *values;
	int			n = 0;

	m.text = source;
	strcpy(m.open, "{{");
	strcpy(m.close, "}}");
	required_variables(&m, source, source + strlen(source), &names);
	values = palloc(sizeof(Datum) * Max(list_length(names), 1));
	foreach(cell, names)
	{
		if (list_member(seen, lfirst(cell)))
			continue;
		seen = lappend(seen, lfirst(cell));
		values[n++] = CStringGetTextDatum(strVal(lfirst(cell)));
	}
	PG_RETURN_ARRAYTYPE_P(construct_array(values, n, TEXTOID, -1, false, TYPALIGN_INT));
}

/* sales.render_template(template text, variables jsonb, html boolean) → text */
Datum
sales_render_template(PG_FUNCTION_ARGS)
{
	char	   *source = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *variables = DatumGetCString(DirectFunctionCall1(jsonb_out, PG_GETARG_DATUM(1)));
	Mustache	m = {0};
	StringInfoData out;
	json_error_t problem;
	json_t	   *root;

	initStringInfo(&out);
	m.text = source;
	m.html = PG_GETARG_BOOL(2);
	m.out = &out;
	strcpy(m.open, "{{");
	strcpy(m.close, "}}");
	root = json_loads(variables, JSON_DECODE_ANY, &problem);
	/* integers beyond 64 bits, as jsonb has them */
	if (root == NULL)
		root = json_loads(variables, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, &problem);
	if (root == NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the variables cannot be read as JSON"),
						errdetail("%s at character %d.", problem.text, problem.position),
						errhint("A number with more digits than a template can show is to be given as text.")));
	m.stack[m.depth++] = root;
	PG_TRY();
	{
		render_part(&m, source, source + strlen(source));
	}
	PG_FINALLY();
	{
		json_decref(root);
	}
	PG_END_TRY();
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}
