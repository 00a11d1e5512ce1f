"""What holds for every GRU: hypothesis picks the sizes, the options and the seed, the data is random normal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import grus
from helpers import assert_close
from tolerances import relative

Array = np.ndarray[Any, np.dtype[Any]]
STEP = 1e-30


@dataclass
class Case:
    """A GRU and everything that can enter and leave it."""

    gru: grus.GRU
    rng: np.random.Generator
    inputs: dict[str, Array]  # x, h0, and reset_state where there are resets
    steps: dict[str, Array]  # some of lengths, mask, reset

    @property
    def shape(self) -> tuple[int, int]:
        """(B, T)"""
        return self.inputs["x"].shape[:2]

    def weights(self) -> tuple[Array, Array]:
        """Random gradients of output and of h_n."""
        B, T = self.shape
        width = self.gru.directions * self.gru.hidden_size
        return self.rng.standard_normal((B, T, width)), self.rng.standard_normal(self.inputs["h0"].shape)


@st.composite
def cases(draw: st.DrawFn, bidirectional: bool | None = None, steps: str = "") -> Case:
    """A random case in float64; ``steps`` names the options that it may have."""
    size = st.integers(1, 4)
    options = {
        "num_layers": draw(st.integers(1, 3)),
        "bidirectional": draw(st.booleans()) if bidirectional is None else bidirectional,
        "reset_after": draw(st.booleans()),
        "bias": draw(st.booleans()),
    }
    gru = grus.GRU(draw(size), draw(size), dtype="float64", seed=0, **options)
    B, T = draw(size), draw(st.integers(0, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    gru.flat[...] = rng.standard_normal(gru.flat.size)
    states = (gru.num_layers * gru.directions, B, gru.hidden_size)
    shapes = {"x": (B, T, gru.input_size), "h0": states}
    drawn = {
        "lengths": rng.integers(0, T + 1, B),
        "mask": rng.random((B, T)) < 0.7,
        "reset": rng.random((B, T)) < 0.3,
    }
    given_steps = {name: drawn[name] for name in steps.split() if draw(st.booleans())}
    shapes |= {"reset_state": states} if "reset" in given_steps else {}
    return Case(gru, rng, {name: rng.standard_normal(shape) for name, shape in shapes.items()}, given_steps)


def backward(case: Case, d_output: Array, d_h_n: Array, **changed: Any) -> dict[str, Array]:
    """Output, h_n and the gradients of all inputs and parameters, by name."""
    output, h_n, tape = case.gru.forward(**(case.inputs | case.steps | changed))
    gradients = case.gru.backward(tape, d_output, d_h_n)
    found = {"output": output, "h_n": h_n, "x": gradients.x, "h0": gradients.h0, **gradients.parameters}
    return found if gradients.reset_state is None else found | {"reset_state": gradients.reset_state}


@settings(max_examples=40)
@given(cases(steps="lengths mask reset"))
def test_rows_are_independent(case: Case) -> None:
    """A row in a batch gives what it gives alone, and the parameters' gradients are the sum over the rows."""
    d_output, d_h_n = case.weights()
    whole = backward(case, d_output, d_h_n)
    totals = {name: np.zeros_like(a) for name, a in case.gru.parameters.items()}
    axes = {"output": 0, "x": 0, "h_n": 1, "h0": 1, "reset_state": 1}
    for b in range(case.shape[0]):
        row = slice(b, b + 1)
        states = {name: case.inputs[name][:, row] for name in case.inputs if name != "x"}
        steps = {name: a[row] for name, a in case.steps.items()}
        alone = backward(case, d_output[row], d_h_n[:, row], x=case.inputs["x"][row], **states, **steps)
        for name, axis in axes.items():
            if name in alone:
                assert_close(whole[name].take([b], axis), alone[name], "same maths", name=f"{name} of row {b}")
        for name, total in totals.items():
            total += alone[name]
    for name, total in totals.items():
        assert_close(whole[name], total, "same maths", name=name)


@settings(max_examples=40)
@given(cases(bidirectional=False, steps="mask reset"), st.data())
def test_a_split_sequence_equals_the_whole(case: Case, data: st.DataObject) -> None:
    """The state that is carried over carries all there is to know, and its gradient all there is to learn."""
    cut = data.draw(st.integers(0, case.shape[1]), label="cut")
    d_output, d_h_n = case.weights()
    whole = backward(case, d_output, d_h_n)
    first, second = ({n: a[:, part] for n, a in case.steps.items()} for part in (np.s_[:cut], np.s_[cut:]))
    x = case.inputs["x"]
    left = case.gru.forward(**(case.inputs | first | {"x": x[:, :cut]}))
    right = case.gru.forward(**(case.inputs | second | {"x": x[:, cut:], "h0": left.h_n}))
    output = np.concatenate([left.output, right.output], axis=1)
    assert_close(output, whole["output"], "same maths", name="output")
    assert_close(right.h_n, whole["h_n"], "same maths", name="h_n")
    d_right = case.gru.backward(right.tape, d_output[:, cut:], d_h_n)
    d_left = case.gru.backward(left.tape, d_output[:, :cut], d_right.h0)
    assert_close(np.concatenate([d_left.x, d_right.x], axis=1), whole["x"], "same maths", name="dx")
    assert_close(d_left.h0, whole["h0"], "same maths", name="dh0")
    for name in case.gru.parameters:
        total = d_left.parameters[name] + d_right.parameters[name]
        assert_close(total, whole[name], "same maths", name=name)


@settings(max_examples=40)
@given(cases(steps="lengths mask reset"), st.sampled_from([np.nan, np.inf, -1e300, 0.5]))
def test_what_padding_holds_does_not_matter(case: Case, junk: float) -> None:
    B, T = case.shape
    padding = ~case.steps.get("mask", np.ones((B, T), bool))
    padding |= np.arange(T) >= case.steps.get("lengths", np.full(B, T))[:, None]
    d_output, d_h_n = case.weights()
    clean = backward(case, d_output, d_h_n)
    dirty = backward(case, d_output, d_h_n, x=np.where(padding[..., None], junk, case.inputs["x"]))
    for name, value in clean.items():
        np.testing.assert_array_equal(dirty[name], value, err_msg=name)


@settings(max_examples=40)
@given(cases(steps="lengths"), st.integers(0, 5))
def test_how_much_padding_there_is_does_not_matter(case: Case, more: int) -> None:
    B, T = case.shape
    lengths = {"lengths": case.steps.get("lengths", np.full(B, T))}
    longer = np.concatenate([case.inputs["x"], case.rng.standard_normal((B, more, case.gru.input_size))], axis=1)
    short, long = (case.gru(x, case.inputs["h0"], **lengths) for x in (case.inputs["x"], longer))
    assert_close(long.output[:, :T], short.output, "same maths", name="output")
    assert_close(long.h_n, short.h_n, "same maths", name="h_n")
    assert not long.output[:, T:].any()


@settings(max_examples=40)
@given(cases(steps="reset"))
def test_lengths_are_a_mask_of_the_end(case: Case) -> None:
    B, T = case.shape
    lengths = case.rng.integers(0, T + 1, B)
    inside = np.arange(T) < lengths[:, None]
    d_output, d_h_n = case.weights()
    d_output[~inside] = 0  # a masked step outputs the carried state, a step past a length zeros
    if "reset" in case.steps:
        case.steps["reset"] &= inside
    by_lengths = backward(case, d_output, d_h_n, lengths=lengths)
    by_mask = backward(case, d_output, d_h_n, mask=inside)
    assert_close(by_mask["output"][inside], by_lengths["output"][inside], "same maths", name="valid outputs")
    for name in by_lengths.keys() - {"output"}:
        assert_close(by_mask[name], by_lengths[name], "same maths", name=name)


def permuted(gru: grus.GRU, order: Array) -> grus.GRU:
    """The same GRU with its units in another order, in every layer and direction."""
    H, other = gru.hidden_size, grus.GRU.from_config(gru.config())
    rows = np.concatenate([order, order + H, order + 2 * H])
    for name, array in gru.parameters.items():
        value = array[rows]
        if name.startswith("weight_hh"):
            value = value[:, order]
        elif name.startswith("weight_ih") and not name.startswith("weight_ih_l0"):
            value = value[:, np.concatenate([order + H * d for d in range(gru.directions)])]
        other.parameters[name] = value
    return other


@settings(max_examples=40)
@given(cases(steps="lengths mask reset"))
def test_permuting_the_units_permutes_the_result(case: Case) -> None:
    H, D = case.gru.hidden_size, case.gru.directions
    order = case.rng.permutation(H)
    states = {name: case.inputs[name][..., order] for name in case.inputs if name != "x"}
    output, h_n = permuted(case.gru, order)(case.inputs["x"], **states, **case.steps)
    ours = case.gru(**case.inputs, **case.steps)
    columns = np.concatenate([order + H * d for d in range(D)])
    assert_close(output, ours.output[..., columns], "same maths", name="output")
    assert_close(h_n, ours.h_n[..., order], "same maths", name="h_n")


@settings(max_examples=40)
@given(cases(steps="lengths mask reset"))
def test_backward_is_the_adjoint_of_the_derivative(case: Case) -> None:
    """<dy, J v> = <J^T dy, v> for random dy and v, with J v from one complex step along v."""
    d_output, d_h_n = case.weights()
    gradients = backward(case, d_output, d_h_n)
    along = {
        name: case.rng.standard_normal(a.shape) for name, a in (case.inputs | dict(case.gru.parameters)).items()
    }
    complex_gru = grus.GRU.from_config(case.gru.config() | {"dtype": "complex128"})
    for name, array in case.gru.parameters.items():
        complex_gru.parameters[name] = array + 1j * STEP * along[name]
    stepped = {name: a + 1j * STEP * along[name] for name, a in case.inputs.items()}
    result = complex_gru(**stepped, **case.steps)
    tangents = (result.output.imag / STEP, result.h_n.imag / STEP)
    outside = sum(float((d * t).sum()) for d, t in zip((d_output, d_h_n), tangents, strict=True))
    found = {name: gradients[name] for name in along if name in gradients}
    inside = sum(float((gradient * along[name]).sum()) for name, gradient in found.items())
    scale = sum(np.linalg.norm(gradient) * np.linalg.norm(along[name]) for name, gradient in found.items())
    assert abs(outside - inside) <= relative("complex step") * scale


@settings(max_examples=40)
@given(cases(steps="lengths mask reset"))
def test_states_stay_within_the_bounds_of_tanh_and_the_states_given(case: Case) -> None:
    """(F4) is a weighted mean of the last state and of tanh, so no state can leave their range."""
    output, h_n = case.gru(**case.inputs, **case.steps)
    bound = max(1.0, *(np.abs(state).max() for name, state in case.inputs.items() if name != "x"))
    for value in (output, h_n):
        assert not np.any(np.abs(value) > bound * (1 + 1e-15 * (1 + case.shape[1])))
