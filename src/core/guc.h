#ifndef SALES_CORE_GUC_H
#define SALES_CORE_GUC_H

/* Settings read by more than one domain; a domain's own stand in its own file. */
extern char *guc_key_file;
extern char *guc_allowed_hosts;
extern char *guc_ca_file;
extern char *guc_clock;

extern void guc_init(void);
extern void guc_reserve(void);

#endif							/* SALES_CORE_GUC_H */
