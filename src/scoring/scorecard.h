#ifndef SALES_SCORING_SCORECARD_H
#define SALES_SCORING_SCORECARD_H

extern void scoring_init(void);

#endif							/* SALES_SCORING_SCORECARD_H */
