/*
 * fuzz_address.c
 *		Addresses of mail: what is taken can stand in a command of SMTP and in a header.
 */
#include "postgres.h"

#include "campaigns/address.c"
#include "shim.h"

static void
read_address(const char *data, size_t size)
{
	char	   *copy = palloc(size);
	const char *reason = NULL;
	LOCAL_FCINFO(call, 1);

	memcpy(copy, data, size);
	if (email_is_valid(copy, (int) size, &reason))
	{
		const char *at = memchr(copy, '@', size);

		fuzz_claim(at != NULL && at > copy && at < copy + size - 1);
		for (size_t i = 0; i < size; i++)
			fuzz_claim((unsigned char) copy[i] > ' ' && strchr("<>()[]\\,:;\"", copy[i]) == NULL);
	}
	else
		fuzz_claim(reason != NULL);
	memset(call, 0, SizeForFunctionCallInfo(1));
	call->nargs = 1;
	call->args[0].value = fuzz_varlena(data, size);
	{
		Datum		normal = sales_normal_email(call);

		if (!call->isnull)
		{
			char	   *once = text_to_cstring(DatumGetTextPP(normal));

			call->args[0].value = normal;
			normal = sales_normal_email(call);
			fuzz_claim(!call->isnull && strcmp(once, text_to_cstring(DatumGetTextPP(normal))) == 0);
		}
	}
}

int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	size = strnlen((const char *) data, size);	/* no text holds a NUL */
	if (size <= 1000)
		fuzz_claim(fuzz_run(read_address, (const char *) data, size));
	return 0;
}
