#!/usr/bin/env python3
"""Compares an exported static folder, in headless Chromium, with the program: the same classes for every seed.

    pushforward export glyphs --web page --ort node_modules/onnxruntime-web/dist
    python experiments/browser_check.py path/to/pushforward glyphs page

MODEL is what was exported. `--seeds` (default 100), `--count` items of each (default 4), `--nfe` (default 1,4). Chromium is the
one that PUSHFORWARD_BROWSER names, or `chromium`. Prints how many items are equal, the time from opening the page to its
first samples, and the processor time of the browser: on a busy machine, the time says little.
"""

import argparse
import functools
import http.server
import json
import os
import queue
import subprocess
import tempfile
import threading
from pathlib import Path

PAGE = """<!doctype html><body></body><script type="module">
import { open, sample } from "./pushforward.mjs";
// The page itself, from its opening to its first samples.
const opened = performance.now();
const frame = document.body.appendChild(document.createElement("iframe"));
frame.src = "index.html#count=24&nfe=1";
while (!frame.contentDocument?.querySelector("[data-ids]")) await new Promise((later) => setTimeout(later, 5));
const page = performance.now() - opened;
await fetch("/first", { method: "POST", body: "null" });
while (frame.contentDocument.body.dataset.idle !== "yes") await new Promise((later) => setTimeout(later, 5));
frame.remove();
const began = performance.now();
const ort = await import("./ort/ort.wasm.min.mjs");
ort.env.wasm.wasmPaths = new URL("./ort/", location.href).href;
ort.env.wasm.numThreads = 1;
const about = await (await fetch("model.json")).json();
const model = await open(ort, about, new Uint8Array(await (await fetch("model.onnx")).arrayBuffer()));
const items = [];
let first = null;
for (const nfe of NFE) for (let seed = 0; seed < SEEDS; seed++) {
  items.push(Array.from(await sample(model, { count: COUNT, nfe, seed })));
  first ??= performance.now() - began;
}
await fetch("/result", { method: "POST", body: JSON.stringify({ items, page, first, all: performance.now() - began }) });
</script>"""


class Folder(http.server.SimpleHTTPRequestHandler):
    page, results = "", queue.Queue()

    def do_GET(self):
        if self.path != "/check.html":
            return super().do_GET()
        body = self.page.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        self.results.put((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


Folder.extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map, ".mjs": "text/javascript", ".wasm": "application/wasm"}


def processor_time(session):
    """Seconds that the processes of a session have computed."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[3]) == session:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def of_program(program, model, seed, nfe, count):
    command = [program, "--quiet", "sample", model, "-n", str(count), "--seed", str(seed), "--nfe", str(nfe), "--out", "-"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    # A site that an item does not have is nothing in one and -1 in the other.
    return [one if one is not None and one < 1 << 31 else -1 for line in lines for one in json.loads(line)["ids"]]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("model")
    parser.add_argument("folder")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--count", type=int, default=4)
    parser.add_argument("--nfe", default="1,4")
    given = parser.parse_args()
    evaluations = [int(one) for one in given.nfe.split(",")]
    page = PAGE.replace("NFE", json.dumps(evaluations)).replace("SEEDS", str(given.seeds)).replace("COUNT", str(given.count))
    Folder.page = page
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Folder, directory=given.folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as profile:
        browser = os.environ.get("PUSHFORWARD_BROWSER", "chromium")
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
        command += ["--remote-debugging-port=0", f"http://127.0.0.1:{server.server_address[1]}/check.html"]
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            assert Folder.results.get(timeout=600)[0] == "/first"
            spent = processor_time(running.pid)
            _, found = Folder.results.get(timeout=600)
        finally:
            running.terminate()
            running.wait()
    wanted = [(nfe, seed) for nfe in evaluations for seed in range(given.seeds)]
    equal = {nfe: 0 for nfe in evaluations}
    for (nfe, seed), items in zip(wanted, found["items"]):
        ours = of_program(given.program, given.model, seed, nfe, given.count)
        sites = len(ours) // given.count
        pairs = [(items[i * sites : (i + 1) * sites], ours[i * sites : (i + 1) * sites]) for i in range(given.count)]
        equal[nfe] += sum(a == b for a, b in pairs)
    total = given.seeds * given.count
    for nfe, count in equal.items():
        print(f"{given.model}, {nfe} evaluations: {count} of {total} items of {given.seeds} seeds are equal")
    print(f"the page has its first samples {found['page'] / 1000:.2f} s after it is opened; all {len(wanted) * given.count} items of the check took {found['all'] / 1000:.1f} s")
    print(f"until then, the browser took {spent:.1f} s of processor time, its own start included")
    raise SystemExit(any(count < total for count in equal.values()))


main()
