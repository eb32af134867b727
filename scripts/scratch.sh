# Sourced, in the project's root, by the scripts that need a server of their own: makes a scratch
# folder with a private copy of the server's binaries, and of the project to build.
#   usage: . scripts/scratch.sh NAME     NAME is a part of the folder's name
# Sets scratch, user (unprivileged), pg_config, bin, SHARED_DATA; as_user and build are functions.
# At the end, however it comes, before_end is called if there is one, the server of $scratch/data is
# stopped, and the folder is removed; with KEEP set it is kept, and said where.

root=$PWD
scratch=$(mktemp -d "${TMPDIR:-/tmp}/sales_assistant_$1.XXXXXX")
user=$(id -un)
[ "$(id -u)" != 0 ] || user=postgres
as_user() {
    if [ "$(id -u)" = 0 ]; then
        runuser -u "$user" -- "$@"
    else
        "$@"
    fi
}

pg_config=$(scripts/pgtree.sh "$scratch/pg")
bin=$(dirname "$pg_config")

finish() {
    status=$?
    trap - EXIT
    if declare -F before_end >/dev/null; then before_end; fi
    if [ -f "$scratch/data/postmaster.pid" ]; then
        as_user "$bin/pg_ctl" -D "$scratch/data" -m immediate stop >/dev/null 2>&1 || true
    fi
    if [ -n "${KEEP:-}" ]; then echo "kept: $scratch"; else rm -rf "$scratch"; fi
    exit $status
}
trap finish EXIT
trap 'exit 130' INT TERM

mkdir "$scratch/src" "$scratch/sock"
tar --exclude=./.git --exclude=./.work --exclude='*.o' --exclude='*.so' --exclude=./tmp_check \
    --exclude=./results --exclude=./output_iso -cf - . | tar -C "$scratch/src" -xf -
export SHARED_DATA=${SHARED_DATA:-$(dirname "$root")/shared/data}
# The unprivileged user may not be able to look where root can.
if [ -d "$SHARED_DATA" ] && ! as_user test -r "$SHARED_DATA/README.md" -o -r "$SHARED_DATA/rls"; then
    cp -rL "$(dirname "$SHARED_DATA")" "$scratch/shared"
    chmod -R u+rwX "$scratch/shared"
    SHARED_DATA=$scratch/shared/data
fi
[ "$(id -u)" != 0 ] || chown -R "$user" "$scratch"
chmod 755 "$scratch"

build() { as_user make -s -C "$scratch/src" -j"$(nproc)" PG_CONFIG="$pg_config" "$@"; }
