#!/usr/bin/env python3
"""Ten thousand molecules in one step, chemistry included: the program beside PyTorch and RDKit, in turns.

    experiments/ten_thousand_molecules.py PROGRAM RUN [ROUNDS]

RUN is one of `qm9-cpu`. Ours is the whole process: start, weights, samples, verdicts and canonical SMILES in a file. Theirs is the twin of the network
(`benches/pytorch/graph_step.py`, untrained, of as many blocks, without places of nodes and with all nine nodes there) on two threads in batches of 250, and RDKit in two
processes on the graphs that ours drew: molecule, sanitisation, canonical SMILES. The start of Python and its imports are not counted.
"""
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from multiprocessing import Pool
from pathlib import Path

import torch
from rdkit import Chem, RDLogger

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "crates/pushforward/benches/pytorch"))
import graph_step

COUNT, BATCH, NODES = 10_000, 250, 9
ORDERS = [None, Chem.BondType.SINGLE, Chem.BondType.DOUBLE, Chem.BondType.TRIPLE]
ELEMENTS = ["C", "N", "O", "F"]


def molecule(ids):
    mol, place = Chem.RWMol(), {}
    for i, kind in enumerate(ids[:NODES]):
        if kind is not None:
            place[i] = mol.AddAtom(Chem.Atom(ELEMENTS[kind]))
    pairs = ((i, j) for i in range(NODES) for j in range(i + 1, NODES))
    for (i, j), order in zip(pairs, ids[NODES:]):
        if order:
            mol.AddBond(place[i], place[j], ORDERS[order])
    return mol


def canonical(ids):
    try:
        mol = molecule(ids).GetMol()
        Chem.SanitizeMol(mol)
        return Chem.MolToSmiles(mol)
    except (ValueError, RuntimeError):
        return None


def main():
    program, run, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 3
    torch.set_num_threads(2)
    _, draw = graph_step.sample(lambda graph: graph_step.Pairs(graph, blocks=4), graph_step.QM9, BATCH)
    draw()
    quiet = (RDLogger.DisableLog, ("rdApp.*",))
    with tempfile.TemporaryDirectory() as folder, Pool(2, *quiet) as pool:
        sample = [program, "-q", "sample", run, "-n", str(COUNT), "--nfe", "1", "--out"]
        subprocess.run([*sample, f"{folder}/ids.jsonl"], check=True, capture_output=True)
        drawn = [json.loads(line)["ids"] for line in Path(f"{folder}/ids.jsonl").read_text().splitlines()]
        ours, theirs, two = [], [], os.environ | {"RAYON_NUM_THREADS": "2"}
        for _ in range(rounds):
            start = time.perf_counter()
            subprocess.run([*sample, f"{folder}/molecules.smi"], env=two, check=True, capture_output=True)
            ours.append(time.perf_counter() - start)
            start = time.perf_counter()
            for _ in range(COUNT // BATCH):
                draw()
            network = time.perf_counter() - start
            texts = pool.map(canonical, drawn, chunksize=250)
            theirs.append((time.perf_counter() - start, network))
        whole, network = (statistics.median(column) for column in zip(*theirs))
        mine = statistics.median(ours)
        print(f"{COUNT} molecules, NFE 1: ours {mine:.2f} s, PyTorch {network:.2f} s and RDKit {whole - network:.2f} s; ratio {mine / whole:.2f}")
        # Strict validity is one component that sanitises.
        print(f"valid by RDKit: {sum(text is not None and '.' not in text for text in texts) / COUNT:.4f}")


if __name__ == "__main__":
    main()
