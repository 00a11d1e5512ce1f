"""What stands before and after the layers in an ONNX model: inputs, standardising, labels, and what grus says."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np

from grus import _check
from grus.conversion.errors import ConversionError
from grus.conversion.onnx_layers import Body
from grus.nn.embedding import Embedding, OneHot
from grus.nn.sequential import Sequential

if TYPE_CHECKING:
    from grus.estimators import GRUClassifier, GRURegressor

Array = np.ndarray[Any, np.dtype[Any]]
_KINDS = "a grus.GRU, nn.Sequential, GRUClassifier or GRURegressor"
_COARSE = 1e-4  # standard deviations: float32 that rounds more than that off is worth a note


def ends_of(model: Any) -> Ends:
    """What belongs around the layers of a model of this kind."""
    if isinstance(model, Sequential):
        if not model.built:
            raise ValueError("this Sequential has no parameters yet: call fit or build(x) first.")
        return OfSequential(model)
    if hasattr(model, "_save_parts"):
        from sklearn.utils.validation import check_is_fitted

        from grus.estimators import GRUClassifier

        check_is_fitted(model, "model_")
        return OfClassifier(model) if isinstance(model, GRUClassifier) else OfRegressor(model)
    raise TypeError(f"model must be {_KINDS}; got {type(model).__name__}.")


class Ends(ABC):
    """The ends of one model; ``network`` holds its layers, ``x`` is the name of what comes in."""

    x: str
    network: Sequential
    over_time = True  # x has an axis of time

    @abstractmethod
    def enter(self, body: Body, dtype: Any) -> str:
        """Write what stands before the first layer; its input has this dtype."""

    @abstractmethod
    def leave(self, body: Body, output: str, dtype: Any) -> None:
        """Give out what the last layer says; numbers that are not the network's own in this dtype."""

    @abstractmethod
    def sample(self, rng: np.random.Generator, shape: tuple[int, int], dtype: Any) -> Array:
        """Random x (batch, time, ...)."""

    @abstractmethod
    def expected(self, rows: list[Array]) -> dict[str, Array]:
        """What grus says of these sequences, by the outputs' names."""

    def labels(self, given: dict[str, Array]) -> Array | None:
        """The labels that belong to what a graph gave."""
        return None

    @abstractmethod
    def scaled(self, x: Array) -> Array:
        """x as the network reads it."""

    @abstractmethod
    def in_dtype(self, dtype: str) -> Ends:
        """The same with a network of another dtype."""

    def about(self) -> dict[str, str]:
        """What else the file should hold, as text."""
        return {}

    @property
    def input_dtype(self) -> Any:
        """That of symbols, which are not numbers to choose a dtype for; else None."""
        return None

    def features(self) -> int:
        """Of a step."""
        return self._shape()[-1]

    def steps(self) -> int:
        """Of the data that the network was built with."""
        return self._shape()[0]

    def _shape(self) -> tuple[int, ...]:
        assert self.network.input_shape is not None  # it is built
        return self.network.input_shape


class OfSequential(Ends):
    """x to output."""

    x = "x"

    def __init__(self, model: Sequential) -> None:
        self.network = model
        shape, symbols = self._shape(), model.reads_symbols
        self.over_time = len(shape) == (1 if symbols else 2)
        if len(shape) not in ((1,) if symbols else (1, 2)):
            wanted = "(batch, time)" if symbols else "(batch, time, I) or (batch, I)"
            raise ConversionError(
                f"to go to ONNX, x of a model must be {wanted}; got {('batch', *shape)}, of {1 + len(shape)} axes."
            )

    @property
    def input_dtype(self) -> Any:
        first = self.network.layers[0]
        if not isinstance(first, (OneHot, Embedding)):
            return None
        assert first.vocabulary is not None  # the network is built
        return str if first.vocabulary.dtype.kind == "U" else np.int64

    def enter(self, body: Body, dtype: Any) -> str:
        inside: list[int | str] = [] if self.input_dtype else [self.features()]
        x = body.graph.input(self.x, dtype, ["batch", *body.time_axis, *inside])
        same = self.input_dtype or np.dtype(dtype) == body.graph.dtype
        return x if same else body.graph.cast(x, body.graph.dtype)

    def leave(self, body: Body, output: str, dtype: Any) -> None:
        body.graph.output("output", output, body.graph.dtype, ["batch", *body.time_axis, body.width])

    def sample(self, rng: np.random.Generator, shape: tuple[int, int], dtype: Any) -> Array:
        first = self.network.layers[0]
        if isinstance(first, (OneHot, Embedding)):
            assert first.vocabulary is not None  # the network is built
            return np.asarray(rng.choice(first.vocabulary, shape))
        axes = shape if self.over_time else shape[:1]
        return rng.standard_normal((*axes, self.features())).astype(dtype)

    def scaled(self, x: Array) -> Array:
        return np.asarray(self.network.inputs(x))

    def in_dtype(self, dtype: str) -> Ends:
        return OfSequential(_in_dtype(self.network, dtype))

    def expected(self, rows: list[Array]) -> dict[str, Array]:
        return {"output": self.network.predict(rows if self.over_time else np.stack(rows))}


class _OfEstimator(Ends):
    """X, standardised in float64 as ``predict`` does, to what a subclass makes of the output."""

    x = "X"

    def __init__(self, estimator: Any) -> None:
        self.estimator, self.network = estimator, estimator.model_

    def enter(self, body: Body, dtype: Any) -> str:
        graph, own = body.graph, self.estimator
        table = own._table
        x = graph.input(self.x, dtype, ["batch", *body.time_axis, *([] if table else [self.features()])])
        if table:
            x = graph.add("Unsqueeze", x, graph.integers(-1))
        if own.mean_.any() or (own.scale_ != 1).any():
            _note_rounding(body, "the input", own.mean_, own.scale_, dtype)
            x = x if np.dtype(dtype) == np.float64 else graph.cast(x, np.float64)
            x = graph.add("Sub", x, graph.constant(own.mean_, "mean"))
            x, dtype = graph.add("Div", x, graph.constant(own.scale_, "scale")), np.float64
        return x if np.dtype(dtype) == graph.dtype else graph.cast(x, graph.dtype)

    def sample(self, rng: np.random.Generator, shape: tuple[int, int], dtype: Any) -> Array:
        own = self.estimator
        x = own.mean_ + own.scale_ * rng.standard_normal((*shape, self.features()))
        return np.asarray(x[..., 0] if own._table else x, dtype)

    def scaled(self, x: Array) -> Array:
        return np.asarray(self.estimator._scaled(x[..., None] if self.estimator._table else x))

    def in_dtype(self, dtype: str) -> Ends:
        twin = copy(self.estimator)
        twin.model_ = _in_dtype(self.network, dtype)
        return type(self)(twin)

    def about(self) -> dict[str, str]:
        names = getattr(self.estimator, "feature_names_in_", None)
        return {} if names is None else {"feature_names_in": json.dumps(names.tolist())}


class OfClassifier(_OfEstimator):
    """X to label and probabilities, as sklearn-onnx calls them."""

    estimator: GRUClassifier

    def leave(self, body: Body, output: str, dtype: Any) -> None:
        graph, classes = body.graph, _as_labels(self.estimator.classes_)
        index = graph.add("ArgMax", output, axis=1, keepdims=0)
        label = graph.add("Gather", graph.constant(classes, "classes"), index, axis=0)
        graph.output("label", label, classes.dtype, ["batch"])
        graph.output("probabilities", output, graph.dtype, ["batch", len(classes)])

    def expected(self, rows: list[Array]) -> dict[str, Array]:
        return {"probabilities": self.estimator.predict_proba(rows)}

    def labels(self, given: dict[str, Array]) -> Array:
        return np.asarray(self.estimator.classes_[given["probabilities"].argmax(axis=1)])


class OfRegressor(_OfEstimator):
    """X to prediction, in the targets' own units."""

    estimator: GRURegressor

    def leave(self, body: Body, output: str, dtype: Any) -> None:
        graph, own = body.graph, self.estimator
        _note_rounding(body, "the prediction", own.target_mean_, own.target_scale_, dtype)
        y = output if graph.dtype == np.float64 else graph.cast(output, np.float64)
        y = graph.add("Mul", y, graph.constant(own.target_scale_, "target_scale"))
        y = graph.add("Add", y, graph.constant(own.target_mean_, "target_mean"))
        y = y if np.dtype(dtype) == np.float64 else graph.cast(y, dtype)
        if own._one_number:
            y = graph.add("Squeeze", y, graph.integers(1))
        graph.output("prediction", y, dtype, ["batch"] if own._one_number else ["batch", len(own.target_mean_)])

    def expected(self, rows: list[Array]) -> dict[str, Array]:
        return {"prediction": self.estimator.predict(rows)}


def _in_dtype(network: Sequential, dtype: str) -> Sequential:
    twin = Sequential.from_config(network.config() | {"dtype": dtype})
    twin.flat[...] = network.flat
    return twin


def _as_labels(classes: Array) -> Array:
    """Classes as ONNX can hold them: text, int64, numbers, or booleans."""
    if classes.dtype.kind == "U" or all(isinstance(each, str) for each in classes.tolist()):
        return classes.astype(str)
    if classes.dtype.kind not in "biuf":
        raise ConversionError(
            f"the classes must be text, whole numbers, numbers or booleans to go to ONNX; got {classes.tolist()}."
        )
    return classes.astype(np.int64) if classes.dtype.kind in "iu" else classes


def _note_rounding(body: Body, what: str, mean: Array, scale: Array, dtype: Any) -> None:
    """Far from 0 float32 is coarse."""
    step = float((np.abs(mean) / scale).max() * np.finfo(np.float32).eps)
    if np.dtype(dtype) == np.float32 and step > _COARSE and body.report is not None:
        body.report.note(
            f"{what} is float32, whose steps are {step:.0e} standard deviations there: input_dtype='float64' has "
            "the digits"
        )


def checked_dtype(ends: Ends, dtype: str | None, allow_cast: bool) -> np.dtype[Any]:
    """What the graph computes in."""
    own = ends.network.dtype.name
    chosen = own if dtype is None else _check.choice("dtype", dtype, ("float32", "float64"))
    if own == "complex128":
        raise ConversionError("a complex128 model is for checking derivatives and can't go to ONNX; use float64.")
    if chosen == "float32" != own and not allow_cast:
        raise ConversionError(
            "this model is float64 and the graph float32: pass allow_cast=True to round its weights."
        )
    for name, array in ends.network.parameters.items():
        if not np.isfinite(array).all():
            raise ConversionError(f"{name} holds NaN or infinity: a conversion of it can't be checked.")
    return np.dtype(chosen)


def checked_input_dtype(ends: Ends, dtype: str | None, graph: np.dtype[Any]) -> Any:
    """What comes in."""
    if dtype is None:
        return ends.input_dtype or graph
    if ends.input_dtype is not None:
        raise ValueError(
            f"input_dtype must be None because {ends.network.layers[0].kind} reads symbols; got {dtype!r}."
        )
    return np.dtype(_check.choice("input_dtype", dtype, ("float32", "float64")))
