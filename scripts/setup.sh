#!/bin/sh
# Installs every Debian package that building, testing and the demo need.
# Called by the Makefile; does nothing when all are there.  Needs root or sudo.
#   usage: setup.sh [build|test|bench|check]    build: enough for make demo; test: make test; bench: make bench; check: all
set -eu

major=${PG_MAJOR:-15}
build="build-essential pkg-config postgresql-$major postgresql-server-dev-$major
    libcurl4-openssl-dev libjansson-dev libjwt-dev libssl-dev libxml2-dev
    libgmime-3.0-dev libidn2-dev libc-ares-dev libcrypt-dev libkrb5-dev"
test='openssl libipc-run-perl python3 python3-cryptography chromium pgbouncer postfix dovecot-imapd dovecot-lmtpd fakeroot vsftpd openssh-server libnss-wrapper'

# what learner.py compares with
bench='python3-sklearn'

# for make check-static, fuzz, coverage, valgrind, deb and test-pg17
check='cppcheck clang clang-tools libclang-rt-14-dev valgrind gcovr debhelper devscripts lintian postgresql-server-dev-all debootstrap'

case ${1:-test} in
    build) wanted=$build ;;
    test) wanted="$build $test" ;;
    bench) wanted="$build $test $bench" ;;
    check) wanted="$build $test $check" ;;
    *) echo "usage: $0 [build|test|bench|check]" >&2; exit 2 ;;
esac

missing=
for package in $wanted; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$' ||
        missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then sudo=
elif command -v sudo >/dev/null; then sudo=sudo
else
    echo "these packages are missing and need root to install:$missing" >&2
    exit 1
fi
echo "installing:$missing"
# The packages would start daemons (a cluster, an IMAP server) that nobody asked for.
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
