"""Prints the tables of what real_photos.sh found, with 95 % intervals of bootstrap samples over the images of val.

    python benches/real_photos_table.py choose DIR     # the choices, made on a part of the training images
    python benches/real_photos_table.py recipes DIR    # of seeds, without these intervals
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
            # As many of pycocotools' thresholds as the recall reaches; the first is 0.
            points = np.where(recall > 0, np.searchsorted(np.linspace(0, 1, 101), recall, side="right"), 0)
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


def figure(samples, digits=3):
    """`0.123 ± 0.004 (0.100 to 0.150)`: mean and standard deviation over seeds, and the interval of the mean."""
    samples = np.atleast_2d(samples)
    values = samples[:, 0]
    low, high = np.nanpercentile(samples[:, 1:].mean(axis=0), [2.5, 97.5])
    spread = f" ± {values.std(ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{values.mean():.{digits}f}{spread} ({low:.{digits}f} to {high:.{digits}f})"


def metrics(path):
    """What `grainstore eval --json` says of all classes together."""
    found = {}
    for it in json.loads(path.read_text())["metrics"]:
        if it["slice"] is None and it["class"] is None:
            found[it["query"], it["metric"]] = it["value"] or 0.0
    return {"ap50": found["eval/coco", "ap50"], "miou": found["eval/miou", "miou"],
            "miou_classes": found["eval/miou", "miou_classes"]}


def choose(directory):
    """The options and thresholds with the highest mIoU on the part of the training images, mean over seeds, as JSON."""
    found = collections.defaultdict(list)
    for path in sorted(directory.glob("choose-*.json")):
        head, threshold = path.stem.rsplit("-", 1)
        _, name, a, unc, seed = head.removesuffix(".teacher").split("-")
        loss = "mil" if head.endswith(".teacher") else "mil+distill"
        found[name, loss, a, unc, threshold].append(metrics(path))
    mean = {key: {it: float(np.mean([one[it] for one in all])) for it in ("miou", "ap50")} for key, all in found.items()}
    chosen = {}
    for name in SETS:
        own = [key for key in mean if key[0] == name]
        top = lambda keys: max(keys, key=lambda key: mean[key]["miou"])
        best = top(own)
        chosen[name] = {
            "distill": top([it for it in own if it[1:4] == ("mil+distill", "20", "0.15")])[4],
            "mil": top([it for it in own if it[1:4] == ("mil", "20", "0.15")])[4],
            "loss": best[1], "a": best[2], "unc": best[3], "best": best[4],
        }
    chosen["tried"] = [[*key, *(round(value, 4) for value in mean[key].values())] for key in sorted(mean)]
    json.dump(chosen, sys.stdout, indent=1)


class Found:
    """What was found of val: its images, its objects, and the figures of heads."""

    def __init__(self, directory):
        self.directory = directory
        self.images = Images(directory / "images.csv")
        self.chosen = json.loads((directory / "chosen.json").read_text())
        self.classes = {name: classes(name) for name in SETS}
        self.objects = {
            masks: [it for it in rows(directory / f"{masks}.csv") if it["split"] == "val" and it["category"] in self.classes["voc"]]
            for masks in ("objects", "sam")
        }
        assert all(float(it["iou"]) > 0.99 for it in self.objects["objects"])

    def wanted(self, name):
        """The number of objects of each class in each image."""
        class_of, wanted = self.classes[name], {}
        for label in set(class_of.values()):
            own = [it["image_id"] for it in self.objects["objects"] if class_of[it["category"]] == label]
            if own:
                wanted[label] = self.images.spread(own, np.ones(len(own)))
        return wanted

    def covered(self, masks):
        """The objects that have a mask: one with an IoU of 0.5."""
        return [it for it in self.objects[masks] if float(it["iou"]) >= 0.5]

    def seeds(self, head):
        """The heads of one kind, by seed: `head` with {} for the seed."""
        found = (path.stem.removesuffix("-0.7") for path in self.directory.glob(head.format("*") + "-0.7.json"))
        return sorted(it for it in found if it.endswith(".teacher") == head.endswith(".teacher"))

    def annotation(self, head, name, threshold):
        """Samples of AP50 and mIoU of each seed. Those over all images must be what the program says."""
        samples = collections.defaultdict(list)
        for it in self.seeds(head):
            base = f"{it}-{threshold}"
            matches, pixels = (rows(self.directory / f"{base}-{query}.csv") for query in ("matches", "image_pixels"))
            found = {
                "ap50": average_precision(self.images, matches, self.wanted(name)),
                "miou": mean_iou(self.images, pixels, True),
                "miou_classes": mean_iou(self.images, pixels, False),
            }
            said = metrics(self.directory / f"{base}.json")
            for key, value in found.items():
                assert abs(value[0] - said[key]) < 1e-9, (base, key, value[0], said[key])
                samples[key].append(value)
        return samples

    def right(self, head, masks, name):
        """For each seed, which of the objects that have a mask get their class."""
        class_of, right = self.classes[name], []
        for it in self.seeds(head):
            predicted = {(row["image_id"], row["mask_index"]): row["class"] for row in rows(self.directory / f"{it}.csv")}
            right.append([
                predicted[row["image_id"], row["mask_index"]] == class_of[row["category"]] for row in self.covered(masks)
            ])
        return np.array(right, dtype=float)


def by_size(found, objects, right):
    """Accuracies of all objects and of those of each size, by COCO's areas."""
    cells = []
    for low, high in SIZES.values():
        at = [index for index, it in enumerate(objects) if low <= float(it["area"]) < high]
        own = [objects[index] for index in at]
        cells.append(figure([accuracy(found.images, own, one[at]) for one in np.atleast_2d(right)]))
    return cells


def tables(directory):
    found = Found(directory)
    person = {}
    for masks in ("objects", "sam"):
        person[masks] = np.array([it["category"] == "person" for it in found.covered(masks)], dtype=float)
    objects = found.covered("objects")
    counts = [sum(low <= float(it["area"]) < high for it in objects) for low, high in SIZES.values()]

    print(f"\nClass accuracy of val's {len(objects)} annotated objects of VOC's classes, each with its own mask:")
    for name in SETS:
        class_of = found.classes[name]
        lines = [["always 'person'", *by_size(found, objects, person["objects"]),
                  figure(class_mean(found.images, objects, person["objects"], class_of))]]
        for among, text in (("val", "nearest object of another image of val"), ("train", "nearest object of train")):
            nearest = {it["ground_truth_id"]: it for it in rows(directory / "neighbours.csv") if it["among"] == among}
            right = np.array([class_of[it["category"]] == class_of[nearest[it["ground_truth_id"]]["neighbour"]] for it in objects], dtype=float)
            lines.append([text, *by_size(found, objects, right), figure(class_mean(found.images, objects, right, class_of))])
        for head, text in heads_of_objects(found, name):
            right = found.right(head, "objects", name)
            lines.append([text, *by_size(found, objects, right),
                          figure([class_mean(found.images, objects, one, class_of) for one in right])])
        number = len(set(class_of.values()))
        table([f"{number} classes", *(f"{size} ({count})" for size, count in zip(SIZES, counts)), "mean over classes"], lines)

    print("\nThe annotation of val with these masks:")
    lines = []
    for name in SETS:
        for (head, text), key in zip(heads_of_objects(found, name), ("mil", "distill", "best")):
            for threshold in sorted({"0.7", found.chosen[name][key]}, reverse=True):
                samples = found.annotation(head, name, threshold)
                lines.append([name, text, threshold, *(figure(samples[it]) for it in ("ap50", "miou", "miou_classes"))])
    table(["classes", "head", "threshold", "AP50", "mIoU", "mIoU without background"], lines)

    covered = found.covered("sam")
    print(
        f"\nMasks of the demo's model: {len(covered)} of {len(found.objects['sam'])} objects have one with an IoU of 0.5 or more "
        f"({sum(float(it['iou']) >= 0.75 for it in covered)} with 0.75). 'person' is right for {person['sam'].mean():.3f} of them."
    )
    lines = []
    for name in SETS:
        class_of = found.classes[name]
        for vectors, text in (("tokens", "tokens"), ("vectors", "vectors"), ("both", "tokens and vectors"),
                              ("own", "tokens, `sam_neck`, `sam_token`, shape")):
            for suffix, loss, key in ((".teacher", "mil", "mil"), ("", "mil+distill", "distill")):
                head = f"sam-{vectors}-{name}-{{}}{suffix}"
                if not found.seeds(head):
                    continue
                right = found.right(head, "sam", name)
                low = found.chosen[name][key]
                cells = [figure([accuracy(found.images, covered, one) for one in right])]
                for threshold in ("0.7", low):
                    samples = found.annotation(head, name, threshold)
                    cells += [figure(samples["ap50"]), figure(samples["miou"])]
                lines.append([name, text, loss, len(right), cells[0], cells[1], cells[2], low, cells[3], cells[4]])
    table(["classes", "a head reads", "loss", "seeds", "accuracy", "AP50 at 0.7", "mIoU at 0.7", "lower threshold", "AP50", "mIoU"], lines)


def recipes(directory):
    """Recipes of training under several maps."""
    found = collections.defaultdict(list)
    for file in sorted(directory.glob("recipe-*.json")):
        _, recipe, _, map_rule = file.stem.split("-", 3)
        said = {it["metric"]: it["value"] for it in json.loads(file.read_text())["metrics"] if it["class"] is None}
        found[recipe, map_rule].append((said["miou"], said["ap50"]))
    names = {"mil": "`--loss mil`", "distill": "`--loss mil+distill`, the default", "refine": "`--loss mil+distill+refine`",
             "paper": "`--recipe paper`", "mil5": "`--loss mil -a 5`",
             "refine5": "`--loss mil+distill+refine -a 5 --lambda-unc 0.02`"}

    def spread(values):
        return f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f} ({min(values):.3f} to {max(values):.3f})"

    lines = []
    for recipe, name in names.items():
        miou = [spread([value for value, _ in found[recipe, map_rule]]) for map_rule in ("vote:0.5", "vote:0.3", "paint")]
        lines.append([name, *miou, spread([value for _, value in found[recipe, "paint"]])])
    table(["head", "mIoU, vote:0.5", "mIoU, vote:0.3", "mIoU, paint", "AP50"], lines)


def heads_of_objects(found, name):
    chosen = found.chosen[name]
    return [
        (f"objects-vectors-{name}-{{}}.teacher", "head, `--loss mil`"),
        (f"objects-vectors-{name}-{{}}", "head, the defaults"),
        (f"objects-best-{name}-{{}}", f"head, `--loss {chosen['loss']} -a {chosen['a']} --lambda-unc {chosen['unc']}`"),
    ]


if __name__ == "__main__":
    command, directory = sys.argv[1:]
    {"choose": choose, "recipes": recipes, "tables": tables}[command](pathlib.Path(directory))
