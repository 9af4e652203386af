"""Total variation between steered samples of `checker` and the true tilted law, against network evaluations.

    pushforward train checker --set train.minutes=1.5 --threads 1 --no-eval --out checker
    python3 experiments/steer_checker.py pushforward checker

The reward is 2 where the first class is below 4 and 1 where the second is 4 to 7; the law of the pairs is that of `data/checker.rs`.
"""

import json
import math
import subprocess
import sys

program, run = sys.argv[1:3]
K, N = 16, 10_000
SPEC = "2*site(0, 0..3) + site(1, 4..7)"


def table():
    rank, weights = 0, [0.0] * (K * K)
    for cell in range(K * K):
        if (cell // K // 4 + cell % K // 4) % 2 == 0:
            weights[cell] = 64 + 37 * rank % 128
            rank += 1
    total = sum(weights)
    return [0.98 * w / total if w else 0.02 / (K * K - rank) for w in weights]


reward = [2 * (c // K < 4) + (4 <= c % K < 8) for c in range(K * K)]
law = [p * math.exp(r) for p, r in zip(table(), reward)]
Z = sum(law)
law = [w / Z for w in law]
MEAN = sum(p * r for p, r in zip(law, reward))


def coarse(q):
    sums = [0.0] * 16
    for cell, p in enumerate(q):
        sums[cell // K // 4 * 4 + cell % K // 4] += p
    return sums


def distance(p, q):
    return 0.5 * sum(abs(a - b) for a, b in zip(p, q))


def floor(q):
    return sum(math.sqrt(p * (1 - p) / (2 * math.pi * N)) for p in q)


print(f"log Z {math.log(Z):.3f}, mean reward {MEAN:.3f}; {N} independent draws: {floor(law):.3f} of pairs, {floor(coarse(law)):.3f} of blocks\n")
print("| method | evaluations a sample | pairs | blocks | mean reward | log Z | ESS |")
print("|---|---|---|---|---|---|---|")
whole = ["--particles", str(N), "--keep", str(N)]
drawn = ["--method", "smc", "--ends", "drawn", "--ahead", "draws", "--draw"]
single = ["--keep", "1", "--particles"]
for name, more in [
    *[(f"plain, {n} steps", ["--method", "best-of", *single, "1", "--nfe", str(n)]) for n in (1, 4)],
    ("best of 4, 1 step", ["--method", "best-of", *single, "4", "--nfe", "1"]),
    *[(f"resample, {n} steps", ["--method", "resample", *whole, "--nfe", str(n)]) for n in (1, 2, 4, 8)],
    *[(f"gradient, {n} steps", ["--method", "gradient", *single, "1", "--nfe", str(n)]) for n in (1, 4)],
    *[(f"smc, {n} steps", [*drawn, *whole, "--nfe", str(n)]) for n in (2, 4, 8, 16)],
    *[(f"smc, mean ends, {n} steps", ["--method", "smc", *whole, "--nfe", str(n)]) for n in (4, 16)],
    *[(f"smc, soft, {n} steps", ["--method", "smc", "--ahead", "soft", "--ends", "drawn", "--draw", *whole, "--nfe", str(n)]) for n in (4, 16)],
    *[(f"tilt, {n} steps", ["--method", "tilt", "--draw", *whole, "--nfe", str(n)]) for n in (4, 16)],
    *[(f"tilt, soft with gradient, {n} steps", ["--method", "tilt", "--ahead", "soft", "--draw", *whole, "--nfe", str(n)]) for n in (4, 16, 32)],
]:
    command = [program, "steer", run, "--reward", SPEC, "-n", str(N), "--batch", "10000", "--json", *more]
    report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    found = [0.0] * (K * K)
    for item in report["items"]:
        a, b = item["ids"]
        found[a * K + b] += 1 / len(report["items"])
    rows = {row["metric"]: row["value"] for row in report["rows"]}
    nfe = report["items"][0]["nfe"]
    log_z = f"{rows['log_z']:.3f}" if "log_z" in rows and "plain" not in name else ""
    mean = sum(p * r for p, r in zip(found, reward))
    ess = f"{rows['ess']:.0f}" if "--keep" in command and whole[1] in more else ""
    if name.startswith("plain"):
        name += f" (from the untilted law: {distance(found, table()):.3f})"
    print(f"| {name} | {nfe} | {distance(found, law):.3f} | {distance(coarse(found), coarse(law)):.3f} | {mean:.3f} | {log_z} | {ess} |", flush=True)
