"""Progress of long work, as bars of tqdm."""

from __future__ import annotations

import sys
from typing import Any, Protocol


class Progress(Protocol):
    """Gets the progress of a command. Its methods are called from other threads, one at a time."""

    def start(self, what: str, total: int | None) -> None:
        """Work on `total` items begins; None if their number is not known. `what` names them."""

    def advance(self, n: int) -> None:
        """`n` more items are done."""

    def note(self, line: str) -> None:
        """A line for a person; the work goes on."""

    def status(self, line: str) -> None:
        """The state of the work, which replaces the previous one."""

    def finish(self) -> None:
        """The work has ended."""


class Silent:
    """Shows nothing."""

    def start(self, what: str, total: int | None) -> None:
        pass

    def advance(self, n: int) -> None:
        pass

    def note(self, line: str) -> None:
        pass

    def status(self, line: str) -> None:
        pass

    def finish(self) -> None:
        pass


class Bars:
    """Draws a bar with rate and ETA on terminals and in notebooks, and prints notes to stderr."""

    def __init__(self) -> None:
        self._bar: Any = None

    def start(self, what: str, total: int | None) -> None:
        from tqdm.auto import tqdm

        self.finish()
        self._bar = tqdm(total=total, desc=what, unit="", leave=False, disable=None)

    def advance(self, n: int) -> None:
        if self._bar is not None:
            self._bar.update(n)

    def note(self, line: str) -> None:
        from tqdm.auto import tqdm

        tqdm.write(line, file=sys.stderr)

    def status(self, line: str) -> None:
        if self._bar is not None:
            self._bar.set_postfix_str(line)

    def finish(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def reporter(progress: bool | Progress) -> Progress:
    """The object that gets the progress: bars for True, nothing for False."""
    if isinstance(progress, bool):
        return Bars() if progress else Silent()
    return progress
