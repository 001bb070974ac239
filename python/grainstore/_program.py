"""The program `grainstore`."""

from __future__ import annotations

import signal
import sys

from . import _lib


def main() -> int:
    """Runs the program with the arguments of this process and returns its exit code."""
    # As in any program that is not Python: Ctrl-C ends it at once, and the store stays sound.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return _lib.main(["grainstore", *sys.argv[1:]])
