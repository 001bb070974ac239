"""Makes a small head of a large one: a linear head that fits the large one's logits over a store's embeddings.

    python tests/data/store/make_format_1_head.py STORE LARGE.safetensors SMALL.safetensors

The large one is what `grainstore heads export` (0.1.0) wrote. make_format_1_eval.sh says when this ran. Needs numpy, pylance
and safetensors.
"""

import json
import struct
import sys

import lance
import numpy as np
from safetensors.numpy import load_file, save_file

store, large, small = sys.argv[1:]
with open(large, "rb") as file:
    length = struct.unpack("<Q", file.read(8))[0]
    head = json.loads(json.loads(file.read(length))["__metadata__"]["grainstore.head"])
embeddings = lance.dataset(f"{store}/masks.lance").to_table(columns=["embedding"])["embedding"].combine_chunks()
embeddings = embeddings.values.to_numpy(zero_copy_only=False).astype(np.float64).reshape(len(embeddings), -1)
weights = load_file(large)
logits = embeddings
for layer in range(4):
    logits = logits @ weights[f"layers.{layer}.weight"].T.astype(np.float64) + weights[f"layers.{layer}.bias"]
    if layer < 3:
        logits = np.maximum(logits, 0)
inputs = np.hstack([embeddings, np.ones((len(embeddings), 1))])
fitted = np.linalg.solve(inputs.T @ inputs + 1e-3 * np.eye(inputs.shape[1]), inputs.T @ logits)
spec = json.loads(head["spec"])
spec["head"] |= {"hidden": [], "dropout": 0.0}
head |= {"head": "linear", "head_id": "0" * 31 + "1", "spec": json.dumps(spec), "curves": "[]"}
tensors = {
    "layers.0.weight": np.ascontiguousarray(fitted[:-1].T, dtype=np.float32),
    "layers.0.bias": fitted[-1].astype(np.float32),
}
save_file(tensors, small, metadata={"grainstore.head": json.dumps(head)})
