"""Writes losses.json: the head's losses and gradients as PyTorch computes them.

    python make.py            # torch 2.9.0, CPU

The loss is written here from the paper's text (GranSAM, section 3), with autograd for the gradients:
nothing of grainstore goes into it.
"""

import json
import math
from pathlib import Path

import torch

HERE = Path(__file__).parent


def k_of(d, a):
    return max(1, math.ceil(d / a))


def mil(logits, bags, labels, a, classes):
    """Cross entropy of softmax(mean of the k largest logits of each class) with normalised multi-hot."""
    losses = []
    for (start, end), shown in zip(bags, labels):
        bag = logits[start:end]
        k = min(k_of(len(bag), a), len(bag))
        scores = bag.topk(k, dim=0).values.mean(dim=0)
        target = torch.zeros(classes, dtype=logits.dtype)
        target[shown] = 1.0 / len(shown)
        losses.append(-(target * torch.log_softmax(scores, 0)).sum())
    return torch.stack(losses).mean()


def bad_masks(teacher, bags, labels, fraction, classes):
    """Masks the frozen teacher is unsure of, or sure of a class the image does not show."""
    p = torch.softmax(teacher, 1)
    entropy = -(p * p.log()).sum(1)
    threshold = fraction * math.log(classes)
    bad = []
    for (start, end), shown in zip(bags, labels):
        for mask in range(start, end):
            if entropy[mask] > threshold or p[mask].argmax().item() not in shown:
                bad.append(mask)
    return bad


def uncertainty(logits, bad):
    return -(torch.log_softmax(logits[bad], 1).sum(1)).mean()


def case(seed, sizes, labels, classes, a, fraction):
    g = torch.Generator().manual_seed(seed)
    total = sum(sizes)
    # Numbers that f32 holds exactly, so that both sides start from the same.
    student = (torch.randn(total, classes, generator=g) * 2).float().double().requires_grad_()
    teacher = (torch.randn(total, classes, generator=g) * 3).float().double()
    bags, start = [], 0
    for size in sizes:
        bags.append((start, start + size))
        start += size
    loss = mil(student, bags, labels, a, classes)
    (mil_gradient,) = torch.autograd.grad(loss, student)
    bad = bad_masks(teacher, bags, labels, fraction, classes)
    unc = uncertainty(student, bad)
    (unc_gradient,) = torch.autograd.grad(unc, student)
    return {
        "classes": classes,
        "a": a,
        "fraction": fraction,
        "sizes": sizes,
        "labels": labels,
        "student": student.detach().flatten().tolist(),
        "teacher": teacher.flatten().tolist(),
        "mil": loss.item(),
        "mil_gradient": mil_gradient.flatten().tolist(),
        "bad": bad,
        "uncertainty": unc.item(),
        "uncertainty_gradient": unc_gradient.flatten().tolist(),
    }


def training():
    """A few steps of Adam on a small head without dropout: weights before and after."""
    g = torch.Generator().manual_seed(9)
    widths, sizes, labels = [6, 8, 7, 5, 3], [4, 1, 7, 5], [[0], [1], [0, 2], [2]]
    layers = [torch.nn.Linear(i, o) for i, o in zip(widths, widths[1:])]
    with torch.no_grad():
        for layer in layers:
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=g) * 0.4)
            layer.bias.copy_(torch.randn(layer.bias.shape, generator=g) * 0.1)
    x = (torch.randn(sum(sizes), widths[0], generator=g)).half().float()
    bags, start = [], 0
    for size in sizes:
        bags.append((start, start + size))
        start += size

    def weights():
        return [
            {"weight": l.weight.detach().flatten().tolist(), "bias": l.bias.detach().tolist()}
            for l in layers
        ]

    before, losses = weights(), []
    parameters = [p for l in layers for p in l.parameters()]
    adam = torch.optim.Adam(parameters, lr=1e-2)
    for _ in range(3):
        h = x
        for n, layer in enumerate(layers):
            h = layer(h)
            if n + 1 < len(layers):
                h = torch.relu(h)
        loss = mil(h, bags, labels, 2.0, widths[-1])
        losses.append(loss.item())
        adam.zero_grad()
        loss.backward()
        adam.step()
    return {
        "widths": widths,
        "sizes": sizes,
        "labels": labels,
        "a": 2.0,
        "learning_rate": 1e-2,
        "embeddings": x.flatten().tolist(),
        "before": before,
        "losses": losses,
        "after": weights(),
    }


def main():
    cases = [
        case(1, [10, 7, 3], [[0], [2], [1, 3]], 4, 3.0, 0.5),
        # d < a, d = 1, all masks the same bag as k, many classes.
        case(2, [1, 2, 30], [[4], [0, 1, 2], [19]], 20, 10.0, 0.3),
        case(3, [5, 100], [[1], [0]], 2, 1.0, 0.9),
        case(4, [100, 99, 101], [[0], [1], [2]], 5, 10.0, 0.6),
    ]
    out = {"torch": torch.__version__.split("+")[0], "cases": cases, "training": training()}
    (HERE / "losses.json").write_text(json.dumps(out))


if __name__ == "__main__":
    main()
