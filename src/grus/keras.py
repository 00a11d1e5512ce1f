"""Between :class:`grus.GRU` and Keras [1]_: layers, models and files; files need h5py, and no Keras.

References
----------
.. [1] Keras, ``keras/src/layers/rnn/gru.py`` and ``keras/src/activations/activations.py``. Its documentation says
   that by default the reset gate acts before the matrix product; the code's default is ``reset_after=True``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from grus._files import PathLike
from grus.conversion import keras_files
from grus.conversion.cells import cells_of, check_convertible
from grus.conversion.check import check_same, in_dtype
from grus.conversion.conventions import CONVENTIONS
from grus.conversion.errors import ConversionError
from grus.conversion.keras_activations import written
from grus.conversion.keras_cells import Said, Source, assemble
from grus.conversion.keras_check import (
    arrays_in,
    assign,
    cells_in,
    check_by_keras,
    holds_float64,
    import_keras,
    keras_formula,
)
from grus.conversion.keras_config import KerasLayer, read_layer, read_model
from grus.conversion.report import Report
from grus.functional import GRUParams
from grus.layer import GRU

Array = np.ndarray[Any, np.dtype[Any]]
_DAMAGE = (KeyError, IndexError, TypeError, AttributeError, NotImplementedError)


def from_keras(
    source: PathLike | Any,
    *,
    reset_after: bool | None = None,
    activation: str | None = None,
    recurrent_activation: str | None = None,
    go_backwards: bool | None = None,
    report: Report | None = None,
) -> GRU:
    """A GRU from Keras' layers, models or files.

    Parameters
    ----------
    source : layer, list of layers, model or path
        A built ``GRU``, ``GRUCell``, ``RNN(GRUCell)`` or ``Bidirectional`` of them; several that read one another;
        a ``Sequential`` or functional model, of which the GRUs are converted; or a file ``.keras``,
        ``.weights.h5`` or ``.h5``, Keras 2's too.
    reset_after : bool, optional
        The formulation, for a file that does not say it: one of weights alone, without biases. What is given here
        must agree with what the source says; so below.
    activation, recurrent_activation : str, optional
        Keras' names, for a file of weights alone, of which they are "tanh" and "sigmoid" otherwise.
        ``"hard_sigmoid_keras2"`` is Keras 2's ``hard_sigmoid``, 0.2x + 0.5.
    go_backwards : bool, optional
        For a file of weights alone; False otherwise.
    report : Report, optional
        Filled with what was found, what was left out, and the self-check's difference.

    Returns
    -------
    GRU
        Of the weights' dtype. ``go_backwards=True`` gives one with ``reverse=True``, whose output is in the
        input's order where Keras' runs from its end.

    Raises
    ------
    ConversionError
        grus has no such GRU (layers that do not follow one another, another merge mode than "concat", an
        activation that it has not), the source contradicts itself or is damaged, or the self-check found a
        difference.
    FileNotFoundError
        There is no such file.
    ImportError
        Keras, or for a file h5py, is missing.

    Examples
    --------
    >>> import grus
    >>> from grus import keras as converter
    >>> model = converter.to_keras(grus.GRU(3, 5, bidirectional=True, seed=0))
    >>> converter.from_keras(model)
    GRU(3, 5, bidirectional=True) float32, 300 parameters
    """
    said = Said(reset_after, activation, recurrent_activation, go_backwards)
    path = source if isinstance(source, (str, os.PathLike)) else None
    read, objects = (keras_files.read(path), []) if path is not None else _read_objects(source)
    cells, layers = assemble(read, said, report)
    gru = cells.gru()
    if path is None:
        check_by_keras(gru, objects, layers, cells.reverse, report)
    else:
        check_same(gru, keras_formula(layers, cells.reverse), "Keras' formula", report=report)
    return gru


def to_keras(gru: GRU, *, allow_cast: bool = False, report: Report | None = None) -> Any:
    """A Keras model of ``GRU`` or ``Bidirectional(GRU)`` layers that computes the same.

    Parameters
    ----------
    gru : GRU
        Of formulation "after" or "before", with activations that Keras has, the same for both gates.
    allow_cast : bool, default False
        Let Keras round float64 where its backend holds float32 alone: JAX without ``jax_enable_x64``.
    report : Report, optional
        Filled with notes and the self-check's difference.

    Returns
    -------
    keras.Sequential
        One layer for each of the GRU's, of its dtype; each with ``return_sequences=True``, so that the model gives
        (B, T, directions*H) of (B, T, I). A GRU with ``reverse=True`` gives a first layer with
        ``go_backwards=True``: the model's output then runs from the sequence's end.

    Raises
    ------
    ConversionError
        Keras has no such GRU, digits would be lost, or the self-check found a difference.
    ImportError
        Keras is missing, or its backend.

    Examples
    --------
    >>> import grus
    >>> from grus import keras as converter
    >>> model = converter.to_keras(grus.GRU(3, 5, num_layers=2, seed=0))
    >>> [layer.units for layer in model.layers]
    [5, 5]
    """
    keras = import_keras()
    float64 = holds_float64(keras)
    check_convertible(
        gru, "Keras" if float64 else "Keras on JAX without jax_enable_x64", formulations=("after", "before"),
        activations=True, reverse=True, report=report, float64=float64, allow_cast=allow_cast,
    )  # fmt: skip
    settings = _settings(gru, keras, float64)
    gru = in_dtype(gru, settings["dtype"])
    layers = [_made(gru, layer, settings, keras) for layer in range(gru.num_layers)]
    model = keras.Sequential([keras.Input((None, gru.input_size), dtype=settings["dtype"]), *layers])
    for layer, cells in zip(layers, cells_of(gru), strict=True):
        for target, cell in zip(cells_in(layer), cells, strict=True):
            assign(target, _arrays(gru, cell, report))
    _note_order(gru, report)
    back, made = assemble(_read_objects(layers)[0], Said(), None)
    check_by_keras(gru, layers, made, back.reverse, report)
    return model


# -------------------------------------------------------------------------------------------- objects of Keras


def _read_objects(source: Any) -> tuple[Source, list[Any]]:
    """The configurations and arrays of layers, and the layers themselves in their order."""
    keras, notes = import_keras(), list[str]()
    if isinstance(source, keras.Model):
        try:
            layers = read_model(_entry(source), notes)
        except _DAMAGE as error:
            raise ConversionError(
                f"the configuration of {source.name!r} can't be read ({type(error).__name__}: {error}). Hand its "
                "GRU layers to from_keras, as a list."
            ) from error
        objects = [source.get_layer(layer.name) for layer in layers]
    else:
        objects = list(source) if isinstance(source, Sequence) else [source]
        layers = [_one(each, keras) for each in objects]
        if not layers:
            raise ConversionError("source must hold at least one layer; got an empty list.")
    arrays = [
        [arrays_in(cell, layer.name) for cell in cells_in(each)]
        for each, layer in zip(objects, layers, strict=True)
    ]
    return Source(layers, arrays, 3, notes), objects


def _entry(thing: Any) -> dict[str, Any]:
    return {
        "class_name": type(thing).__name__, "module": type(thing).__module__, "config": thing.get_config()
    }  # fmt: skip


def _one(layer: Any, keras: Any) -> KerasLayer:
    if not isinstance(layer, keras.layers.Layer):
        raise TypeError(
            f"source must be a layer or a model of Keras, a list of layers, or a path; got {type(layer).__name__}."
        )
    found = read_layer(_entry(layer))
    if found is None:
        raise ConversionError(f"layer {layer.name!r} is no GRU; it is a {type(layer).__name__}.")
    return found


# -------------------------------------------------------------------------------------------------- to Keras


def _settings(gru: GRU, keras: Any, float64: bool) -> dict[str, Any]:
    """The keywords that all layers share."""
    form = gru.formulation
    if form.reset_activation != form.update_activation:
        raise ConversionError(
            "Keras has one recurrent_activation for the reset and the update gate; this GRU's are "
            f"{form.reset_activation!r} and {form.update_activation!r}."
        )
    dtype = gru.dtype.name if float64 else "float32"
    both = {"activation": form.activation, "recurrent_activation": form.reset_activation}
    functions: dict[str, Any] = {}
    for argument, each in both.items():
        name, values = written(each, argument)
        functions[argument] = getattr(keras.layers, name)(**values, dtype=dtype) if values else name
    return {
        **functions, "use_bias": gru.bias, "reset_after": form.reset == "after", "return_sequences": True,
        "dtype": dtype,
    }  # fmt: skip


def _made(gru: GRU, layer: int, settings: dict[str, Any], keras: Any) -> Any:
    backwards = layer == 0 and gru.reverse
    made = keras.layers.GRU(gru.hidden_size, go_backwards=backwards, **settings)
    return keras.layers.Bidirectional(made, dtype=settings["dtype"]) if gru.bidirectional else made


def _arrays(gru: GRU, cell: GRUParams, report: Report | None) -> dict[str, Array]:
    after = gru.formulation.reset == "after"
    blocks = CONVENTIONS["keras" if after else "keras-before"].pack(cell, report)
    arrays = {"kernel": blocks.weight_ih, "recurrent_kernel": blocks.weight_hh}
    if blocks.bias_ih is None:
        return arrays
    return arrays | {"bias": np.stack([blocks.bias_ih, np.asarray(blocks.bias_hh)]) if after else blocks.bias_ih}


def _note_order(gru: GRU, report: Report | None) -> None:
    if report is None:
        return
    if gru.reverse:
        report.note("Keras returns the sequence of go_backwards=True from its end: flip it along time to compare")
    if not gru.batch_first:
        report.note("Keras reads (B, T, I), where this GRU has batch_first=False")
