/*
 * driver.c
 *		In place of libFuzzer, for the suite: seeds with bytes changed, moved and
 *		doubled by a fixed sequence of random numbers.
 *	usage: fuzz_NAME ROUNDS SEED...
 */
#include "postgres.h"

#include "shim.h"

#define MOST 4000

static uint64 state = UINT64CONST(88172645463325252);

static size_t
below(size_t n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return n > 0 ? state % n : 0;
}

static size_t
read_seed(const char *path, uint8 *into)
{
	FILE	   *f = fopen(path, "rb");
	size_t		n;

	if (f == NULL)
		return 0;
	n = fread(into, 1, MOST, f);
	fclose(f);
	return n;
}

static size_t
mutate(uint8 *data, size_t size)
{
	for (size_t times = 1 + below(6); times > 0; times--)
	{
		size_t		at = below(size + 1);
		size_t		n = 1 + below(20);

		n = Min(n, size - at);

		switch (below(4))
		{
			case 0:
				if (at < size)
					data[at] = (uint8) below(256);
				break;
			case 1:				/* gone */
				memmove(data + at, data + at + n, size - at - n);
				size -= n;
				break;
			case 2:				/* twice */
				if (size + n > MOST)
					break;
				memmove(data + at + n, data + at, size - at);
				size += n;
				break;
			default:			/* there too */
				memmove(data + below(size - n + 1), data + at, n);
		}
	}
	return size;
}

int
main(int argc, char **argv)
{
	uint8		seed[MOST];
	uint8		data[MOST];
	long		rounds = argc > 1 ? atol(argv[1]) : 0;
	long		run = 0;

	for (int i = 2; i < argc; i++)
	{
		size_t		size = read_seed(argv[i], seed);

		for (long round = 0; round < rounds; round++, run++)
		{
			memcpy(data, seed, size);
			(void) LLVMFuzzerTestOneInput(data, round == 0 ? size : mutate(data, size));
		}
	}
	printf("%ld inputs\n", run);
	return run > 0 ? 0 : 1;
}
