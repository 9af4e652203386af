#!/usr/bin/env python3
"""ChemNet's weights for the Frechet ChemNet distance, from the Python package `fcd` (`pip install fcd rdkit`).

    experiments/chemnet.py convert OUT.safetensors      writes them as pushforward reads them
    experiments/chemnet.py distance A.smi B.smi         the package's own distance, to compare with `cargo run --example chemnet_distance`
"""
import hashlib
import json
import pkgutil
import struct
import sys
import tempfile
from pathlib import Path

NAME, SHA256 = "ChemNet_v0.13_pretrained.pt", "c22e977602b30eeabd7f81e6c790dd3234c7d7788c6c3e7979d8720ccc96951a"


def convert(out):
    import torch

    data = pkgutil.get_data("fcd", NAME)
    if (found := hashlib.sha256(data).hexdigest()) != SHA256:
        sys.exit(f"{NAME} of the installed package has SHA-256 {found}, and {SHA256} was expected")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / NAME
        path.write_bytes(data)
        layers = torch.load(path, map_location="cpu", weights_only=False)
    states = [state for _, (state, *_) in layers]
    tensors = {f"convolution_{i + 1}.weight": states[i]["weight"] for i in range(2)}
    for i, state in enumerate(states[2:], 1):
        tensors[f"lstm_{i}.weight_input"] = state["weight_ih_l0"]
        tensors[f"lstm_{i}.weight_state"] = state["weight_hh_l0"]
        tensors[f"lstm_{i}.bias"] = state["bias_ih_l0"] + state["bias_hh_l0"]
    header, bodies, end = {}, [], 0
    for name, tensor in tensors.items():
        body = tensor.float().contiguous().numpy().astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [end, end + len(body)]}
        bodies.append(body)
        end += len(body)
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    content = struct.pack("<Q", len(head)) + head + b"".join(bodies)
    Path(out).write_bytes(content)
    print(f"{out}: SHA-256 {hashlib.sha256(content).hexdigest()}")


def distance(a, b):
    from fcd import get_fcd
    from rdkit.Chem import CanonSmiles

    read = lambda path: [CanonSmiles(line.split()[0]) for line in Path(path).read_text().splitlines() if line.strip()]
    print(f"{get_fcd(read(a), read(b)):.6f}")


if __name__ == "__main__":
    command, *arguments = sys.argv[1:] or [""]
    {"convert": convert, "distance": distance}.get(command, lambda *_: sys.exit(__doc__))(*arguments)
