#!/usr/bin/env bash
# Trains, evaluates and packs the models that come with the program, and writes their cards and pictures.
#
#   experiments/train_models.sh PROGRAM WORK [NAME...]
#
# PROGRAM is a compiled `pushforward`, WORK a folder for the runs. Without names, all models are made but `adult`, which needs its rows (ADULT and ADULT_TEST). A run that is there
# already is gone on with, or only packed if it is complete. STEPS_NAME=N (such as STEPS_glyphs=500) takes another length.
set -euo pipefail
program=$(realpath "$1")
mkdir -p "$2"
work=$(realpath "$2")
shift 2
models=$(realpath "$(dirname "$0")/../crates/pushforward-cli/models")
machine="$(nproc) cores, $(uname -m)"

# A preset without its time limit, with a number of steps.
recipe() { # NAME PRESET STEPS DESCRIPTION [SED-SCRIPT]
    local steps_variable="STEPS_${1//-/_}"
    "$program" presets "$2" | grep -v '^minutes' | sed \
        -e "s/^\[train\]/[train]\nsteps = ${!steps_variable:-$3}/" \
        -e "s/^name = .*/name = \"$1\"/" \
        -e "s/^description = .*/description = \"$4\"/" \
        -e "${5:-}" > "$work/$1.toml"
}

make_model() { # NAME
    local name=$1 run=$work/$1
    case $name in
    glyphs)
        # Told labels and any pixels; a perceptron that fits into a megabyte and a half.
        recipe glyphs glyphs 4500 "binary 16 x 16 digits, told their labels or any of their pixels" '
            s/width = 384, blocks = 4/width = 192, blocks = 3/
            s/^accumulate = .*/accumulate = 1/
            s/decay = 0.995/decay = 0.998, warmup = true/
            s/^objective = \(.*\)$/objective = \1\ncondition = { kind = "observed", labels = true }/
            s/^samples = .*/samples = 2000/'
        ;;
    echo) recipe echo echo 6000 "four letters over eight symbols, written twice" ;;
    adult)
        # ADULT and ADULT_TEST are the rows of the Adult data (UCI, CC BY 4.0) with a header, as CSV. A step of the diagonal takes a quarter of
        # the time of one with jumps, so that by steps these begin later.
        cp "${ADULT:?}" "$work/adult.csv"
        cp "${ADULT_TEST:?}" "$work/adult-test.csv"
        recipe adult table 5800 "rows of the 1994 census of the USA (Adult): any columns told or missing" "
            s/^path = .*/path = \"adult.csv\"\ntest = \"adult-test.csv\"/
            s/start = 0.2/start = 0.448/
            s/at = 0.2/at = 0.448/"
        ;;
    small-molecules) recipe small-molecules small-molecules 3000 "molecules of up to five heavy atoms C N O F" ;;
    *)
        echo "no model is named $name" >&2
        exit 2
        ;;
    esac
    if [ -f "$run/checkpoints/resume.safetensors" ] && [ ! -f "$run/report.json" ]; then
        (cd "$work" && "$program" train --resume "$run")
    elif [ ! -f "$run/report.json" ]; then
        (cd "$work" && "$program" train "$name.toml" --out "$run")
    fi
    local about=()
    [ "$name" != adult ] || about=(--licence "UCI Machine Learning Repository, Adult (Becker and Kohavi, 1996), CC BY 4.0")
    "$program" models pack "$run" --out "$models/$name.safetensors.gz" --machine "$machine" "${about[@]}"
    "$program" models show "$models/$name.safetensors.gz" | sed "1s/.*/# $name/" > "$models/$name.md"
    case $name in
    glyphs) "$program" sample "$models/$name.safetensors.gz" --label 0,1,2,3,4,5,6,7,8,9 -n 40 --out "$models/$name.png" ;;
    small-molecules) "$program" sample "$models/$name.safetensors.gz" -n 30 --out "$models/$name.png" ;;
    adult) "$program" sample "$models/$name.safetensors.gz" -n 20 --out "$models/$name.csv" ;;
    *) "$program" sample "$models/$name.safetensors.gz" -n 30 --out "$models/$name.txt" ;;
    esac
}

for name in "${@:-glyphs echo small-molecules}"; do
    for one in $name; do make_model "$one"; done
done
