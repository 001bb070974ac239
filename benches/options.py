"""Trains heads on the scenes of another seed than the demo's with several options, and prints their metrics under several policies.

    python options.py PROGRAM STORE DIRECTORY SEEDS

What was measured is kept in DIRECTORY/options.jsonl; stopped, it goes on where it was.
"""

import statistics
import sys

from markdown import table
from stability import Runs

REFINE = ["--loss", "mil+distill+refine", "--epochs", "40"]
VOTE = {"`--map vote:0.5`, the default": [], "`--map vote:0.4`": ["--map", "vote:0.4"]}
PAINT = {
    "`--map paint`": ["--map", "paint"],
    "`--map paint --score-threshold 0.7 --min-predicted-iou 0.75`": [
        "--map", "paint", "--score-threshold", "0.7", "--min-predicted-iou", "0.75"
    ],
}
# Options of training beside REFINE, and the policies under which such heads are evaluated.
OPTIONS = {
    "": ([], VOTE | PAINT),
    "`--members 2`": (["--members", "2"], VOTE),
}


def spread(values):
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}"


def main(program, store, directory, seeds):
    runs = Runs(program, store, f"{directory}/options.jsonl")
    lines = []
    for number, (text, (options, policies)) in enumerate(OPTIONS.items()):
        for policy_text, policy in policies.items():
            line = [", ".join(filter(None, [text, policy_text]))]
            for name in ("groups", "kinds"):
                heads = [
                    runs.measure(("options", name, number, seed), name, [*REFINE, *options, "--seed", seed], policy)
                    for seed in range(int(seeds))
                ]
                line += [spread([head[metric] for head in heads]) for metric in ("miou", "ap50")]
            lines.append(line)
    print(
        f"Heads of `--loss mil+distill+refine --epochs 40` on the scenes of `grainstore demo --scene-seed 7`; mean and standard deviation "
        f"of {seeds} seeds."
    )
    table(["beside these", "coarse mIoU", "AP50", "fine mIoU", "AP50"], lines)


if __name__ == "__main__":
    main(*sys.argv[1:])
