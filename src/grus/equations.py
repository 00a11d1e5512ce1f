"""The mathematics of the Gated Recurrent Unit: one step, a whole sequence, and the exact gradients of both.

This file is the specification. It is plain NumPy, works for float32, float64 and complex128, and every other
engine must agree with it. Speed is not its job.

Sizes: ``T`` time, ``B`` batch, ``I`` input, ``H`` hidden. Gates: ``r`` reset, ``z`` update, ``n`` new.
``gx_*`` is a gate's pre-activation from the input, ``gh_*`` from the state, both stacked in the order r | z | n.
``h_prev`` is the state one step earlier; the gradient of ``v`` is called ``dv``. (Bk) is the adjoint of (Fk).

Sources: Cho et al. 2014, arXiv:1406.1078, version 1 (reset after) and version 3 (reset before); the names, the
gate order and the two biases are those of PyTorch's ``torch.nn.GRU``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from grus.activations import Activation

Array = np.ndarray[Any, np.dtype[Any]]


class Weights(NamedTuple):
    """The parameters of one layer in one direction; rows are stacked r | z | n."""

    weight_ih: Array  # (3H, I)
    weight_hh: Array  # (3H, H)
    bias_ih: Array  # (3H,)
    bias_hh: Array  # (3H,)


class Formulation(NamedTuple):
    """Which GRU: where the reset gate acts, and the three activation functions."""

    reset_after: bool = True
    activation: Activation = Activation("tanh")  # phi, of the new gate
    reset_activation: Activation = Activation("sigmoid")  # sigma, of the reset gate
    update_activation: Activation = Activation("sigmoid")  # sigma, of the update gate


class Gates(NamedTuple):
    """What backward needs of a step (B, H), or of all steps (T, B, H)."""

    r: Array
    z: Array
    n: Array
    gh_n: Array


class Steps(NamedTuple):
    """How the steps follow each other; valid and reset are (T, B) and may be absent."""

    reset_state: Array  # (B, H): the state that a sequence begun by a reset starts from
    reverse: bool = False  # run from the last step to the first
    valid: Array | None = None  # False: the step carries the state and uses nothing else
    reset: Array | None = None  # True: x[t] begins a new sequence


class SequenceGradients(NamedTuple):
    """The gradients of everything that enters a sequence."""

    x: Array
    h0: Array
    weights: Weights
    reset_state: Array | None  # an engine may leave it out where nothing is reset


# ------------------------------------------------------------------------------------------------- one step


def step_forward(gx: Array, h_prev: Array, weights: Weights, form: Formulation) -> tuple[Array, Gates]:
    """One step: gx (B, 3H) and h_prev (B, H) give h (B, H) and the gates."""
    H = h_prev.shape[-1]
    gx_r, gx_z, gx_n = _blocks(gx)
    weight_hn, bias_hn = weights.weight_hh[2 * H :], weights.bias_hh[2 * H :]

    gh_rz = h_prev @ weights.weight_hh[: 2 * H].T + weights.bias_hh[: 2 * H]
    r = form.reset_activation(gx_r + gh_rz[..., :H])  # (F1)
    z = form.update_activation(gx_z + gh_rz[..., H:])  # (F2)
    if form.reset_after:
        gh_n = h_prev @ weight_hn.T + bias_hn
        n = form.activation(gx_n + r * gh_n)  # (F3)
    else:
        gh_n = (r * h_prev) @ weight_hn.T + bias_hn
        n = form.activation(gx_n + gh_n)  # (F3')
    h = n + z * (h_prev - n)  # (F4)
    return h, Gates(r, z, n, gh_n)


def step_backward(
    dh: Array, h_prev: Array, gates: Gates, weights: Weights, form: Formulation
) -> tuple[Array, Array, Array]:
    """One step back: dh (B, H) gives dgx (B, 3H), dgh_n (B, H) and dh_prev (B, H).

    The r and z parts of dgh equal those of dgx, because (F1) and (F2) only add the two.
    """
    r, z, n, gh_n = gates
    H = h_prev.shape[-1]
    weight_hn = weights.weight_hh[2 * H :]

    dn, dz, dh_prev = dh * (1 - z), dh * (h_prev - n), dh * z  # (B4)
    dgx_n = dn * form.activation.derivative(n)
    if form.reset_after:
        dgh_n, dr = dgx_n * r, dgx_n * gh_n  # (B3)
        dh_prev = dh_prev + dgh_n @ weight_hn
    else:
        q = dgx_n @ weight_hn
        dgh_n, dr = dgx_n, q * h_prev  # (B3')
        dh_prev = dh_prev + q * r
    dg_z = dz * form.update_activation.derivative(z)  # (B2)
    dg_r = dr * form.reset_activation.derivative(r)  # (B1)
    dg_rz = np.concatenate([dg_r, dg_z], axis=-1)
    dh_prev = dh_prev + dg_rz @ weights.weight_hh[: 2 * H]
    return np.concatenate([dg_rz, dgx_n], axis=-1), dgh_n, dh_prev


# ------------------------------------------------------------------------------------------------ a sequence


def sequence_forward(
    states: Array, x: Array, h0: Array, weights: Weights, form: Formulation, steps: Steps, keep: bool = True
) -> tuple[Array, Gates | None]:
    """All steps: fills ``states`` (T, B, H) from x (T, B, I) and h0 (B, H).

    Returns h_n (B, H) and, where backward will follow (``keep``), the gates of all steps.
    """
    gx = _projected(x, weights, steps)
    gates = Gates(*(np.empty(states.shape, states.dtype) for _ in Gates._fields)) if keep else None
    reset = reset_before(steps)
    h = h0
    for t in _order(len(x), steps.reverse):
        h_prev = h if reset is None else np.where(reset[t, :, None], steps.reset_state, h)
        h, step = step_forward(gx[t], h_prev, weights, form)
        if steps.valid is not None:
            h = np.where(steps.valid[t, :, None], h, h_prev)
        states[t] = h
        for kept, gate in zip(gates or (), step, strict=keep):
            kept[t] = gate
    return h, gates


def sequence_backward(
    d_states: Array,
    d_h_n: Array,
    states: Array,
    gates: Gates | None,
    x: Array,
    h0: Array,
    weights: Weights,
    form: Formulation,
    steps: Steps,
) -> SequenceGradients:
    """Gradients of x, h0, every weight and reset_state, from those of the states (T, B, H) and of h_n (B, H).

    Gates that were not kept follow from the states: each step's is known, so all steps are computed at once.
    """
    h_prev = _previous_states(states, h0, steps)
    if gates is None:
        _, gates = step_forward(_projected(x, weights, steps), h_prev, weights, form)
    reset = reset_before(steps)
    dgx = np.zeros((*states.shape[:2], 3 * states.shape[2]), states.dtype)
    dgh_n = np.zeros_like(states)
    dh, d_reset_state = d_h_n, np.zeros_like(h0)
    for t in reversed(_order(len(x), steps.reverse)):
        dh = dh + d_states[t]
        step = Gates(*(gate[t] for gate in gates))
        dgx_t, dgh_n_t, dh_prev = step_backward(dh, h_prev[t], step, weights, form)
        if steps.valid is not None:
            valid = steps.valid[t, :, None]
            dgx_t, dgh_n_t = np.where(valid, dgx_t, 0), np.where(valid, dgh_n_t, 0)
            dh_prev = np.where(valid, dh_prev, dh)
        if reset is not None:
            d_reset_state += np.where(reset[t, :, None], dh_prev, 0)
            dh_prev = np.where(reset[t, :, None], 0, dh_prev)
        dgx[t], dgh_n[t], dh = dgx_t, dgh_n_t, dh_prev
    d_weights = _weight_gradients(dgx, dgh_n, _used(x, steps), h_prev, gates.r, form)
    return SequenceGradients(dgx @ weights.weight_ih, dh, d_weights, d_reset_state)


def sequences_forward(runs: Sequence[tuple[Any, ...]]) -> list[tuple[Array, Gates | None]]:
    """:func:`sequence_forward` of each run, a tuple of its arguments: the directions of a layer."""
    return [sequence_forward(*run) for run in runs]


def sequences_backward(runs: Sequence[tuple[Any, ...]]) -> list[SequenceGradients]:
    """:func:`sequence_backward` of each run; a run ends with the arrays that its weights' gradients go into."""
    results = []
    for *run, out in runs:
        d = sequence_backward(*run)
        for view, value in zip(out, d.weights, strict=True):
            view[...] = value
        results.append(d._replace(weights=out))
    return results


def _weight_gradients(dgx: Array, dgh_n: Array, x: Array, h_prev: Array, r: Array, form: Formulation) -> Weights:
    """dW = dg^T input and db = sum of dg, summed over all steps and rows at once."""
    H = h_prev.shape[-1]
    dgh_rz = dgx[..., : 2 * H]
    input_n = h_prev if form.reset_after else r * h_prev
    dweight_hh = np.concatenate([_outer_sum(dgh_rz, h_prev), _outer_sum(dgh_n, input_n)])
    dbias_hh = np.concatenate([dgh_rz.sum(axis=(0, 1)), dgh_n.sum(axis=(0, 1))])
    return Weights(_outer_sum(dgx, x), dweight_hh, dgx.sum(axis=(0, 1)), dbias_hh)


# --------------------------------------------------------------------------------------------------- helpers


def _blocks(g: Array) -> tuple[Array, Array, Array]:
    """(B, 3H) -> three (B, H) views, order r, z, n."""
    H = g.shape[-1] // 3
    return g[..., :H], g[..., H : 2 * H], g[..., 2 * H :]


def _outer_sum(dg: Array, inputs: Array) -> Array:
    """(T, B, G), (T, B, K) -> (G, K): the sum over steps and rows of dg^T inputs."""
    return np.asarray(dg.reshape(-1, dg.shape[-1]).T @ inputs.reshape(-1, inputs.shape[-1]))


def _order(T: int, reverse: bool) -> range:
    return range(T - 1, -1, -1) if reverse else range(T)


def _used(x: Array, steps: Steps) -> Array:
    """x with zeros where a step is not valid, so that padding can hold anything, NaN included."""
    return x if steps.valid is None else np.where(steps.valid[..., None], x, 0)


def _projected(x: Array, weights: Weights, steps: Steps) -> Array:
    """gx (T, B, 3H), of all steps at once."""
    return np.asarray(_used(x, steps) @ weights.weight_ih.T + weights.bias_ih)


def reset_before(steps: Steps) -> Array | None:
    """(T, B) True where the state is replaced before step t is taken.

    A reset at t cuts between t-1 and t. Forwards that is before step t; in reverse it is before step t-1, and
    the first step of the array has nothing before it.
    """
    if steps.reset is None or not steps.reverse:
        return steps.reset
    return np.concatenate([steps.reset[1:], np.zeros_like(steps.reset[:1])])


def _previous_states(states: Array, h0: Array, steps: Steps) -> Array:
    """(T, B, H): the state that each step started from."""
    rows: Iterable[Array] = (states[1:], h0[None]) if steps.reverse else (h0[None], states[:-1])
    h_prev = np.concatenate(list(rows))[: len(states)]
    reset = reset_before(steps)
    return h_prev if reset is None else np.where(reset[..., None], steps.reset_state, h_prev)
