"""The native engine: the compiled core (``kernels/``) under two signatures of :mod:`grus.equations`.

It takes float32 and float64. What it saves is the layer as the kernels take it and one workspace (T, B, 4H), with
layer normalisation (T, B, 10H), which backward overwrites; without a workspace backward computes the gates again.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from grus import _core
from grus.activations import Activation
from grus.equations import Formulation, Gates
from grus.reference import Problem, SequenceGradients, reset_before

Array = np.ndarray[Any, np.dtype[Any]]
_WHOLE = 0x0101  # NumPy's flags: C_CONTIGUOUS and ALIGNED
_LAYER = {np.dtype("float32"): _core.LayerFloat32, np.dtype("float64"): _core.LayerFloat64}
_FORWARD = {np.dtype("float32"): _core.ForwardFloat32, np.dtype("float64"): _core.ForwardFloat64}
_BACKWARD = {np.dtype("float32"): _core.BackwardFloat32, np.dtype("float64"): _core.BackwardFloat64}


class Saved(NamedTuple):
    """What forward keeps for backward."""

    layer: _core.Call  # a LayerFloat32 or a LayerFloat64
    workspace: Array | None
    hidden_size: int


def sequences_forward(calls: Sequence[tuple[Array, Problem, bool]]) -> list[tuple[Array, Saved]]:
    """As :func:`grus.reference.sequences_forward`; two calls have a thread each where that is faster."""
    made, results = [], []
    for states, problem, keep in calls:
        T, B, H = states.shape
        layer = _layer(problem)
        planes = 4 if problem.weights.gain_hh is None else 10
        workspace = np.empty((T, B, planes * H), states.dtype) if keep else None
        made.append(_FORWARD[states.dtype](layer, states, workspace))
        h_n = states[0 if problem.steps.reverse else -1] if T else problem.h0
        results.append((h_n, Saved(layer, workspace, H)))
    _core.run(*made)
    return results


def sequences_backward(calls: Sequence[tuple[Any, ...]]) -> list[SequenceGradients]:
    """As :func:`grus.reference.sequences_backward`."""
    made, results = [], []
    for d_states, d_h_n, states, saved, problem, d_weights, with_x in calls:
        x, h0, steps = problem.x, problem.h0, problem.steps
        saved = saved or Saved(_layer(problem), None, h0.shape[-1])
        dx = np.empty(x.shape, x.dtype) if with_x else None
        dh0 = np.empty(h0.shape, x.dtype)
        d_reset_state = None if steps.reset is None else np.empty(h0.shape, x.dtype)
        d_decay = None if steps.decay is None else np.empty(states.shape, x.dtype)
        given = saved.layer, states, saved.workspace, _rows(d_states), _whole(d_h_n)
        made.append(_BACKWARD[x.dtype](*given, dx, dh0, *d_weights, d_reset_state, d_decay))
        results.append(SequenceGradients(dx, dh0, d_weights, d_reset_state, d_decay))
    _core.run(*made)
    return results


def gates_of(saved: Saved) -> Gates:
    """The gates of all steps in what forward saved; the last is what (F3') multiplies with its weights."""
    H, workspace = saved.hidden_size, saved.workspace
    assert workspace is not None  # who asks for gates keeps them
    return Gates(*(workspace[..., i * H : (i + 1) * H] for i in range(4)))


def _layer(problem: Problem) -> _core.Call:
    x, h0, weights, form, steps, masks = problem
    reset = reset_before(steps)
    options = _formulation(form), steps.reverse
    arrays = (
        x, *weights, h0, None if reset is None else steps.reset_state, steps.valid, reset, *masks[:2],
        None if steps.decay is None else _rows(steps.decay),
        None if masks.zoneout is None else _rows(masks.zoneout),
    )  # fmt: skip
    try:
        return _LAYER[x.dtype](*options, *arrays)
    except TypeError:  # one of them is not contiguous
        whole = (a if a is None else _rows(a) if a.ndim == 3 else _whole(a) for a in arrays)
        return _LAYER[x.dtype](*options, *whole)


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
    return _core.Formulation(
        getattr(_core.Reset, form.reset),
        _activation(form.activation),
        _activation(form.reset_activation),
        _activation(form.update_activation),
        form.blocks,
        -1 if form.truncate is None else form.truncate,
        form.gradient_clip or 0.0,
    )


def _activation(activation: Activation) -> _core.Activation:
    function = getattr(_core.Function, activation.name)
    parameters = activation.parameters
    return _core.Activation(
        function, parameters.get("alpha", 0.0), parameters.get("beta", 0.0), activation.clip or 0.0
    )
