/*
 * fuzz_model.c
 *		Stored scorecards, as a dump edited by hand or another version has them: read
 *		or refused; of one that is read, every number can be used as the index it is.
 */
#include "postgres.h"

#include <math.h>

#include "scoring/model.c"
#include "shim.h"

static void
check_groups(const Feature *feature, const uint8 *groups, int n)
{
	for (int b = 0; b < feature->nbins; b++)
		fuzz_claim(groups[b] < n);
}

static void
read_it(const char *data, size_t size)
{
	Scorecard  *card = scoring_model_parse(fuzz_string(data, size));
	char	   *text;

	for (int f = 0; f < card->nfeatures; f++)
	{
		const Feature *feature = &card->features[f];

		fuzz_claim(feature->nbins >= 2 && feature->nbins <= MAX_BINS);
		for (int b = 0; b < feature->nbins; b++)
			fuzz_claim(isfinite(feature->points[b]));
	}
	for (int p = 0; p < card->npairs; p++)
	{
		const Pair *pair = &card->pairs[p];

		check_groups(&card->features[pair->first], pair->first_group, pair->nfirst);
		check_groups(&card->features[pair->second], pair->second_group, pair->nsecond);
		for (int i = 0; i < pair->nfirst * pair->nsecond; i++)
			fuzz_claim(isfinite(pair->points[i]));
	}
	/* written and read again it is the same */
	text = scoring_model_json(card);
	fuzz_claim(strcmp(scoring_model_json(scoring_model_parse(text)), text) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	size = strnlen((const char *) data, size);
	if (!fuzz_run(read_it, (const char *) data, size))
		fuzz_claim(fuzz_errcode == ERRCODE_DATA_CORRUPTED);
	return 0;
}
