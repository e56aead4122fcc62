#!/bin/sh
# Makes the virtual environment: exactly the locked packages, checked by their hashes, and barto
# itself, editable. What is there already and still right is kept.
#
#   scripts/setup.sh PYTHON VENV
set -eu

python=$1
venv=$2
cd "$(dirname "$0")/.."

fail() { printf '%s\n' "$*" >&2; exit 1; }

command -v "$python" >/dev/null 2>&1 || fail "$python is not there: barto needs Python 3.11 or newer (make … PYTHON=python3.12 names another one)"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$python is $("$python" -V 2>&1), barto needs Python 3.11 or newer (make … PYTHON=python3.12 names another one)"

# One set-up at a time in one tree.
mkdir -p .cache
if command -v flock >/dev/null 2>&1; then
    exec 9>.cache/setup.lock
    flock 9
fi

series() { "$1" -c 'import sys; print(sys.version_info[:2])' 2>/dev/null; }

lock_sum() { cat requirements-dev.txt scripts/setup.sh | sha256sum; }
project_sum() { sha256sum <pyproject.toml; }

if [ "$(series "$venv/bin/python")" != "$(series "$python")" ] || ! [ -e "$venv/bin/pip" ]; then
    scripts/packages.sh venv "$python"
    echo "making $venv with $("$python" -V)"
    "$python" -m venv --clear "$venv"
fi

pip() { "$venv/bin/python" -m pip --disable-pip-version-check --no-input "$@"; }

if [ "$(cat "$venv/.lock.sum" 2>/dev/null)" != "$(lock_sum)" ]; then
    rm -f "$venv/.lock.sum" "$venv/.project.sum"
    echo "installing the locked packages into $venv"
    pip install --quiet --require-hashes --requirement requirements-dev.txt
    lock_sum >"$venv/.lock.sum"
fi
if [ "$(cat "$venv/.project.sum" 2>/dev/null)" != "$(project_sum)" ]; then
    # The build backend is one of the locked packages: nothing is fetched here.
    pip install --quiet --no-deps --no-index --no-build-isolation --editable .
    project_sum >"$venv/.project.sum"
fi
touch "$venv/.ready"
