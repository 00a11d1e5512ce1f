"""The native engine: the compiled core (``kernels/``) under two signatures of :mod:`grus.equations`.

It takes float32 and float64. What it saves is the layer as the kernels take it and one workspace (T, B, 4H), which
backward overwrites; without a workspace backward computes the gates again.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from grus import _core
from grus.activations import Activation
from grus.equations import Formulation, SequenceGradients, Steps, Weights, reset_before

Array = np.ndarray[Any, np.dtype[Any]]
_WHOLE = 0x0101  # NumPy's flags: C_CONTIGUOUS and ALIGNED
_LAYER = {np.dtype("float32"): _core.LayerFloat32, np.dtype("float64"): _core.LayerFloat64}
_FORWARD = {np.dtype("float32"): _core.ForwardFloat32, np.dtype("float64"): _core.ForwardFloat64}
_BACKWARD = {np.dtype("float32"): _core.BackwardFloat32, np.dtype("float64"): _core.BackwardFloat64}


class Saved(NamedTuple):
    """What forward keeps for backward."""

    layer: _core.Call  # a LayerFloat32 or a LayerFloat64
    workspace: Array | None


def sequences_forward(runs: Sequence[tuple[Any, ...]]) -> list[tuple[Array, Saved]]:
    """As :func:`grus.equations.sequences_forward`; two runs have a thread each where that is faster."""
    calls, results = [], []
    for states, x, h0, weights, form, steps, keep in runs:
        T, B, H = states.shape
        layer = _layer(x, h0, weights, form, steps)
        workspace = np.empty((T, B, 4 * H), states.dtype) if keep else None
        calls.append(_FORWARD[states.dtype](layer, states, workspace))
        h_n = states[0 if steps.reverse else -1] if T else h0
        results.append((h_n, Saved(layer, workspace)))
    _core.run(*calls)
    return results


def sequences_backward(runs: Sequence[tuple[Any, ...]]) -> list[SequenceGradients]:
    """As :func:`grus.equations.sequences_backward`."""
    calls, results = [], []
    for d_states, d_h_n, states, saved, x, h0, _weights, _form, steps, d_weights in runs:
        dx, dh0 = np.empty(x.shape, x.dtype), np.empty(h0.shape, x.dtype)
        d_reset_state = None if steps.reset is None else np.empty(h0.shape, x.dtype)
        given = saved.layer, states, saved.workspace, _rows(d_states), _whole(d_h_n)
        calls.append(_BACKWARD[x.dtype](*given, dx, dh0, *d_weights, d_reset_state))
        results.append(SequenceGradients(dx, dh0, d_weights, d_reset_state))
    _core.run(*calls)
    return results


def _layer(x: Array, h0: Array, weights: Weights, form: Formulation, steps: Steps) -> _core.Call:
    reset = reset_before(steps)
    return _LAYER[x.dtype](
        _formulation(form),
        steps.reverse,
        _rows(x),
        *map(_whole, weights),
        _whole(h0),
        None if reset is None else _whole(steps.reset_state),
        None if steps.valid is None else _whole(steps.valid),
        None if reset is None else _whole(reset),
    )


def _whole(a: Array) -> Array:
    """The array itself where it is contiguous and aligned, else a copy."""
    return a if a.flags.num & _WHOLE == _WHOLE else np.array(a, order="C")


def _rows(a: Array) -> Array:
    """(T, B, width) with a contiguous last axis: any stride on the others is taken as it is."""
    if a.flags.num & _WHOLE == _WHOLE:
        return a
    strided = a.flags.aligned and all(stride % a.itemsize == 0 for stride in a.strides)
    return a if strided and (a.strides[-1] == a.itemsize or a.shape[-1] <= 1) else np.array(a, order="C")


@lru_cache(maxsize=256)
def _formulation(form: Formulation) -> _core.Formulation:
    of = (form.activation, form.reset_activation, form.update_activation)
    return _core.Formulation(form.reset_after, *(_activation(each) for each in of))


def _activation(activation: Activation) -> _core.Activation:
    function = getattr(_core.Function, activation.name)
    parameters = activation.parameters
    return _core.Activation(function, parameters.get("alpha", 0.0), parameters.get("beta", 0.0))
