#!/usr/bin/env bash
# Builds the wheel, installs it into a new virtual environment and runs its tests there. Says why, and does nothing, where Python 3.9 or newer,
# or one of the packages that this takes, is not to be had.
set -euo pipefail
cd "$(dirname "$0")/.."

skip() { echo "the Python package is not tested: $1" >&2; exit 0; }

python="${PYTHON:-python3}"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null || skip "there is no Python 3.9 or newer"
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv" 2>/dev/null || skip "Python has no venv"
PYTHON="$folder/venv/bin/python"
export PYTHON
"$PYTHON" -m pip install --quiet 'maturin>=1.7,<2' numpy pandas pillow pyarrow pytest || skip "pip finds no maturin"

python/build.sh --quiet --out "$folder"
"$PYTHON" -m pip install --quiet --no-index "$folder"/*.whl
"$PYTHON" -m pytest --quiet -p no:cacheprovider python/tests
