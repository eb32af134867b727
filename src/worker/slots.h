#ifndef SALES_WORKER_SLOTS_H
#define SALES_WORKER_SLOTS_H

#include "datatype/timestamp.h"
#include "storage/latch.h"

/* Databases that can have a worker at a time; the rest of a cluster's have none. */
#define SLOTS 128

typedef enum WorkerPhase
{
	WORKER_STARTING, WORKER_IDLE, WORKER_WORKING, WORKER_CALLING
} WorkerPhase;

/* What shared memory knows of one database and its worker. */
typedef struct WorkerSlot
{
	Oid			database;		/* InvalidOid: free */
	NameData	name;
	int			pid;			/* 0: no worker */
	Latch	   *latch;
	bool		wanted;			/* the launcher is to start one */
	TimestampTz launched_at;	/* when it last did; 0 once the worker is there */
	bool		stopped;		/* by stop_workers() or for DROP DATABASE */
	WorkerPhase phase;
	TimestampTz started_at;
	int64		jobs_done;
	int64		jobs_failed;
	int			calls_open;
	char		last_error[256];
} WorkerSlot;

/* Is there shared memory, that is, was the library preloaded? */
extern bool slots_are_shared(void);

/* Wakes the worker of a database, or has the launcher start one. */
extern void slots_wake(Oid database);

/* Marks a database as wanted; false when all slots are taken. */
extern bool slots_want(Oid database, const char *name);

/* Stops a database's worker and waits for its end (5 s at most); was there one? */
extern bool slots_stop(Oid database);

/* The database is gone, or has no extension: its slot is free. */
extern void slots_forget(Oid database);

/* Was it stopped, by hand or for a command under way? */
extern bool slots_is_stopped(Oid database);

extern bool slots_has_worker(Oid database);

/* Is there a slot for the database?  Then it is kept for the worker that is about to come. */
extern bool slots_has_place(Oid database);

/* Lets a database have a worker again. */
extern void slots_allow(Oid database);

/* The launcher: itself, and the databases that want a worker. */
extern void slots_set_launcher(Latch *latch);
extern int	slots_wanted(Oid *databases, int most);

/* The database that was last in want of a slot and found none, once; else InvalidOid. */
extern Oid	slots_turned_away(void);

/* A worker: takes its database's slot; false if another has it or it is stopped. */
extern bool slots_attach(void);
extern bool slots_must_stop(void);
extern void slots_report(WorkerPhase phase, int calls_open);
extern void slots_count(bool done, bool failed, const char *error);

extern void slots_init(void);

#endif							/* SALES_WORKER_SLOTS_H */
