"""Runs the store bench's queries with pylance and pyarrow, and prints both sides.

    python benches/store_peer.py BENCH.json DIR
"""

import json
import pathlib
import statistics
import sys
import time

import lance
import pyarrow.compute as pc


def timed(run):
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def main(bench, directory):
    bench = json.loads(pathlib.Path(bench).read_text())
    ingest = bench["ingest"]
    print(
        f"ingest {ingest['photos']} photos: {ingest['ingest_s']:.2f} s in {ingest['commits']} commits; "
        f"read, hash and probe alone: {ingest['read_hash_probe_s']:.2f} s; ratio {ingest['ratio']:.2f}; "
        f"the same again: {ingest['again_s']:.2f} s"
    )
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
        print(f"\n{generated['masks']} masks, {generated['bytes_per_mask']} bytes each on disk")
        print(f"{'query':18} {'ours s':>8} {'pylance s':>10} {'ratio':>6} {'read MB':>8} {'peak MB':>8}")
        for row in size["sql"]:
            peer = peers.get(row["query"])
            theirs = timed(peer) if peer else None
            beside = f"{theirs:10.3f} {theirs / row['median_s']:6.2f}" if peer else f"{'-':>10} {'-':>6}"
            print(
                f"{row['query']:18} {row['median_s']:8.3f} {beside} "
                f"{row['bytes_read'] / 1e6:8.1f} {row['peak_memory_mb']:8}"
            )
    gigabytes = bench["read"]["bytes"] / 1e9
    print(f"\nreading {gigabytes:.2f} GB, GB/s     files    scan  verify")
    for run in bench["read"]["runs"]:
        speeds = [gigabytes / run[key] for key in ("files_s", "scan_s", "verify_s")]
        print(f"{'from the ' + run['from']:24}" + "".join(f"{speed:8.2f}" for speed in speeds))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
