"""Runs a command of the program with Python values as its arguments."""

from __future__ import annotations

import functools
import json
import keyword
import os
import re
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from . import _lib
from ._progress import Progress, reporter
from .errors import GrainstoreError, OptionError, UnusableItemsWarning


def run(
    words: str,
    positional: Iterable[tuple[str, Any]] = (),
    options: Mapping[str, Any] | None = None,
    *,
    place: Place | None = None,
    progress: bool | Progress = True,
    stream: bool = False,
) -> Any:
    """Runs the command `words`. Returns what it prints with --json, or its rows: a table, or with `stream` a reader."""
    args = ["grainstore", "--json"]
    if place is not None:
        args += [f"--store={place.path}", *(f"--storage-option={it}" for it in place.storage_options)]
    args += words.split(" ")
    for name, value in (options or {}).items():
        args += _option(name, value)
    given = [text for name, value in positional for text in _texts(name, value)]
    if given:
        args += ["--", *given]
    try:
        answer = _lib.call(args, reporter(progress))
    except GrainstoreError as err:
        text = _in_python(err.text, words) if isinstance(err, OptionError) else err.text
        raise type(err)(text, err.hint and _in_python(err.hint, words)) from None
    if answer.with_bad_items:
        warnings.warn(
            "some items could not be used; store.query('review/failures') lists those of ingest, extract, embed and import",
            UnusableItemsWarning,
            stacklevel=4,
        )
    if answer.has_rows:
        if stream:
            return pa.RecordBatchReader.from_stream(answer)
        answer.read_all()
        return pa.RecordBatchReader.from_stream(answer).read_all()
    return None if answer.value is None else json.loads(answer.value)


class Place:
    """Where a store is."""

    def __init__(self, path: str | os.PathLike[str], storage_options: Mapping[str, Any] | None = None) -> None:
        path = os.fsdecode(path)
        # It stays the same place if the working directory changes.
        self.path = path if "://" in path else os.path.abspath(path)
        if storage_options is None:
            from_environment = os.environ.get("GRAINSTORE_STORAGE_OPTIONS", "")
            self.storage_options = [option for option in from_environment.split(",") if option]
        else:
            self.storage_options = [f"{key}={_text(key, value)}" for key, value in storage_options.items()]
            if any("," in option for option in self.storage_options):
                raise ValueError("an option of buckets has a comma, which is not supported")


def argument_name(option: str) -> str:
    """The name of an option as an argument of Python."""
    name = option.replace("-", "_")
    return f"{name}_" if keyword.iskeyword(name) else name


def _option(name: str, value: Any) -> list[str]:
    if value is None or value is False:
        return []
    if value is True:
        return [f"--{name}"]
    return [f"--{name}={text}" for text in _texts(name, value)]


def _texts(name: str, value: Any) -> list[str]:
    """The values of an argument, each as it would be typed."""
    if value is None:
        return []
    if isinstance(value, Mapping):
        return [f"{key}={_text(name, inner)}" for key, inner in value.items()]
    if isinstance(value, Iterable) and not isinstance(value, (str, os.PathLike)):
        return [_text(name, inner) for inner in value]
    return [_text(name, value)]


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (str, os.PathLike)):
        text = os.fspath(value)
        if isinstance(text, str):
            return text
    elif hasattr(value, "__index__"):
        return str(value.__index__())
    elif hasattr(value, "__float__"):
        return repr(float(value))
    raise TypeError(f"{name}: expected text or a number, found {type(value).__name__}")


@functools.cache
def _places(words: str) -> dict[str, str]:
    """The names in Python of a command's arguments that have a place and no name on the command line, by what messages call
    them, such as `IMAGE_ID`."""
    found = [it["arguments"] for it in json.loads(_lib.commands()) if it["words"] == words.split(" ")]
    return {it["value"]: argument_name(it["name"]) for arguments in found for it in arguments if it["is_positional"]}


_NAMES = re.compile(
    r"('(?:grainstore|cargo) [^']*')"  # a line of a terminal
    r"|--([a-z][a-z-]*)(?: <[^>]*>)?(?:\.\.\.)?"
    r"|[<\[]([A-Z][A-Z0-9_]*)[>\]](?:\.\.\.)?"
    r"|(?<=[<|])([A-Z][A-Z0-9_]*)(?=[|>])"  # one of several, as in <IMAGE_ID|--where <SQL>>
)


def _in_python(text: str, words: str) -> str:
    """A message of the command `words` with the names of Python's arguments in place of those of the command line."""

    def name(found: re.Match[str]) -> str:
        line, option, place, choice = found.groups()
        if option:
            return argument_name(option)
        return line or _places(words).get(place or choice, found[0])

    def listed(found: re.Match[str]) -> str:
        missing = [it.strip("<>").replace("|", " or ") for it in found[2].split(" ")]
        return found[1] + ", ".join(missing)

    return re.sub("(required arguments were not provided: )(.*)", listed, _NAMES.sub(name, text))
