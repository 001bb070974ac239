"""Runs the store bench's queries with pylance and pyarrow, and prints both sides.

    python benches/store_peer.py BENCH.json DIR
"""

import json
import pathlib
import statistics
import sys
import time

import lance
from markdown import figure, table, versions


def timed(run):
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def main(bench, directory):
    bench = json.loads(pathlib.Path(bench).read_text())
    print(
        f"{versions('pylance', 'pyarrow')}; files in the page cache, unless it says otherwise.\n\n"
        "PNG files of 2 KB ingested, beside reading, hashing and probing the same files on as many threads without a store:"
    )
    table(
        ["photos", "commits", "ingest, s", "photos/s", "reading, hashing and probing alone, s", "the same again (nothing new), s"],
        [
            [f"{it['photos']:,}", it["commits"], figure(it["ingest_s"]), figure(it["photos"] / it["ingest_s"]),
             figure(it["read_hash_probe_s"]), figure(it["again_s"])]
            for it in bench["ingest"]
        ],
    )
    rows = {}
    for size in bench["sizes"]:
        generated = size["generate"]
        masks = lance.dataset(str(pathlib.Path(directory) / f"masks-{generated['masks']}" / "masks.lance"))
        peers = {
            "count": lambda: masks.count_rows(),
            "group by image": lambda: masks.to_table(columns=["image_id", "area"])
            .group_by("image_id")
            .aggregate([("area", "count"), ("area", "max")]),
            "filter and group": lambda: masks.to_table(
                columns=["mask_output", "predicted_iou"], filter="area > 5000"
            )
            .group_by("mask_output")
            .aggregate([("predicted_iou", "mean")]),
        }
        for row in size["sql"]:
            peer = peers.get(row["query"])
            theirs = timed(peer) if peer else None
            rows.setdefault(f"`{row['sql']}`", []).append([
                f"{generated['masks']:,}", figure(row["median_s"] * 1000),
                figure(theirs * 1000) if peer else "-", f"{theirs / row['median_s']:.2f}" if peer else "-",
                f"{row['bytes_read'] / 1e6:.1f}", row["peak_memory_mb"],
            ])
    print(
        f"\nSQL over generated masks ({generated['bytes_per_mask']:,} bytes each on disk, 2,048 of them embedding), each "
        "query in a process of its own; the peer is pylance's scanner with pyarrow's group-by on the same data set:"
    )
    table(
        ["query", "masks", "grainstore, ms", "pylance, ms", "ratio", "read, MB", "peak memory, MB"],
        [[query if at == 0 else "", *row] for query, sizes in rows.items() for at, row in enumerate(sizes)],
    )
    gigabytes = bench["read"]["bytes"] / 1e9
    print(
        f"\nThe whole of {generated['masks']:,} masks ({gigabytes:.2f} GB), beside reading their files one after the other, "
        "in GB/s:"
    )
    table(
        ["", "files alone", "every column of every row", "checksums of all files"],
        [
            ["from the " + run["from"], *(f"{gigabytes / run[key]:.2f}" for key in ("files_s", "scan_s", "verify_s"))]
            for run in bench["read"]["runs"]
        ],
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
