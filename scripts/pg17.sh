#!/bin/bash
# make test-pg17: the whole suite on PostgreSQL 17, with the same expected outputs.
# Debian 13, which has that server, goes into a folder of its own (1.5 GB, made once,
# a few minutes) and the suite runs in there by chroot; needs root.  Mounts live in a
# mount namespace, so nothing stays mounted whatever happens.  PostgreSQL 15, where this
# machine has it, comes along: t/650_pg_upgrade upgrades from it.
#   usage: pg17.sh [COMMAND...]    default: scripts/test.sh; TESTS, REGRESS, TAP, KEEP as there
#   PG17_ROOT=...                  the folder; default .work/pg17
set -euo pipefail

project=$(cd "$(dirname "$0")/.." && pwd)
system=${PG17_ROOT:-$project/.work/pg17}
shared=${SHARED_DATA:-$(dirname "$project")/shared/data}

if [ "$(id -u)" != 0 ]; then
    echo "make test-pg17 needs root, for debootstrap and chroot" >&2
    exit 1
fi
if [ ! -e "$system/.made" ]; then
    command -v debootstrap >/dev/null || {
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap >/dev/null
    }
    # the mirror that this machine already uses
    mirror=$(apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(COMPONENT)' |
        awk '$2 == "Debian" && $3 == "main" && $1 !~ /security/ { print $1; exit }')
    echo "making $system from ${mirror:?no Debian mirror is configured}"
    mkdir -p "$system"
    debootstrap --variant=minbase trixie "$system" "$mirror" >"$system.log" 2>&1 || { tail "$system.log"; exit 1; }
    touch "$system/.made"
fi

# pg_upgrade is tried from this machine's own server: its files, and the libraries that the other system has not
from=15
[ -x "/usr/lib/postgresql/$from/bin/postgres" ] && [ -d "/usr/include/postgresql/$from/server" ] || from=
if [ -n "$from" ]; then
    rm -rf "$system/opt/pg_from"
    mkdir -p "$system/opt/pg_from"
    ldd "/usr/lib/postgresql/$from/bin/postgres" | awk '$2 == "=>" && $3 ~ "^/" { print $3 }' | while read -r file; do
        [ -e "$system/$file" ] || cp -L "$file" "$system/opt/pg_from/"
    done
fi

export system project shared from
exec unshare --mount --propagation private bash -euc '
    mkdir -p "$system/project" "$system/shared"
    mount --bind "$project" "$system/project"
    mount -o remount,ro,bind "$system/project"
    [ ! -d "$shared" ] || mount --bind "$shared/.." "$system/shared"
    for part in ${from:+lib share include}; do
        mkdir -p "$system/usr/$part/postgresql/$from"
        mount --bind "/usr/$part/postgresql/$from" "$system/usr/$part/postgresql/$from"
    done
    mount -t proc proc "$system/proc"
    mount --rbind /dev "$system/dev"
    cp -L /etc/resolv.conf "$system/etc/resolv.conf"
    # no daemon starts when its package is installed
    printf "#!/bin/sh\nexit 101\n" >"$system/usr/sbin/policy-rc.d"
    chmod 755 "$system/usr/sbin/policy-rc.d"
    exec chroot "$system" env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 TMPDIR=/tmp \
        PG_MAJOR=17 PG_FROM="$from" PG_FROM_LIBS="${from:+/opt/pg_from}" SHARED_DATA=/shared/data TESTS="${TESTS:-}" REGRESS="${REGRESS:-}" ISOLATION="${ISOLATION:-}" \
        TAP="${TAP:-}" KEEP="${KEEP:-}" bash -c "cd /project && \"\$@\"" bash "$@"
' bash "${@:-scripts/test.sh}"
