#!/usr/bin/env python3
"""Load on `pushforward serve`: right, malformed and cancelled requests at once, every answer compared with `sample`.

    experiments/serve_load.py PROGRAM [--seconds 60] [--clients 64] [--models glyphs,echo]

A tenth of the requests is malformed and must get 4xx, a tenth is cancelled (the client closes the connection), and the rest must get
the items of `pushforward sample` with the same seed and indices, or 503 with Retry-After. Prints counts, times, the rate, and the
memory of the server at the beginning and at the end. Only the standard library is needed.
"""

import argparse
import asyncio
import json
import os
import random
import re
import subprocess
import sys
import time

SEEDS, ITEMS = 12, 48
MALFORMED = [
    b"{", b"[]", b'{"model": "nobody"}', b'{"model": "MODEL", "count": 0}', b'{"model": "MODEL", "nfe": 1e9}',
    b'{"model": "MODEL", "cuont": 3}', b'{"model": "MODEL", "seed": -1}', b"\xff\xfe", b'{"model": "MODEL", "labels": [99]}',
]


def memory(pid):
    with open(f"/proc/{pid}/status") as file:
        return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1)) / 1024


def expected(program, model, nfe):
    """Items by seed and index, from the command line."""
    found = {}
    for seed in range(SEEDS):
        args = [program, "-q", "sample", model, "-n", str(ITEMS), "--nfe", str(nfe), "--seed", str(seed), "--out", "-"]
        lines = subprocess.run(args, check=True, capture_output=True, text=True).stdout.splitlines()
        for index, line in enumerate(lines):
            found[seed, index] = json.loads(line)["ids"]
    return found


async def ask(port, body, cancelled=False):
    """Status, headers and content of one request over a connection of its own; `None` if it was cancelled."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        head = f"POST /v1/sample HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        if cancelled:
            await asyncio.sleep(random.random() * 0.02)
            return None
        answer = await reader.read()
        head, _, content = answer.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        if len(lines[0].split()) < 2:
            raise ConnectionError(f"no answer: {answer[:80]!r}")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        if headers.get("transfer-encoding") == "chunked":
            whole = b""
            while content:
                size, _, content = content.partition(b"\r\n")
                whole, content = whole + content[: int(size, 16)], content[int(size, 16) + 2 :]
            content = whole
        return int(lines[0].split()[1]), headers, content
    finally:
        writer.close()


async def client(port, until, wanted, log):
    names = list(wanted)
    while time.monotonic() < until:
        model, nfe = random.choice(names)
        draw = random.random()
        start = time.monotonic()
        if draw < 0.1:
            body = random.choice(MALFORMED).replace(b"MODEL", model.encode())
            status, _, content = await ask(port, body)
            log["malformed"] += 1
            log["malformed_wrong"] += not (400 <= status < 500 and "error" in json.loads(content))
            continue
        seed, first = random.randrange(SEEDS), random.randrange(ITEMS - 8)
        count = random.choice([1, 1, 1, 4, 8])
        body = json.dumps({"model": model, "nfe": nfe, "seed": seed, "first": first, "count": count}).encode()
        if draw < 0.2:
            await ask(port, body, cancelled=True)
            log["cancelled"] += 1
            continue
        status, headers, content = await ask(port, body)
        if status == 503:
            log["busy"] += 1
            log["busy_wrong"] += "retry-after" not in headers
            await asyncio.sleep(0.05)
            continue
        ids = [item["ids"] for item in json.loads(content)["items"]] if status == 200 else None
        right = ids == [wanted[model, nfe][seed, first + i] for i in range(count)]
        log["right" if right else "wrong"] += 1
        log["items"] += count
        log["times"].append(time.monotonic() - start)


async def singles(port, model, seconds, clients):
    """Requests of one item in a second."""
    done, until = 0, time.monotonic() + seconds

    async def one():
        nonlocal done
        while time.monotonic() < until:
            status, _, _ = await ask(port, json.dumps({"model": model, "count": 1, "seed": done}).encode())
            done += status == 200

    await asyncio.gather(*(one() for _ in range(clients)))
    return done / seconds


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--models", default="glyphs,echo")
    parser.add_argument("--queue", type=int, default=48)
    args = parser.parse_args()
    models = args.models.split(",")
    wanted = {(model, nfe): expected(args.program, model, nfe) for model in models for nfe in (1, 2)}
    command = [args.program, "-q", "serve", *models, "--addr", "127.0.0.1:0", "--queue", str(args.queue)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        port = int(server.stdout.readline().strip().rstrip("/").rsplit(":", 1)[1])
        rate = await singles(port, models[0], 10, 32)
        log = {name: 0 for name in ("right", "wrong", "items", "busy", "busy_wrong", "malformed", "malformed_wrong", "cancelled")}
        log["times"] = []
        half = memory(server.pid)
        until = time.monotonic() + args.seconds
        await asyncio.gather(*(client(port, until, wanted, log) for _ in range(args.clients)))
        after = memory(server.pid)
        times = sorted(log.pop("times"))
        start = time.monotonic()
        for _ in range(10):
            subprocess.run([args.program, "-q", "sample", models[0], "-n", "1", "--out", "-"], check=True, capture_output=True)
        alone = 10 / (time.monotonic() - start)
        print(json.dumps({
            **log,
            "seconds": args.seconds,
            "clients": args.clients,
            "requests_per_second": round(sum(log[k] for k in ("right", "wrong", "busy", "malformed", "cancelled")) / args.seconds, 1),
            "p50_ms": round(1000 * times[len(times) // 2], 1),
            "p99_ms": round(1000 * times[int(len(times) * 0.99)], 1),
            "longest_ms": round(1000 * times[-1], 1),
            "memory_mib": [round(half, 1), round(after, 1)],
            "single_items_per_second": round(rate, 1),
            "one_process_a_request_per_second": round(alone, 2),
            "cores": os.cpu_count(),
        }, indent=1))
        failed = log["wrong"] + log["busy_wrong"] + log["malformed_wrong"]
    finally:
        server.terminate()
        server.wait()
    return 1 if failed else 0


sys.exit(asyncio.run(main()))
