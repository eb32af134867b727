#ifndef SALES_WORKER_TURNS_H
#define SALES_WORKER_TURNS_H

#include "queue/job.h"
#include "worker/open_calls.h"
#include "worker/steps.h"

/*
 * Turns that one transaction takes at most: together, and apart; and for how many
 * transactions after one that was undone turns are taken apart.
 */
#define TURNS_TOGETHER 400
#define TURNS_APART 60
#define APART_FOR 8

/* How many jobs a claim may take now, if all of them call the outside. */
extern int	worker_turns_at_once(void);

/*
 * Runs a step that claims jobs and takes the first turn of those that call the outside
 * (worker_first_turns()), in the current transaction.  False if that failed: all of it is
 * undone, and to be done again for fewer jobs.
 */
extern bool worker_claim_together(WorkerStep step, void *arg);

/* In such a step: takes the first turns. */
extern void worker_first_turns(List *jobs);

/*
 * Takes the turns of calls that have ended, in the current transaction.  False if they
 * were taken together and that failed: all of it is undone.  Taken apart, those whose answer
 * could not be written because somebody has a lock are marked to `keep`.
 */
extern bool worker_take_answers(int n, OpenCall **calls, bool together);

/*
 * After the transaction of any turns: starts the calls that were prepared and counts the
 * jobs that ended, or drops all that where it was undone.
 */
extern void worker_end_turns(bool committed);

#endif							/* SALES_WORKER_TURNS_H */
