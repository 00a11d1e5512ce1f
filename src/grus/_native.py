"""The native engine: the compiled core (``kernels/``) under two signatures of :mod:`grus.equations`.

It takes float32 and float64. What it saves is the call as the kernels took it, with one workspace (T, B, 4H), with
layer normalisation (T, B, 10H), which backward overwrites; without a workspace backward computes the gates again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from grus import _core
from grus._memory import empty
from grus.activations import Activation
from grus.equations import Formulation, Gates, Weights
from grus.parameters import OwnWeights
from grus.reference import Entered, Problem, reset_before

Array = np.ndarray[Any, np.dtype[Any]]
_WHOLE = 0x0101  # NumPy's flags: C_CONTIGUOUS and ALIGNED


class _Kind(NamedTuple):
    """The core's classes for one dtype."""

    cell: type[_core.Cell]
    forward: type[_core.Forward]
    backward: type[_core.Backward]


_KINDS = {
    np.dtype("float32"): _Kind(_core.CellFloat32, _core.ForwardFloat32, _core.BackwardFloat32),
    np.dtype("float64"): _Kind(_core.CellFloat64, _core.ForwardFloat64, _core.BackwardFloat64),
}


def sequences_forward(calls: Sequence[tuple[Array, Problem, bool]]) -> tuple[list[Array], list[_core.Forward]]:
    """As :func:`grus.reference.sequences_forward`; two calls have a thread each where that is faster."""
    ends, made = [], []
    for states, problem, keep in calls:
        made.append(forward_call(problem, states, keep))
        ends.append(states[0 if problem.steps.reverse else -1] if len(states) else problem.h0)
    made[0].run(made[1] if len(made) == 2 else None)
    return ends, made


def sequences_backward(calls: Sequence[tuple[Any, ...]]) -> list[Entered]:
    """As :func:`grus.reference.sequences_backward`."""
    made, results = [], []
    for d_states, d_h_n, states, saved, problem, dh0, d_weights, with_x in calls:
        x, steps = problem.x, problem.steps
        dtype = x.dtype
        dx = empty(x.shape, dtype) if with_x else None
        d_reset_state = None if steps.reset is None else np.empty(dh0.shape, dtype)
        d_decay = None if steps.decay is None else empty(states.shape, dtype)
        forward = forward_call(problem, states, False) if saved is None else saved
        kind = _KINDS[dtype].backward
        try:
            call = kind(forward, d_states, d_h_n, dx, dh0, d_weights, d_reset_state, d_decay)
        except TypeError:  # one of the gradients given does not lie as the kernels take it
            d_states, d_h_n = _rows(d_states), _whole(d_h_n)
            call = kind(forward, d_states, d_h_n, dx, dh0, d_weights, d_reset_state, d_decay)
        made.append(call)
        results.append((dx, d_reset_state, d_decay))
    made[0].run(made[1] if len(made) == 2 else None)
    return results


def gates_of(saved: _core.Forward) -> Gates:
    """The gates of all steps in what forward saved; the last is what (F3') multiplies with its weights."""
    H, workspace = saved.states.shape[2], saved.workspace
    assert workspace is not None  # who asks for gates keeps them
    return Gates(
        workspace[..., :H], workspace[..., H : 2 * H], workspace[..., 2 * H : 3 * H], workspace[..., 3 * H : 4 * H]
    )


def forward_call(problem: Problem, states: Array, keep: bool) -> _core.Forward:
    """A call that fills ``states``, and where backward will follow (``keep``) a workspace, when it is run."""
    x, h0, weights, form, (reset_state, reverse, valid, reset, decay), masks = problem
    recurrent_mask, input_mask, zoneout = masks
    workspace = None
    if keep:
        T, B, H = states.shape
        workspace = empty((T, B, (4 if weights.gain_hh is None else 10) * H), states.dtype)
    if reset is None:
        reset_state = None
    else:
        reset = _whole(reset_before(problem.steps))
    if valid is not None:
        valid = _whole(valid)
    forward, cell = _KINDS[x.dtype].forward, _cell(weights, form)
    try:
        return forward(
            cell, reverse, x, h0, states, workspace, reset_state, valid, reset, recurrent_mask, input_mask, decay,
            zoneout,
        )  # fmt: skip
    except TypeError:  # one of the arrays given does not lie as the kernels take it
        return forward(
            cell, reverse, _rows(x), _whole(h0), states, workspace, _whole(reset_state), valid, reset,
            _whole(recurrent_mask), _whole(input_mask), _rows(decay), _rows(zoneout),
        )  # fmt: skip


def _cell(weights: Weights, form: Formulation) -> _core.Cell:
    """The formulation and the weights as the kernels take them, kept where the weights are kept."""
    if isinstance(weights, OwnWeights):
        kept = weights.made
        if kept is not None and kept[0] is form:
            cell: _core.Cell = kept[1]
            return cell
    native, kind = _formulation(form), _KINDS[weights.weight_ih.dtype].cell
    try:
        cell = kind(native, *weights)
    except TypeError:  # one of them does not lie as the kernels take it: a copy of it would not follow its changes
        return kind(native, *map(_whole, weights))
    if isinstance(weights, OwnWeights):
        weights.made = form, cell
    return cell


def _whole(a: Any) -> Any:
    """The array itself where it is contiguous and aligned, else a copy; None of None."""
    return a if a is None or a.flags.num & _WHOLE == _WHOLE else np.array(a, order="C")


def _rows(a: Any) -> Any:
    """(T, B, width) with a contiguous last axis: any stride on the others is taken as it is."""
    if a is None or a.flags.num & _WHOLE == _WHOLE:
        return a
    strided = a.flags.aligned and all(stride % a.itemsize == 0 for stride in a.strides)
    return a if strided and (a.strides[-1] == a.itemsize or a.shape[-1] <= 1) else np.array(a, order="C")


_MOST_KEPT = 256
_kept: dict[int, tuple[Formulation, _core.Formulation]] = {}  # by identity: a hash would take as long as a call


def _formulation(form: Formulation) -> _core.Formulation:
    kept = _kept.get(id(form))
    if kept is not None:  # it keeps the formulation, so no other one has that identity
        return kept[1]
    made = _core.Formulation(
        getattr(_core.Reset, form.reset),
        _activation(form.activation),
        _activation(form.reset_activation),
        _activation(form.update_activation),
        form.blocks,
        -1 if form.truncate is None else form.truncate,
        form.gradient_clip or 0.0,
    )
    if len(_kept) >= _MOST_KEPT:
        _kept.clear()
    _kept[id(form)] = form, made
    return made


def _activation(activation: Activation) -> _core.Activation:
    function = getattr(_core.Function, activation.name)
    parameters = activation.parameters
    return _core.Activation(
        function, parameters.get("alpha", 0.0), parameters.get("beta", 0.0), activation.clip or 0.0
    )
