#ifndef SALES_SCORING_MODEL_H
#define SALES_SCORING_MODEL_H

#include "scoring/learner.h"
#include "utils/uuid.h"

/* A scorecard as JSON text, palloc'd. */
extern char *scoring_model_json(const Scorecard *card);

/* The scorecard that JSON text holds; an error if it holds none. */
extern Scorecard *scoring_model_parse(const char *text);

/* The stored scorecard; SPI must be connected. */
extern Scorecard *scoring_model_load(const pg_uuid_t *model_id);

#endif							/* SALES_SCORING_MODEL_H */
