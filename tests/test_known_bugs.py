"""Mistakes that other libraries made, or were said to make, each as a test of ours; a docstring names the thread.

They are reports of their users, cited for where an idea of a test came from; most were mended long ago.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import numpy as np
import pytest

import grus
from grus.conversion import CONVENTIONS, ConversionError, formulas
from grus.conversion.cells import cells_of
from helpers import assert_close, central_differences
from test_gradients import random_gru

Array = np.ndarray[Any, np.dtype[Any]]
FORMULATIONS = ("after", "before", "candidate")
formulations = pytest.mark.parametrize("formulation", FORMULATIONS)
directions = pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "bidirectional"])


@pytest.fixture(autouse=True, params=["reference", "native"])
def _engine(request: pytest.FixtureRequest) -> Iterator[None]:
    with grus.use_engine(request.param), np.errstate(invalid="ignore"):  # of infinity less itself
        yield


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


def states_of(gru: grus.GRU, batch: int, rng: np.random.Generator) -> Array:
    return rng.standard_normal((gru.num_layers * gru.directions, batch, gru.hidden_size)).astype(gru.dtype)


def one_layer(
    rng: np.random.Generator, T: int = 5, B: int = 3, I: int = 2, H: int = 4
) -> tuple[Any, Array, Array]:
    """Parameters, x and h0 of one layer in float64."""
    params = grus.GRUParams.random(I, H, rng, "float64")
    return params, rng.standard_normal((T, B, I)), rng.standard_normal((B, H))


# -------------------------------------------------------------------------------------------- biases and states


@pytest.mark.parametrize("batch", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@formulations
def test_without_biases_and_without_h0(formulation: str, dtype: str, batch: int, rng: np.random.Generator) -> None:
    """microsoft/onnxruntime#3893: without biases a stale buffer was read from three rows on."""
    params = grus.GRUParams.random(2, 5, rng, dtype)
    x = rng.standard_normal((4, batch, 2)).astype(dtype)
    zeros = np.zeros(15, dtype)
    explicit = params._replace(bias_ih=zeros, bias_hh=zeros)
    none = params._replace(bias_ih=None, bias_hh=None)
    expected = grus.gru_forward(x, np.zeros((batch, 5), dtype), explicit, formulation=formulation, training=False)
    for _ in range(3):  # whatever memory a call finds
        found = grus.gru_forward(x, None, none, formulation=formulation, training=False)
        for value, exact in zip(found[:2], expected[:2], strict=True):
            np.testing.assert_array_equal(value, exact)
    for row in range(batch):
        alone, _, _ = grus.gru_forward(x[:, row : row + 1], None, none, formulation=formulation, training=False)
        assert_close(found[0][:, row : row + 1], alone, "same maths", dtype, f"row {row}")


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("batch_first", [True, False])
def test_h0_of_every_layer_and_direction_is_used(layers: int, batch_first: bool, rng: np.random.Generator) -> None:
    """microsoft/onnxruntime#1607, pytorch/pytorch#95137: a bidirectional h0 was cut wrongly, or not used at all.

    Each part of h0 changes its own h_n and what lies above, and nothing below.
    """
    gru = random_gru(2, 3, layers, bidirectional=True, batch_first=batch_first)
    x, h0 = rng.standard_normal((4, 2, 2)), states_of(gru, 2 if not batch_first else 4, rng)
    before = gru(x, h0)
    for i in range(2 * layers):
        changed = h0.copy()
        changed[i] += 0.5
        output, h_n = gru(x, changed)
        same = [bool((h_n[j] == before.h_n[j]).all()) for j in range(2 * layers)]
        own_layer = i // 2
        assert same[: 2 * own_layer] == [True] * (2 * own_layer)
        assert not same[i]
        assert same[i ^ 1]  # the layer's other direction
        assert not any(same[2 * own_layer + 2 :])
        assert not np.allclose(output, before.output)


@directions
def test_h0_is_sliced_as_the_layers_alone_would_take_it(bidirectional: bool, rng: np.random.Generator) -> None:
    """microsoft/onnxruntime#1607, hidden there because tests began with zeros."""
    gru = random_gru(2, 3, 2, bidirectional=bidirectional)
    D, x, h0 = gru.directions, rng.standard_normal((4, 5, 2)), states_of(gru, 4, rng)
    output, h_n = gru(x, h0)
    below = x
    for layer in range(2):
        alone = random_gru(below.shape[-1], 3, bidirectional=bidirectional)
        for name in alone.parameters:
            alone.parameters[name] = gru.parameters[name.replace("_l0", f"_l{layer}")]
        below, last = alone(below, h0[layer * D : layer * D + D])
        assert_close(h_n[layer * D : layer * D + D], last, "same maths", name=f"h_n of layer {layer}")
    assert_close(output, below, "same maths", name="output")


@pytest.mark.parametrize(
    "wrong", [(1, 4, 3), (3, 4, 3), (2, 1, 3), (2, 4, 1), (4, 2, 3), (2, 5, 3), (2, 3), (4, 3)]
)
def test_a_state_of_another_shape_is_refused(wrong: tuple[int, ...], rng: np.random.Generator) -> None:
    """pytorch/pytorch#4002: an h0 for another number of layers was accepted on a CPU."""
    gru = grus.GRU(2, 3, 2, seed=0)
    x, h = rng.standard_normal((4, 5, 2)).astype("float32"), np.zeros(wrong, "float32")
    message = r"must have shape \(2, 4, 3\)"
    with pytest.raises(ValueError, match=f"h0 {message}"):
        gru(x, h)
    with pytest.raises(ValueError, match=f"reset_state {message}"):
        gru(x, reset=np.zeros((4, 5), bool), reset_state=h)
    with pytest.raises(ValueError, match=f"d_h_n {message}"):
        gru.backward(gru.forward(x).tape, d_h_n=h)


# ------------------------------------------------------------------------------------------- lengths and masks


@pytest.mark.parametrize("layers", [1, 2])
def test_padding_has_no_part_in_either_direction(layers: int, rng: np.random.Generator) -> None:
    """onnx/onnx-tensorflow#342, keras-team/keras#4192, webnn#801: reverse began in the padding."""
    gru, lengths = random_gru(2, 3, layers, bidirectional=True), np.array([3, 5, 1])
    x, h0 = rng.standard_normal((3, 5, 2)), states_of(gru, 3, rng)
    rows = [gru(x[b : b + 1, :n], h0[:, b : b + 1]) for b, n in enumerate(lengths)]
    for more, content in itertools.product((0, 1, 4), (0.0, 1e6, np.nan)):
        padded = np.full((3, 5 + more, 2), content)
        for b, n in enumerate(lengths):
            padded[b, :n] = x[b, :n]
        output, h_n = gru(padded, h0, lengths=lengths)
        for b, n in enumerate(lengths):
            assert_close(output[b : b + 1, :n], rows[b].output, "same maths", name=f"output of row {b}")
            assert_close(h_n[:, b : b + 1], rows[b].h_n, "same maths", name=f"h_n of row {b}")
            assert not output[b, n:].any()


@directions
@formulations
def test_leading_masked_steps_leave_h0_as_it_is(
    formulation: str, bidirectional: bool, rng: np.random.Generator
) -> None:
    """keras-team/keras#1300: masked steps let the bias leak into the state."""
    params, x, h0 = one_layer(rng, T=6)
    mask = np.ones((6, 3), bool)
    skipped = np.s_[3:] if bidirectional else np.s_[:3]  # what is run first
    mask[skipped] = False
    options = {"formulation": formulation, "reverse": bidirectional, "training": False}
    output, h_n, _ = grus.gru_forward(x, h0, params, mask=mask, **options)
    used = np.s_[:3] if bidirectional else np.s_[3:]
    np.testing.assert_array_equal(output[skipped], np.broadcast_to(h0, (3, 3, 4)))
    expected, last, _ = grus.gru_forward(x[used], h0, params, **options)
    assert_close(output[used], expected, "same maths", name="output")
    assert_close(h_n, last, "same maths", name="h_n")


@directions
@pytest.mark.parametrize("by", ["lengths", "mask"])
@pytest.mark.parametrize("empty", [(0,), (1,), (3,), (0, 1), (2, 3), (0, 1, 2, 3)])
def test_empty_rows_in_every_place(
    empty: tuple[int, ...], by: str, bidirectional: bool, rng: np.random.Generator
) -> None:
    """tensorflow/tensorflow#36139, pytorch/pytorch#11514: a row all masked, or of length 0, was refused."""
    gru = random_gru(2, 3, 2, bidirectional=bidirectional)
    x, h0 = rng.standard_normal((4, 5, 2)), states_of(gru, 4, rng)
    lengths = np.array([0 if b in empty else 5 for b in range(4)])
    steps = {"lengths": lengths} if by == "lengths" else {"mask": np.arange(5) < lengths[:, None]}
    output, h_n, tape = gru.forward(x, h0, **steps)
    d_h_n = rng.standard_normal(h_n.shape)
    d = gru.backward(tape, d_h_n=d_h_n)
    whole = gru(x, h0)
    for b in range(4):
        if b in empty:
            np.testing.assert_array_equal(h_n[:, b], h0[:, b])
            assert not d.x[b].any()
            if by == "lengths":
                assert not output[b].any()
        else:
            assert_close(output[b], whole.output[b], "same maths", name=f"output of row {b}")
            assert_close(h_n[:, b], whole.h_n[:, b], "same maths", name=f"h_n of row {b}")
    if len(empty) == 4 and by == "lengths":
        np.testing.assert_array_equal(d.h0, d_h_n)
        assert not d.parameters.flat.any()


# ---------------------------------------------------------------------------------------------------------- rows


@directions
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_stays_in_its_row(bad: float, bidirectional: bool, rng: np.random.Generator) -> None:
    """alibaba/MNN#1573: rows shared a buffer; pytorch/pytorch#177016: a NaN in one row reached others."""
    gru = random_gru(2, 3, 2, bidirectional=bidirectional)
    for row, where in itertools.product(range(4), ("x", "h0")):
        x, h0 = rng.standard_normal((4, 5, 2)), states_of(gru, 4, rng)
        clean, others = gru(x, h0), np.arange(4) != row
        (x[row, 2:3] if where == "x" else h0[:, row])[...] = bad
        output, h_n, tape = gru.forward(x, h0)
        np.testing.assert_array_equal(output[others], clean.output[others])
        np.testing.assert_array_equal(h_n[:, others], clean.h_n[:, others])
        d = gru.backward(tape, np.ones_like(output))
        assert np.isfinite(d.x[others]).all()
        assert np.isfinite(d.h0[:, others]).all()
        if np.isnan(bad):
            assert np.isnan(output[row, -1]).any()


@directions
def test_rows_do_not_know_of_each_other(bidirectional: bool, rng: np.random.Generator) -> None:
    """alibaba/MNN#1573: the rows of a batch shared one state."""
    gru = random_gru(2, 3, 2, bidirectional=bidirectional)
    x, h0 = rng.standard_normal((5, 4, 2)), states_of(gru, 5, rng)
    output, h_n = gru(x, h0)
    turned = gru(x[::-1], np.ascontiguousarray(h0[:, ::-1]))
    np.testing.assert_array_equal(turned.output[::-1], output)
    np.testing.assert_array_equal(turned.h_n[:, ::-1], h_n)


# -------------------------------------------------------------------------------------------------------- resets


@pytest.mark.parametrize("at", [0, 1, 4])
@formulations
def test_a_reset_acts_before_its_own_step(formulation: str, at: int, rng: np.random.Generator) -> None:
    """PufferAI/PufferLib#622: the reset came one step late, and gradients leaked across."""
    params, x, h0 = one_layer(rng)
    reset, reset_state = np.zeros((5, 3), bool), rng.standard_normal((3, 4))
    reset[at] = True
    d_output = rng.standard_normal((5, 3, 4))
    output, _, tape = grus.gru_forward(
        x, h0, params, formulation=formulation, reset=reset, reset_state=reset_state
    )
    d = grus.gru_backward(tape, d_output)
    first, _, tape_1 = grus.gru_forward(x[:at], h0, params, formulation=formulation)
    second, _, tape_2 = grus.gru_forward(x[at:], reset_state, params, formulation=formulation)
    d_1, d_2 = grus.gru_backward(tape_1, d_output[:at]), grus.gru_backward(tape_2, d_output[at:])
    assert_close(output, np.concatenate([first, second]), "same maths", name="output")
    assert_close(d.x, np.concatenate([d_1.x, d_2.x]), "same maths", name="dx")
    assert_close(d.h0, d_1.h0, "same maths", name="dh0")
    assert_close(d.reset_state, d_2.h0, "same maths", name="d_reset_state")
    for name, value, one, two in zip(params._fields[:4], d.params, d_1.params, d_2.params, strict=False):
        assert_close(value, one + two, "same maths", name=name)


# ----------------------------------------------------------------------------------------- what is drawn at random


def check_differences(arrays: dict[str, Array], params: Any, rng: np.random.Generator, **options: Any) -> None:
    """All gradients against central differences, under masks that stay as they are."""
    output, h_n, tape = grus.gru_forward(arrays["x"], arrays["h0"], params, **options)
    d_output, d_h_n = rng.standard_normal(output.shape), rng.standard_normal(h_n.shape)
    d = grus.gru_backward(tape, d_output, d_h_n)

    def loss() -> float:
        result = grus.gru_forward(arrays["x"], arrays["h0"], params, training=False, **options)
        return float((result[0] * d_output).sum() + (result[1] * d_h_n).sum())

    found = {"x": d.x, "h0": d.h0, **d.params._asdict()}
    for name, array in {**arrays, **params._asdict()}.items():
        if array is not None:
            assert_close(found[name], central_differences(loss, array), "central differences", name=name)


@formulations
def test_zoneout_goes_back_with_each_steps_own_mask(formulation: str, rng: np.random.Generator) -> None:
    """lmnt-com/haste#43: backward used the mask of the first step at all steps."""
    params, x, h0 = one_layer(rng, T=4, B=2, H=3)
    zoneout = (rng.random((4, 2, 3)) < 0.4).astype(float)
    assert (zoneout != zoneout[0]).any()
    check_differences({"x": x, "h0": h0}, params, rng, formulation=formulation, zoneout=zoneout)
    output, _, _ = grus.gru_forward(x, h0, params, formulation=formulation, zoneout=zoneout, training=False)
    stays = np.concatenate([h0[None], output[:-1]])
    assert_close(output[zoneout == 1], stays[zoneout == 1], "same maths", name="what stays")


@formulations
def test_each_gate_has_its_own_recurrent_mask(formulation: str, rng: np.random.Generator) -> None:
    """keras-team/keras#20656, #9533: one mask of the state for all gates hurt training."""
    params, x, h0 = one_layer(rng, T=4, B=2, H=3)
    mask = (rng.random((2, 9)) < 0.6) / 0.6
    parts = np.split(mask, 3, axis=1)
    assert not any(np.array_equal(a, b) for a, b in itertools.combinations(parts, 2))
    options: dict[str, Any] = {"formulation": formulation, "training": False}
    plain, _, _ = grus.gru_forward(x, h0, params, **options)
    for gate in range(3):  # each third acts, and on its own gate's rows alone
        alone = np.ones((2, 9))
        alone[:, 3 * gate : 3 * gate + 3] = parts[gate]
        found, _, _ = grus.gru_forward(x[:1], h0, params, recurrent_mask=alone, **options)
        assert not np.allclose(found, plain[:1])
        for row in range(2):
            weight_hh = params.weight_hh.copy()
            weight_hh[3 * gate : 3 * gate + 3] *= parts[gate][row]
            one = grus.gru_forward(
                x[:1, row : row + 1], h0[row : row + 1], params._replace(weight_hh=weight_hh), **options
            )
            assert_close(found[:, row : row + 1], one[0], "same maths", name=f"gate {gate}, row {row}")
    check_differences({"x": x, "h0": h0}, params, rng, formulation=formulation, recurrent_mask=mask)


# ------------------------------------------------------------------------------- one answer, however it is asked


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("batch_first", [True, False])
def test_step_by_step_is_the_whole(layers: int, batch_first: bool, rng: np.random.Generator) -> None:
    """Nixtla/neuralforecast#1285: forecasts made step by step were off by one; lucidrains/minGRU-pytorch#9: they
    differed from all at once where h0 was given."""
    gru = random_gru(2, 3, layers, batch_first=batch_first)
    x = rng.standard_normal((4, 6, 2))
    h0 = states_of(gru, 4, rng)
    output, h_n = gru(x if batch_first else x.swapaxes(0, 1), h0)
    output = output if batch_first else output.swapaxes(0, 1)
    h = h0
    for t in range(6):
        h = gru.step(x[:, t], h)
        assert_close(h[-1], output[:, t], "same maths", name=f"step {t}")
    assert_close(h, h_n, "same maths", name="h_n")


@directions
def test_weights_that_change_in_place_change_the_result(bidirectional: bool, rng: np.random.Generator) -> None:
    """pytorch/pytorch#33238: a copy of the weights, kept for speed, was not renewed."""
    gru = random_gru(2, 3, 2, bidirectional=bidirectional)
    x = rng.standard_normal((4, 5, 2))
    for name in gru.parameters:
        before, h_before = gru(x)
        gru.parameters[name][...] += 0.3
        output, h_n = gru(x)
        assert not np.allclose(h_n, h_before), name
        fresh = grus.GRU.from_config(gru.config())
        fresh.load_state_dict(gru.state_dict())
        np.testing.assert_array_equal(output, fresh(x).output, err_msg=name)
        gru.flat[...] -= 0.01
        assert not np.allclose(gru(x).output, before)


@directions
@pytest.mark.parametrize(
    "options", [{}, {"lengths": [3, 0]}, {"mask": [[1, 0, 1]] * 2}, {"reset": [[0, 1, 0]] * 2}]
)
def test_one_type_comes_back_on_every_path(
    options: dict[str, Any], bidirectional: bool, rng: np.random.Generator
) -> None:
    """tensorflow/tensorflow#83119: how many things came back depended on the device."""
    gru = random_gru(2, 3, 2, bidirectional=bidirectional)
    x = rng.standard_normal((2, 3, 2))
    for h0 in (None, states_of(gru, 2, rng)):
        result = gru(x, h0, **options)
        assert type(result) is grus.GRUOutput
        assert [a.shape for a in result] == [(2, 3, 3 * gru.directions), (2 * gru.directions, 2, 3)]
        assert len(gru.forward(x, h0, **options)) == 3


@directions
@pytest.mark.parametrize("bias", [True, False])
def test_all_layers_and_directions_are_loaded(bias: bool, bidirectional: bool, rng: np.random.Generator) -> None:
    """jatinchowdhury18/RTNeural#148: a loader took the first layer alone."""
    gru = random_gru(2, 3, 3, bidirectional=bidirectional, bias=bias)
    state, x = gru.state_dict(), rng.standard_normal((2, 4, 2))
    assert len(state) == 3 * gru.directions * (4 if bias else 2)
    copy = grus.GRU.from_config(gru.config(), seed=5)
    copy.load_state_dict(state)
    np.testing.assert_array_equal(copy(x).output, gru(x).output)
    np.testing.assert_array_equal(copy.flat, gru.flat)
    for name in state:
        with pytest.raises(ValueError, match=f"missing {name}"):
            copy.load_state_dict({key: value for key, value in state.items() if key != name})
    with pytest.raises(ValueError, match="unknown weight_ih_l3"):
        copy.load_state_dict(state | {"weight_ih_l3": state["weight_ih_l0"]})


# --------------------------------------------------------------------------------------------------- conversions
# In test_convert_onnx.py: the exported variant (microsoft/onnxscript#2852, pytorch/pytorch#189225), layout=1
# (openvinotoolkit/openvino#37820), and the reverse direction with lengths (onnx/onnx-tensorflow#342).


@pytest.mark.parametrize("layout", ["haste", "onednn", "mygrad", "epynn", "tensorflow", "coreml"])
def test_no_layer_is_dropped_by_a_conversion(layout: str, rng: np.random.Generator) -> None:
    """jatinchowdhury18/RTNeural#148, whose own layout is haste's: every layer arrives, and each has its part."""
    gru = grus.GRU(2, 3, 3, reset_after=layout in ("haste", "onednn"), init="torch", seed=1)
    module, x = import_module(f"grus.{layout}"), rng.standard_normal((2, 4, 2)).astype("float32")
    read, layers = getattr(module, f"from_{layout}"), getattr(module, f"to_{layout}")(gru)
    assert len(layers) == 3
    back = read(layers)
    assert_close(back(x).output, gru(x).output, "other library", "float32", "output")
    for layer in range(3):
        changed = [{name: a / 2 if k == layer else a for name, a in each.items()} for k, each in enumerate(layers)]
        assert not np.allclose(read(changed)(x).output, back(x).output)
    with pytest.raises(ConversionError, match="a layer is missing, or they are in the wrong order"):
        read(layers[1:] + layers[:1])


@pytest.mark.parametrize("key", ["keras", "onnx", "haste", "onednn"])
def test_transposing_is_not_converting(key: str, rng: np.random.Generator) -> None:
    """keras-team/keras#15915, keras-team/keras#8720: PyTorch's r | z | n stood where z | r | h is read."""
    gru = random_gru(2, 3)
    (cell,), row = cells_of(gru)[0], CONVENTIONS[key]
    x, h0 = rng.standard_normal((2, 4, 2)), states_of(gru, 2, rng)

    def as_haste(weights: Any) -> Array:
        w_ih, w_hh, bias, other = weights
        names = ("kernel", "recurrent_kernel", "bias", "recurrent_bias")
        arrays = (*((w if row.columns else w.T) for w in (w_ih, w_hh)), bias, other)
        return formulas.over_time([[formulas.haste(dict(zip(names, arrays, strict=True)))]], x, h0)[0]

    blocks = row.pack(cell)
    if key == "onednn":  # one bias of r and z, and the new gate's apart
        blocks = blocks._replace(bias_hh=np.concatenate([np.zeros(6), blocks.bias_hh]))
    assert_close(as_haste(blocks), gru(x, h0).output, "same maths", name="output")
    turned = [w.T if row.columns else w for w in cell[:2]]
    assert not np.allclose(as_haste([*turned, cell.bias_ih, cell.bias_hh]), gru(x, h0).output, atol=1e-2)
