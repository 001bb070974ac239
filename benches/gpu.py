"""Times extraction on a GPU beside segment-anything's own package on the same GPU.

    python gpu.py PROGRAM DIRECTORY DEVICES MODELS PRECISIONS PHOTOS_AT_ONCE PHOTOS

Both sides make the best or all three masks of a 10 x 10 grid without a filter, from the photos' files to run lengths. What was
measured is kept in DIRECTORY/gpu.jsonl; stopped, it goes on where it was.
"""

import gc
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import threading
import time

import numpy as np
import torch
from PIL import Image
from segment_anything import SamAutomaticMaskGenerator, sam_model_registry

from markdown import figure, table, versions

# Photos of the first, short run of a program: what it takes is loading and warming up, and is taken off.
FIRST = 8
WARM_UP = 3


def checkpoint(directory, model):
    file = directory / f"{model}.pth"
    if not file.exists():
        torch.manual_seed(0)
        sam = sam_model_registry[model]()
        with torch.no_grad():
            for name, parameter in sam.named_parameters():
                if "rel_pos" in name or "pos_embed" in name:
                    parameter.normal_(0, 0.02)
                # The four pixels that a cell becomes are alike: masks in patches, as trained weights give them, and not
                # noise, whose run lengths would take most of the time.
                if "output_upscaling" in name and parameter.dim() == 4:
                    parameter.copy_(parameter[:, :, :1, :1].expand_as(parameter))
        torch.save(sam.state_dict(), file)
    return file


def photos(directory, count):
    folder = directory / f"photos-{count}"
    if not folder.exists():
        folder.mkdir()
        random = np.random.default_rng(0)
        for n in range(count):
            small = random.integers(0, 256, (12, 16, 3), dtype=np.uint8)
            Image.fromarray(small).resize((1024, 768), Image.BICUBIC).save(folder / f"{n:04}.jpg", quality=90)
    return folder


class Watch:
    """Samples how busy the GPU is and how much of its memory is taken, while a block runs."""

    QUERY = ["nvidia-smi", "--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits", "-lms", "100"]

    def __enter__(self):
        self.process = subprocess.Popen(self.QUERY, stdout=subprocess.PIPE, text=True)
        self.samples = []
        self.thread = threading.Thread(target=self.read)
        self.thread.start()
        return self

    def read(self):
        for line in self.process.stdout:
            self.samples.append([float(part) for part in line.split(",")])

    def __exit__(self, *_):
        self.process.terminate()
        self.thread.join()
        # The last third: the model has been loaded by then.
        late = self.samples[-max(1, len(self.samples) // 3) :] or [[0.0, 0.0]]
        self.busy = statistics.mean(it[0] for it in late)
        self.memory_mb = max((it[1] for it in self.samples), default=0)


def ours(program, directory, folder, weights, device, precision, at_once, output):
    """Images a second of the program, without its start: the difference of a long run and a short one."""

    def gs(store, *args):
        command = [program, "--store", store, "--json", *args]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{command}: {done.stdout}{done.stderr}"[-2000:])
        return done.stdout

    seconds = []
    for limit in (FIRST, None):
        store = directory / "store"
        shutil.rmtree(store, ignore_errors=True)
        gs(store, "init")
        gs(store, "ingest", "images", folder, "--source", "target", "--dataset", "gpu")
        args = ["extract", "--checkpoint", weights, "--device", device, "--precision", precision, "--images-at-once", at_once]
        args += ["--mask-output", output, *(["--limit", limit] if limit else [])]
        with Watch() as watch:
            started = time.perf_counter()
            said = json.loads(gs(store, *args))
            seconds.append((said["images"], time.perf_counter() - started))
        shutil.rmtree(store)
    (few, short), (many, long) = seconds
    return {"rate": (many - few) / (long - short), "start_s": short, "busy": watch.busy, "memory_mb": watch.memory_mb}


def cast(module, precision):
    """Makes a module compute in 16 bits and answer in 32: the package's generator turns its answers into numpy arrays."""
    forward = module.forward

    def run(*args, **kwargs):
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=precision == "bf16"):
            found = forward(*args, **kwargs)
        return tuple(it.float() for it in found) if isinstance(found, tuple) else found.float()

    module.forward = run


def theirs(folder, model, weights, precision):
    sam = sam_model_registry[model](checkpoint=weights).eval().cuda()
    cast(sam.image_encoder, precision)
    cast(sam.mask_decoder, precision)
    generator = SamAutomaticMaskGenerator(
        sam, points_per_side=10, points_per_batch=64, pred_iou_thresh=0.0, stability_score_thresh=0.0, box_nms_thresh=1.0,
        output_mode="uncompressed_rle",
    )
    files = sorted(folder.iterdir())
    with torch.inference_mode():
        for file in files[:WARM_UP]:
            generator.generate(np.asarray(Image.open(file)))
        timed = files[WARM_UP : WARM_UP + 16]
        torch.cuda.synchronize()
        with Watch() as watch:
            started = time.perf_counter()
            for file in timed:
                generator.generate(np.asarray(Image.open(file)))
            seconds = time.perf_counter() - started
    del generator, sam
    gc.collect()
    torch.cuda.empty_cache()
    return {"rate": len(timed) / seconds, "busy": watch.busy, "memory_mb": watch.memory_mb}


def main(program, directory, devices, models, precisions, at_once, count):
    program, directory = pathlib.Path(program).resolve(), pathlib.Path(directory).resolve()
    folder = photos(directory, int(count))
    file = directory / "gpu.jsonl"
    done = {tuple(it["run"]): it for it in map(json.loads, file.read_text().splitlines())} if file.exists() else {}

    def measure(run, work):
        if run not in done:
            try:
                found = {"run": run, **work()}
            except RuntimeError as error:
                found = {"run": run, "error": str(error)}
            print(json.dumps(found), file=sys.stderr, flush=True)
            with file.open("a") as opened:
                opened.write(json.dumps(found) + "\n")
            done[run] = found
        return done[run]

    lines = []
    for model in models.split(","):
        weights = checkpoint(directory, model)
        for precision in precisions.split(","):
            peer = measure((model, precision, "peer"), lambda: theirs(folder, model, weights, precision))
            lines.append([model, precision, "official package, three masks a point", figure(peer["rate"]), f"{peer['busy']:.0f}",
                          f"{peer['memory_mb']:,.0f}", "1"])
            for device in filter(None, devices.split(",")):
                for output in ("all", "best"):
                    for many in at_once.split(","):
                        run = (model, precision, device, output, many)
                        found = measure(run, lambda: ours(program, directory, folder, weights, device, precision, many, output))
                        name = f"`{device}`, {'three masks' if output == 'all' else 'the best mask'} a point, {many} at once"
                        if "error" in found:
                            lines.append([model, precision, name, "failed", "", "", ""])
                            continue
                        lines.append([model, precision, name, figure(found["rate"]), f"{found['busy']:.0f}",
                                      f"{found['memory_mb']:,.0f}", f"{found['rate'] / peer['rate']:.2f}"])
    card = torch.cuda.get_device_name()
    print(
        f"{card}; random weights; {count} JPEG photos of 1024 x 768, a 10 x 10 grid, no filter; from files to run lengths in the "
        f"store, the start taken off; {versions('segment-anything', 'torch')}. Busy: share of time in which the GPU ran a "
        "kernel, in the last third of the run."
    )
    table(["model", "precision", "side", "images a second", "busy, %", "GPU memory, MB", "ratio"], lines)


if __name__ == "__main__":
    main(*sys.argv[1:])
