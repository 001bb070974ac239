"""The peer of benches/train.rs: the paper's training as its authors would write it, in PyTorch.

    python train_peer.py DIR --epochs 3 --source ram|files --loss mil|mil+distill

DIR is what 'cargo bench --bench train -- --write DIR' wrote. 'ram' holds all embeddings as one f32 tensor;
'files' reads one .pt file an image (written first, not timed), as many scripts around SAM do. One line of
JSON on stdout.
"""

import argparse
import json
import math
import os
import resource
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

A, FRACTION, BATCH = 20, 0.5, 64


class Head(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.fc = nn.Sequential(
            nn.Linear(1024, 512), nn.ReLU(),
            nn.Linear(512, 256), nn.ReLU(),
            nn.Linear(256, 128), nn.ReLU(), nn.Dropout(0.9),
            nn.Linear(128, classes),
        )

    def forward(self, x):
        return self.fc(x)


class Files(torch.utils.data.Dataset):
    def __init__(self, directory, images, labels):
        self.directory, self.images, self.labels = directory, images, labels

    def __len__(self):
        return len(self.images)

    def __getitem__(self, at):
        n = self.images[at]
        return torch.load(self.directory / f"{n}.pt").float(), self.labels[n], n


class Ram(torch.utils.data.Dataset):
    def __init__(self, embeddings, images, labels):
        self.embeddings, self.images, self.labels = embeddings, images, labels

    def batches(self, shuffle):
        order = torch.randperm(len(self.images)) if shuffle else torch.arange(len(self.images))
        order = torch.as_tensor(self.images)[order]
        for chunk in order.split(BATCH):
            yield self.embeddings[chunk], self.labels[chunk], chunk


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("dir", type=Path)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--source", choices=["ram", "files"], default="ram")
    parser.add_argument("--loss", default="mil+distill")
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(os.cpu_count())
    labels = torch.tensor([int(x) for x in (args.dir / "labels.txt").read_text().split()])
    raw = np.fromfile(args.dir / "embeddings.f16", dtype=np.float16)
    raw = raw.reshape(len(labels), -1, 1024)
    n, d, _ = raw.shape
    classes = int(labels.max()) + 1
    k = max(1, math.ceil(d / A))
    held = int(n * 0.1)
    training, validation = list(range(held, n)), list(range(held))

    if args.source == "files":
        directory = args.dir / "pt"
        directory.mkdir(exist_ok=True)
        for image in range(n):
            file = directory / f"{image}.pt"
            if not file.exists():
                torch.save(torch.from_numpy(raw[image]).clone(), file)
        del raw

        def batches(images, shuffle):
            return torch.utils.data.DataLoader(
                Files(directory, images, labels), batch_size=BATCH, shuffle=shuffle
            )

        started = time.perf_counter()
    else:
        started = time.perf_counter()
        embeddings = torch.from_numpy(raw).float()
        del raw

        def batches(images, shuffle):
            return Ram(embeddings, images, labels).batches(shuffle)

    def scores(logits):
        return logits.topk(k, dim=1).values.mean(1)

    def fit(teacher):
        head = Head(classes)
        adam = torch.optim.Adam(head.parameters(), lr=1e-3)
        seconds = []
        bad = None
        if teacher is not None:
            bad = torch.zeros(n, d, dtype=torch.bool)
            teacher.eval()
            with torch.no_grad():
                for x, y, images in batches(training, False):
                    p = teacher(x).softmax(-1)
                    entropy = -(p * p.clamp_min(1e-38).log()).sum(-1)
                    bad[images] = (entropy > FRACTION * math.log(classes)) | (
                        p.argmax(-1) != y[:, None]
                    )
        for _ in range(args.epochs):
            began = time.perf_counter()
            head.train()
            for x, y, images in batches(training, True):
                logits = head(x)
                loss = nn.functional.cross_entropy(scores(logits), y)
                if bad is not None:
                    rows = logits[bad[images]]
                    if len(rows):
                        loss = loss - 0.15 * rows.log_softmax(-1).sum(-1).mean()
                adam.zero_grad()
                loss.backward()
                adam.step()
            head.eval()
            right = 0
            with torch.no_grad():
                for x, y, _ in batches(validation, False):
                    right += (scores(head(x)).argmax(-1) == y).sum().item()
            seconds.append(time.perf_counter() - began)
        return head, seconds, right / max(1, len(validation))

    teacher, seconds, accuracy = fit(None)
    if args.loss == "mil+distill":
        _, more, accuracy = fit(teacher)
        seconds += more
    print(json.dumps({
        "source": args.source,
        "images": n,
        "masks": n * d,
        "epochs": args.epochs,
        "seconds": time.perf_counter() - started,
        "epoch_seconds": seconds,
        "validation_accuracy": accuracy,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "torch": torch.__version__,
    }))


if __name__ == "__main__":
    main()
