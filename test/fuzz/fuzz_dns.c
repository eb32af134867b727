/*
 * fuzz_dns.c
 *		What a DNS server answered, which may be anybody who sends packets: MX and
 *		addresses, and the texts of TXT records.
 */
#include "postgres.h"

#include "http/dns.c"
#include "campaigns/dns.c"
#include "shim.h"

static void
read_answer(const char *data, size_t size)
{
	unsigned char *answer = palloc(size);
	struct ares_txt_ext *records = NULL;
	const char *verdict;

	memcpy(answer, data, size);
	verdict = read_mx(answer, (int) size);
	fuzz_claim(verdict == NULL || strcmp(verdict, "mx") == 0 || strcmp(verdict, "null_mx") == 0);
	(void) has_address(answer, (int) size, ns_t_a);
	(void) has_address(answer, (int) size, ns_t_aaaa);
	if (ares_parse_txt_reply_ext(answer, (int) size, &records) == ARES_SUCCESS)
	{
		Datum	   *texts = palloc(sizeof(Datum) * (size + 1));
		int			n = collect_texts(records, texts);

		for (int i = 0; i < n; i++)
			(void) text_to_cstring(DatumGetTextPP(texts[i]));
		ares_free_data(records);
	}
}

int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	fuzz_claim(fuzz_run(read_answer, (const char *) data, size));
	return 0;
}
