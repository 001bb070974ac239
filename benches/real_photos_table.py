"""Prints the tables of what real_photos.sh found, with 95 % intervals of bootstrap samples over the images of val.

    python benches/real_photos_table.py choose DIR     # the choices, made on a part of the training images
    python benches/real_photos_table.py tables DIR
"""

import collections
import csv
import json
import pathlib
import sys
import tomllib

import numpy as np

from markdown import table

REPLICATES = 1000
SETS = {"voc": "examples/classes/voc.toml", "groups": "examples/classes/voc_groups.toml"}
SIZES = {"all": (0, np.inf), "small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, np.inf)}


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def classes(name):
    """The class of each label."""
    declared = tomllib.loads(pathlib.Path(SETS[name]).read_text())["class"]
    return {label: it["name"] for it in declared for label in it["labels"]}


class Images:
    """The images of val in the program's order, and how often each is drawn into each sample; sample 0 has each once."""

    def __init__(self, path):
        self.at = {it["image_id"]: index for index, it in enumerate(rows(path))}
        count = len(self.at)
        random = np.random.default_rng(0)
        drawn = random.multinomial(count, np.full(count, 1 / count), REPLICATES)
        self.weights = np.vstack([np.ones(count, dtype=int), drawn]).astype(float)

    def spread(self, image_ids, values):
        """The sum of some rows' values in each image."""
        sums = np.zeros(len(self.at))
        np.add.at(sums, [self.at[it] for it in image_ids], values)
        return sums


def average_precision(images, matches, wanted):
    """AP50 of every sample: COCO's 101 points, mean over the classes that the sample's images show."""
    of_class = collections.defaultdict(list)
    for it in matches:
        if it["area"] == "all" and not int(it["ignored"]) & 1:
            of_class[it["class"]].append(it)
    values = np.full((len(wanted), len(images.weights)), np.nan)
    for index, (name, objects) in enumerate(sorted(wanted.items())):
        objects = images.weights @ objects
        found = sorted(of_class[name], key=lambda it: (-float(it["score"]), int(it["image_order"]), int(it["rank"])))
        weights = images.weights[:, [images.at[it["image_id"]] for it in found]]
        correct = weights * np.array([int(it["matched"]) & 1 for it in found])
        with np.errstate(divide="ignore", invalid="ignore"):
            precision = np.nan_to_num(np.cumsum(correct, axis=1) / np.cumsum(weights, axis=1))
            envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
            recall = np.cumsum(correct, axis=1) / objects[:, None]
            points = np.where(recall > 0, np.floor(recall * 100 + 1e-9) + 1, 0)
            steps = np.diff(points, axis=1, prepend=0)
            values[index] = np.where(objects > 0, (envelope * steps).sum(axis=1) / 101, np.nan)
    return np.nanmean(values, axis=0)


def mean_iou(images, pixels, with_background):
    """mIoU of every sample: mean over the classes that the sample's images show."""
    indices = sorted({int(it["class_index"]) for it in pixels})
    values = []
    for index in indices:
        if index < 0 and not with_background:
            continue
        own = [it for it in pixels if int(it["class_index"]) == index]
        ids = [it["image_id"] for it in own]
        found, missed, claimed = (
            images.weights @ images.spread(ids, [float(it[key]) for it in own]) for key in ("found", "missed", "claimed")
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            values.append(np.where(found + missed > 0, found / (found + missed + claimed), np.nan))
    return np.nanmean(values, axis=0)


def accuracy(images, objects, is_right):
    """The share of objects that are right, in every sample."""
    ids = [it["image_id"] for it in objects]
    with np.errstate(divide="ignore", invalid="ignore"):
        return (images.weights @ images.spread(ids, is_right)) / (images.weights @ images.spread(ids, np.ones(len(ids))))


def class_mean(images, objects, is_right, class_of):
    """The mean over classes of the share of their objects that are right, in every sample."""
    values = []
    for name in sorted({class_of[it["category"]] for it in objects}):
        at = [index for index, it in enumerate(objects) if class_of[it["category"]] == name]
        values.append(accuracy(images, [objects[index] for index in at], np.asarray(is_right, dtype=float)[at]))
    return np.nanmean(values, axis=0)


def figure(samples):
    """`0.123 ± 0.004 (0.100 to 0.150)`: mean and standard deviation over seeds, and the interval of the mean."""
    samples = np.asarray(samples)
    values = samples[:, 0]
    low, high = np.nanpercentile(samples[:, 1:].mean(axis=0), [2.5, 97.5])
    spread = f" ± {values.std(ddof=1):.3f}" if len(values) > 1 else ""
    return f"{values.mean():.3f}{spread} ({low:.3f} to {high:.3f})"


def metric(path, query, name):
    for it in json.loads(path.read_text())["metrics"]:
        if (it["query"], it["slice"], it["class"], it["metric"]) == (query, None, None, name):
            return it["value"] or 0.0
    raise KeyError(f"{path} has no {name}")


def of_head(images, directory, head, threshold, class_of, wanted, predicted):
    """Samples of a head's figures; those over all images must be the program's."""
    base = f"{head}-{threshold}"
    matches, pixels = rows(directory / f"{base}-matches.csv"), rows(directory / f"{base}-pixels.csv")
    samples = {
        "ap50": average_precision(images, matches, wanted),
        "miou": mean_iou(images, pixels, True),
        "miou_classes": mean_iou(images, pixels, False),
    }
    said = directory / f"{base}.json"
    for name, query in (("ap50", "eval/coco"), ("miou", "eval/miou"), ("miou_classes", "eval/miou")):
        theirs = metric(said, query, name)
        assert abs(samples[name][0] - theirs) < 1e-9, (base, name, samples[name][0], theirs)
    return samples


if __name__ == "__main__":
    pass
