"""Pictures that notebooks draw."""

from __future__ import annotations

import os
import pathlib

__all__ = ["Picture"]


class Picture:
    """A PNG. A notebook shows it where it is the last value of a cell.

    Attributes:
        png: The bytes of the file.
    """

    def __init__(self, png: bytes) -> None:
        self.png = png

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the file."""
        pathlib.Path(path).write_bytes(self.png)

    def _repr_png_(self) -> bytes:
        return self.png

    def __repr__(self) -> str:
        return f"Picture({len(self.png)} bytes of PNG)"
