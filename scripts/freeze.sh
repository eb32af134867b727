#!/bin/bash
# Closes the version in the control file and opens the next: its install script, as it
# is joined now, goes to sql/releases and is never edited again; from then on what
# changes in sql/install is done a second time, as ALTERs, in sql/upgrades/THIS--NEXT.sql.
# Functions need no second time: an upgrade runs all of sql/functions again.
#   usage: freeze.sh NEXT        such as freeze.sh 1.1
set -euo pipefail
cd "$(dirname "$0")/.."
next=${1:?usage: freeze.sh NEXT}
this=$(sed -n "s/^default_version *= *'\([^']*\)'.*/\1/p" sales_assistant.control)
[ "$this" != "$next" ] || { echo "the version is $next already" >&2; exit 1; }
[ ! -e "sql/releases/sales_assistant--$this.sql" ] || { echo "$this is released already" >&2; exit 1; }

mkdir -p sql/releases sql/upgrades
make -s "sales_assistant--$this.sql"
cp "sales_assistant--$this.sql" sql/releases/
for upgrade in sql/upgrades/*--"$this".sql; do
    [ -e "$upgrade" ] || continue
    joined=sales_assistant--$(basename "$upgrade")
    make -s "$joined"
    git mv "$upgrade" "sql/releases/$joined" 2>/dev/null || mv "$upgrade" "sql/releases/$joined"
    cp "$joined" sql/releases/
    rm "$joined"
done
rm "sales_assistant--$this.sql"
cat >"sql/upgrades/$this--$next.sql" <<SQL
-- What version $next changes in tables, types and seeds of version $this; the functions follow.
SQL
sed -i "s/^default_version *=.*/default_version = '$next'/" sales_assistant.control
# (that of the spec of META.json is none of ours)
sed -i "/meta-spec/!s/\"version\": \"$this\(\.0\)*\"/\"version\": \"$next.0\"/" META.json
echo "sql/releases has $this; this tree is $next: write sql/upgrades/$this--$next.sql, CHANGELOG.md and debian/changelog"
