"""Each row of the table of conventions, by what its library says of itself: its formula, over its own arrays.

The formulas are written after the libraries' sources and never look at the row; a cell is packed as it has it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import grus
from grus.conversion import CONVENTIONS, formulas
from grus.conversion.cells import Cells
from grus.conversion.conventions import INPUT_ONLY, Blocks
from grus.conversion.formulas import Array, Step, sigmoid
from grus.conversion.onnx_formula import onnx_gru
from layouts import difference, inputs


def parts(array: Array) -> list[Array]:
    """Of the last axis."""
    return np.split(array, 3, axis=-1)


def keras(after: bool) -> Callable[[Blocks], Step]:
    def formula(of: Blocks) -> Step:
        bias = np.stack([of.bias_ih, of.bias_hh]) if after else of.bias_ih
        arrays = {"kernel": of.weight_ih, "recurrent_kernel": of.weight_hh, "bias": np.asarray(bias)}
        return formulas.keras(arrays, reset_after=after, activation=np.tanh, recurrent_activation=sigmoid)

    return formula


def onnx(after: bool) -> Callable[[Blocks], Step]:
    """A node, run for one step."""

    def formula(of: Blocks) -> Step:
        w, r, b = of.weight_ih[None], of.weight_hh[None], np.concatenate([of.bias_ih, of.bias_hh])[None]
        return lambda x, h: onnx_gru(x[None], w, r, b, None, h[None], linear_before_reset=int(after))[1][0]

    return formula


def linen(of: Blocks) -> Step:
    """``flax/linen/recurrent.py``, GRUCell's docstring: kernels ir, iz, in and hr, hz, hn, and four biases."""
    (w_ir, w_iz, w_in), (w_hr, w_hz, w_hn) = parts(of.weight_ih), parts(of.weight_hh)
    b_ir, b_iz, b_in = parts(of.bias_ih)

    def step(x: Array, h: Array) -> Array:
        r = sigmoid(x @ w_ir + b_ir + h @ w_hr)
        z = sigmoid(x @ w_iz + b_iz + h @ w_hz)
        n = np.tanh(x @ w_in + b_in + r * (h @ w_hn + of.bias_hh))
        return (1 - z) * n + z * h

    return step


def nnx(of: Blocks) -> Step:
    """``flax/nnx/nn/recurrent.py``, GRUCell.__call__: dense_i with a bias, dense_h without."""

    def step(x: Array, h: Array) -> Array:
        (xr, xz, xn), (hr, hz, hn) = parts(x @ of.weight_ih + of.bias_ih), parts(h @ of.weight_hh)
        r, z = sigmoid(xr + hr), sigmoid(xz + hz)
        return (1 - z) * np.tanh(xn + r * hn) + z * h

    return step


def equinox(of: Blocks) -> Step:
    """``equinox/nn/_rnn.py``, GRUCell.__call__: weight @ column, bias and bias_n."""

    def step(x: Array, h: Array) -> Array:
        igates, hgates = parts(x @ of.weight_ih.T + of.bias_ih), parts(h @ of.weight_hh.T)
        reset, inp = sigmoid(igates[0] + hgates[0]), sigmoid(igates[1] + hgates[1])
        new = np.tanh(igates[2] + reset * (hgates[2] + of.bias_hh))
        return new + inp * (h - new)

    return step


def haiku(of: Blocks) -> Step:
    """``haiku/_src/recurrent.py``, GRU.__call__: w_i, w_h and b, z | r | a, and 1 - z keeps the state."""
    size = len(of.weight_hh)

    def step(x: Array, h: Array) -> Array:
        gates_x, w_h = x @ of.weight_ih + of.bias_ih, of.weight_hh
        z, r = np.split(sigmoid(gates_x[:, : 2 * size] + h @ w_h[:, : 2 * size]), 2, axis=1)
        a = np.tanh(gates_x[:, 2 * size :] + (r * h) @ w_h[:, 2 * size :])
        return (1 - z) * h + z * a

    return step


def named(formula: Callable[[dict[str, Array]], Step], *names: str) -> Callable[[Blocks], Step]:
    """A formula over arrays that are the blocks as they are."""
    return lambda of: formula(dict(zip(names, of, strict=False)))


def per_gate(formula: Callable[[dict[str, Array]], Step], gates: str, *prefixes: str) -> Callable[[Blocks], Step]:
    """One over an array for each gate, named by a prefix and the gate."""
    return lambda of: formula(
        {
            f"{prefix}{gate}": part
            for prefix, block in zip(prefixes, of, strict=False)
            for gate, part in zip(gates.split(), parts(block), strict=True)
        }
    )


def onednn(formula: Callable[[dict[str, Array]], Step]) -> Callable[[Blocks], Step]:
    def of_blocks(of: Blocks) -> Step:
        size = len(of.weight_hh)
        bias = np.concatenate([each for each in of[2:] if each is not None]).reshape(-1, size)
        weights = {"weights_layer": of.weight_ih, "weights_iter": of.weight_hh}
        return formula({name: w.reshape(-1, 3, size) for name, w in weights.items()} | {"bias": bias})

    return of_blocks


def tensorflow(of: Blocks) -> Step:
    both, size = np.concatenate(of[:2]), len(of.weight_hh)
    cut = [2 * size]
    arrays = [*np.split(both, cut, axis=1), *np.split(np.asarray(of.bias_ih), cut)]
    return formulas.tensorflow(dict(zip(("w_ru", "w_c", "b_ru", "b_c"), arrays, strict=True)))


OWN: dict[str, Callable[[Blocks], Step]] = {
    "torch": named(formulas.torch, "weight_ih", "weight_hh", "bias_ih", "bias_hh"),
    "keras": keras(True), "keras-before": keras(False), "onnx": onnx(True), "onnx-before": onnx(False),
    "linen": linen, "nnx": nnx, "equinox": equinox, "haiku": haiku,
    "mygrad": per_gate(formulas.mygrad, "z r h", "U", "W", "b"),
    "epynn": per_gate(formulas.epynn, "r z hh", "U", "V", "b"),
    "onednn": onednn(formulas.onednn_lbr), "onednn-before": onednn(formulas.onednn),
    "tensorflow": tensorflow, "coreml": named(formulas.coreml, "weight_ih", "weight_hh", "bias"),
    "haste": named(formulas.haste, "kernel", "recurrent_kernel", "bias", "recurrent_bias"),
}  # fmt: skip


@pytest.mark.parametrize("key", CONVENTIONS)
@pytest.mark.parametrize("seed", range(3))
def test_each_row_is_its_librarys_formula(key: str, seed: int) -> None:
    row, rng = CONVENTIONS[key], np.random.default_rng(seed)
    cell = grus.GRUParams(*(rng.normal(0, 0.6, shape) for shape in ((15, 3), (15, 5), (15,), (15,))))
    if row.biases == INPUT_ONLY:
        cell.bias_hh[10:] = 0
    gru = Cells([[cell]], formulation=row.formulation).gru()
    x, h0 = inputs(gru)
    assert difference(gru(x, h0), formulas.over_time([[OWN[key](row.pack(cell))]], x, h0)) <= 1e-12


def test_every_row_has_its_formula() -> None:
    assert OWN.keys() == CONVENTIONS.keys()
