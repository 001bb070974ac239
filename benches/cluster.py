"""A scheduler with many executors on one machine, of which some are killed: its memory and time, and whether every row is there.

    python3 benches/cluster.py PROGRAM DIR EXECUTORS TASKS KILLS

The program needs the feature 'cluster'. Every task is one generated photo of 200 x 170 through the demo's model, with one point. The
rows are compared with those of one process. Prints a line of JSON.
"""

import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time
import urllib.request

# Below those that Linux gives to outgoing connections.
PORT, FIRST = 20_100, 20_200
ROWS = "SELECT image_id, mask_index, rle['counts'] AS counts, predicted_iou, stability_score FROM masks ORDER BY 1, 2"


def usage(pid):
    """Seconds of CPU and the peak of memory in MB of a process."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    seconds = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return seconds, int(peak.split()[1]) / 1024


def executors_known():
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/api/executors", timeout=5) as answer:
            return len(json.load(answer))
    except OSError:
        return 0


def main(program, folder, executors, tasks, kills):
    folder = pathlib.Path(folder)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    run = lambda *args: subprocess.run([program, "-q", *map(str, args)], check=True, stdout=subprocess.DEVNULL)
    run("demo", "--where", folder / "demo", "--only-scenes", "--train-images", tasks, "--test-images", 1)
    photos = next(folder.glob("demo/**/train"))
    model = next(folder.glob("demo/**/sam_demo.safetensors"))
    stores = [folder / "cluster", folder / "alone"]
    for store in stores:
        run("--store", store, "ingest", "images", photos, "--dataset", "bench")
    # One thread each: there are far more executors than cores.
    small = os.environ | {"RAYON_NUM_THREADS": "1", "TOKIO_WORKER_THREADS": "2"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    scheduler = subprocess.Popen([program, "scheduler", "--bind", f"127.0.0.1:{PORT}"], **quiet)
    started = time.monotonic()
    start = lambda n: subprocess.Popen([program, "executor", "--scheduler", f"127.0.0.1:{PORT}", "--bind", f"127.0.0.1:{FIRST + 2 * n}"],
                                       env=small, **quiet)
    running = [start(n) for n in range(executors)]
    try:
        while executors_known() < executors:
            if time.monotonic() - started > 120:
                sys.exit(f"{executors_known()} of {executors} executors came")
            time.sleep(0.2)
        came, before = time.monotonic() - started, usage(scheduler.pid)
        extract = ["extract", "--checkpoint", str(model), "--points-per-side", "1"]
        begun = time.monotonic()
        command = subprocess.Popen([program, "-q", "--store", str(stores[0]), *extract, "--cluster", f"127.0.0.1:{PORT}",
                                    "--chunk-images", "1"], stdout=subprocess.DEVNULL)
        chance, missed_after = random.Random(5), []
        time.sleep(5)
        while command.poll() is None and len(missed_after) < kills:
            victim = chance.choice([it for it in running if it.poll() is None])
            victim.send_signal(signal.SIGKILL)
            # Its tasks go to others when the scheduler misses it.
            killed_at = time.monotonic()
            while executors_known() >= executors - len(missed_after) and time.monotonic() - killed_at < 60:
                time.sleep(0.05)
            missed_after.append(time.monotonic() - killed_at)
            time.sleep(1)
        code = command.wait()
        seconds, after = time.monotonic() - begun, usage(scheduler.pid)
    finally:
        for process in [*running, scheduler]:
            process.kill()
    run("--store", stores[1], *extract)
    rows = [subprocess.run([program, "-q", "--store", store, "sql", ROWS, "--format", "csv"], check=True, capture_output=True).stdout
            for store in stores]
    print(json.dumps({
        "executors": executors, "tasks": tasks, "killed": len(missed_after), "exit": code,
        "seconds_until_killed_executors_were_missed": [round(it, 1) for it in missed_after], "seconds_until_all_executors_came": round(came, 1),
        "seconds": round(seconds, 1), "scheduler_cpu_seconds": round(after[0] - before[0], 1),
        "scheduler_cores": round((after[0] - before[0]) / seconds, 2), "scheduler_peak_memory_mb": round(after[1]),
        "rows": rows[1].count(b"\n") - 1, "rows_equal": rows[0] == rows[1],
    }))


main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6]))
