"""The native engine: the compiled core (``kernels/``) under the signatures of :mod:`grus.equations`.

It takes float32 and float64. What it saves is one workspace (T, B, 4H), which backward overwrites; without it
backward computes the gates again.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from grus import _core
from grus.activations import Activation
from grus.equations import Formulation, SequenceGradients, Steps, Weights, reset_before

Array = np.ndarray[Any, np.dtype[Any]]


def sequence_forward(
    states: Array, x: Array, h0: Array, weights: Weights, form: Formulation, steps: Steps, keep: bool = True
) -> tuple[Array, Array | None]:
    """As :func:`grus.equations.sequence_forward`; the workspace in place of the gates."""
    T, B, H = states.shape
    workspace = np.empty((T, B, 4 * H), states.dtype) if keep else None
    _core.gru_forward(states, workspace, *_layer(x, h0, weights, form, steps))
    return (states[0 if steps.reverse else -1] if T else h0), workspace


def sequence_backward(
    d_states: Array,
    d_h_n: Array,
    states: Array,
    saved: Array | None,
    x: Array,
    h0: Array,
    weights: Weights,
    form: Formulation,
    steps: Steps,
) -> SequenceGradients:
    """As :func:`grus.equations.sequence_backward`."""
    layer = _layer(x, h0, weights, form, steps)
    dx, dh0 = np.empty(x.shape, x.dtype), np.empty(h0.shape, x.dtype)
    d_reset_state = np.empty(h0.shape, x.dtype)
    d_weights = Weights(*(np.empty(w.shape, w.dtype) for w in weights))
    d_h_n, d_states = np.ascontiguousarray(d_h_n), _rows(d_states)
    _core.gru_backward(dx, dh0, *d_weights, d_reset_state, d_states, d_h_n, states, saved, *layer)
    return SequenceGradients(dx, dh0, d_weights, d_reset_state)


def _layer(x: Array, h0: Array, weights: Weights, form: Formulation, steps: Steps) -> tuple[Any, ...]:
    """What both calls are given, in the order and the form that ``kernels/bindings_gru.cpp`` expects."""
    reset = reset_before(steps)
    return (
        _formulation(form),
        steps.reverse,
        _rows(x),
        *(np.ascontiguousarray(w) for w in weights),
        np.ascontiguousarray(h0),
        np.ascontiguousarray(steps.reset_state),
        None if steps.valid is None else np.ascontiguousarray(steps.valid),
        None if reset is None else np.ascontiguousarray(reset),
    )


def _rows(a: Array) -> Array:
    """(T, B, width) with a contiguous last axis: any stride on the others is taken as it is."""
    whole = a.flags.aligned and all(stride % a.itemsize == 0 for stride in a.strides)
    return a if whole and (a.strides[-1] == a.itemsize or a.shape[-1] <= 1) else np.ascontiguousarray(a)


@lru_cache(maxsize=256)
def _formulation(form: Formulation) -> _core.Formulation:
    of = (form.activation, form.reset_activation, form.update_activation)
    return _core.Formulation(form.reset_after, *(_activation(each) for each in of))


def _activation(activation: Activation) -> _core.Activation:
    function = getattr(_core.Function, activation.name)
    parameters = activation.parameters
    return _core.Activation(function, parameters.get("alpha", 0.0), parameters.get("beta", 0.0))
