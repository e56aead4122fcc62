#!/bin/sh
# Writes requirements*.txt from pyproject.toml: pinned, hashed, for every Python that barto supports,
# and without the address of any package index. What is pinned stays, unless --upgrade is given.
#
#   scripts/lock.sh BIN [--upgrade]
set -eu

bin=$1
shift
cd "$(dirname "$0")/.."

# uv does not read pip's configuration; people configure their index there.
for setting in index-url=UV_DEFAULT_INDEX extra-index-url=UV_INDEX find-links=UV_FIND_LINKS cert=SSL_CERT_FILE; do
    for key in "global.${setting%=*}" ":env:.${setting%=*}"; do
        value=$("$bin/pip" config get "$key" 2>/dev/null) || continue
        [ -n "$value" ] && export "${setting#*=}=$value"
    done
done

compile() {
    "$bin/uv" pip compile --quiet --universal --python-version 3.11 --python "$bin/python" \
        --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate \
        pyproject.toml "$@"
}

compile --extra server --extra mariadb --extra dev --output-file requirements-dev.txt "$@"

# What users install is what was tested, but for the zones' rules: those are of the day, and the
# tests' are of the edition that their vectors were measured with.
tested=.cache/tested.txt
mkdir -p .cache
awk '/^[a-z]/ { keep = !/^tzdata==/ } keep' requirements-dev.txt >$tested
compile --extra server --extra mariadb --constraints $tested --output-file requirements-server.txt --upgrade-package tzdata "$@"
compile --constraints $tested --output-file requirements.txt --upgrade-package tzdata "$@"
