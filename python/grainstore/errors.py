"""Exceptions, by kind. All of them are a GrainstoreError, whose `hint` says what can be done, if that is known.

>>> try:
...     grainstore.open("nowhere")
... except grainstore.errors.NotFoundError as err:
...     print(err)
no store at 'nowhere'
hint: create one with 'grainstore init', or by ingesting into it
"""

from __future__ import annotations

__all__ = [
    "ConflictError",
    "DamagedError",
    "ExistsError",
    "FileError",
    "GrainstoreError",
    "InputError",
    "ModelError",
    "NotFoundError",
    "OptionError",
    "QueryError",
    "UnusableItemsWarning",
]


class GrainstoreError(Exception):
    """Anything that goes wrong in grainstore.

    Attributes:
        text: What is wrong.
        hint: What can be done, where that is known. Commands in it are those of the program 'grainstore'; their options are
            the keyword arguments of the methods of the same names.
    """

    def __init__(self, text: str, hint: str | None = None) -> None:
        super().__init__(text, hint)
        self.text = text
        self.hint = hint

    def __str__(self) -> str:
        return self.text if self.hint is None else f"{self.text}\nhint: {self.hint}"


class NotFoundError(GrainstoreError, LookupError):
    """A store, or what is named in it, is not there."""


class ExistsError(GrainstoreError):
    """Something of that name is there already, or still needed."""


class OptionError(GrainstoreError, ValueError):
    """An argument, or a combination of them, makes no sense."""


class InputError(GrainstoreError, ValueError):
    """A file that was given does not hold what it should."""


class QueryError(GrainstoreError, ValueError):
    """A query cannot be run."""


class ModelError(GrainstoreError):
    """A model's weights cannot be used, or not on this device."""


class FileError(GrainstoreError):
    """A file cannot be read or written."""


class DamagedError(GrainstoreError):
    """A store has files that are not as they were written, or is of another format."""


class ConflictError(GrainstoreError):
    """Others changed the store each time a commit was tried, or write to the same directory."""


class UnusableItemsWarning(UserWarning):
    """Some items could not be used; the others were."""
