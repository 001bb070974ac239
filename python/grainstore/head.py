"""A head on numbers of the caller's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _lib

__all__ = ["Head", "Prediction"]


class Prediction(NamedTuple):
    """What a head says of masks."""

    scores: NDArray[np.float32]
    """Probabilities of the classes, `[masks, classes]`; where the head knows the background, its is what is missing to 1."""
    entropy: NDArray[np.float32]
    """Entropy of each mask's probabilities, `[masks]`, in nats."""
    disagreement: NDArray[np.float32]
    """How far the members of the head disagree on each mask, `[masks]`, in nats; 0 for a head of one member."""


class Head:
    """A head of a store, ready to predict.

    Attributes:
        name: Its name.
        head_id: Its id.
        classes: Its classes, in the order of the scores.
        inputs: What it reads of a mask, in order: 'tokens', 'shape' or names of embedders, each with its count of numbers.
    """

    def __init__(self, native: _lib.Head) -> None:
        self._native = native
        self.name: str = native.name
        self.head_id: str = native.head_id
        self.classes: list[str] = list(native.classes)
        self.inputs: dict[str, int] = dict(native.inputs)

    @overload
    def predict(self, vectors: ArrayLike | Mapping[str, ArrayLike], *, uncertainty: Literal[False] = False) -> NDArray[np.float32]: ...
    @overload
    def predict(self, vectors: ArrayLike | Mapping[str, ArrayLike], *, uncertainty: Literal[True]) -> Prediction: ...
    def predict(
        self, vectors: ArrayLike | Mapping[str, ArrayLike], *, uncertainty: bool = False
    ) -> NDArray[np.float32] | Prediction:
        """Probabilities of the classes for masks, `[masks, classes]`.

        Args:
            vectors: The numbers of the masks, `[masks, numbers]`. If the head has several inputs, these follow each other in
                a row, or `vectors` is a mapping with an array for each.
            uncertainty: Return entropy and disagreement, too.

        >>> masks = store.masks(embeddings=True)
        >>> store.head("fine").predict(masks.embeddings).argmax(axis=1)
        """
        if isinstance(vectors, Mapping):
            if set(vectors) != set(self.inputs):
                raise ValueError(f"head '{self.name}' reads {', '.join(self.inputs)}; found {', '.join(vectors)}")
            arrays = [np.asarray(vectors[name]) for name in self.inputs]
        else:
            whole = np.asarray(vectors)
            total = sum(self.inputs.values())
            if whole.ndim != 2 or whole.shape[1] != total:
                raise ValueError(f"head '{self.name}' reads arrays [masks, {total}], found {list(whole.shape)}")
            ends = np.cumsum(list(self.inputs.values()))[:-1]
            arrays = np.split(whole, ends, axis=1)
        for array, (name, count) in zip(arrays, self.inputs.items()):
            if array.ndim != 2 or array.shape != (len(arrays[0]), count):
                raise ValueError(f"'{name}': expected an array [{len(arrays[0])}, {count}], found {list(array.shape)}")
        rows = len(arrays[0])
        found = self._native.predict([np.ascontiguousarray(array, dtype="<f4").tobytes() for array in arrays])
        scores, entropy, disagreement = (np.frombuffer(numbers, dtype="<f4").copy() for numbers in found)
        scores = scores.reshape(rows, len(self.classes))
        return Prediction(scores, entropy, disagreement) if uncertainty else scores

    def __repr__(self) -> str:
        return f"Head('{self.name}', {len(self.classes)} classes)"
