/*
 * guc.c
 *		Settings that several domains share, all named sales_assistant.*.
 *
 * A setting that one domain alone reads is defined in that domain's init
 * function.  guc_reserve() must run after every domain has defined its own:
 * it turns misspelt sales_assistant.* names into errors.
 */
#include "postgres.h"

#include "core/clock.h"
#include "core/guc.h"
#include "utils/guc.h"

char *guc_key_file = NULL;
char *guc_allowed_hosts = NULL;
char *guc_ca_file = NULL;
char *guc_clock = NULL;

void
guc_init(void)
{
	DefineCustomStringVariable("sales_assistant.key_file",
							   "File that holds the master key.",
							   "A relative path is taken from the data directory. The file is "
							   "made on first need, readable by the server's user alone.",
							   &guc_key_file, "sales_assistant.key", PGC_SIGHUP,
							   GUC_SUPERUSER_ONLY, NULL, NULL, NULL);

	DefineCustomStringVariable("sales_assistant.allowed_hosts",
							   "Hosts that outbound calls may reach although they are not public.",
							   "A comma-separated list of host, host:port or address/prefix.",
							   &guc_allowed_hosts, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL,
							   NULL, NULL);

	DefineCustomStringVariable("sales_assistant.ca_file",
							   "File of certificate authorities that outbound calls trust.",
							   "Empty: those of the system. For services of one's own network.",
							   &guc_ca_file, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL, NULL, NULL);

	DefineCustomStringVariable("sales_assistant.clock",
							   "Time that the extension takes for now; empty means the real time.",
							   "For tests: schedules, expiries and leases follow it.", &guc_clock,
							   "", PGC_SUSET, GUC_NOT_IN_SAMPLE, clock_check_hook,
							   clock_assign_hook, NULL);
}

void
guc_reserve(void)
{
	MarkGUCPrefixReserved("sales_assistant");
}
