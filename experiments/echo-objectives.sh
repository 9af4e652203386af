#!/usr/bin/env bash
# Compares the off-diagonal objectives on `echo` at equal time: every objective gets the number of steps that it takes in
# MINUTES on one core of an idle machine (measured first), so that two runs beside each other do not disturb the comparison.
#
#   experiments/echo-objectives.sh OUT [MINUTES] [SEEDS]
#
# OBJECTIVES and FORCED choose some of them. Leaves OUT/<objective>-<seed>/report.json (map, NFE 1 2 4 8) and euler.json (64 Euler steps); experiments/table.py prints them.
set -euo pipefail
out=$1 minutes=${2:-3} seeds=${3:-"0 1 2"}
program=${PUSHFORWARD:-pushforward}
mkdir -p "$out"
recipe=${RECIPE:-echo}
export RAYON_NUM_THREADS=1 program out recipe

settings() {
  # The Lagrangian targets say nothing at t = 1, so these objectives get no forced (0, 1) pairs.
  local free="--set model.times.boundary=0"
  case $1 in
  csd | lsd | ecld | lsd-logit) echo "--set model.objective.off_diagonal.kind=$1 $free" ;;
  csd-full) echo "--set model.objective.off_diagonal.kind=csd --set model.objective.off_diagonal.gradient=full $free" ;;
  csd-forced | ecld-forced | lsd-logit-forced)
    echo "--set model.objective.off_diagonal.kind=${1%-forced} --set model.times.boundary=0.15"
    ;;
  psd | esd-logit | naive) echo "--set model.objective.off_diagonal.kind=$1 --set model.times.boundary=0.15" ;;
  diagonal) echo "--set model.objective.off_diagonal.kind=none" ;;
  esac
}
export -f settings
common="--set train.batch=128 --set train.accumulate=1 --set train.warmup=50 --set train.validate_every=0 --set eval.bound_items=0 --set eval.nfe=[1,2,4,8] --set eval.samples=4000"
export common

objectives=${OBJECTIVES:-"psd csd csd-full lsd ecld lsd-logit esd-logit naive diagonal"}
steps_of() {
  local file="$out/speed-$1"
  if [ ! -f "$file" ]; then
    rm -rf "$out/tmp-$1"
    # shellcheck disable=SC2046
    "$program" -q train "$recipe" $common $(settings "$1") --set model.objective.start=0 --set train.minutes=0.25 --set train.log_every=20 --no-eval --out "$out/tmp-$1" >/dev/null
    # Steps per minute from the last lines of the metrics file.
    tail -n 1 "$out/tmp-$1/metrics.jsonl" | sed 's/.*"examples_per_second":\([0-9.]*\).*/\1/' |
      awk '{printf "%d\n", $1 * 60 / 128}' >"$file"
    rm -rf "$out/tmp-$1"
  fi
  cat "$file"
}
one() {
  local name=$1 seed=$2 steps=$3 run="$out/$1-$2"
  [ -f "$run/euler.json" ] && return
  rm -rf "$run"
  # shellcheck disable=SC2046
  "$program" -q train "$recipe" $common $(settings "$name") --set seed="$seed" --set train.steps="$steps" --out "$run" >/dev/null || return
  "$program" -q eval "$run" --sampler euler --nfe 64 -n 2000 --bound-items 0 --json >"$run/euler.json"
}
export -f one
for name in $objectives; do steps_of "$name" >/dev/null; done
# One seed of every objective before the next seed, so that an unfinished experiment is still a comparison.
for seed in $seeds; do
  for name in $objectives; do echo "$name $seed $(($(steps_of "$name") * minutes))"; done
done >"$out/jobs"
# The forced pairs show the collapse; one seed is enough.
for name in ${FORCED-csd ecld lsd-logit}; do echo "$name-forced 0 $(awk -v n="$name" '$1 == n {print $3; exit}' "$out/jobs")"; done >>"$out/jobs"
xargs -P 2 -L 1 bash -c 'one "$@"' _ <"$out/jobs"
