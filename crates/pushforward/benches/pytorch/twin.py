"""What the twins share: the answers to `compare.py`, and a table.

    python NAME.py --describe    parameters, operations counted, errors of what the twin checks about itself
    python NAME.py --serve       a case per line in, `CASE MILLISECONDS` out
    python NAME.py --peak CASE   peak memory of two runs of a case, and above what the libraries take, in MiB
    python NAME.py --first-sample  a sample of one, and the end
    python NAME.py [ROUNDS]      a table
    --autocast                   matrix products in bfloat16, as PyTorch does them

A twin has cases by name; starting one makes its model and what is timed.
"""

import json
import statistics
import sys
import time
from pathlib import Path

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def milliseconds(run):
    start = time.perf_counter()
    run()
    return 1e3 * (time.perf_counter() - start)


def gflop(run):
    # Written out, attention is matrix products, which are what is counted; the fused one is not counted on CPUs.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        run()
    return counter.get_total_flops() * 1e-9


def describe(cases, errors):
    facts = {"version": f"torch {torch.__version__}", "parameters": {}, "gflop": {}, "errors": errors()}
    for name, start in cases.items():
        net, run = start()
        facts["parameters"][name] = sum(p.numel() for p in net.parameters())
        facts["gflop"][name] = gflop(run)
    return facts


def serve(cases):
    """Every request is answered by the time of a second run, as on the other side."""
    started, autocast = {}, torch.autocast("cpu", torch.bfloat16, enabled="--autocast" in sys.argv)
    for name in map(str.strip, sys.stdin):
        if name not in started:
            _, started[name] = cases[name]()
        run = started[name]
        with autocast:
            run()
            print(name, f"{milliseconds(run):.3f}", flush=True)


def resident(what):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(what))


def peak(start):
    before = resident("VmRSS")
    _, run = start()
    run()
    run()
    most = resident("VmHWM")
    return {"peak_rss_mib": most, "peak_rise_mib": most - before}


def main(cases, errors):
    torch.set_num_threads(2)
    torch.manual_seed(0)
    if "--serve" in sys.argv:
        serve(cases)
    elif "--peak" in sys.argv:
        print(json.dumps(peak(cases[sys.argv[-1]])))
    elif "--first-sample" in sys.argv:
        cases["sample/b1-nfe1"]()[1]()
    elif "--describe" in sys.argv:
        print(json.dumps(describe(cases, errors)))
    else:
        rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 10
        for name, start in cases.items():
            _, run = start()
            run()
            times = [milliseconds(run) for _ in range(rounds)]
            print(f"{name:26} {statistics.median(times):9.1f} ms, least {min(times):9.1f}")
