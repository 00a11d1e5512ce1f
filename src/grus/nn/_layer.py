"""What every layer of a :class:`grus.nn.Sequential` offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np

from grus import _check
from grus.nn.schedules import Schedule, get_schedule
from grus.parameters import Parameters

Array = np.ndarray[Any, np.dtype[Any]]
Shapes = dict[str, tuple[int, ...]]


class States(dict[str, tuple[Array, ...]]):
    """What layers carry from one chunk of a batch to the next, by the layer's name: arrays (K, B, ...)."""


class Context(NamedTuple):
    """What a pass through the model carries besides the data."""

    training: bool = False
    rng: np.random.Generator | None = None  # where dropout masks come from
    lengths: Array | None = None  # (B,) valid steps of each row
    states: States | None = None  # where sequences come in chunks: what the chunk before left, to be replaced


class Layer(ABC):
    """One layer: sizes are inferred from the data on first use, then parameters are allocated.

    Parameters
    ----------
    name : str, optional
        Under which the model lists its parameters; the kind and a number when omitted.
    learning_rate : float or Schedule, optional
        This layer's own, instead of the optimiser's.
    clip_norm : float, optional
        Largest 2-norm of this layer's gradients; beyond it they are scaled down together.
    """

    time_feature: int | None = None  # which feature of x is a time, for a layer that reads one

    def __init__(
        self,
        *,
        name: str | None = None,
        learning_rate: float | Schedule | None = None,
        clip_norm: float | None = None,
    ) -> None:
        self.name = name or ""
        self.learning_rate = None if learning_rate is None else get_schedule(learning_rate)
        self.clip_norm = None if clip_norm is None else _check.positive("clip_norm", clip_norm)
        self.sizes: dict[str, Any] | None = None
        self.parameters = Parameters({}, "float32")
        self.joined = False  # True once the parameters lie on a model's buffer

    @property
    def kind(self) -> str:
        """The class's name."""
        return type(self).__name__

    def infer(self, x: Array) -> dict[str, Any]:
        """The sizes that depend on the data, from the first x."""
        return {}

    def infer_from_all(self, inputs: Array | list[Array]) -> dict[str, Any]:
        """The same for a model's first layer, from all sequences of the first data."""
        return self.infer(inputs[0][None])

    def adapt(self, inputs: Array | list[Array]) -> None:
        """Take statistics anew from the data that a new model is trained on; most layers have none."""
        return

    def check(self, name: str, x: Array) -> None:
        """Whether a model's first layer can be trained on x, called ``name``: no NaN and no infinity."""
        _check.finite(name, x, "Fill them in, leave those sequences out, or begin with GRUD, which takes NaN.")

    def obstacle_to_chunks(self) -> str:
        """Why the layer can't go through sequences chunk by chunk; empty where it can.

        It can where each step is computed alone, or where all that earlier steps leave is kept in
        ``context.states``. A layer of your own says so by returning "" here.
        """
        return f"whether {self.kind} can work on parts of a sequence is not known: see Layer.obstacle_to_chunks."

    def shapes(self, sizes: dict[str, Any]) -> Shapes:
        """The parameters' names and shapes."""
        return {}

    def initialise(self, rng: np.random.Generator) -> None:
        """Fill the parameters; they are zeros before."""
        return

    def allocate(self, sizes: dict[str, Any], dtype: np.dtype[Any], rng: np.random.Generator) -> None:
        """Take the sizes and make the parameters."""
        self.sizes = sizes
        self.parameters = Parameters(self.shapes(sizes), dtype)
        self.initialise(rng)

    @abstractmethod
    def forward(self, x: Array, context: Context) -> tuple[Array, Any]:
        """The output, and what backward needs."""

    @abstractmethod
    def backward(self, tape: Any, dy: Array, gradients: Parameters) -> Array | None:
        """dx (None where x holds symbols), from dy; fills the parameters' gradients."""

    def options(self) -> dict[str, Any]:
        """The constructor's own arguments, as JSON can hold them."""
        return {}

    def config(self) -> dict[str, Any]:
        """All that is needed to build this layer again, but the parameters' values."""
        rate = None if self.learning_rate is None else self.learning_rate.config()
        common = {"name": self.name, "learning_rate": rate, "clip_norm": self.clip_norm}
        return {"kind": self.kind, "options": self.options() | common, "sizes": self.sizes}

    def __repr__(self) -> str:
        inside = ", ".join(f"{key}={value!r}" for key, value in self.options().items())
        return f"{self.kind}({inside})"


def feature_count(owner: str, x: Array) -> int:
    """The size of the last axis of an array of at least two axes."""
    if x.ndim < 2:
        raise ValueError(f"{owner} needs an input of shape (B, ..., features); got {x.shape}.")
    return int(x.shape[-1])


def sequence_axes(owner: str, x: Array) -> None:
    """(B, T, features), or an error."""
    if x.ndim != 3:
        raise ValueError(
            f"{owner} needs an input of shape (B, T, features), sequences; got {x.shape}. "
            "After a GRU that is sequences=True."
        )
