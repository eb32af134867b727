/*
 * outlook.c
 *		How a company's deals went on from a stage, and what that says of an open one.
 *
 * The outlook of a stage is reckoned of all deals that reached it, and of those
 * that stayed in it as long as a quarter, a half ... of those that left it did,
 * and longer than any of these: what is likely changes with the time spent.
 *
 * Deals that are still open are no losses, and no wins either: leaving them out
 * would call a stage promising where nine in ten are never heard of again.  So
 * the share that is won is an Aalen-Johansen estimate: deals are put in order of
 * the time from entry to decision, or to now; each decision takes its part of
 * those that were open just before, and the wins' parts add up.
 *
 * The chance of an open deal is drawn from there towards what waiting makes of
 * the stage's own chance, with the weight of ten deals.
 *
 * All of it is a sort of the episodes and a pass over them for each span; the
 * same in SQL took ten times as long, for large companies seconds.
 */
#include "postgres.h"

#include <math.h>

#include "funnel/outlook.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#define USUAL_LEAVES 0.7		/* what is usual elsewhere, worth USUAL_WEIGHT deals */
#define USUAL_PACE 720.0
#define USUAL_WEIGHT 4
#define USUAL_DECISION 2160.0	/* hours, where no deal is decided */
#define PRIOR_WEIGHT 5			/* as stage_chance() in SQL */
#define WAITING_WEIGHT 10

static const double parts[] = {0.25, 0.5, 0.75, 0.9, 0.97};

void *
funnel_room_for_one(MemoryContext memory, void *rows, int64 nrows, int64 *room, Size size)
{
	if (nrows < *room)
		return rows;
	*room = Max(*room * 2, 64);
	return rows == NULL ? MemoryContextAlloc(memory, size * *room) : repalloc_huge(rows, size * *room);
}

void
funnel_add_episode(Episodes *episodes, const Episode *episode)
{
	episodes->rows = funnel_room_for_one(CurrentMemoryContext, episodes->rows, episodes->nrows, &episodes->room,
										 sizeof(Episode));
	episodes->rows[episodes->nrows++] = *episode;
}

static int
compare_doubles(const void *a, const void *b)
{
	double		x = *(const double *) a;
	double		y = *(const double *) b;

	return x < y ? -1 : x > y ? 1 : 0;
}

/* By the time to the decision or to now; of one time decisions first, and of these wins. */
static int
compare_waited(const void *a, const void *b)
{
	const Episode *x = a;
	const Episode *y = b;

	if (x->waited != y->waited)
		return x->waited < y->waited ? -1 : 1;
	if (x->decided != y->decided)
		return x->decided ? -1 : 1;
	return x->won == y->won ? 0 : x->won ? -1 : 1;
}

/* Place of a part of n sorted values, as percentile_disc() has it. */
static int64
place_of(double part, int64 n)
{
	return Max((int64) ceil(part * n), 1) - 1;
}

static void
add_span(Outlook *outlook, double from_hours)
{
	for (int i = 0; i < outlook->nspans; i++)
		if (outlook->spans[i].from_hours == from_hours)
			return;
	outlook->spans[outlook->nspans++].from_hours = from_hours;
}

/* Where spans begin, and at what pace deals leave the stage. */
static void
find_spans(Outlook *outlook, const Episodes *episodes)
{
	double	   *stayed = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(double) * Max(episodes->nrows, 1));
	int64		nleft = 0;
	int64		nstuck = 0;
	double		sum = 0;
	double		long_stay = USUAL_PACE;

	for (int64 i = 0; i < episodes->nrows; i++)
		if (episodes->rows[i].left_it)
		{
			stayed[nleft++] = episodes->rows[i].stayed;
			sum += episodes->rows[i].stayed;
		}
	outlook->nspans = 0;
	add_span(outlook, 0);
	if (nleft > 0)
	{
		qsort(stayed, nleft, sizeof(double), compare_doubles);
		for (int i = 0; i < lengthof(parts); i++)
			add_span(outlook, stayed[place_of(parts[i], nleft)]);
		add_span(outlook, stayed[nleft - 1] + 1);
		long_stay = stayed[place_of(0.9, nleft)];
	}
	for (int64 i = 0; i < episodes->nrows; i++)
		if (!episodes->rows[i].left_it && episodes->rows[i].stayed > long_stay)
			nstuck++;
	outlook->pace = (sum + USUAL_WEIGHT * USUAL_PACE) / (nleft + USUAL_WEIGHT);
	outlook->leaves = (nleft + USUAL_WEIGHT * USUAL_LEAVES) / (nleft + USUAL_WEIGHT + nstuck);
	pfree(stayed);
}

/* How long three in four of a span's decided deals took to be decided. */
static double
usual_decision(const Episodes *episodes, double from_hours, int64 ndecided)
{
	int64		place = place_of(0.75, ndecided);

	for (int64 i = 0; ndecided > 0 && i < episodes->nrows; i++)
		if (episodes->rows[i].stayed >= from_hours && episodes->rows[i].decided && place-- == 0)
			return episodes->rows[i].waited;
	return USUAL_DECISION;
}

/* False where no deal stayed that long.  Episodes are in order of the time waited. */
static bool
reckon_span(Span *span, const Episodes *episodes)
{
	int64		at_risk = 0;
	int64		ndecided = 0;
	double		open = 1;		/* chance to be open just before */
	double		share = 0;
	double		usual;

	for (int64 i = 0; i < episodes->nrows; i++)
		if (episodes->rows[i].stayed >= span->from_hours)
		{
			at_risk++;
			ndecided += episodes->rows[i].decided;
		}
	if (at_risk == 0)
		return false;
	usual = usual_decision(episodes, span->from_hours, ndecided);
	span->deals = 0;
	for (int64 i = 0; i < episodes->nrows; i++)
	{
		const Episode *episode = &episodes->rows[i];

		if (episode->stayed < span->from_hours)
			continue;
		if (episode->won)
			share += open / at_risk;
		if (episode->decided && at_risk > 1)
			open *= 1 - 1.0 / at_risk;
		if (episode->decided || episode->waited > usual)
			span->deals++;
		at_risk--;
	}
	span->share = Min(share, 1);
	return true;
}

static int
compare_spans(const void *a, const void *b)
{
	return compare_doubles(&((const Span *) a)->from_hours, &((const Span *) b)->from_hours);
}

/* The outlook of a stage from all that reached it; puts these in order. */
void
funnel_reckon(Outlook *outlook, Episodes *episodes)
{
	int			nspans = 0;

	outlook->nspans = 0;
	if (episodes->nrows == 0)
		return;
	find_spans(outlook, episodes);
	CHECK_FOR_INTERRUPTS();
	qsort(episodes->rows, episodes->nrows, sizeof(Episode), compare_waited);
	qsort(outlook->spans, outlook->nspans, sizeof(Span), compare_spans);
	for (int i = 0; i < outlook->nspans; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (reckon_span(&outlook->spans[i], episodes))
			outlook->spans[nspans++] = outlook->spans[i];
	}
	outlook->nspans = nspans;
}

/*
 * What a stage's chance becomes while nothing happens.  Deals that leave the
 * stage do so after an exponential time of mean `pace`; the rest stay for ever.
 * Who has waited is ever more likely to be one of the rest.
 */
double
funnel_waiting_chance(double chance, double leaves, double pace, double hours)
{
	double		left_open = exp(-Min(hours / pace, 50));

	return Min(chance, leaves) * left_open / (leaves * left_open + 1 - leaves);
}

/*
 * Chance of a win of a deal that has been in the stage for so many hours, and how
 * many deals it rests on.  Between two spans the evidence goes straight from one
 * to the other.
 */
double
funnel_chance(const Outlook *outlook, double hours, double *deals)
{
	const Span *spans = outlook->spans;
	double		at_entry;
	double		n;
	double		wins;
	int			i = 0;

	if (outlook->nspans == 0)
	{
		*deals = WAITING_WEIGHT;
		return outlook->prior;
	}
	hours = Max(hours, 0);
	at_entry = (spans[0].deals * spans[0].share + PRIOR_WEIGHT * outlook->prior) / (spans[0].deals + PRIOR_WEIGHT);
	while (i + 1 < outlook->nspans && hours >= spans[i + 1].from_hours)
		i++;
	n = spans[i].deals;
	wins = n * (i == 0 ? at_entry : spans[i].share);
	if (i + 1 < outlook->nspans)
	{
		double		part = (hours - spans[i].from_hours) / (spans[i + 1].from_hours - spans[i].from_hours);

		wins += (spans[i + 1].deals * spans[i + 1].share - wins) * part;
		n += (spans[i + 1].deals - n) * part;
	}
	*deals = n + WAITING_WEIGHT;
	return (wins + WAITING_WEIGHT * funnel_waiting_chance(at_entry, outlook->leaves, outlook->pace, hours)) / *deals;
}
