"""Numbers of classes, from the class sets that `Store.classes_show` returns: 1 is the first class, 0 is background."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import OptionError

ClassSet = Mapping[str, Any]


def names_of(classes: ClassSet) -> list[str]:
    """The names of the classes, in declared order."""
    return [it["class"] for it in classes["classes"]]


def numbers_of_labels(classes: ClassSet) -> dict[str, int]:
    """The number of the class of each label. A class may have several labels, a label is of one class."""
    return {label: number for number, it in enumerate(classes["classes"], start=1) for label in it["labels"]}


def numbers_of_classes(own: ClassSet, classes: ClassSet) -> dict[str, int]:
    """The number in `classes` of each class of `own`, by their labels. Classes that are part of none are left out.

    It refuses what exports refuse (src/export/resolve.rs): a set that would split a class, and one that shares no label.
    """
    number_of = numbers_of_labels(classes)
    numbers: dict[str, int] = {}
    for it in own["classes"]:
        found = {number_of[label] for label in it["labels"] if label in number_of}
        if len(found) > 1:
            raise OptionError(
                f"class set '{classes['class_set']}': class '{it['class']}' of '{own['class_set']}' would be {len(found)} "
                "classes at once; take a set that is as coarse"
            )
        if found:
            numbers[it["class"]] = found.pop()
    if not numbers:
        raise OptionError(f"class set '{classes['class_set']}': none of its classes holds a label of '{own['class_set']}'")
    return numbers
