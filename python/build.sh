#!/usr/bin/env bash
# Builds the wheel of the Python package into the folder python/dist, or as the options of maturin say. Needs Rust, and Python 3.9 or newer with maturin (pip install maturin).
set -euo pipefail
cd "$(dirname "$0")/.."

export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$HOME/.cache/pushforward/target}"

# The profile of the repository's workspace, so that dependencies are compiled once for both.
profile="$(mktemp --suffix .toml)"
trap 'rm -f "$profile"' EXIT
sed -n '/^\[profile\./,$p' Cargo.toml > "$profile"

cd python
"${PYTHON:-python3}" -m maturin build --release --locked --config "$profile" "${@:---out=dist}"
