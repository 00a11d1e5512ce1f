"""Symbols as vectors: one-hot, or learned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from grus import _check
from grus.nn._layer import Array, Context, Layer, Shapes
from grus.parameters import Parameters


class _Symbols(Layer):
    """Shared by both: a sorted vocabulary, taken from the first data unless given."""

    def __init__(self, vocabulary: Sequence[Any] | None = None, **common: Any) -> None:
        super().__init__(**common)
        self.vocabulary = None if vocabulary is None else np.unique(np.asarray(vocabulary))
        if self.vocabulary is not None:
            self._check_symbols(self.vocabulary)

    def infer(self, x: Array) -> dict[str, Any]:
        self._check_symbols(x)
        known = np.unique(x) if self.vocabulary is None else self.vocabulary
        return {"vocabulary": known.tolist()}

    def infer_from_all(self, inputs: Array | list[Array]) -> dict[str, Any]:
        """The vocabulary of all sequences."""
        return self.infer(np.concatenate([np.ravel(each) for each in inputs]))

    def check(self, name: str, x: Array) -> None:
        """Symbols are looked up when the model runs."""
        return

    def obstacle_to_chunks(self) -> str:
        return ""

    def allocate(self, sizes: dict[str, Any], dtype: np.dtype[Any], rng: np.random.Generator) -> None:
        self.vocabulary = np.asarray(sizes["vocabulary"])
        super().allocate(sizes, dtype, rng)

    def indices(self, x: Array, lengths: Array | None) -> Array:
        """Where each symbol of x stands in the vocabulary; padding counts as the first."""
        assert self.vocabulary is not None  # the model allocates before it runs
        self._check_symbols(x)
        found = np.searchsorted(self.vocabulary, x).clip(max=len(self.vocabulary) - 1)
        unknown = self.vocabulary[found] != x
        if lengths is not None:
            padding = np.arange(x.shape[1]) >= lengths[:, None]
            found, unknown = np.where(padding, 0, found), unknown & ~padding
        if unknown.any():
            more = ", ..." if len(self.vocabulary) > 10 else ""
            shown = ", ".join(map(str, self.vocabulary[:10].tolist())) + more
            raise ValueError(
                f"x holds the symbol {x[unknown].flat[0]!s}, which is not in the vocabulary of "
                f"{self.name or self.kind} ({len(self.vocabulary)} symbols: {shown}). "
                "Pass vocabulary= with all symbols that can come."
            )
        return found

    def _check_symbols(self, x: Array) -> None:
        if x.dtype.kind not in "iuU":
            raise TypeError(f"{self.kind} needs whole numbers or characters; got dtype {x.dtype}.")


class OneHot(_Symbols):
    """Each symbol as a row of zeros with a single one.

    Parameters
    ----------
    vocabulary : sequence of int or str, optional
        All symbols that can come, in any order; those of the first data when omitted. Sorted, it gives the
        columns.

    Examples
    --------
    >>> import numpy as np
    >>> import grus
    >>> model = grus.nn.Sequential([grus.nn.OneHot("ATGC")])
    >>> model(np.array([list("GA")]))
    array([[[0., 0., 1., 0.],
            [1., 0., 0., 0.]]], dtype=float32)
    """

    def __init__(self, vocabulary: Sequence[Any] | None = None, **common: Any) -> None:
        super().__init__(list(vocabulary) if isinstance(vocabulary, str) else vocabulary, **common)

    def forward(self, x: Array, context: Context) -> tuple[Array, Any]:
        indices = self.indices(x, context.lengths)
        assert self.vocabulary is not None
        return np.eye(len(self.vocabulary), dtype=self.parameters.dtype)[indices], None

    def backward(self, tape: Any, dy: Array, gradients: Parameters) -> None:
        return None

    def decode(self, y: Array) -> Array:
        """The symbol with the largest value on the last axis: undoes :meth:`forward`."""
        assert self.vocabulary is not None
        return np.asarray(self.vocabulary[y.argmax(axis=-1)])

    def options(self) -> dict[str, Any]:
        return {"vocabulary": None if self.vocabulary is None else self.vocabulary.tolist()}


class Embedding(_Symbols):
    """Each symbol as a learned vector.

    Parameters
    ----------
    units : int
        The length of the vectors.
    vocabulary : sequence of int or str, optional
        As for :class:`OneHot`.

    Notes
    -----
    ``weight`` is (symbols, units), standard normal at first, as in PyTorch.

    Examples
    --------
    >>> import numpy as np
    >>> import grus
    >>> model = grus.nn.Sequential([grus.nn.Embedding(3)], seed=0)
    >>> model(np.array([[5, 7, 5]])).shape
    (1, 3, 3)
    """

    def __init__(self, units: int, vocabulary: Sequence[Any] | None = None, **common: Any) -> None:
        super().__init__(list(vocabulary) if isinstance(vocabulary, str) else vocabulary, **common)
        self.units = _check.size("units", units)

    def shapes(self, sizes: dict[str, Any]) -> Shapes:
        return {"weight": (len(sizes["vocabulary"]), self.units)}

    def initialise(self, rng: np.random.Generator) -> None:
        weight = self.parameters["weight"]
        weight[...] = rng.standard_normal(weight.shape)

    def forward(self, x: Array, context: Context) -> tuple[Array, Any]:
        indices = self.indices(x, context.lengths)
        return self.parameters["weight"][indices], indices

    def backward(self, tape: Array, dy: Array, gradients: Parameters) -> None:
        gradients["weight"][...] = 0
        np.add.at(gradients["weight"], tape, dy)

    def options(self) -> dict[str, Any]:
        vocabulary = None if self.vocabulary is None else self.vocabulary.tolist()
        return {"units": self.units, "vocabulary": vocabulary}
