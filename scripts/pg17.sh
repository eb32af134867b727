#!/bin/bash
# make test-pg17: the whole suite on PostgreSQL 17, with the same expected outputs.
# Debian 13, which has that server, goes into a folder of its own (1.5 GB, made once,
# a few minutes) and the suite runs in there by chroot; needs root.  Mounts live in a
# mount namespace, so nothing stays mounted whatever happens.
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

export system project shared
exec unshare --mount --propagation private bash -euc '
    mkdir -p "$system/project" "$system/shared"
    mount --bind "$project" "$system/project"
    mount -o remount,ro,bind "$system/project"
    [ ! -d "$shared" ] || mount --bind "$shared/.." "$system/shared"
    mount -t proc proc "$system/proc"
    mount --rbind /dev "$system/dev"
    cp -L /etc/resolv.conf "$system/etc/resolv.conf"
    # no daemon starts when its package is installed
    printf "#!/bin/sh\nexit 101\n" >"$system/usr/sbin/policy-rc.d"
    chmod 755 "$system/usr/sbin/policy-rc.d"
    exec chroot "$system" env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 TMPDIR=/tmp \
        PG_MAJOR=17 SHARED_DATA=/shared/data TESTS="${TESTS:-}" REGRESS="${REGRESS:-}" ISOLATION="${ISOLATION:-}" \
        TAP="${TAP:-}" KEEP="${KEEP:-}" bash -c "cd /project && \"\$@\"" bash "$@"
' bash "${@:-scripts/test.sh}"
