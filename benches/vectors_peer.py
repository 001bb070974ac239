"""Times pylance's own exact search on the dataset that benches/vectors.rs made, or prints the table.

    python benches/vectors_peer.py real EMBEDDED.lance REAL.f32
    python benches/vectors_peer.py time STORE ROWS > PEER.json
    python benches/vectors_peer.py compare OURS.json PEER.json

`real` writes the vectors of a Lance dataset as 32-bit numbers, for the bench to repeat.
"""

import json
import pathlib
import statistics
import sys
import time

QUERIES = 20


def open_vectors(store):
    import lance

    return lance.dataset(str(next(pathlib.Path(store).glob("vectors/*.lance"))))


def real(dataset, output):
    import lance
    import numpy as np

    table = lance.dataset(dataset).to_table(columns=["vector"])
    vectors = np.stack(table["vector"].to_numpy()).astype("<f4")
    pathlib.Path(output).write_bytes(vectors.tobytes())
    print(vectors.shape)


def timing(store, rows):
    import lance
    import numpy as np

    dataset = open_vectors(store)
    random = np.random.default_rng(2)
    seconds = []
    for row in random.integers(0, int(rows), QUERIES):
        query = dataset.take([int(row)], columns=["vector"])["vector"].to_numpy()[0].astype(np.float32)
        started = time.perf_counter()
        found = dataset.to_table(
            columns=["image_id", "mask_index"],
            nearest={"column": "vector", "q": query, "k": 20, "metric": "cosine", "use_index": False},
        )
        seconds.append(time.perf_counter() - started)
        assert found.num_rows == 20
    started = time.perf_counter()
    for batch in dataset.scanner(columns=["vector"]).to_batches():
        batch.num_rows
    scan = time.perf_counter() - started
    json.dump({"exact_s": statistics.median(seconds[1:]), "scan_s": scan, "pylance": lance.__version__}, sys.stdout)


def compare(ours, peer):
    ours, peer = (json.loads(pathlib.Path(path).read_text()) for path in [ours, peer])
    print("| operation | grainstore, s | pylance, s | ratio |")
    print("|---|---:|---:|---:|")
    for name, key in [("20 nearest, exact", "exact_s"), ("scan of all vectors", "scan_s")]:
        print(f"| {name} | {ours[key]:.3f} | {peer[key]:.3f} | {peer[key] / ours[key]:.2f} |")
    print(f"| linear head of 20 classes over all vectors | {ours['predict_s']:.3f} | | |")
    ratio = ours["mlp_s"] / ours["matrix_s"]
    print(f"| head of 3 hidden layers over all vectors; its matrix products alone | {ours['mlp_s']:.2f} | {ours['matrix_s']:.2f} | {ratio:.2f} |")
    for at in (ours["index"] or {}).get("settings", []):
        name = f"20 nearest, index, nprobes {at['nprobes']}, refine {at['refine']}: recall {at['recall_at_20']:.3f}"
        print(f"| {name} | {at['median_s']:.4f} | | |")
    if index := ours["index"]:
        print(f"| index `{index['kind']}`, made | {index['build_s']:.1f} | | |")
        print(f"| {index['delta_rows']:,} later vectors added to it | {index['delta_s']:.2f} | | |")


if __name__ == "__main__":
    {"real": real, "time": timing, "compare": compare}[sys.argv[1]](*sys.argv[2:])
