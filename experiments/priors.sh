#!/usr/bin/env bash
# Priors of autoencoders within flows at equal time and on equal networks: MAF, splines, TarFlow and flow maps, two runs beside each
# other on one thread each, on an otherwise idle machine.
#
#   experiments/priors.sh OUT DATA_DIR [MINUTES] [SEED]
#
# PLACES="fashion:8 fashion:32 fashion:128 mnist:8 mnist:32" and VARIANTS="noise learned-core" choose less. The density of a flow map is
# its bound, which is never above the truth. Leaves OUT/<set>-<latent>-<variant>-<prior>-<seed>/{report.json,samples.png}; experiments/table.py OUT
# bits_per_dim frechet prints them.
set -euo pipefail
out=$1 data=$2 minutes=${3:-10} seed=${4:-0}
program=${PUSHFORWARD:-pushforward}
mkdir -p "$out"
export RAYON_NUM_THREADS=1 program out data minutes seed

prior() {
  case $1 in
  maf) echo '{ kind = "maf", layers = 4, hidden = 64 }' ;;
  spline) echo '{ kind = "spline" }' ;;
  tar-flow) echo "{ kind = \"tar-flow\", token = $(($2 > 16 ? $2 / 8 : 2)) }" ;;
  flow-map) echo '{ kind = "flow-map", network = { width = 128, blocks = 3 }, objective = { draws = 4 } }' ;;
  esac
}
one() {
  local set=$1 latent=$2 variant=$3 prior=$4 run="$out/$1-$2-$3-$4-$seed" nfe=()
  [ -f "$run/samples.png" ] && return
  rm -rf "$run"
  "$program" -q train "$set-aef" --data-dir "$data" --no-eval --out "$run" --threads 1 --set seed="$seed" --set model.variant="$variant" \
    --set model.latent="$latent" --set model.prior="$(prior "$prior" "$latent")" --set train.minutes="$minutes" --set train.validate_every=0 >/dev/null || return
  [ "$prior" = flow-map ] && nfe=(--nfe 1,2,4 --density bound)
  "$program" -q eval "$run" --data-dir "$data" --features "$out/$set-classifier" --images 500 --draws 32 -n 2000 "${nfe[@]}" --report "$run/report.json" >/dev/null || return
  "$program" -q sample "$run" -n 64 --out "$run/samples.png" >/dev/null
}
export -f one prior
places=${PLACES:-fashion:8 fashion:32 fashion:128 mnist:8 mnist:32}
for place in $places; do
  [ -d "$out/${place%:*}-classifier" ] ||
    "$program" -q train "${place%:*}-classifier" --data-dir "$data" --out "$out/${place%:*}-classifier" >/dev/null
done
for variant in ${VARIANTS:-noise learned-core}; do
  for place in $places; do
    for prior in maf spline tar-flow flow-map; do echo "${place%:*} ${place#*:} $variant $prior"; done
  done
done | xargs -P "${TOGETHER:-2}" -L 1 bash -c 'one "$@"' _
