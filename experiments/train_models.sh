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
machine=${MACHINE:-"$(nproc) cores, $(uname -m)"}

# A preset without its time limit, with a number of steps.
recipe() { # NAME PRESET STEPS DESCRIPTION [SED-SCRIPT]
    local steps_variable="STEPS_${1//-/_}"
    "$program" presets "$2" | grep -v '^minutes\|^steps' | sed \
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
            s/^network = .*/network = { kind = "mlp", width = 192, blocks = 3, time = "fourier", time_width = 64 }/
            s/^accumulate = .*/accumulate = 1/
            s/decay = 0.995/decay = 0.998, warmup = true/
            s/^objective = .*/objective = { share = 0.4 }\ncondition = { kind = "observed", labels = true }/
            /^times = /d
            s/^samples = .*/samples = 2000/'
        ;;
    mnist)
        # A narrower network than that of the preset, which fits into three megabytes; judged by mnist-classifier.
        recipe mnist mnist-binary 31000 "handwritten digits in black and white, told their labels or any of their pixels" '
            s/width = 384/width = 256/
            s/^times = .*/&\ncondition = { kind = "observed", labels = true, dropout = 0.3 }/'
        ;;
    mnist-classifier) recipe mnist-classifier mnist-classifier 2000 "digits of MNIST in black and white: features for distances, classes for rewards" ;;
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
    local about=() labels=0,1,2,3,4,5,6,7,8,9
    case $name in
    glyphs)
        "$program" eval "$run" --label "$labels" -n 5000 --report "$work/glyphs.json"
        about=(--report "$work/glyphs.json" --description "binary 16 x 16 digits, told their labels (as for the figures) or any of their pixels")
        ;;
    mnist)
        "$program" eval "$run" --label "$labels" --features "$models/mnist-classifier.safetensors.gz" -n 10000 --bound-items 1024 --report "$work/mnist.json"
        about=(--report "$work/mnist.json" --description "handwritten digits in black and white, told their labels (as for the figures) or any of their pixels")
        ;;
    esac
    [ "$name" != adult ] || about=(--licence "UCI Machine Learning Repository, Adult (Becker and Kohavi, 1996), CC BY 4.0")
    "$program" models pack "$run" --out "$models/$name.safetensors.gz" --machine "$machine" "${about[@]}"
    "$program" models show "$models/$name.safetensors.gz" | sed "1s/.*/# $name/" > "$models/$name.md"
    case $name in
    mnist-classifier) ;;
    glyphs | mnist) "$program" sample "$models/$name.safetensors.gz" --label "$labels" -n 40 --out "$models/$name.png" ;;
    small-molecules) "$program" sample "$models/$name.safetensors.gz" -n 30 --out "$models/$name.png" ;;
    adult) "$program" sample "$models/$name.safetensors.gz" -n 20 --out "$models/$name.csv" ;;
    *) "$program" sample "$models/$name.safetensors.gz" -n 30 --out "$models/$name.txt" ;;
    esac
}

for name in "${@:-glyphs echo small-molecules}"; do
    for one in $name; do make_model "$one"; done
done
