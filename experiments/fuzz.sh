#!/bin/bash
# Damaged inputs for every parser of the library: COUNT for each, 10^6 before a release (hours), 10^4 in a few minutes.
# usage: experiments/fuzz.sh [COUNT] [SEED]
# Memory is limited to 4 GiB. The input of an abort is left in fuzz-TARGET.bin in the working directory.
set -u
count=${1:-10000} seed=${2:-0}
cd "$(dirname "$0")/.." || exit 1
program=$(cargo build --release --workspace --locked --bench fuzz --message-format json \
    | grep -o '"executable":"[^"]*fuzz[^"]*"' | tail -1 | cut -d'"' -f4) || exit 1
failed=0
for target in recipe override smiles smarts idx table rows sequences where tokenizer reward checkpoint; do
    export FUZZ_CURRENT=fuzz-$target.bin
    (ulimit -v 4194304; "$program" "$target" "$count" "$seed")
    code=$?
    if [ $code -gt 1 ]; then
        echo "$target: the process ended with code $code; its input is in $FUZZ_CURRENT"
        failed=1
        continue
    fi
    [ $code -eq 0 ] || failed=1
    rm -f "$FUZZ_CURRENT"
done
exit $failed
