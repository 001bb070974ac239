"""A simulated reviewer: ground truth answers the questions that a queue asks, batch by batch, and the head is trained anew
after each; prints how its metrics on other images rise, queue by queue. Then labels that are wrong on purpose: how many of them
are among the first masks of the queue that looks for them.

    python review.py PROGRAM STORE DIRECTORY SEEDS NAME CLASSES POOL TEST [TRAIN OPTION...]

POOL and TEST are conditions on images: those whose masks are asked about, and those that metrics are of. What was measured is
kept in DIRECTORY/review.jsonl; stopped, it goes on where it was.
"""

import csv
import json
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import time

from markdown import table

ANSWERS = [20, 50, 100, 200, 400, 800]
QUEUES = ["random", "uncertain", "threshold", "dropout", "disagreement", "centres", "image-label-errors"]
# The fraction of the pool's labels that are made wrong, and how many masks of the queue mask-label-errors are looked at.
WRONG, FIRST = 0.1, [20, 50, 100, 200]
# Images are labelled, too, and both are in the loss. Every mask is a detection, so that AP is of the whole curve.
TRAIN = ["--loss", "mil"]
POLICY = ["--score-threshold", "0", "--map", "vote:0.3"]


class Reviewer:
    def __init__(self, program, store, directory, name, classes, pool, test, options):
        self.program, self.original = program, store
        self.classes, self.pool, self.test, self.options = classes, pool, test, options
        self.directory = pathlib.Path(directory)
        self.store = self.directory / f"review-{name}"
        self.file = self.directory / "review.jsonl"
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        self.done = {tuple(one["run"]): one for one in map(json.loads, lines)}
        self.name = name
        self.answers = None

    def gs(self, *args):
        command = [self.program, "--quiet", "--store", str(self.store), *map(str, args)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(command)}: {done.stdout}{done.stderr}")
        return done.stdout

    def extractor(self):
        at = self.options.index("--extractor") + 1 if "--extractor" in self.options else None
        return ["--extractor", self.options[at]] if at else []

    def anew(self):
        shutil.rmtree(self.store, ignore_errors=True)
        shutil.copytree(self.original, self.store)

    def oracle(self):
        """What ground truth says of the masks of the pool; of those that it is unsure of, that they are of no use."""
        if self.answers is None:
            self.anew()
            self.gs("label", "ground-truth", "--where", self.pool, *self.extractor())
            said = self.gs("sql", "SELECT image_id, mask_index, label FROM mask_labels", "--format", "csv")
            rows = csv.DictReader(said.splitlines())
            self.answers = {(row["image_id"], int(row["mask_index"])): row["label"] for row in rows}
        return self.answers

    def label(self, masks, answers=None):
        answers = self.oracle() if answers is None else answers
        file = self.directory / "answers.csv"
        with file.open("w", newline="") as opened:
            out = csv.writer(opened)
            out.writerow(["image", "mask_index", "label", "verdict"])
            for mask in masks:
                answer = answers.get(mask)
                out.writerow([*mask, answer or "", "bad mask" if answer is None else "is"])
        self.gs("label", "csv", file, "--reviewer", "oracle", *self.extractor())

    def fit(self, name, seed, where, *options):
        self.gs("train", "--name", name, "--classes", self.classes, "--seed", seed, *TRAIN, *self.options, *options)
        self.gs("annotate", "--head", name, "--where", where, *POLICY)

    def train(self, seed):
        started = time.monotonic()
        self.fit("r", seed, f"({self.pool}) OR ({self.test})")
        said = json.loads(self.gs("eval", "--head", "r", "--where", self.test, "--dry-run", "--json"))
        metrics = {it["metric"]: it["value"] for it in said["metrics"] if it["class"] is None}
        return {"miou": metrics["miou"], "ap50": metrics["ap50"], "seconds": time.monotonic() - started}

    def measure(self, queue, seed):
        """The curve of one queue, a point a line."""
        key = lambda count: (self.name, queue, seed, count)
        if key(ANSWERS[-1]) in self.done:
            return
        self.oracle()
        self.anew()
        self.record(key(0), self.train(seed))
        asked = 0
        for count in ANSWERS:
            found = self.ask(queue, count - asked, seed)
            if len(found) < count - asked:
                # The queue has no more.
                for rest in ANSWERS[ANSWERS.index(count) :]:
                    self.record(key(rest), {"miou": None, "ap50": None})
                return
            self.label([(it["image_id"], it["mask_index"]) for it in found])
            asked = count
            self.record(key(count), self.train(seed))

    def ask(self, queue, count, seed):
        head = "r"
        if queue == "threshold":
            # Metrics are of all masks; the threshold that people have is that of kept masks.
            self.gs("rethreshold", "--head", head, "--where", self.pool, "--score-threshold", "0.5")
        if queue == "disagreement":
            # Another head, so that metrics are of heads with one member in every queue.
            head = "members"
            self.fit(head, seed, self.pool, "--members", "3")
        return json.loads(self.gs("queue", queue, "--head", head, "-k", count, "--where", self.pool, "--seed", seed, "--json"))

    def errors(self, seed):
        """Labels every mask of the pool, some of an object wrongly, and looks for these."""
        key = (self.name, "errors", seed, 0)
        if key in self.done:
            return
        right = self.oracle()
        self.anew()
        draw = random.Random(seed)
        classes = sorted({answer for answer in right.values() if answer})
        objects = sorted(mask for mask, answer in right.items() if answer)
        wrong = set(draw.sample(objects, round(WRONG * len(objects))))
        said = {mask: answer for mask, answer in right.items() if mask not in wrong}
        for mask in sorted(wrong):
            said[mask] = draw.choice([it for it in classes if it != right[mask]])
        self.label(sorted(said), said)
        self.fit("r", seed, self.pool)
        found = self.ask("mask-label-errors", FIRST[-1], seed)
        found = [(it["image_id"], it["mask_index"]) in wrong for it in found]
        self.record(key, {"wrong": len(wrong), "objects": len(objects), "found": found})

    def all_labels(self, seed):
        key = (self.name, "all", seed, 0)
        if key not in self.done:
            self.oracle()
            self.anew()
            self.gs("label", "ground-truth", "--where", self.pool, *self.extractor())
            self.record(key, self.train(seed))

    def record(self, key, found):
        found = {"run": key, **found}
        with self.file.open("a") as file:
            file.write(json.dumps(found) + "\n")
        self.done[key] = found

    def show(self, seeds):
        def spread(queue, count, metric):
            values = [self.done[(self.name, queue, seed, count)][metric] for seed in range(seeds)]
            if None in values:
                return 0, "-"
            deviation = f" ± {statistics.stdev(values):.3f}" if seeds > 1 else ""
            return statistics.mean(values), f"{statistics.mean(values):.3f}{deviation}"

        for metric in ("miou", "ap50"):
            goal = spread("all", 0, metric)
            print(f"\n{self.name}, {metric}: all {len(self.oracle())} masks of the pool labelled: {goal[1]}\n")
            lines = []
            for queue in QUEUES:
                means = [spread(queue, count, metric) for count in (0, *ANSWERS)]
                reached = next((c for c, it in zip((0, *ANSWERS), means) if it[0] >= 0.95 * goal[0]), "-")
                lines.append([queue, *[it[1] for it in means], reached])
            table(["queue", "0 answers", *map(str, ANSWERS), "95 % of all labels at"], lines)
        runs = [self.done[(self.name, "errors", seed, 0)] for seed in range(seeds)]
        objects, wrong = runs[0]["objects"], runs[0]["wrong"]
        print(f"\n{self.name}, mask-label-errors: {wrong} of the pool's {objects} labels of objects are wrong; found among its first masks:\n")
        found = [[sum(run["found"][:first]) for run in runs] for first in FIRST]
        table(["first masks", *map(str, FIRST)], [["wrong labels", *[f"{statistics.mean(it):.1f}" for it in found]]])


def main(program, store, directory, seeds, name, classes, pool, test, *options):
    reviewer, seeds = Reviewer(program, store, directory, name, classes, pool, test, list(options)), int(seeds)
    for seed in range(seeds):
        reviewer.all_labels(seed)
        for queue in QUEUES:
            reviewer.measure(queue, seed)
        reviewer.errors(seed)
    reviewer.show(seeds)
    shutil.rmtree(reviewer.store, ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
