#ifndef SALES_CAMPAIGNS_MIME_H
#define SALES_CAMPAIGNS_MIME_H

/* Prepares GMime, once a process; cheap to call again. */
extern void mime_start(void);

#endif							/* SALES_CAMPAIGNS_MIME_H */
