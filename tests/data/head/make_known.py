"""Writes known.json: the loss of masks of which something is known, and its gradients, as PyTorch computes them.

    python make_known.py      # torch 2.9.0, CPU

Masks whose class is known by torch.nn.functional.cross_entropy over the outputs that are compared, those of which only is
known what they are not by -log of what is left, weighted means as PyTorch's `weight` has them.
"""

import json
from pathlib import Path

import torch
from torch.nn import functional

HERE = Path(__file__).parent


def case(seed, masks, outputs, known, weights, left_out):
    generator = torch.Generator().manual_seed(seed)
    logits = (torch.randn(masks, outputs, generator=generator) * 2).float().double().requires_grad_()
    compared = [output for output in range(outputs) if output not in left_out]
    losses = []
    for mask, what in enumerate(known):
        row = logits[mask, compared]
        if isinstance(what, int):
            losses.append(functional.cross_entropy(row, torch.tensor(compared.index(what))))
        else:
            p = torch.softmax(row, 0)
            losses.append(-torch.log(1 - p[[compared.index(output) for output in what]].sum()))
    weight = torch.tensor(weights, dtype=torch.float64)
    loss = (torch.stack(losses) * weight).sum() / weight.sum()
    loss.backward()
    return {
        "outputs": outputs, "logits": logits.flatten().tolist(), "known": known, "weights": weights,
        "left_out": left_out, "loss": loss.item(), "gradient": logits.grad.flatten().tolist(),
    }


cases = [
    case(1, 5, 4, [0, 3, 2, 3, 1], [1.0, 0.5, 2.0, 0.5, 1.0], []),
    case(2, 4, 5, [[0, 2], 4, [1], 0], [1.0, 1.0, 3.0, 0.25], []),
    case(3, 3, 6, [0, 5, [4]], [1.0, 2.0, 1.0], [1, 3]),
]
(HERE / "known.json").write_text(json.dumps(cases) + "\n")
