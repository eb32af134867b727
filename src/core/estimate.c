/*
 * estimate.c
 *		A table of the extension is never taken for empty when it is not.
 *
 * The planner knows a table's pages exactly, and guesses its rows from what ANALYZE
 * found last, else from the widths that the columns could have.  After the first
 * import or load into a new database both mislead: an ANALYZE that ran before the
 * rows were committed says none, and a row of prospects could be half a page long
 * but never is.  With as good as no rows every index costs the same, so the planner
 * may well look up a row by the index that walks its whole company, once for each
 * row of an import or for each foreign key: minutes instead of a second.
 *
 * A row takes at most about a quarter of a page, for what is longer goes to TOAST.
 * Fewer than four rows a page therefore means that the statistics do not know, or
 * that most of the table is dead rows, which nobody wants to read either: the
 * planner is told of twenty a page.  Tables under ten pages are left alone, and so
 * are those of other schemas.
 */
#include "postgres.h"

#include "core/estimate.h"
#include "nodes/pathnodes.h"
#include "optimizer/plancat.h"
#include "utils/lsyscache.h"

#define FEWEST_PAGES 10
#define FEWEST_ROWS_PER_PAGE 4
#define USUAL_ROWS_PER_PAGE 20

static get_relation_info_hook_type next_get_relation_info = NULL;

static bool
is_ours(Oid relid)
{
	char	   *schema = get_namespace_name(get_rel_namespace(relid));

	return schema && (strcmp(schema, "sales") == 0 || strcmp(schema, "sales_internal") == 0);
}

static void
estimate_rows(PlannerInfo *root, Oid relid, bool inhparent, RelOptInfo *rel)
{
	ListCell   *cell;

	if (next_get_relation_info)
		next_get_relation_info(root, relid, inhparent, rel);
	if (inhparent || rel->pages < FEWEST_PAGES || rel->tuples >= (double) rel->pages * FEWEST_ROWS_PER_PAGE || !is_ours(relid))
		return;
	rel->tuples = (double) rel->pages * USUAL_ROWS_PER_PAGE;
	/* an index over some of the rows has an estimate of its own */
	foreach(cell, rel->indexlist)
	{
		IndexOptInfo *index = lfirst_node(IndexOptInfo, cell);

		if (index->indpred == NIL)
			index->tuples = rel->tuples;
	}
}

void
core_estimate_init(void)
{
	next_get_relation_info = get_relation_info_hook;
	get_relation_info_hook = estimate_rows;
}
