#ifndef SALES_FUNNEL_OUTLOOK_H
#define SALES_FUNNEL_OUTLOOK_H

#define MAX_STAGES 16
#define MAX_SPANS 7				/* from the entry, five parts of those that left, and beyond */

/* How a deal that reached a stage went on; times in hours. */
typedef struct Episode
{
	double		stayed;			/* in the stage, till now where it is there still */
	double		waited;			/* from the entry to the decision, or till now */
	bool		left_it;
	bool		decided;
	bool		won;
} Episode;

typedef struct Episodes
{
	Episode    *rows;
	int64		nrows;
	int64		room;
} Episodes;

/* Deals that were in the stage for at least so many hours. */
typedef struct Span
{
	double		from_hours;
	int64		deals;			/* that the share rests on */
	double		share;			/* won in the end */
} Span;

typedef struct Outlook
{
	int			nspans;			/* 0: nobody has reached the stage; else the first is of all */
	Span		spans[MAX_SPANS];
	double		leaves;			/* share of deals that leave the stage at all */
	double		pace;			/* mean hours after which they do */
	double		prior;			/* chance of a win where there is no history */
} Outlook;

/* The rows of an array, with room for one more; null at first, with a room of 0, then in `memory`. */
extern void *funnel_room_for_one(MemoryContext memory, void *rows, int64 nrows, int64 *room, Size size);

extern void funnel_add_episode(Episodes *episodes, const Episode *episode);
extern void funnel_reckon(Outlook *outlook, Episodes *episodes);
extern double funnel_waiting_chance(double chance, double leaves, double pace, double hours);
extern double funnel_chance(const Outlook *outlook, double hours, double *deals);

#endif							/* SALES_FUNNEL_OUTLOOK_H */
