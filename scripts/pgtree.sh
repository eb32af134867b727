#!/bin/sh
# Makes a private copy of the installed PostgreSQL ($PG_MAJOR, default 15) in a folder, so that tests
# and the demo install the extension there and never touch the system's server.
# The server finds its files relative to its own binary, so a copy just works.
#   usage: pgtree.sh DIR      prints the path of the copy's pg_config
#   PG_ROOT=/usr   where the server is, in Debian's layout: lib/postgresql/$PG_MAJOR, share/..., include/...
set -eu
dir=$1
version=${PG_MAJOR:-15}
root=${PG_ROOT:-/usr}
bin=$dir/lib/postgresql/$version/bin
if [ ! -x "$bin/postgres" ]; then
    mkdir -p "$dir/lib/postgresql" "$dir/share/postgresql" "$dir/include/postgresql"
    cp -a "$root/lib/postgresql/$version" "$dir/lib/postgresql/$version"
    cp -a "$root/share/postgresql/$version" "$dir/share/postgresql/$version"
    ln -sfn "$root/include/postgresql/$version" "$dir/include/postgresql/$version"
fi
echo "$bin/pg_config"
