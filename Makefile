# sales_assistant: build with PGXS.  `make demo` and `make test` do their own
# set-up on a fresh Debian 12; `make && make install` is the plain build.

EXTENSION  = sales_assistant
# The version lives in the control file and nowhere else.
EXTVERSION := $(shell sed -n "s/^default_version *= *'\([^']*\)'.*/\1/p" sales_assistant.control)

MODULE_big = sales_assistant
OBJS       = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c src/*/*.c)))
SRC_HEADERS = $(wildcard src/*.h src/*/*.h)

# The install script is joined from parts: tables first, in this order, then
# the functions (which are CREATE OR REPLACE and so can be re-run by upgrades).
# install/ parts and functions/ parts carry a domain's one word.
include sql/parts.mk
SQL_PARTS  = sql/00_header.sql \
             $(SQL_INSTALL:%=sql/install/%.sql) \
             $(SQL_FUNCTIONS:%=sql/functions/%.sql)
SQL_JOINED = $(EXTENSION)--$(EXTVERSION).sql

# An upgrade to this version: what install/ parts changed, then all functions again.
# Released scripts, of installs and of upgrades, are kept as they were.
UPGRADES   = $(patsubst sql/upgrades/%.sql,$(EXTENSION)--%.sql,$(wildcard sql/upgrades/*--$(EXTVERSION).sql))

DATA_built = $(SQL_JOINED) $(UPGRADES)
DATA       = $(wildcard sql/releases/$(EXTENSION)--*.sql)
# Isolation tests and regression tests share expected/, so their names differ.
EXTRA_CLEAN = $(SQL_JOINED) $(UPGRADES) results output_iso tmp_check log regression.diffs regression.out

PG_CPPFLAGS = -Isrc -DSALES_VERSION='"$(EXTVERSION)"' $(shell xml2-config --cflags 2>/dev/null) $(shell pkg-config --cflags gmime-3.0 2>/dev/null)
PG_CFLAGS   = -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare \
              -Wno-missing-field-initializers -Wno-cast-function-type $(EXTRA_CFLAGS)
SHLIB_LINK  = -lcurl -ljansson -lcrypto -lssl -lxml2 -lidn2 -lcrypt -lcares -ldl \
              $(shell pkg-config --libs gmime-3.0 2>/dev/null) -lm

# C functions gain nothing from JIT inlining, and bitcode needs a clang.
override with_llvm = no

REGRESS     ?= $(patsubst test/sql/%.sql,%,$(sort $(wildcard test/sql/*.sql)))
REGRESS_OPTS = --inputdir=test --load-extension=sales_assistant
ISOLATION   ?= $(patsubst test/specs/%.spec,%,$(sort $(wildcard test/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test --outputdir=. --load-extension=sales_assistant
TAP_TESTS    = 1
PROVE_TESTS  = $(sort $(wildcard test/t/*.pl))

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

$(OBJS): $(SRC_HEADERS)

$(SQL_JOINED): $(SQL_PARTS) sql/parts.mk sales_assistant.control
	cat $(SQL_PARTS) > $@.tmp && mv $@.tmp $@

$(UPGRADES): $(EXTENSION)--%.sql: sql/upgrades/%.sql sql/01_upgrade_header.sql $(SQL_FUNCTIONS:%=sql/functions/%.sql) sql/parts.mk
	cat sql/01_upgrade_header.sql $< $(SQL_FUNCTIONS:%=sql/functions/%.sql) > $@.tmp && mv $@.tmp $@

# --- the two commands ---

.PHONY: test test-pg17 fuzz check-static check-sanitize check-valgrind reference coverage soak deb demo demo-stop bench

test:
	@scripts/test.sh

# The same suite on PostgreSQL 17, in a Debian 13 made by debootstrap under .work/.
test-pg17:
	@scripts/pg17.sh

# Each says at its top what it does and needs.
check-static:
	@scripts/static.sh
check-sanitize:
	@scripts/sanitize.sh
check-valgrind:
	@scripts/valgrind.sh
reference:
	@scripts/reference.sh
fuzz:
	@scripts/fuzz.sh
coverage:
	@scripts/coverage.sh
soak:
	@scripts/soak.sh
deb:
	@scripts/deb.sh

# CSV=path imports the user's own file instead of the one shipped.
demo:
	@demo/demo.sh start $(CSV)

demo-stop:
	@demo/demo.sh stop

bench:
	@test/bench/run.sh
