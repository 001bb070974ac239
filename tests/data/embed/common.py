"""What the make_*.py of this folder share: seeded weights, generated photos, files."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

HERE = Path(__file__).parent

torch.set_num_threads(1)


def randn(generator, *shape):
    return torch.randn(*shape, generator=generator)


@torch.no_grad()
def randomise(model, seed, draw):
    """Fills `model` with draw(name, tensor, noise), rounded to what 16 bits hold."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in sorted(model.state_dict().items()):
        if tensor.is_floating_point():
            value = draw(name, tensor, torch.randn(tensor.shape, generator=generator))
            tensor.copy_(value.half().float())
    return model.eval()


def fan_in(tensor, noise, gain=1.0):
    return noise * gain * tensor[0].numel() ** -0.5


def halves(state):
    """A state dict in 16 bits; integers stay."""
    return {
        name: (tensor.half() if tensor.is_floating_point() else tensor).clone().contiguous()
        for name, tensor in state.items()
    }


def write(tensors, path, metadata=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.clone().contiguous() for name, tensor in tensors.items()}, path, metadata)
    report(path)


def report(path):
    print(f"{path}: {path.stat().st_size:,} bytes")


def photo(width, height, seed):
    """Smooth waves, discs, a bar and some noise: u8 [height, width, 3]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    image = np.zeros((height, width, 3))
    for channel in range(3):
        a, b, c = rng.uniform(0.02, 0.3, 3)
        image[..., channel] = 110 + 60 * np.sin(a * x + b * y) + 40 * np.cos(c * y)
    for _ in range(4):
        cy, cx, r = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(0.1, 0.3) * min(height, width)
        image[(y - cy) ** 2 + (x - cx) ** 2 < r * r] = rng.uniform(0, 255, 3)
    image[:, width // 3 : width // 3 + 2] = 250
    image += rng.normal(0, 8, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


PHOTOS = {"photo_a": (97, 61, 11), "photo_b": (40, 120, 12)}


def photos(out):
    """Writes the generated photos and gives them back, as Pillow reads them."""
    out.mkdir(parents=True, exist_ok=True)
    read = {}
    for name, (width, height, seed) in PHOTOS.items():
        path = out / f"{name}.png"
        Image.fromarray(photo(width, height, seed)).save(path)
        report(path)
        read[name] = Image.open(path).convert("RGB")
    return read


def normalised(image, width, height, mean, std):
    """f32 [1, 3, height, width] of a Pillow image squashed to that size."""
    resized = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
    pixels = torch.from_numpy(resized.copy()).permute(2, 0, 1)[None].float() / 255
    return (pixels - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)


def strays(what, single, double):
    """Says how far torch's own f32 is from its f64: what a test can ask for at most."""
    error = (single.double() - double).abs().max() / double.abs().max()
    print(f"{what}: f32 strays {error:.1e} of the largest value, {double.abs().max():.3g}")
