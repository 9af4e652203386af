#!/usr/bin/env bash
# Runs the laws of the kernels under valgrind, which sees reads and writes outside of their buffers and branches on numbers that
# were never written. Valgrind knows AVX2 and not AVX-512, so that the AVX2 loops are the ones that run; half an hour.
#
#   experiments/memcheck.sh [FILTER]
set -euo pipefail
cd "$(dirname "$0")/.."
command -v valgrind >/dev/null || { echo "valgrind is not installed" >&2; exit 2; }
tests=$(cargo test --release --workspace --test main --no-run --message-format=json |
  sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | grep -v pushforward-cli | head -n 1)
cd crates/pushforward
# It does not know that denormal numbers can be flushed, either.
exec valgrind --quiet --error-exitcode=9 "$tests" "${1:-laws::kernels}" --test-threads 1 \
  --skip numbers_below_the_least_normal_one
