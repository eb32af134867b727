#ifndef SALES_ROLLUP_MARKS_H
#define SALES_ROLLUP_MARKS_H

/* Forgets which days this transaction has marked, as its marks were consumed. */
extern void marks_forget(void);

#endif							/* SALES_ROLLUP_MARKS_H */
