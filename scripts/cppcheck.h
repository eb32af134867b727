/*
 * cppcheck.h
 *		What cppcheck must know of the server's macros.
 *
 * Its headers are left out, as they would take an hour: here are those of
 * their macros that change the flow of control.
 */
#define ERROR 21
#define WARNING 19
#define ereport(level, ...) do { if ((level) >= ERROR) exit(1); } while (0)
#define elog(level, ...) do { if ((level) >= ERROR) exit(1); } while (0)
#define PG_TRY() if (1) {
#define PG_CATCH() } else {
#define PG_FINALLY() } {
#define PG_END_TRY() }
#define PG_FUNCTION_INFO_V1(name)
#define PG_MODULE_MAGIC
#define PG_RETURN_NULL() return 0
#define pg_attribute_noreturn() __attribute__((noreturn))
