#!/usr/bin/env bash
# Objectives on QM9 at equal time: the network of the preset `qm9-cpu` with each, one thread a run, two runs beside each other.
#
#   experiments/qm9-objectives.sh OUT DATA_DIR [MINUTES]       13 minutes a run by default, half an hour in all
#   experiments/table.py OUT validity_strict uniqueness frechet
set -euo pipefail
out=$1 data=$2 minutes=${3:-13}
program=${PUSHFORWARD:-pushforward}
mkdir -p "$out"

# The preset's teacher is kept as it is when jumps begin, and its rates are made for Muon and for CSD; all have what each can have.
run() {
  local name=$1
  shift
  "$program" -q train qm9-cpu --data-dir "$data" --out "$out/$name-0" --threads 1 --set "train.minutes=$minutes" --set eval.samples=2000 \
    --set 'train.optimizer={kind="adamw"}' --set 'train.schedule={kind="cosine"}' --set train.lr=1e-3 --set 'model.objective.teacher={kind="ema"}' --set model.objective.start=0.3 "$@"
}
objective() { echo "model.objective.off_diagonal={kind=\"$1\"$2}"; }

{
  run ecld --set "$(objective ecld '')"
  run naive --set "$(objective naive '')"
} &
run csd --set "$(objective csd ',gradient="full"')"
# Only the semigroup bears pairs forced to (0, 1).
run psd --set "$(objective psd '')" --set model.times.boundary=0.15
wait
