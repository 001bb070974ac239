"""Prints the summary of `grainstore demo --json` as a table.

    python demo_table.py SUMMARY.json
"""

import json
import pathlib
import sys

from markdown import table


def main(summary):
    summary = json.loads(pathlib.Path(summary).read_text())
    steps = summary["steps"]
    print(
        "260 generated photos of about 200 x 170, 64 points each, the demo's model. There is no peer: this is what "
        "training anew costs beside running the model once. "
        + "; ".join(f"head '{it['head']}': mIoU {it['miou']:.3f}, mask AP50 {it['ap50']:.3f}" for it in summary["heads"])
        + "."
    )
    total = sum(seconds for _, seconds in steps)
    table(["step", "seconds"], [[name, f"{seconds:.1f}"] for name, seconds in [*steps, ["in all", total]]])


main(sys.argv[1])
