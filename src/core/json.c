/*
 * json.c
 *		What jansson holds, as a jsonb: without the way over text, which costs as
 *		much as the rest of an answer of some KB.
 */
#include "postgres.h"

#include "core/json.h"
#include "miscadmin.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

static JsonbValue *
push_value(JsonbParseState **state, JsonbIteratorToken token, const json_t *value)
{
	JsonbValue	scalar;
	const char *key;
	json_t	   *element;
	size_t		i;

	check_stack_depth();
	switch (json_typeof(value))
	{
		case JSON_OBJECT:
			(void) pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
			json_object_foreach((json_t *) value, key, element)
			{
				scalar.type = jbvString;
				scalar.val.string.val = (char *) key;
				scalar.val.string.len = strlen(key);
				(void) pushJsonbValue(state, WJB_KEY, &scalar);
				(void) push_value(state, WJB_VALUE, element);
			}
			return pushJsonbValue(state, WJB_END_OBJECT, NULL);
		case JSON_ARRAY:
			(void) pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
			json_array_foreach(value, i, element)
				(void) push_value(state, WJB_ELEM, element);
			return pushJsonbValue(state, WJB_END_ARRAY, NULL);
		case JSON_STRING:
			scalar.type = jbvString;
			scalar.val.string.val = (char *) json_string_value(value);
			scalar.val.string.len = json_string_length(value);
			break;
		case JSON_INTEGER:
			scalar.type = jbvNumeric;
			scalar.val.numeric = int64_to_numeric(json_integer_value(value));
			break;
		case JSON_REAL:
			scalar.type = jbvNumeric;
			scalar.val.numeric = DatumGetNumeric(DirectFunctionCall1(float8_numeric,
																	 Float8GetDatum(json_real_value(value))));
			break;
		case JSON_TRUE:
		case JSON_FALSE:
			scalar.type = jbvBool;
			scalar.val.boolean = json_is_true(value);
			break;
		case JSON_NULL:
			scalar.type = jbvNull;
			break;
	}
	return pushJsonbValue(state, token, &scalar);
}

Jsonb *
core_take_json(json_t *value)
{
	JsonbParseState *state = NULL;
	Jsonb	   *volatile jsonb = NULL;

	if (!json_is_object(value))
	{
		json_decref(value);
		elog(ERROR, "out of memory");
	}
	PG_TRY();
	{
		jsonb = JsonbValueToJsonb(push_value(&state, WJB_VALUE, value));
	}
	PG_FINALLY();
	{
		json_decref(value);
	}
	PG_END_TRY();
	return jsonb;
}
