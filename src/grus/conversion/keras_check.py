"""The self-check of Keras' converter: Keras itself on copies in float64, or for files its formula."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from grus.conversion import formulas
from grus.conversion.check import Theirs, check_same
from grus.conversion.errors import ConversionError
from grus.conversion.keras_cells import Arrays, KerasCell
from grus.conversion.report import Report
from grus.layer import GRU

Array = np.ndarray[Any, np.dtype[Any]]


def import_keras() -> Any:
    """Keras, or what to do where it is missing."""
    try:
        import keras
    except ImportError as error:
        raise ImportError(
            f"layers and models of Keras need keras and its backend: pip install keras, and set KERAS_BACKEND to "
            f"one that is installed, jax or torch ({error})."
        ) from error
    return keras


def holds_float64(keras: Any) -> bool:
    """Whether the backend holds float64 at all, as it is set."""
    if keras.config.backend() != "jax":
        return True
    import jax

    return bool(jax.config.jax_enable_x64)


def cells_in(layer: Any) -> list[Any]:
    """The cells of a layer, one for each direction."""
    if hasattr(layer, "forward_layer"):
        return [layer.forward_layer.cell, layer.backward_layer.cell]
    return [getattr(layer, "cell", layer)]


def arrays_in(cell: Any, name: str) -> Arrays:
    """The arrays of a cell of the layer of that name."""
    if not cell.built:
        raise ConversionError(f"layer {name!r} is not built, so it has no weights: call it, or build it, first.")
    weights = {key: getattr(cell, key, None) for key in ("kernel", "recurrent_kernel", "bias")}
    return {key: to_numpy(each.value) for key, each in weights.items() if each is not None}


def to_numpy(tensor: Any) -> Array:
    """A backend's tensor; ``keras.ops.convert_to_numpy`` has NumPy 2 warn of PyTorch's."""
    if hasattr(tensor, "detach"):
        tensor = tensor.detach().cpu()
        return np.asarray((tensor.float() if "bfloat16" in str(tensor.dtype) else tensor).numpy())
    return np.asarray(tensor)


def assign(cell: Any, arrays: Arrays) -> None:
    """Write them into a cell."""
    for name, array in arrays.items():
        getattr(cell, name).assign(array)


def keras_formula(layers: Sequence[Sequence[KerasCell]], backwards: bool) -> Theirs:
    """Keras' formula over the cells, in float64."""
    steps = [[cell.step() for cell in layer] for layer in layers]
    order = -1 if backwards else 1

    def theirs(x: Array, h0: Array) -> tuple[Array, Array]:
        output, h_n = formulas.over_time(steps, x[:, ::order], h0)
        return output[:, ::order], h_n

    return theirs


def check_by_keras(
    gru: GRU,
    layers: Sequence[Any],
    cells: Sequence[Sequence[KerasCell]],
    backwards: bool,
    report: Report | None,
) -> None:
    """Keras itself, on copies of the layers in float64, against ours.

    On most backends Keras rounds float64 on its way. It then runs in float32, and its formula in float64.
    """
    keras = import_keras()
    name, trial = f"Keras ({keras.config.backend()})", Report()
    try:
        with _holding(keras, "float64"):
            check_same(gru, _run(keras, layers, backwards, "float64"), name, report=trial)
    except ConversionError:
        if not _rounds(keras):
            raise
        with _holding(keras, "float32"):
            check_same(gru, _run(keras, layers, backwards, "float32"), name, dtype="float32", report=trial)
        check_same(gru, keras_formula(cells, backwards), "Keras' formula", report=report)
        if report is not None:
            report.note(
                f"{name} rounds float64 to float32 on its way: it was compared in float32, its formula in float64"
            )
        return
    if report is not None:
        report.difference = trial.difference


def _rounds(keras: Any) -> bool:
    """Keras' type promotion knows no float64 but on TensorFlow: JAX's tanh and PyTorch's matmul then round."""
    return bool(keras.backend.result_type("float64", "float64") != "float64")


def _run(keras: Any, layers: Sequence[Any], backwards: bool, dtype: str) -> Theirs:
    """Copies of the layers, one after another."""
    order = -1 if backwards else 1

    def theirs(x: Array, h0: Array) -> tuple[Array, Array]:
        sequence, states = keras.ops.convert_to_tensor(x, dtype=dtype), iter(h0)
        ends: list[Array] = []
        for layer in layers:
            twin = _twin(layer, sequence.shape, keras, dtype)
            initial = [keras.ops.convert_to_tensor(next(states), dtype=dtype) for _ in cells_in(layer)]
            sequence, *last = twin(sequence, initial_state=initial, training=False)
            ends.extend(map(to_numpy, last))
        return to_numpy(sequence)[:, ::order], np.stack(ends)

    return theirs


def _holding(keras: Any, dtype: str) -> AbstractContextManager[Any]:
    """Where Keras computes in that dtype: with float64 on, its GRU without biases makes them float64 on JAX."""
    if keras.config.backend() != "jax":
        return nullcontext()
    try:
        from jax import enable_x64
    except ImportError:  # before JAX 0.8
        from jax.experimental import enable_x64
    context: AbstractContextManager[Any] = enable_x64(dtype == "float64")
    return context


def _twin(layer: Any, shape: Any, keras: Any, dtype: str) -> Any:
    """The layer in that dtype, with its weights, returning sequences and states."""
    twin = type(layer).from_config(_plain(layer.get_config(), dtype))
    if not hasattr(twin, "return_sequences"):  # a lone cell
        twin = keras.layers.RNN(twin, return_sequences=True, return_state=True, dtype=dtype)
    twin.build(tuple(shape))
    for target, cell in zip(cells_in(twin), cells_in(layer), strict=True):
        arrays = arrays_in(cell, layer.name)
        assign(target, {name: np.asarray(array, dtype) for name, array in arrays.items()})
    return twin


def _plain(config: Any, dtype: str) -> Any:
    """A configuration in that dtype without what only acts in training, which may name a user's code."""
    if isinstance(config, (list, tuple)):
        return [_plain(each, dtype) for each in config]
    if not isinstance(config, dict):
        return config
    fixed = {"dtype": dtype, "stateful": False, "return_sequences": True, "return_state": True}
    ends = {"_initializer": "zeros", "_regularizer": None, "_constraint": None}
    plain = {}
    for key, value in config.items():
        end = next((end for end in ends if key.endswith(end)), None)
        plain[key] = fixed[key] if key in fixed else ends[end] if end else _plain(value, dtype)
    return plain | {"unroll": False} if "unroll" in plain else plain
