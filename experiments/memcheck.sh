#!/usr/bin/env bash
# Runs the laws and unit tests of the kernels under the address sanitiser, which sees reads and writes outside of their buffers, AVX-512
# loops included, and after that under valgrind where it is installed: it also sees branches on numbers that were never
# written, but knows AVX2 at most. Instructions of the tile unit are seen by neither. Everything is compiled once more, for
# about ten minutes; valgrind takes half an hour.
#
#   experiments/memcheck.sh [FILTER]
set -euo pipefail
cd "$(dirname "$0")/.."
filter="${1:-kernels}"
filter="${filter#laws::}"
target=$(rustc -vV | sed -n 's/^host: //p')
folder="${CARGO_TARGET_DIR:-target}"
# The sanitiser is an unstable option of a stable compiler. Build scripts and macros are left alone: they are the host's.
RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address -Cforce-frame-pointers=yes" CARGO_TARGET_DIR="$folder/address-sanitizer" \
  cargo test --release --package pushforward --lib --test main --target "$target" -- "$filter"

command -v valgrind >/dev/null || { echo "valgrind is not installed: the second half is left out" >&2; exit 0; }
tests=$(cargo test --release --workspace --test main --no-run --message-format=json |
  sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | grep -v pushforward-cli | head -n 1)
cd crates/pushforward
# It does not know that denormal numbers can be flushed, either.
exec valgrind --quiet --error-exitcode=9 "$tests" "laws::$filter" --test-threads 1 --skip numbers_below_the_least_normal_one
