#!/usr/bin/env python3
"""Sequences of a model that is told a motif at a place: is it kept, and is the rest as real as without?

    python experiments/told_motif.py PROGRAM RUN TEST.txt [SAMPLES [FIRST MOTIF]]

RUN is a flow map of sequences of one length with `model.condition.kind = "observed"`; TEST.txt has held-out sequences, a line each.
The positions of MOTIF from FIRST on are told (261, and 20 letters around a start of translation): first the motif to all, then to each
sample what a held-out sequence has there. Divergences are those of `eval`, `kmer_kl_K`, of all letters but those
positions; the words of samples are compared with those of the held-out sequences, and a bootstrap of the samples gives the 95 % interval
of the ratio to samples that are told nothing.
"""

import random
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

PROGRAM, RUN, TEST = sys.argv[1:4]
SAMPLES = int(sys.argv[4]) if len(sys.argv) > 4 else 3000
FIRST, MOTIF = (int(sys.argv[5]), sys.argv[6]) if len(sys.argv) > 6 else (261, "GCCGCCACCATGGCGGCCGC")
LAST, DELTA, ROUNDS = FIRST + len(MOTIF) - 1, 0.01, 200
held_out = [line.strip() for line in open(TEST) if line.strip()]


def words(sequences, k):
    """How often each sequence has each word of k letters, outside the positions that are told: [sequences, 4^k]."""
    ids = np.array([["ACGT".index(letter) for letter in sequence] for sequence in sequences])
    counted = np.zeros((len(ids), 4**k))
    for part in (ids[:, : FIRST - 1], ids[:, LAST:]):
        for i in range(part.shape[1] - k + 1):
            keys = part[:, i : i + k] @ 4 ** np.arange(k)
            counted[np.arange(len(ids)), keys] += 1
    return counted


def divergence(ours, theirs):
    """kl of the words of samples to those of held-out sequences, as `ngram_kl` of the library."""
    p, q = ((counts + DELTA) / (counts + DELTA).sum() for counts in (ours, theirs))
    return float((p * np.log(p / q)).sum())


def sample(nfe, patterns, folder):
    """Samples, told each pattern in turn; item i is the same draw of noise whatever it is told."""
    found = []
    for place, pattern in enumerate(patterns):
        out, n = Path(folder) / "samples.txt", SAMPLES // len(patterns)
        command = [PROGRAM, "--quiet", "sample", RUN, "-n", n, "--nfe", nfe, "--seed", place, "--out", out]
        command += ["--infill", f"{FIRST}:{pattern}"] if pattern else []
        subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)
        drawn = out.read_text().split()
        kept = [sequence[FIRST - 1 : LAST] == pattern for sequence in drawn] if pattern else [True]
        if not all(kept):
            sys.exit(f"{kept.count(False)} samples do not hold {pattern}")
        found += drawn
        out.unlink()
    return found


def main():
    there = [sequence[FIRST - 1 : LAST] for sequence in held_out]
    drawn = random.Random(0).sample(there, 100)
    print(f"{len(held_out)} held-out sequences, {SAMPLES} samples; positions {FIRST} to {LAST} are told, the motif is {MOTIF}")
    print("told | NFE | " + " | ".join(f"{k}-mers, ratio [95 %]" for k in (3, 4)))
    with tempfile.TemporaryDirectory() as folder:
        for nfe in (1, 4):
            plain = sample(nfe, [None], folder)
            for what, patterns in [("nothing", None), ("the motif", [MOTIF]), ("of held-out sequences", drawn)]:
                told = plain if patterns is None else sample(nfe, patterns, folder)
                cells = []
                for k in (3, 4):
                    theirs, draw = words(held_out, k).sum(axis=0), np.random.default_rng(k)
                    ours, without = words(told, k), words(plain, k)
                    value, base = divergence(ours.sum(axis=0), theirs), divergence(without.sum(axis=0), theirs)
                    ratios = []
                    for _ in range(ROUNDS):
                        a, b = (draw.multinomial(len(x), np.full(len(x), 1 / len(x))) @ x for x in (ours, without))
                        ratios.append(divergence(a, theirs) / divergence(b, theirs))
                    low, high = np.quantile(ratios, [0.025, 0.975])
                    cells.append(f"{value:.4f}, {value / base:.2f} [{low:.2f}, {high:.2f}]")
                print(f"{what} | {nfe} | " + " | ".join(cells), flush=True)


main()
