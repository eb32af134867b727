/*
 * fuzz_cron.c
 *		Cron expressions: read or refused with a hint, never a value out of its field.
 */
#include "postgres.h"

#include "schedule/cron.h"
#include "shim.h"

static void
read_expression(const char *data, size_t size)
{
	CronSchedule s;

	memset(&s, 0xAA, sizeof(s));
	cron_parse(fuzz_string(data, size), &s);
	fuzz_claim(s.minutes != 0 && s.minutes < UINT64CONST(1) << 60);
	fuzz_claim(s.hours != 0 && s.hours < 1 << 24);
	fuzz_claim((s.days & 1) == 0 && (s.days != 0 || s.last_day));
	fuzz_claim((s.months & 1) == 0 && s.months != 0 && s.months < 1 << 13);
	fuzz_claim(s.weekdays < 1 << 7);
	for (int i = 0; i < 7; i++)
		fuzz_claim((s.nth[i] & 1) == 0 && s.nth[i] < 1 << 7);
}

int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	if (!fuzz_run(read_expression, (const char *) data, size))
		fuzz_claim(fuzz_errcode == ERRCODE_INVALID_PARAMETER_VALUE);
	return 0;
}
