"""What every library's GRU offers to the worker."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np

from benchmarks.cases import Array, Data
from benchmarks.timing import repeated


class Peer(ABC):
    """One layer with the data of a case in the library's own arrays, so that only its passes are timed."""

    @abstractmethod
    def __init__(self, data: Data, threads: int) -> None: ...

    @abstractmethod
    def forward(self) -> object:
        """Inference."""

    def training(self) -> object:
        """Forward, and backward to x, h0 and every parameter."""
        raise NotImplementedError(f"{type(self).__module__} trains nothing.")

    @abstractmethod
    def answers(self) -> dict[str, Array]:
        """``output`` of one inference, and the gradients of one training pass under our names and in our order."""

    def clock(self, name: str) -> Callable[[int], float]:
        """The seconds that n passes of this name take, as a function of n."""
        return repeated(getattr(self, name))


def zrn(rows: Array) -> Array:
    """Rows r | z | n as z | r | n, and back: the order of Keras, ONNX and oneDNN."""
    r, z, n = np.split(rows, 3)
    return np.concatenate([z, r, n])
