"""Puts what a bench printed into its place in docs/benchmarks.md, with the machine and the command.

    benches/geometry.sh | python3 benches/page.py geometry

The place is between '<!-- bench geometry -->' and '<!-- end -->'; what stands around it is written by hand.
"""

import datetime
import os
import pathlib
import platform
import re
import subprocess
import sys

PAGE = pathlib.Path("docs/benchmarks.md")


def said(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def machine():
    about = pathlib.Path("/proc/cpuinfo").read_text()
    cpu = re.search(r"model name\s*: (.*)", about)
    widest = next((name for name in ("avx512f", "avx2") if re.search(rf"flags.*\b{name}\b", about)), "no AVX2")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    rust = " ".join(said("rustc", "--version").split()[:2])
    return (
        f"{cores} cores of {cpu[1] if cpu else platform.processor()} ({widest}), {memory:.0f} GiB, {platform.system()}; {rust}, "
        f"release profile; Python {platform.python_version()}; {datetime.date.today()}"
    )


def main(bench):
    begin, end = f"<!-- bench {bench} -->", "<!-- end -->"
    before, found, after = PAGE.read_text().partition(begin)
    if not found or end not in after:
        sys.exit(f"{PAGE} has no place for '{bench}': '{begin}' and then '{end}'")
    printed = sys.stdin.read().strip()
    if not printed:
        sys.exit(f"the bench '{bench}' printed nothing; {PAGE} is as it was")
    after = after[after.index(end) :]
    text = f"`./run bench {bench}` on {machine()}\n\n{printed}"
    PAGE.write_text(f"{before}{begin}\n{text}\n{after}")
    print(text)


main(sys.argv[1])
