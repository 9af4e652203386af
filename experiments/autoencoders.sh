#!/usr/bin/env bash
# Compares autoencoders within flows and their baselines at equal time and on equal networks: Fashion-MNIST at latent 2, 8 and 32,
# MNIST at latent 8, two runs beside each other on one thread each, on an otherwise idle machine.
#
#   experiments/autoencoders.sh OUT DATA_DIR [MINUTES] [SEED]
#
# Leaves OUT/<set>-<latent>-<variant>-<seed>/{report.json,samples.png,means.png,pairs.png};
# experiments/table.py OUT bits_per_dim frechet reconstruction_mse prints them.
set -euo pipefail
out=$1 data=$2 minutes=${3:-3} seed=${4:-0}
program=${PUSHFORWARD:-pushforward}
mkdir -p "$out"
export RAYON_NUM_THREADS=1 program out data minutes seed

for set in fashion mnist; do
  [ -d "$out/$set-classifier" ] ||
    "$program" -q train "$set-classifier" --data-dir "$data" --out "$out/$set-classifier" >/dev/null
done
one() {
  local set=$1 latent=$2 variant=$3 run="$out/$1-$2-$3-$seed"
  [ -f "$run/pairs.png" ] && return
  rm -rf "$run"
  "$program" -q train "$set-aef" --data-dir "$data" --no-eval --out "$run" --set seed="$seed" --set model.variant="$variant" \
    --set model.latent="$latent" --set train.minutes="$minutes" --set train.validate_every=0 >/dev/null || return
  "$program" -q eval "$run" --data-dir "$data" --features "$out/$set-classifier" --images 1000 --draws 64 -n 2000 --report "$run/report.json" >/dev/null
  "$program" -q sample "$run" -n 64 --out "$run/samples.png" >/dev/null
  "$program" -q sample "$run" -n 64 --mean --out "$run/means.png" >/dev/null
  "$program" -q reconstruct "$run" --data-dir "$data" -n 16 --out "$run/pairs.png" >/dev/null
}
export -f one
for place in "fashion 8" "fashion 2" "fashion 32" "mnist 8"; do
  for variant in center corner linear noise learned-core vae vae-iaf; do echo "$place $variant"; done
done | xargs -P 2 -L 1 bash -c 'one "$@"' _
