/*
 * sales_assistant.c
 *		Where the library starts: one init per domain, nothing else.
 *
 * An init defines the domain's settings, hooks and, when the library is
 * preloaded, its shared memory and workers.  The order matters only in that
 * guc_reserve() comes last.
 */
#include "postgres.h"

#include "audit/audit.h"
#include "core/estimate.h"
#include "core/guc.h"
#include "core/progress.h"
#include "distribute/carry.h"
#include "distribute/planner.h"
#include "distribute/shards.h"
#include "fmgr.h"
#include "http/dns.h"
#include "queue/queue.h"
#include "scoring/scorecard.h"
#include "tenancy/context.h"
#include "tenancy/revocation.h"
#include "tenancy/statement.h"
#include "tenancy/throttle.h"
#include "worker/launcher.h"
#include "worker/slots.h"
#include "worker/worker.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

void
_PG_init(void)
{
	guc_init();
	core_estimate_init();
	distribute_init();
	context_init();
	revocation_init();
	throttle_init();
	statement_init();
	audit_init();
	dns_init();
	queue_init();
	scoring_init();
	progress_init();
	slots_init();
	worker_init();
	launcher_init();
	distribute_init_hooks();
	distribute_planner_init();
	distribute_carry_init();
	guc_reserve();
}
