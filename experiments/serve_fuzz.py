#!/usr/bin/env python3
"""Sends damaged requests to a server: none may end in a panic, in a status of 500, or keep its client waiting.

    python experiments/serve_fuzz.py path/to/pushforward [--requests 100000] [--seed 0] [MODEL ...]

A third of the bodies are bytes and tokens at random, the others valid requests with values replaced, fields renamed, and bytes
changed. Models are those of `serve`; without one, all that come along. Ends with 1 if a status is not among those that the
OpenAPI document has, an answer is no JSON, a refusal takes longer than a second, or the server is not there at the end.
"""

import argparse
import collections
import http.client
import json
import random
import re
import subprocess
import threading
import time

THREADS = 1
ALLOWED = {200, 400, 404, 406, 408, 413, 415, 422, 503}
PATHS = ["sample", "steer", "score", "impute", "encode", "decode", "reconstruct"]
TOKENS = ["null", "true", "-1", "0", "1e999", "1.5", "18446744073709551616", "9007199254740993", "-0.0", "NaN", '""', '"a_"', '"\\ud800"',
          '"\\u0000"', "[]", "{}", "[[]]", "[[null]]", "[[0,1]]", "[{}]", ":", ",", "{", "}", "[", "]", '"model"', '"echo"', '"count"', " "]
VALUES = [None, True, -1, 0, 1, 2, 3, 255, 1e308, -1e-308, 2**53, 2**64, "", "a_", "0:1", "ink", "site(0, 1)", "class(3)", "((", "\u0000", "é",
          "x" * 5000, [], {}, [[]], [None], [[None] * 8], [[0] * 8], [[0] * 256], [[1e9] * 2], [{}], [{"age": 39, "sex": None}], {"keep": [0]}, {"infill": "ab______"}]


def valid(models):
    for model in models:
        name, sites = model["name"], model["sites"]
        yield "sample", {"model": name, "count": 1, "nfe": 2, "seed": 3, "temperature": 0.8, "constraints": {}}
        yield "sample", {"model": name, "count": 2, "labels": [1], "guidance": 1.5, "draw": True, "first": 7}
        yield "steer", {"model": name, "reward": "site(0, 1)", "method": "best-of", "count": 1, "particles": 2, "nfe": 1}
        yield "score", {"model": name, "items": [[0] * sites], "draws": 1, "seed": 1}
        yield "impute", {"model": name, "items": [[None] * sites], "nfe": 1}
        yield "impute", {"model": name, "rows": [{"age": 39, "sex": None}], "nfe": 1}
        yield "decode", {"model": name, "codes": [[0.0] * (model["latent"] or 2)], "base": True}
        yield "encode", {"model": name, "texts": ["ACGT", "abababab"]}


def damaged(source, bodies):
    if source.random() < 0.33:
        if source.random() < 0.3:
            return source.choice(PATHS), bytes(source.randrange(256) for _ in range(source.randrange(200)))
        return source.choice(PATHS), "".join(source.choice(TOKENS) for _ in range(source.randrange(16))).encode()
    path, wanted = source.choice(bodies)
    path, wanted = path if source.random() < 0.8 else source.choice(PATHS), dict(wanted)
    for _ in range(source.randrange(3)):
        key = source.choice(list(wanted))
        kind = source.randrange(4)
        if kind == 0:
            wanted[source.choice(["x", key + "s", key.upper()])] = wanted.pop(key)
        elif kind == 1:
            del wanted[key]
        else:
            wanted[key] = source.choice(VALUES)
        if not wanted:
            break
    text = bytearray(json.dumps(wanted).encode())
    if source.random() < 0.3:
        for _ in range(source.randrange(1, 4)):
            at = source.randrange(len(text) + 1)
            text[at : at + source.randrange(2)] = source.choice(TOKENS).encode()
    return path, bytes(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("models", nargs="*")
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    command = [given.program, "--quiet", "serve", *given.models, "--addr", "127.0.0.1:0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    host = re.search(r"http://([^/]+)/", server.stdout.readline()).group(1)

    def ask(connection, path, text=None):
        headers = {"Content-Type": "application/json"} if text is not None else {}
        connection.request("GET" if text is None else "POST", path, body=text, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()

    listed = json.loads(ask(http.client.HTTPConnection(host), "/v1/models")[1])["models"]
    bodies, lock = list(valid(listed)), threading.Lock()
    statuses, wrong = collections.Counter(), []
    slowest = {"refused": (0.0, ""), "answered": (0.0, "")}

    def work(thread):
        source, connection = random.Random(1000 * given.seed + thread), http.client.HTTPConnection(host, timeout=60)
        for _ in range(thread, given.requests, THREADS):
            path, text = damaged(source, bodies)
            path = "/v1/" + path
            began = time.perf_counter()
            try:
                status, answer = ask(connection, path, text)
                json.loads(answer)
            except (OSError, ValueError, http.client.HTTPException) as error:
                wrong.append(f"{path} {text[:200]!r}: {error!r}")
                connection.close()
                continue
            took = time.perf_counter() - began
            kind = "answered" if status == 200 else "refused"
            with lock:
                statuses[status] += 1
                slowest[kind] = max(slowest[kind], (took, f"{path} {text[:200]!r}"))
            if status not in ALLOWED:
                wrong.append(f"{path} {text[:200]!r}: {status} {answer[:200]!r}")

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(THREADS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    ready = server.poll() is None and ask(http.client.HTTPConnection(host), "/readyz")[0] == 200
    server.terminate()
    server.wait()
    print(f"{sum(statuses.values())} requests in {seconds:.0f} s: {dict(sorted(statuses.items()))}")
    for kind, (took, text) in slowest.items():
        print(f"slowest {kind}: {took:.2f} s, {text}")
    for line in wrong[:20]:
        print("wrong:", line)
    print("the server is ready" if ready else "the server is not there any more")
    raise SystemExit(bool(wrong) or not ready or slowest["refused"][0] > 1.0)


main()
