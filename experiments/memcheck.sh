#!/usr/bin/env bash
# Runs the tests of the kernels under the address sanitiser, which sees reads and writes outside of buffers in the instructions that this
# processor has (but not in what is written in assembly, the tile unit's), and then under valgrind, which also sees branches on numbers
# that were never written. Valgrind knows AVX2 and not AVX-512, so that the AVX2 loops are the ones that run there.
#
#   experiments/memcheck.sh [FILTER]        five minutes to compile, one under the sanitiser, half an hour under valgrind
set -euo pipefail
cd "$(dirname "$0")/.."
filter="${1:-kernels}"

# The sanitiser comes with the compiler, which wants to be asked twice; its builds are kept apart from others.
host=$(rustc -vV | sed -n 's/^host: //p')
sanitised() {
  RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address -Cforce-frame-pointers=yes" \
    cargo test --release --target "$host" --target-dir "${CARGO_TARGET_DIR:-target}/address-sanitizer" "$@"
}
sanitised --package pushforward-kernels --lib
sanitised --package pushforward --lib --test main -- "$filter"

command -v valgrind >/dev/null || { echo "valgrind is not installed: that part is left out" >&2; exit 0; }
tests=$(cargo test --release --workspace --test main --no-run --message-format=json |
  sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | grep -v pushforward-cli | head -n 1)
cd crates/pushforward
# It does not know that denormal numbers can be flushed.
exec valgrind --quiet --error-exitcode=9 "$tests" "$filter" --test-threads 1 \
  --skip numbers_below_the_least_normal_one
