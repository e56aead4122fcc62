#!/bin/sh
# Makes sure that this host has what a command needs beyond Python packages: `venv` (Python's own
# venv with ensurepip), `mariadb` (a server to start in a test's directory), `compiler` (of C, for
# the small programs of the chaos runs) or `browser` (Chromium, with a font, for the pages' tests).
#
#   scripts/packages.sh venv PYTHON
#   scripts/packages.sh mariadb
#   scripts/packages.sh compiler
#   scripts/packages.sh browser
#
# As root on Debian it installs the packages. As anyone else it says what is missing: without venv
# there is no going on (exit 1), without the others the tests that need them are skipped, visibly.
set -eu

say() { printf '%s\n' "$*" >&2; }

install() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 || return 1
    say "installing Debian packages: $*"
    log=$(mktemp)
    # The first try fails where package lists are missing or out of date.
    apt install "$@" >"$log" 2>&1 || { apt update && apt install "$@"; } >"$log" 2>&1 || cat "$log" >&2
    rm -f "$log"
}

apt() { DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends -o DPkg::Lock::Timeout=300 "$@"; }

has_venv() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

# Users do not have /usr/sbin in their PATH.
has_mariadb() (
    PATH="$PATH:/usr/sbin:/usr/bin"
    command -v mariadbd && command -v mariadb-install-db && command -v mariadb
) >/dev/null 2>&1

# What compiles this compiles ours.
has_compiler() (
    directory=$(mktemp -d)
    trap 'rm -rf "$directory"' EXIT
    printf '#include <time.h>\nint main(void) { return 0; }\n' >"$directory/a.c"
    cc -o "$directory/a" "$directory/a.c"
) >/dev/null 2>&1

has_browser() { command -v chromium >/dev/null 2>&1 && [ -d /usr/share/fonts/truetype ]; }

case "$1" in
venv)
    has_venv "$2" && exit 0
    package="python$("$2" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
    install "$package" || true
    has_venv "$2" && exit 0
    say "$2 has no venv module with ensurepip. On Debian: apt-get install --no-install-recommends $package"
    exit 1
    ;;
mariadb)
    has_mariadb && exit 0
    # The core packages hold the programs and no service: nothing is started, no user is made.
    install mariadb-server-core mariadb-client-core || true
    has_mariadb && exit 0
    say "MariaDB is missing, so its tests are skipped. On Debian: apt-get install --no-install-recommends mariadb-server-core mariadb-client-core"
    ;;
compiler)
    has_compiler && exit 0
    install gcc libc6-dev || true
    has_compiler && exit 0
    say "A C compiler is missing, so the chaos runs are skipped. On Debian: apt-get install --no-install-recommends gcc libc6-dev"
    ;;
browser)
    has_browser && exit 0
    install chromium fonts-dejavu-core || true
    has_browser && exit 0
    say "Chromium is missing, so the tests of the pages are skipped. On Debian: apt-get install --no-install-recommends chromium fonts-dejavu-core"
    ;;
*)
    say "usage: $0 venv PYTHON | mariadb | compiler | browser"
    exit 2
    ;;
esac
