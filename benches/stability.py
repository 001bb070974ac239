"""Trains heads on a demo's store over many seeds, and prints what their metrics are and how far they spread.

    python stability.py PROGRAM STORE DIRECTORY SEEDS

What was measured is kept in DIRECTORY/stability.jsonl; stopped, it goes on where it was.
"""

import json
import pathlib
import statistics
import subprocess
import sys

from markdown import table

# Class sets of the demo, and what they are called there.
SETS = {"groups": "coarse, 3 classes", "kinds": "fine, 6 classes"}
# The paper's way draws kept masks over each other and keeps those of 0.7; neither has a filter by predicted IoU.
REFINE = ["--loss", "mil+distill+refine", "--epochs", "40"]
RECIPES = {
    "refined, as in the demo": ([*REFINE, "--members", "2"], ["--map", "vote:0.4"]),
    "refined, one member": (REFINE, []),
    "default": ([], []),
    "paper": (["--recipe", "paper"], ["--score-threshold", "0.7", "--map", "paint"]),
    "paper, a = 20, vote": (["--recipe", "paper", "-a", "20"], []),
    "refined, 3 members": ([*REFINE, "--members", "3"], []),
}
NOISE = 1e-7


class Runs:
    """Heads of a store, each trained once, and what evaluations of them found, kept in a file."""

    def __init__(self, program, store, file):
        self.program, self.store, self.file = program, store, pathlib.Path(file)
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        self.done = {tuple(one["run"]): one for one in map(json.loads, lines)}
        self.seconds = {}

    def gs(self, *args):
        command = [self.program, "--quiet", "--store", self.store, *map(str, args)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(command)}: {done.stdout}{done.stderr}")
        return done.stdout

    def measure(self, words, classes, options, policy):
        """Trains a head, unless one of these words was trained before, annotates and evaluates."""
        run = (*words, *policy)
        if run not in self.done:
            head = "-".join(map(str, words))
            if head not in self.seconds:
                trained = json.loads(self.gs("train", "--name", head, "--classes", classes, *options, "--json"))
                self.seconds[head] = trained["training_seconds"]
            self.gs("annotate", "--head", head, "--where", "split = 'test'", *policy)
            said = json.loads(self.gs("eval", "--head", head, "--split", "test", "--dry-run", "--json"))
            metrics = {it["metric"]: it["value"] for it in said["metrics"] if it["class"] is None}
            found = {"run": run, "miou": metrics["miou"], "ap50": metrics["ap50"], "seconds": self.seconds[head]}
            with self.file.open("a") as file:
                file.write(json.dumps(found) + "\n")
            self.done[run] = found
        return self.done[run]


def spread(values):
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}", f"{max(values) - min(values):.3f}"


def main(program, store, directory, seeds):
    runs, lines, seeds = Runs(program, store, f"{directory}/stability.jsonl"), [], int(seeds)

    def head(name, recipe, seed, noise):
        options, policy = RECIPES[recipe]
        jitter = ["--initial-noise", NOISE, "--noise-seed", noise] if noise else []
        kind = "".join(it for it in recipe if it.isalnum())
        return runs.measure(("stability", name, kind, seed, noise), name, [*options, "--seed", seed, *jitter], policy)

    for name, text in SETS.items():
        for recipe in RECIPES:
            heads = [head(name, recipe, seed, 0) for seed in range(seeds)]
            miou, ap50 = (spread([head[it] for head in heads]) for it in ("miou", "ap50"))
            seconds = statistics.mean(head["seconds"] for head in heads)
            lines.append([text, recipe, f"{seeds} seeds", *miou, ap50[0], f"{seconds:.1f}"])
            if recipe in ("refined, as in the demo", "paper"):
                moved = [head(name, recipe, 0, noise) for noise in range(1, seeds + 1)]
                miou, ap50 = (spread([head[it] for head in moved]) for it in ("miou", "ap50"))
                lines.append([text, recipe, f"seed 0, {seeds} times with noise of {NOISE:g}", *miou, ap50[0], ""])
    print(
        "Heads of the demo's 200 training scenes, evaluated on its 60 test scenes, without a filter by predicted IoU; mean and "
        "standard deviation. Rounding differs from CPU to CPU by about as much as the noise on the initial weights."
    )
    table(["head", "recipe", "of", "mIoU", "greatest minus least", "AP50", "seconds of training"], lines)


if __name__ == "__main__":
    main(*sys.argv[1:])
