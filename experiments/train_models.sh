#!/usr/bin/env bash
# Trains, evaluates and packs the models that come with the program, and writes their cards and pictures.
#
#   experiments/train_models.sh PROGRAM WORK [NAME...]
#
# PROGRAM is a compiled `pushforward`, WORK a folder for the runs. Without names, the models are made whose data the program makes itself; the others need the sets of the data
# folder (`pushforward data fetch`) or files named by variables: ADULT and ADULT_TEST, WIKINEWS, SHAKESPEARE, NAMES. A run that is there already is gone on with, or only packed if it is complete. STEPS_NAME=N (such as STEPS_glyphs=500) takes another length, MINUTES_NAME=M one by the clock.
set -euo pipefail
program=$(realpath "$1")
mkdir -p "$2"
work=$(realpath "$2")
shift 2
# Small models are in the program, the others in a folder that they are fetched from.
embedded=$(realpath "$(dirname "$0")/../crates/pushforward-cli/models")
fetched=$(realpath "$(dirname "$0")/../models")
machine=${MACHINE:-"$(nproc) cores, $(uname -m)"}

# A preset without its time limit, with a number of steps.
recipe() { # NAME PRESET STEPS DESCRIPTION [SED-SCRIPT]
    local steps="STEPS_${1//-/_}" minutes="MINUTES_${1//-/_}"
    local length="steps = ${!steps:-$3}"
    [ -z "${!minutes:-}" ] || length="minutes = ${!minutes}"
    "$program" presets "$2" | grep -v '^minutes\|^steps' | sed \
        -e "s/^\[train\]/[train]\n$length/" \
        -e "s/^name = .*/name = \"$1\"/" \
        -e "s/^description = .*/description = \"$4\"/" \
        -e "${5:-}" > "$work/$1.toml"
}

make_model() { # NAME
    local name=$1 run=$work/$1 models=$fetched
    case $name in glyphs | mnist | mnist-classifier | echo | adult | small-molecules | names) models=$embedded ;; esac
    case $name in
    glyphs)
        # Told labels and any pixels; a perceptron that fits into a megabyte and a half.
        recipe glyphs glyphs 4500 "binary 16 x 16 digits, told their labels or any of their pixels" '
            s/^network = .*/network = { kind = "mlp", width = 192, blocks = 3, time = "fourier", time_width = 64 }/
            s/^accumulate = .*/accumulate = 1/
            s/decay = 0.995/decay = 0.998, warmup = true/
            s/^objective = .*/objective = { share = 0.4 }/
            s/^condition = .*/condition = { kind = "observed", labels = true }/
            /^times = /d
            s/^samples = .*/samples = 2000/'
        ;;
    mnist) recipe mnist mnist-binary 31000 "handwritten digits in black and white, told their labels or any of their pixels" ;;
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
            s/^nfe = .*/nfe = [1, 2, 4]/
            s/^samples = .*/samples = 32561/
            s/at = 0.2/at = 0.448/"
        ;;
    small-molecules)
        # At the law of the data, and told any atoms with the bonds among them.
        recipe small-molecules small-molecules 3650 "molecules of up to five heavy atoms C N O F, told any of their parts" '
            s/deviation = 0.9 } }/deviation = 0.9 }, start = 0.1 }/
            s/^times = .*/&\ncondition = { kind = "observed", dropout = 0.4 }/'
        ;;
    qm9)
        recipe qm9 qm9-cpu 10450 "molecules of QM9, up to nine heavy atoms C N O F, at the law of the data"
        ;;
    fashion)
        recipe fashion mnist-binary 9100 "clothes in black and white, 28 x 28, told their labels or any of their pixels" '
            s/^set = .*/set = "fashion-mnist"/'
        ;;
    fashion-classifier)
        recipe fashion-classifier mnist-classifier 2000 "clothes of Fashion-MNIST in black and white: features for distances, classes for rewards" '
            s/^set = .*/set = "fashion-mnist"/'
        ;;
    mnist-aef) recipe mnist-aef mnist-aef 4750 "handwritten digits in grey: an autoencoder of invertible layers, latent of 8" ;;
    fashion-aef-2 | fashion-aef-8 | fashion-aef-32)
        recipe "$name" fashion-aef 3600 "clothes in grey: an autoencoder of invertible layers, latent of ${name##*-}" "s/^latent = .*/latent = ${name##*-}/"
        ;;
    wikinews)
        # Text in the form of text8, in its own windows of 64 letters.
        cp "${WIKINEWS:?}" "$work/wikinews8.gz"
        recipe wikinews text8 10950 "English news, a to z and the space, windows of 64 letters, told any of them" '
            s/^set = .*/set = "text"\npath = "wikinews8.gz"/
            s/^times = .*/&\ncondition = { kind = "observed", dropout = 0.5 }/'
        ;;
    shakespeare)
        cp "${SHAKESPEARE:?}" "$work/shakespeare.txt"
        recipe shakespeare shakespeare 3000 "plays of Shakespeare by characters, windows of 64, told any of them" '
            s/^path = .*/path = "shakespeare.txt"/
            s/^times = .*/&\ncondition = { kind = "observed", dropout = 0.5 }/'
        ;;
    names)
        cp "${NAMES:?}" "$work/names.txt"
        recipe names sequences 12250 "given names of two to fifteen letters" 's/^path = .*/path = "names.txt"/'
        ;;
    sums) recipe sums sums 4000 "additions of two digits with their sums" ;;
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
    local about=() packed=$models/$name.safetensors.gz
    case $name in
    glyphs) "$program" eval "$run" -n 5000 --report "$work/$name.json" ;;
    mnist | fashion)
        "$program" eval "$run" --features "$models/$name-classifier.safetensors.gz" -n 10000 --bound-items 1024 --report "$work/$name.json"
        ;;
    qm9)
        # CHEMNET is written by experiments/chemnet.py.
        "$program" calibrate "$run" --grids 2,4,8
        "$program" eval "$run" -n 10000 --features "${CHEMNET:?}" --report "$work/$name.json"
        ;;
    esac
    [ ! -f "$work/$name.json" ] || about=(--report "$work/$name.json")
    [ "$name" != adult ] || about+=(--licence "UCI Machine Learning Repository, Adult (Becker and Kohavi, 1996), CC BY 4.0")
    [ "$name" != wikinews ] || about+=(--licence "English Wikinews, CC BY 2.5")
    [ "$name" != shakespeare ] || about+=(--licence "public domain")
    [ "$name" != names ] || about+=(--licence "US government, public domain")
    "$program" models pack "$run" --out "$packed" --machine "$machine" "${about[@]}"
    "$program" models show "$packed" | sed "1s/.*/# $name/" > "$models/$name.md"
    case $name in
    *-classifier) ;;
    *-aef*) "$program" sample "$packed" -n 40 --mean --out "$models/$name.png" ;;
    glyphs | mnist | fashion | small-molecules | qm9) "$program" sample "$packed" -n 40 --out "$models/$name.png" ;;
    adult) "$program" sample "$packed" -n 20 --out "$models/$name.csv" ;;
    wikinews) "$program" sample "$packed" -n 30 --nfe 8 --out "$models/$name.txt" ;;
    *) "$program" sample "$packed" -n 30 --out "$models/$name.txt" ;;
    esac
}

for name in "${@:-glyphs echo small-molecules}"; do
    for one in $name; do make_model "$one"; done
done
