/*
 * fuzz_mustache.c
 *		Templates: the text before the first NUL, with the JSON behind it as variables.
 */
#include "postgres.h"

#include "campaigns/mustache.c"
#include "shim.h"

static json_t *root;

static void
start(Mustache *m, const char *text, StringInfo out)
{
	memset(m, 0, sizeof(*m));
	m->text = text;
	m->out = out;
	strcpy(m->open, "{{");
	strcpy(m->close, "}}");
}

static void
render_it(const char *data, size_t size)
{
	char	   *text = fuzz_string(data, size);
	Mustache	m;
	StringInfoData out;

	initStringInfo(&out);
	start(&m, text, &out);
	m.html = size % 2 == 0;
	m.stack[m.depth++] = root;
	render_part(&m, text, text + strlen(text));
	fuzz_claim(m.depth == 1);
}

static void
list_variables(const char *data, size_t size)
{
	char	   *text = fuzz_string(data, size);
	Mustache	m;
	List	   *names = NIL;

	start(&m, text, NULL);
	required_variables(&m, text, text + strlen(text), &names);
}

int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	size_t		length = strnlen((const char *) data, size);

	root = length + 1 < size ? json_loadb((const char *) data + length + 1, size - length - 1, JSON_DECODE_ANY, NULL) : NULL;
	if (root == NULL)
		root = json_loads("{\"a\": [1, {\"b\": \"<x>\"}, []], \"s\": \"text\", \"t\": true, \"f\": false, \"n\": null, \"o\": {\"p\": {\"q\": 1.5}},"
						  " \"_partials\": {\"p\": \"{{>p}}{{s}}\\n\", \"l\": \"  {{#a}}\\n{{.}}\\n{{/a}}\\n\"}}", 0, NULL);
	(void) fuzz_run(render_it, (const char *) data, length);
	(void) fuzz_run(list_variables, (const char *) data, length);
	json_decref(root);
	return 0;
}
