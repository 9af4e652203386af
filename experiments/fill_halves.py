"""Lower halves of held-out digits, filled in by a model that is told the upper ones: is it still the same digit?

usage: experiments/fill_halves.py PROGRAM RUN CLASSIFIER MNIST [COUNT [OPTIONS OF sample]]

RUN is a run of `mnist-binary` with `--set 'model.condition={kind="observed"}'` (and `labels = true`), CLASSIFIER one of
`mnist-classifier`, MNIST the folder with the files of the test split. For the first COUNT (1000) digits the program gets
the upper 14 rows as a mask and draws the rest in one network evaluation (OPTIONS such as `--nfe 2` change that), without their label. Printed is how often the
classifier finds the digit of the original in the whole, beside how often it does in the original, and in the upper
half above an empty lower one. Needs nothing but Python.
"""

import gzip
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import zlib

PROGRAM, RUN, CLASSIFIER, MNIST = sys.argv[1:5]
COUNT = int(sys.argv[5]) if len(sys.argv) > 5 else 1000
OPTIONS = sys.argv[6:]
SIDE, SHOWN = 28, 14
# Where `eval` finds the set itself.
os.environ.setdefault("PUSHFORWARD_DATA", str(pathlib.Path(MNIST).resolve().parent))


def test_split():
    pixels = gzip.decompress(pathlib.Path(MNIST, "t10k-images-idx3-ubyte.gz").read_bytes())[16:]
    labels = gzip.decompress(pathlib.Path(MNIST, "t10k-labels-idx1-ubyte.gz").read_bytes())[8:]
    size = SIDE * SIDE
    return [[int(p > 127) for p in pixels[i * size:(i + 1) * size]] for i in range(COUNT)], list(labels[:COUNT])


def mask(item, path):
    """A grey PNG: black and white where the pixel is told, 128 where it is to be filled in."""
    grey = [255 * p for p in item[:SHOWN * SIDE]] + [128] * ((SIDE - SHOWN) * SIDE)
    rows = b"".join(b"\0" + bytes(grey[r * SIDE:(r + 1) * SIDE]) for r in range(SIDE))
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def accuracy(items, labels, folder):
    path, right = folder / "items.jsonl", 0.0
    # As many labels as `eval` takes.
    for start in range(0, len(items), 200):
        part, told = items[start:start + 200], labels[start:start + 200]
        path.write_text("".join(json.dumps({"ids": item}) + "\n" for item in part))
        command = [PROGRAM, "eval", RUN, "--samples", path, "--nfe", "1", "--features", CLASSIFIER, "--bound-items", "0",
                   "--json", "--label", ",".join(map(str, told))]
        report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        right += len(part) * next(row["value"] for row in report["rows"] if row["metric"] == "label_accuracy")
    return right / len(items)


digits, labels = test_split()
with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    filled = []
    for number, digit in enumerate(digits):
        mask(digit, folder / "mask.png")
        subprocess.run([PROGRAM, "-q", "sample", RUN, "-n", "1", "--seed", str(number), "--mask", folder / "mask.png",
                        "--out", folder / "one.jsonl", *OPTIONS], check=True, capture_output=True)
        filled.append(json.loads((folder / "one.jsonl").read_text())["ids"])
        (folder / "one.jsonl").unlink()
        assert filled[-1][:SHOWN * SIDE] == digit[:SHOWN * SIDE], "the upper half is kept"
    empty = [digit[:SHOWN * SIDE] + [0] * ((SIDE - SHOWN) * SIDE) for digit in digits]
    for kind, items in [("original", digits), ("filled in", filled), ("upper half alone", empty)]:
        print(f"{kind:<18}{accuracy(items, labels, folder):.3f}")
