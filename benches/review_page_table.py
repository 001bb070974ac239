"""Prints what review_page.py measured as a table.

    python review_page_table.py FOUND.jsonl
"""

import json
import pathlib
import sys

from markdown import table

lines = []
for text in pathlib.Path(sys.argv[1]).read_text().splitlines():
    found = json.loads(text)
    shown = [f"{found['masks']:,}"]
    for queue in ("unlabelled", "uncertain"):
        waits = found[queue]["next_ms"]
        shown += [f"{found[queue]['opened_s']:.2f}", f"{waits['p50']:.0f} / {waits['p95']:.0f}"]
    saved = found["unlabelled"]["saved_ms"]
    shown += [f"{saved['p50']:.1f} / {saved['p95']:.1f}", f"{found['train']['seconds']:.1f}"]
    grid = found["grid"]
    shown += [f"{3600 / grid['seconds_a_page'] * 60:,.0f}" if grid else "-", f"{found['memory_mb']['VmHWM']:,.0f}"]
    lines.append(shown)
columns = [
    "masks", "`unlabelled` opens, s", "next mask, ms", "`uncertain` opens, s", "next mask, ms", "on the disk, ms",
    "linear head trained and all masks predicted, s", "labels an hour by grid, without looking", "server's peak memory, MB",
]
table(columns, lines)
