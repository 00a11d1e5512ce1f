"""The mathematics of the Gated Recurrent Unit: one step with every option, and its exact gradients.

This file is the specification. It is plain NumPy, works for float32, float64 and complex128, and every engine must
agree with it; :mod:`grus.reference` runs it over sequences. Speed is not its job.

Sizes: ``T`` time, ``B`` batch, ``I`` input, ``H`` hidden. Gates: ``r`` reset, ``z`` update, ``n`` new.
``gx_*`` is a gate's pre-activation from the input, ``gh_*`` from the state, both stacked in the order r | z | n.
``h_prev`` is the state that the step starts from; the gradient of ``v`` is called ``dv``. (Bk) is the adjoint of
(Fk). Arrays may have further axes in front, so all steps can be computed at once where their states are known.

Sources: Cho et al. 2014, arXiv:1406.1078, version 1 (reset after) and version 3 (reset before); Hafner et al.
2023, arXiv:2301.04104 (reset of the whole candidate); Ba et al. 2016, arXiv:1607.06450 (layer normalisation);
Krueger et al. 2016, arXiv:1606.01305 (zoneout); Gal & Ghahramani 2016, arXiv:1512.05287 (dropout of the
recurrence); Che et al. 2018, doi:10.1038/s41598-018-24271-9 (decay). The names, the gate order and the two biases
are those of PyTorch's ``torch.nn.GRU``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from grus.activations import Activation

Array = np.ndarray[Any, np.dtype[Any]]
EPSILON = 1e-5  # added to the variance in layer normalisation, as everywhere
R, Z, N = 0, 1, 2  # the gates' places in what is stacked


class Weights(NamedTuple):
    """The parameters of one layer in one direction; rows are stacked r | z | n."""

    weight_ih: Array  # (3H, I)
    weight_hh: Array  # (3H, H / blocks)
    bias_ih: Array  # (3H,)
    bias_hh: Array  # (3H,)
    gain_ih: Array | None = None  # (3H,), of layer normalisation; None: there is none
    gain_hh: Array | None = None  # (3H,)


class Formulation(NamedTuple):
    """Which GRU, and what its gradients pass through."""

    reset: str = "after"  # where the reset gate acts: "after" (F3), "before" (F3'), "candidate" (F3'')
    activation: Activation = Activation("tanh")  # phi, of the new gate
    reset_activation: Activation = Activation("sigmoid")  # sigma, of the reset gate
    update_activation: Activation = Activation("sigmoid")  # sigma, of the update gate
    blocks: int = 1  # on the diagonal of each recurrent matrix: units of one block do not see those of another
    truncate: int | None = None  # each step's loss gradient passes through at most so many steps
    gradient_clip: float | None = None  # a gradient that leaves a step for the one before is cut to +-this


class Masks(NamedTuple):
    """What training drew at random, or evaluation expects of it; each may be absent."""

    recurrent: Array | None = None  # (B, 3H): multiplies h_prev for each gate
    input: Array | None = None  # (B, 3H): multiplies the projected input, before its bias
    zoneout: Array | None = None  # (..., H): the share of the state that a step leaves as it was


class Gates(NamedTuple):
    """What backward needs of a step (B, H), or of all steps (T, B, H)."""

    r: Array
    z: Array
    n: Array
    gh_n: Array  # for (F3'') gx_n + gh_n: what r is multiplied with
    products: Array | None = None  # (..., 3H): of the state and weight_hh, where they are normalised


class StepGradients(NamedTuple):
    """What one step back gives."""

    gx: Array  # (..., 3H)
    gh: Array  # (..., 3H)
    products: Array  # (..., 3H): the same as gh where nothing is normalised
    h_prev: Array  # (..., H)


NO_MASKS = Masks()


# -------------------------------------------------------------------------------------------------- one step


def step_forward(
    gx: Array, h_prev: Array, weights: Weights, form: Formulation, masks: Masks = NO_MASKS
) -> tuple[Array, Gates]:
    """One step: gx (B, 3H) and h_prev (B, H) give h (B, H) and the gates."""
    gx_r, gx_z, gx_n = blocks(gx)
    product_r, gh_r = from_state(h_prev, R, weights, form, masks)
    product_z, gh_z = from_state(h_prev, Z, weights, form, masks)
    r = form.reset_activation(gx_r + gh_r)  # (F1)
    z = form.update_activation(gx_z + gh_z)  # (F2)
    product_n, gh_n = from_state(r * h_prev if form.reset == "before" else h_prev, N, weights, form, masks)
    if form.reset == "after":
        n = form.activation(gx_n + r * gh_n)  # (F3)
    elif form.reset == "before":
        n = form.activation(gx_n + gh_n)  # (F3')
    else:
        gh_n = gx_n + gh_n
        n = form.activation(r * gh_n)  # (F3'')
    h = n + z * (h_prev - n)  # (F4)
    if masks.zoneout is not None:
        h = h + masks.zoneout * (h_prev - h)  # (F5)
    products = None if weights.gain_hh is None else np.concatenate([product_r, product_z, product_n], axis=-1)
    return h, Gates(r, z, n, gh_n, products)


def step_backward(
    dh: Array, h_prev: Array, gates: Gates, weights: Weights, form: Formulation, masks: Masks = NO_MASKS
) -> StepGradients:
    """One step back: dh (B, H) gives the gradients of gx, of gh, of the products behind it, and of h_prev."""
    r, z, n, gh_n, products = gates
    stays: Array | float = 0.0
    if masks.zoneout is not None:
        stays, dh = dh * masks.zoneout, dh * (1 - masks.zoneout)  # (B5)
    dn, dz, dh_prev = dh * (1 - z), dh * (h_prev - n), dh * z + stays  # (B4)
    dgx_n = dn * form.activation.derivative(n)
    if form.reset == "after":
        dgh_n, dr = dgx_n * r, dgx_n * gh_n  # (B3)
    elif form.reset == "candidate":
        dr, dgx_n = dgx_n * gh_n, dgx_n * r  # (B3'')
        dgh_n = dgx_n
    else:
        dgh_n = dgx_n
    dproduct_n, q = to_state(dgh_n, N, products, weights, form, masks)
    if form.reset == "before":
        q, dr = q * r, q * h_prev  # (B3')
    dg_z = dz * form.update_activation.derivative(z)  # (B2)
    dg_r = dr * form.reset_activation.derivative(r)  # (B1)
    dproduct_r, from_r = to_state(dg_r, R, products, weights, form, masks)
    dproduct_z, from_z = to_state(dg_z, Z, products, weights, form, masks)
    return StepGradients(
        np.concatenate([dg_r, dg_z, dgx_n], axis=-1),
        np.concatenate([dg_r, dg_z, dgh_n], axis=-1),
        np.concatenate([dproduct_r, dproduct_z, dproduct_n], axis=-1),
        dh_prev + q + from_r + from_z,
    )


# -------------------------------------------------------------------------------- what the gates are made of


def from_input(x: Array, weights: Weights, masks: Masks) -> tuple[Array, Array]:
    """x (..., I) gives its products with weight_ih and gx, both (..., 3H)."""
    product = x @ weights.weight_ih.T
    gx = product if weights.gain_ih is None else weights.gain_ih * normalised(product)
    return product, (gx if masks.input is None else masks.input * gx) + weights.bias_ih


def to_input(dgx: Array, product: Array | None, weights: Weights, masks: Masks) -> Array:
    """The adjoint of the same: dgx gives the gradient of the product."""
    dgx = dgx if masks.input is None else dgx * masks.input
    if weights.gain_ih is None or product is None:
        return dgx
    return normalised_backward(dgx * weights.gain_ih, product)


def from_state(h: Array, gate: int, weights: Weights, form: Formulation, masks: Masks) -> tuple[Array, Array]:
    """h (..., H) gives a gate's product with its rows of weight_hh, and its gh, both (..., H)."""
    own = rows(gate, h.shape[-1])
    h = h if masks.recurrent is None else masks.recurrent[..., own] * h
    product = block_product(h, weights.weight_hh[own], form.blocks)
    gh = product if weights.gain_hh is None else weights.gain_hh[own] * normalised(product, 1)
    return product, gh + weights.bias_hh[own]


def to_state(
    dgh: Array, gate: int, products: Array | None, weights: Weights, form: Formulation, masks: Masks
) -> tuple[Array, Array]:
    """The adjoint of the same: a gate's dgh gives the gradients of the product and of h."""
    own = rows(gate, dgh.shape[-1])
    if weights.gain_hh is not None and products is not None:
        dgh = normalised_backward(dgh * weights.gain_hh[own], products[..., own], 1)
    dh = block_product(dgh, weights.weight_hh[own], form.blocks, adjoint=True)
    return dgh, dh if masks.recurrent is None else dh * masks.recurrent[..., own]


def normalised(products: Array, gates: int = 3) -> Array:
    """Each gate's H numbers of mean 0 and variance 1 (almost: see EPSILON)."""
    a = _by_gate(products, gates)
    centred = a - a.mean(axis=-1, keepdims=True)
    return np.asarray(centred / _deviation(centred)).reshape(products.shape)  # (F6)


def normalised_backward(dy: Array, products: Array, gates: int = 3) -> Array:
    """The gradient of the products, given that of what :func:`normalised` made of them."""
    a, dy = _by_gate(products, gates), _by_gate(dy, gates)
    centred = a - a.mean(axis=-1, keepdims=True)
    deviation = _deviation(centred)
    y = centred / deviation
    inner = dy - dy.mean(axis=-1, keepdims=True) - y * (dy * y).mean(axis=-1, keepdims=True)
    return np.asarray(inner / deviation).reshape(products.shape)  # (B6)


def block_product(h: Array, weight: Array, blocks: int, adjoint: bool = False) -> Array:
    """h (..., H) times the transpose of the block-diagonal matrix (or, adjoint, the matrix) of weight's rows."""
    if blocks == 1:
        return np.asarray(h @ (weight if adjoint else weight.T))
    size = weight.shape[-1]
    parts, own = h.reshape(*h.shape[:-1], blocks, 1, size), weight.reshape(blocks, size, size)
    return np.asarray(parts @ (own if adjoint else own.swapaxes(-1, -2))).reshape(h.shape)


def blocks(g: Array) -> tuple[Array, Array, Array]:
    """(..., 3H) -> three (..., H) views, order r, z, n."""
    H = g.shape[-1] // 3
    return g[..., :H], g[..., H : 2 * H], g[..., 2 * H :]


def rows(gate: int, H: int) -> slice:
    """A gate's place in what is stacked."""
    return slice(gate * H, (gate + 1) * H)


def _by_gate(a: Array, gates: int) -> Array:
    """(..., gates*H) -> (..., gates, H); -1 for H would refuse an array without steps or rows."""
    return a.reshape(*a.shape[:-1], gates, a.shape[-1] // gates)


def _deviation(centred: Array) -> Array:
    return np.asarray(np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + centred.dtype.type(EPSILON)))
