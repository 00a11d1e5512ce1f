"""What ``grus.GRU`` promises beyond its equations: layouts, lengths, masks, resets, dropout, parameters.

Longer than 300 lines because it holds every promise of one class; each section stands by itself.
"""

from __future__ import annotations

import copy
import itertools
import json
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import grus
from grus.functional import GRUParams
from helpers import assert_close, central_differences, steps_case
from test_gradients import random_gru
from tolerances import relative

Array = np.ndarray[Any, np.dtype[Any]]
BOTH = pytest.mark.parametrize("reset_after", [True, False], ids=["after", "before"])
DIRECTIONS = pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "bidirectional"])
REVERSE = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])


def states(gru: grus.GRU, batch: int, rng: np.random.Generator) -> Array:
    """Random (layers*directions, B, H)."""
    return rng.standard_normal((gru.num_layers * gru.directions, batch, gru.hidden_size)).astype(gru.dtype)


def everything(gru: grus.GRU, x: Array, h0: Array, seed: int = 9, **steps: Any) -> dict[str, Array]:
    """Output, h_n and all gradients by name, for random d_output and d_h_n."""
    rng = np.random.default_rng(seed)
    output, h_n, tape = gru.forward(x, h0, **steps)
    d_output, d_h_n = (rng.standard_normal(a.shape).astype(gru.dtype) for a in (output, h_n))
    gradients = gru.backward(tape, d_output, d_h_n)
    found = {"output": output, "h_n": h_n, "dx": gradients.x, "dh0": gradients.h0, **gradients.parameters}
    return found if gradients.reset_state is None else found | {"d_reset_state": gradients.reset_state}


def assert_bits(found: dict[str, Array], expected: dict[str, Array]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


# ------------------------------------------------------------------------------------------ shapes and types


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("training", [False, True], ids=["call", "training"])
@pytest.mark.parametrize("batched", [True, False], ids=["batch", "one"])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize(("layers", "bidirectional"), list(itertools.product((1, 2), (False, True))))
def test_shapes_and_types_on_every_path(
    layers: int, bidirectional: bool, batch_first: bool, batched: bool, training: bool, dtype: str
) -> None:
    gru = grus.GRU(2, 3, layers, bidirectional=bidirectional, batch_first=batch_first, dtype=dtype, seed=0)
    D, T, B, rng = gru.directions, 5, 4, np.random.default_rng(0)
    outer = ((B, T) if batch_first else (T, B)) if batched else (T,)
    rows = (layers * D, B, 3) if batched else (layers * D, 3)
    x, h0 = (rng.standard_normal(shape).astype(dtype) for shape in ((*outer, 2), rows))
    if training:
        result: Any = gru.forward(x, h0, reset=rng.random(outer) < 0.3)
        output, h_n, tape = result
        gradients = gru.backward(tape, output, h_n)
        assert gradients.x.shape == x.shape
        assert gradients.h0.shape == gradients.reset_state.shape == rows
        arrays = [*gradients.parameters.values(), gradients.x, gradients.h0, gradients.reset_state]
        assert {a.dtype.name for a in arrays} == {dtype}
    else:
        result = gru(x, h0)
        assert type(result) is grus.GRUOutput
        output, h_n = result
    assert output is result.output
    assert h_n is result.h_n
    assert output.shape == (*outer, D * 3)
    assert h_n.shape == rows
    assert output.dtype == h_n.dtype == dtype


@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_layout_changes_axes_and_nothing_else(bidirectional: bool) -> None:
    batch_first = random_gru(2, 3, 2, bidirectional=bidirectional)
    time_first = random_gru(2, 3, 2, bidirectional=bidirectional, batch_first=False)
    rng = np.random.default_rng(0)
    x, h0 = rng.standard_normal((4, 5, 2)), states(batch_first, 4, rng)
    steps = steps_case("all", rng, 4, 5)
    turned = {name: a.swapaxes(0, 1) if a.ndim > 1 else a for name, a in steps.items()}
    ours, other = batch_first(x, h0, **steps), time_first(x.swapaxes(0, 1), h0, **turned)
    assert_close(other.output.swapaxes(0, 1), ours.output, "same maths", name="output")
    assert_close(other.h_n, ours.h_n, "same maths", name="h_n")


def test_h_n_is_ordered_by_layer_then_direction() -> None:
    gru, rng = random_gru(2, 3, 2, bidirectional=True), np.random.default_rng(0)
    x, h0 = rng.standard_normal((4, 5, 2)), states(random_gru(2, 3, 2, bidirectional=True), 4, rng)
    output, h_n = gru(x, h0)
    np.testing.assert_array_equal(h_n[2], output[:, -1, :3])
    np.testing.assert_array_equal(h_n[3], output[:, 0, 3:])
    lower = grus.GRU(2, 3, bidirectional=True, dtype="float64", seed=0)
    lower.load_state_dict({name: gru.parameters[name] for name in lower.parameters})
    assert_close(lower(x, h0[:2]).h_n, h_n[:2], "same maths", name="the lower layer's states")


@pytest.mark.parametrize("kind", ["plain", "lengths", "mask", "reset", "all"])
@BOTH
def test_layers_and_directions_are_a_composition_of_single_runs(reset_after: bool, kind: str) -> None:
    gru = random_gru(2, 3, 3, bidirectional=True, batch_first=False, reset_after=reset_after)
    rng = np.random.default_rng(0)
    x, h0, reset_state = rng.standard_normal((5, 4, 2)), states(gru, 4, rng), states(gru, 4, rng)
    steps = steps_case(kind, rng, 4, 5)
    steps = {name: a.T if a.ndim > 1 else a for name, a in steps.items()}
    begin = {"reset_state": reset_state} if "reset" in steps else {}
    result = gru(x, h0, **begin, **steps)
    below = x
    for layer in range(3):
        outputs = []
        for direction, suffix in enumerate(("", "_reverse")):
            i = 2 * layer + direction
            names = (f"{name}_l{layer}{suffix}" for name in GRUParams._fields[:4])
            run = {"reverse": direction == 1, "reset_after": reset_after}
            run |= {name: each[i] for name, each in begin.items()}
            params = GRUParams(*(gru.parameters[name] for name in names))
            output, h_n, _ = grus.gru_forward(below, h0[i], params, **run, **steps)
            outputs.append(output)
            assert_close(result.h_n[i], h_n, "same maths", name=f"h_n[{i}]")
        below = np.concatenate(outputs, axis=-1)
    assert_close(result.output, below, "same maths", name="output")


@pytest.mark.parametrize("batch_first", [True, False])
@BOTH
def test_n_steps_equal_a_call(reset_after: bool, batch_first: bool) -> None:
    gru = random_gru(2, 3, 3, reset_after=reset_after, batch_first=batch_first)
    rng = np.random.default_rng(0)
    x, h0 = rng.standard_normal((4, 4, 2)), states(gru, 4, rng)
    whole = gru(x, h0)
    h, one = h0, h0[:, 0]
    for t in range(4):
        h = gru.step(x[:, t] if batch_first else x[t], h)
        one = gru.step(x[0, t] if batch_first else x[t, 0], one)
        assert_close(h[-1], whole.output[:, t] if batch_first else whole.output[t], "same maths", name=f"step {t}")
    assert_close(h, whole.h_n, "same maths", name="h_n")
    assert_close(one, whole.h_n[:, 0], "same maths", name="h_n of one sequence")


@DIRECTIONS
def test_inputs_are_left_as_they_were(bidirectional: bool) -> None:
    gru, rng = random_gru(2, 3, 2, bidirectional=bidirectional), np.random.default_rng(0)
    given = {"x": rng.standard_normal((4, 5, 2)), "h0": states(gru, 4, rng), "reset_state": states(gru, 4, rng)}
    given |= steps_case("all", rng, 4, 5)
    before = {name: a.copy() for name, a in given.items()} | {"flat": gru.flat.copy()}
    everything(gru, **given)
    gru(**given)
    assert_bits(given | {"flat": gru.flat}, before)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda gru: pickle.loads(pickle.dumps(gru))])
def test_a_copy_has_parameters_of_its_own(copied: Callable[[grus.GRU], grus.GRU]) -> None:
    gru, x = random_gru(2, 3, 2), np.random.default_rng(0).standard_normal((4, 5, 2))
    twin, before = copied(gru), gru(x).output
    np.testing.assert_array_equal(twin(x).output, before)
    twin.flat[...] = 0
    assert not any(view.any() for view in twin.parameters.values())
    assert not twin(x).output.any()
    np.testing.assert_array_equal(gru(x).output, before)


# ---------------------------------------------------------------------------------------------------- lengths


@pytest.mark.parametrize("lengths", [*itertools.permutations((0, 3, 5)), (0, 0, 0), (5, 0, 0)])
@BOTH
def test_a_row_ends_at_its_own_length(reset_after: bool, lengths: tuple[int, ...]) -> None:
    gru, rng = random_gru(2, 3, 2, bidirectional=True, reset_after=reset_after), np.random.default_rng(0)
    x, h0 = rng.standard_normal((3, 5, 2)), states(random_gru(2, 3, 2, bidirectional=True), 3, rng)
    output, h_n = gru(x, h0, lengths=lengths)
    for b, length in enumerate(lengths):
        alone = gru(x[b : b + 1, :length], h0[:, b : b + 1])
        assert_close(output[b : b + 1, :length], alone.output, "same maths", name=f"output of row {b}")
        assert_close(h_n[:, b : b + 1], alone.h_n, "same maths", name=f"h_n of row {b}")
        np.testing.assert_array_equal(output[b, length:], 0)
        if length == 0:
            np.testing.assert_array_equal(h_n[:, b], h0[:, b])


@pytest.mark.parametrize(("batch", "steps"), [(3, 0), (0, 5), (0, 0)])
@pytest.mark.parametrize("given", [False, True], ids=["plain", "with lengths, mask and reset"])
@DIRECTIONS
def test_no_steps_or_no_rows(bidirectional: bool, given: bool, batch: int, steps: int) -> None:
    gru, rng = random_gru(2, 3, 2, bidirectional=bidirectional), np.random.default_rng(0)
    x, h0 = rng.standard_normal((batch, steps, 2)), states(gru, batch, rng)
    flags = np.ones((batch, steps), bool)
    options = {"lengths": [steps] * batch, "mask": flags, "reset": flags} if given else {}
    output, h_n, tape = gru.forward(x, h0, **options)
    assert output.shape == (batch, steps, 3 * gru.directions)
    np.testing.assert_array_equal(h_n, h0)
    d_h_n = states(gru, batch, rng)
    gradients = gru.backward(tape, d_h_n=d_h_n)
    np.testing.assert_array_equal(gradients.h0, d_h_n)
    assert gradients.x.shape == x.shape
    assert not gradients.parameters.flat.any()


def test_a_single_sequence_takes_one_length() -> None:
    gru, rng = random_gru(2, 3, bidirectional=True), np.random.default_rng(0)
    x = rng.standard_normal((5, 2))
    output, h_n = gru(x, lengths=3)
    np.testing.assert_array_equal(output[3:], 0)
    assert_close(h_n, gru(x[:3]).h_n, "same maths")


# ------------------------------------------------------------------------------------------------------ masks


@REVERSE
@BOTH
def test_leading_padding_leaves_the_state_exactly(reset_after: bool, reverse: bool) -> None:
    """A bias that leaked into masked steps would move the state."""
    rng = np.random.default_rng(0)
    params = GRUParams.random(2, 3, rng, "float64")
    x, h0 = rng.standard_normal((6, 4, 2)), rng.standard_normal((4, 3))
    mask = np.ones((6, 4), bool)
    mask[3:] = not reverse
    mask[:3] = reverse
    options = {"reset_after": reset_after, "reverse": reverse}
    output, h_n, _ = grus.gru_forward(x, h0, params, mask=mask, **options)
    np.testing.assert_array_equal(output[~mask].reshape(3, 4, 3), np.broadcast_to(h0, (3, 4, 3)))
    short, last, _ = grus.gru_forward(x[mask[:, 0]], h0, params, **options)
    assert_close(output[mask].reshape(3, 4, 3), short, "same maths", name="output")
    assert_close(h_n, last, "same maths", name="h_n")


@DIRECTIONS
def test_a_masked_step_outputs_the_carried_state(bidirectional: bool) -> None:
    gru, rng = random_gru(2, 3, 2, bidirectional=bidirectional), np.random.default_rng(0)
    x, h0 = rng.standard_normal((4, 6, 2)), states(gru, 4, rng)
    mask = rng.random((4, 6)) < 0.5
    mask[1] = False  # a row that is masked throughout
    output, h_n = gru(x, h0, mask=mask)
    forward = np.concatenate([h0[gru.directions, :, None], output[..., :3]], axis=1)
    carried = ~mask[..., None] & np.ones(3, bool)
    np.testing.assert_array_equal(forward[:, 1:][carried], forward[:, :-1][carried])
    np.testing.assert_array_equal(h_n[:, 1], h0[:, 1])
    if bidirectional:
        backward = np.concatenate([output[..., 3:], h0[3, :, None]], axis=1)
        np.testing.assert_array_equal(backward[:, :-1][carried], backward[:, 1:][carried])


def test_a_mask_of_zeros_and_ones_is_a_mask() -> None:
    gru, rng = random_gru(2, 3), np.random.default_rng(0)
    x, mask = rng.standard_normal((4, 6, 2)), rng.random((4, 6)) < 0.5
    for kind in (int, float, np.uint8):
        np.testing.assert_array_equal(gru(x, mask=mask.astype(kind)).output, gru(x, mask=mask).output)


# ----------------------------------------------------------------------------------------------------- resets


def step_by_step(x: Array, h0: Array, params: GRUParams, reset_after: bool, steps: dict[str, Any]) -> Any:
    """The meaning of every step option in plain Python, a row and a step at a time: yields each row's states."""
    T, reverse, reset_state = len(x), steps["reverse"], steps["reset_state"]
    for b in range(x.shape[1]):
        length = steps.get("lengths", [T] * x.shape[1])[b]
        h, row = h0[b : b + 1], np.zeros((T + 1, h0.shape[1]))
        for t in reversed(range(length)) if reverse else range(length):
            cut = t + 1 if reverse else t  # the boundary that is crossed on the way to x[t]
            if "reset" in steps and cut < length and steps["reset"][cut, b]:
                h = reset_state[b : b + 1]
            if "mask" not in steps or steps["mask"][t, b]:
                h = grus.gru_forward(x[t : t + 1, b : b + 1], h, params, reset_after=reset_after)[1]
            row[t] = h[0]
        row[T] = h[0]
        yield row


@pytest.mark.parametrize("names", ["", "lengths", "mask", "lengths mask"], ids=str.strip)
@REVERSE
@BOTH
def test_resets_with_everything_else(reset_after: bool, reverse: bool, names: str) -> None:
    rng = np.random.default_rng(3)
    T, B, params = 7, 5, GRUParams.random(2, 3, 0, "float64")
    x, h0, reset_state = rng.standard_normal((T, B, 2)), rng.standard_normal((B, 3)), rng.standard_normal((B, 3))
    steps: dict[str, Any] = {"reverse": reverse, "reset_state": reset_state, "reset": rng.random((T, B)) < 0.4}
    steps["reset"][:2, 0] = True, False  # begins anew with the array
    if "lengths" in names:
        steps["lengths"] = np.array([7, 0, 4, 1, 6])
        steps["reset"][4, 2] = True  # in the padding, right after the last step
    if "mask" in names:
        steps["mask"] = rng.random((T, B)) < 0.6
    output, h_n, _ = grus.gru_forward(x, h0, params, reset_after=reset_after, **steps)
    expected = np.stack(list(step_by_step(x, h0, params, reset_after, steps)), axis=1)
    assert_close(output, expected[:-1], "same maths", name="output")
    assert_close(h_n, expected[-1], "same maths", name="h_n")


def episodes(reset: Array) -> list[tuple[int, int]]:
    """Where the episodes of one row begin and end."""
    cuts = [0, *(t for t in range(1, len(reset)) if reset[t]), len(reset)]
    return list(itertools.pairwise(cuts))


@REVERSE
@BOTH
def test_a_reset_is_a_split_by_episodes(reset_after: bool, reverse: bool) -> None:
    """Output, h_n and every gradient equal the sums of those of runs over the episodes alone."""
    rng = np.random.default_rng(1)
    T, B, params = 8, 3, GRUParams.random(2, 3, 0, "float64")
    shapes = {"x": (T, B, 2), "h0": (B, 3), "reset_state": (B, 3), "d_output": (T, B, 3), "d_h_n": (B, 3)}
    a = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    reset = rng.random((T, B)) < 0.4
    reset[0] = True, False, False
    options = {"reset_after": reset_after, "reverse": reverse}
    output, h_n, tape = grus.gru_forward(
        a["x"], a["h0"], params, reset=reset, reset_state=a["reset_state"], **options
    )
    found = grus.gru_backward(tape, a["d_output"], a["d_h_n"])

    d = {name: np.zeros(shapes[name]) for name in ("x", "h0", "reset_state")}
    d_params = [np.zeros_like(p) for p in params[:4]]
    for b in range(B):
        runs = episodes(reset[:, b])
        order = runs[::-1] if reverse else runs
        for i, (start, stop) in enumerate(order):
            rows = np.s_[start:stop, b : b + 1]
            origin = "h0" if i == 0 and (reverse or not reset[0, b]) else "reset_state"
            piece, last, own = grus.gru_forward(a["x"][rows], a[origin][b : b + 1], params, **options)
            final = i == len(order) - 1
            part = grus.gru_backward(own, a["d_output"][rows], a["d_h_n"][b : b + 1] if final else None)
            assert_close(output[rows], piece, "same maths", name=f"output of row {b}, episode {i}")
            if final:
                assert_close(h_n[b : b + 1], last, "same maths", name=f"h_n of row {b}")
            d["x"][rows] = part.x
            d[origin][b : b + 1] += part.h0
            for total, gradient in zip(d_params, part.params[:4], strict=True):
                total += gradient
    for name, expected in d.items():
        assert np.count_nonzero(expected)
        assert_close(getattr(found, name), expected, "same maths", name=f"gradient of {name}")
    for name, value, expected in zip(GRUParams._fields[:4], found.params[:4], d_params, strict=True):
        assert_close(value, expected, "same maths", name=f"gradient of {name}")


@pytest.mark.parametrize("later", [True, False], ids=["later steps", "earlier steps"])
@DIRECTIONS
def test_no_gradient_crosses_a_reset(bidirectional: bool, later: bool) -> None:
    gru, rng = random_gru(2, 3, 2, bidirectional=bidirectional), np.random.default_rng(0)
    x, h0, reset_state = rng.standard_normal((4, 6, 2)), states(gru, 4, rng), states(gru, 4, rng)
    reset = np.zeros((4, 6), bool)
    reset[:, 3] = True
    mine, other = (np.s_[:, 3:], np.s_[:, :3]) if later else (np.s_[:, :3], np.s_[:, 3:])
    output, _, tape = gru.forward(x, h0, reset=reset, reset_state=reset_state)
    d_output = np.zeros_like(output)
    d_output[mine] = rng.standard_normal(d_output[mine].shape)
    gradients = gru.backward(tape, d_output)
    assert np.all(gradients.x[mine])
    np.testing.assert_array_equal(gradients.x[other], 0)
    from_start, from_end = gradients.h0[:: gru.directions], gradients.h0[1::2] if bidirectional else None
    assert np.any(from_start) != later
    if from_end is not None:
        assert np.any(from_end) == later
    assert np.any(gradients.reset_state) == (later or bidirectional)


def test_states_of_resets_are_zeros_where_none_are_given() -> None:
    gru, rng = random_gru(2, 3, 2, bidirectional=True), np.random.default_rng(0)
    x, h0 = rng.standard_normal((4, 6, 2)), states(random_gru(2, 3, 2, bidirectional=True), 4, rng)
    reset = rng.random((4, 6)) < 0.4
    assert_bits(
        everything(gru, x, h0, reset=reset), everything(gru, x, h0, reset=reset, reset_state=np.zeros_like(h0))
    )


# -------------------------------------------------------------------------------------------------------- NaN


@pytest.mark.parametrize("junk", [np.nan, np.inf, -1e30])
@pytest.mark.parametrize("kind", ["lengths", "mask", "all"])
@BOTH
def test_what_padding_holds_changes_nothing(reset_after: bool, kind: str, junk: float) -> None:
    gru, rng = random_gru(2, 3, 2, bidirectional=True, reset_after=reset_after), np.random.default_rng(0)
    x, h0 = rng.standard_normal((4, 6, 2)), states(random_gru(2, 3, 2, bidirectional=True), 4, rng)
    steps = steps_case(kind, rng, 4, 6)
    padding = np.zeros((4, 6), bool)
    if "lengths" in steps:
        padding |= np.arange(6) >= steps["lengths"][:, None]
    if "mask" in steps:
        padding |= ~steps["mask"]
    assert padding.any()
    dirty = np.where(padding[..., None], junk, x)
    assert_bits(everything(gru, dirty, h0, **steps), everything(gru, x, h0, **steps))


def test_the_output_gradient_past_a_length_changes_nothing() -> None:
    gru, rng = random_gru(2, 3, 2, bidirectional=True), np.random.default_rng(0)
    x, lengths = rng.standard_normal((3, 5, 2)), np.array([5, 0, 2])
    d_output = rng.standard_normal((3, 5, 6))
    dirty = np.where(np.arange(5)[:, None] >= lengths[:, None, None], np.nan, d_output)
    clean, other = (gru.backward(gru.forward(x, lengths=lengths).tape, gradient) for gradient in (d_output, dirty))
    np.testing.assert_array_equal(other.x, clean.x)
    np.testing.assert_array_equal(other.parameters.flat, clean.parameters.flat)


@pytest.mark.parametrize("where", ["x", "h0"])
@BOTH
def test_nan_stays_in_its_row(reset_after: bool, where: str) -> None:
    gru, rng = random_gru(2, 3, 2, bidirectional=True, reset_after=reset_after), np.random.default_rng(0)
    given = {"x": rng.standard_normal((4, 6, 2)), "h0": states(gru, 4, rng)}
    clean = everything(gru, **given)
    if where == "x":
        given["x"][1, 2, 0] = np.nan
    else:
        given["h0"][:, 1] = np.nan
    dirty = everything(gru, **given)
    others = np.array([0, 2, 3])
    for name, axis in {"output": 0, "dx": 0, "h_n": 1, "dh0": 1}.items():
        np.testing.assert_array_equal(dirty[name].take(others, axis), clean[name].take(others, axis), err_msg=name)
        assert np.isnan(dirty[name].take(1, axis)).any(), name


def test_a_reset_stops_nan_from_the_steps_before() -> None:
    gru, rng = random_gru(2, 3), np.random.default_rng(0)
    x, reset = rng.standard_normal((2, 6, 2)), np.zeros((2, 6), bool)
    reset[:, 3] = True
    clean = gru(x, reset=reset).output
    x[0, 1] = np.nan
    output = gru(x, reset=reset).output
    assert np.isnan(output[0, 1:3]).all()
    np.testing.assert_array_equal(output[:, 3:], clean[:, 3:])


# ---------------------------------------------------------------------------------------------------- weights


@pytest.mark.parametrize("batch", [1, 2, 3, 4, 5])
@BOTH
def test_without_biases(reset_after: bool, batch: int) -> None:
    """The same as with biases of zero, for any number of rows."""
    options = {"reset_after": reset_after, "bidirectional": True}
    gru, rng = random_gru(2, 3, 2, bias=False, **options), np.random.default_rng(0)
    with_zeros = random_gru(2, 3, 2, **options)
    for name, view in with_zeros.parameters.items():
        view[...] = gru.parameters[name] if name in gru.parameters else 0
    x, h0 = rng.standard_normal((batch, 5, 2)), states(gru, batch, rng)
    expected = everything(with_zeros, x, h0)
    for name, value in everything(gru, x, h0).items():
        assert_close(value, expected[name], "same maths", name=name)


def test_weights_changed_in_place_change_the_result() -> None:
    gru, rng = random_gru(2, 3, 2), np.random.default_rng(0)
    x, h0 = rng.standard_normal((4, 5, 2)), states(gru, 4, rng)
    before = gru(x, h0).output
    for name in gru.parameters:
        gru.parameters[name][...] = gru.parameters[name] + 0.1 * rng.standard_normal(gru.parameters[name].shape)
        output = gru(x, h0).output
        assert not np.allclose(output, before), name
        before = output
    fresh = grus.GRU(2, 3, 2, dtype="float64", seed=5)
    fresh.load_state_dict(gru.state_dict())
    np.testing.assert_array_equal(fresh(x, h0).output, before)


@pytest.mark.parametrize("options", [{}, {"bias": False}, {"bidirectional": True, "num_layers": 3}])
def test_the_flat_buffer_is_the_parameters(options: dict[str, Any]) -> None:
    gru = grus.GRU(2, 3, seed=0, **options)
    assert gru.flat.ndim == 1
    assert gru.flat.flags.c_contiguous
    assert gru.flat.size == sum(view.size for view in gru.parameters.values())
    assert all(np.shares_memory(view, gru.flat) for view in gru.parameters.values())
    gru.flat[...] = np.arange(gru.flat.size)
    np.testing.assert_array_equal(np.concatenate([view.ravel() for view in gru.parameters.values()]), gru.flat)
    for name in gru.parameters:
        gru.parameters[name] = -gru.parameters[name]
    np.testing.assert_array_equal(gru.flat, -np.arange(gru.flat.size))


def test_gradients_can_be_placed_on_a_buffer_and_overwrite_it() -> None:
    gru, rng = random_gru(2, 3, 2, bidirectional=True), np.random.default_rng(0)
    x, d_h_n = rng.standard_normal((4, 5, 2)), states(random_gru(2, 3, 2, bidirectional=True), 4, rng)
    out = rng.standard_normal(gru.flat.size)
    expected = gru.backward(gru.forward(x).tape, d_h_n=d_h_n).parameters.flat
    gradients = gru.backward(gru.forward(x).tape, d_h_n=d_h_n, out=out)
    assert gradients.parameters.flat is out
    np.testing.assert_array_equal(out, expected)


# ------------------------------------------------------------------------------------------------------- tape


def test_a_tape_is_used_once() -> None:
    gru, x = random_gru(2, 3, 2), np.random.default_rng(0).standard_normal((4, 5, 2))
    output, _, tape = gru.forward(x)
    with pytest.raises(ValueError, match="d_output must have shape"):
        gru.backward(tape, output[:, 1:])  # refused before the tape was touched
    gru.backward(tape, output)
    with pytest.raises(RuntimeError, match="this tape was used before"):
        gru.backward(tape, output)


def test_the_output_that_a_tape_refers_to_is_read_only() -> None:
    gru, x = random_gru(2, 3, 2), np.random.default_rng(0).standard_normal((4, 5, 2))
    output = gru.forward(x).output
    with pytest.raises(ValueError, match="read-only"):
        output[0, 0, 0] = 1
    assert gru(x).output.flags.writeable


@pytest.mark.parametrize("steps", [{}, {"lengths": [5, 0, 3, 2]}])
@DIRECTIONS
def test_a_caller_cannot_change_the_gradients_through_results(bidirectional: bool, steps: dict[str, Any]) -> None:
    gru, x = random_gru(2, 3, 2, bidirectional=bidirectional), np.random.default_rng(0).standard_normal((4, 5, 2))
    rng = np.random.default_rng(1)
    d_output, d_h_n = rng.standard_normal((4, 5, 3 * gru.directions)), states(gru, 4, rng)
    expected = gru.backward(gru.forward(x, **steps).tape, d_output, d_h_n)
    output, h_n, tape = gru.forward(x, **steps)
    h_n[...] = 1e3
    if output.flags.writeable:
        output[...] = 1e3
    found = gru.backward(tape, d_output, d_h_n)
    np.testing.assert_array_equal(found.parameters.flat, expected.parameters.flat)
    np.testing.assert_array_equal(found.x, expected.x)


@DIRECTIONS
def test_gradients_that_are_omitted_are_zeros(bidirectional: bool) -> None:
    gru, rng = random_gru(2, 3, 2, bidirectional=bidirectional), np.random.default_rng(0)
    x, d_h_n = rng.standard_normal((4, 5, 2)), states(random_gru(2, 3, 2, bidirectional=bidirectional), 4, rng)
    d_output = rng.standard_normal((4, 5, 3 * gru.directions))
    both = gru.backward(gru.forward(x).tape, d_output, d_h_n).parameters.flat
    first = gru.backward(gru.forward(x).tape, d_output).parameters.flat
    second = gru.backward(gru.forward(x).tape, d_h_n=d_h_n).parameters.flat
    assert_close(first + second, both, "same maths")
    assert not gru.backward(gru.forward(x).tape).parameters.flat.any()


# ---------------------------------------------------------------------------------------------------- dropout


def test_dropout_is_off_in_a_call() -> None:
    options: dict[str, Any] = {"bidirectional": True, "num_layers": 3}
    gru, without = random_gru(2, 3, dropout=0.5, **options), random_gru(2, 3, **options)
    x = np.random.default_rng(0).standard_normal((4, 5, 2))
    np.testing.assert_array_equal(gru(x).output, without(x).output)
    assert not np.allclose(gru.forward(x, rng=0).output, without(x).output)


def test_dropout_comes_from_the_generator_given() -> None:
    gru, x = random_gru(2, 3, 3, dropout=0.5), np.random.default_rng(0).standard_normal((4, 5, 2))
    first = gru.forward(x, rng=7).output
    np.testing.assert_array_equal(gru.forward(x, rng=7).output, first)
    generator = np.random.default_rng(7)
    np.testing.assert_array_equal(gru.forward(x, rng=generator).output, first)
    assert not np.array_equal(gru.forward(x, rng=generator).output, first)  # the generator moved on
    assert not np.array_equal(gru.forward(x, rng=8).output, first)


@BOTH
def test_gradients_with_dropout(reset_after: bool) -> None:
    gru = random_gru(2, 3, 3, dropout=0.4, bidirectional=True, reset_after=reset_after)
    rng = np.random.default_rng(0)
    arrays = {"x": rng.standard_normal((2, 3, 2)), "h0": states(gru, 2, rng)}
    d_output, d_h_n = rng.standard_normal((2, 3, 6)), states(gru, 2, rng)

    def loss() -> float:
        output, h_n, _ = gru.forward(**arrays, rng=5)
        return float((d_output * output).sum() + (d_h_n * h_n).sum())

    gradients = gru.backward(gru.forward(**arrays, rng=5).tape, d_output, d_h_n)
    found = {"x": gradients.x, "h0": gradients.h0, "parameters": gradients.parameters.flat}
    for name, array in (arrays | {"parameters": gru.flat}).items():
        assert_close(found[name], central_differences(loss, array), "central differences", name=name)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_preserves_the_expected_value(rate: float) -> None:
    """A second layer that hands its input on (z = 0, n = x) shows what dropout made of the first one's output."""
    gru = random_gru(2, 4, 2, dropout=rate, activation="identity")
    for name in ("weight_ih_l1", "weight_hh_l1", "bias_ih_l1", "bias_hh_l1"):
        gru.parameters[name][...] = 0
    gru.parameters["weight_ih_l1"][8:] = np.eye(4)
    gru.parameters["bias_ih_l1"][4:8] = -800  # sigmoid(-800) is 0 in float64
    x, rng = np.random.default_rng(0).standard_normal((8, 16, 2)), np.random.default_rng(1)
    whole = gru(x).output
    assert np.all(whole)
    ratios = np.concatenate([(gru.forward(x, rng=rng).output / whole).ravel() for _ in range(40)])
    dropped = ratios == 0
    np.testing.assert_allclose(ratios[~dropped], 1 / (1 - rate), rtol=1e-14)
    # The ratio is 1/(1-p) with probability 1-p, else 0: mean 1, variance p/(1-p). Five standard errors.
    assert abs(ratios.mean() - 1) < 5 * np.sqrt(rate / (1 - rate) / ratios.size)


def test_a_single_layer_drops_nothing() -> None:
    gru, x = random_gru(2, 3, dropout=0.5), np.random.default_rng(0).standard_normal((4, 5, 2))
    np.testing.assert_array_equal(gru.forward(x).output, gru(x).output)
    np.testing.assert_array_equal(gru.forward(x, rng=0).output, gru(x).output)


# ----------------------------------------------------------------------------------------------- initialisers


@pytest.mark.parametrize("hidden", [1, 2, 16])
def test_recurrent_weights_are_orthogonal_gate_by_gate(hidden: int) -> None:
    gru = grus.GRU(3, hidden, 2, bidirectional=True, dtype="float64", seed=0)
    blocks = [
        block for name, a in gru.parameters.items() if name.startswith("weight_hh") for block in np.split(a, 3)
    ]
    assert len(blocks) == 12
    for block in blocks:
        assert_close(block @ block.T, np.eye(hidden), "same maths")
    assert len({block.tobytes() for block in blocks}) == (12 if hidden > 1 else 2)  # of one unit: 1 and -1


def test_input_weights_fill_the_glorot_bounds_of_each_gate() -> None:
    gru = grus.GRU(20, 30, 2, bidirectional=True, dtype="float64", seed=0)
    for name, array in gru.parameters.items():
        if name.startswith("weight_ih"):
            bound = np.sqrt(6 / (array.shape[1] + 30))
            for gate in np.split(array, 3):
                assert 0.97 * bound < np.abs(gate).max() <= bound
                # Uniform on (-a, a): variance a^2/3, of which 5 standard errors (kurtosis 9/5) are allowed.
                assert abs(gate.var() - bound**2 / 3) < 5 * bound**2 / 3 * np.sqrt(0.8 / gate.size)


def test_biases_begin_at_zero_and_update_bias_moves_one_of_them() -> None:
    for value in (0.0, 1.5):
        gru = grus.GRU(2, 3, 2, bidirectional=True, update_bias=value, seed=0)
        for name, array in gru.parameters.items():
            if name.startswith("bias"):
                z = value if name.startswith("bias_ih") else 0.0
                np.testing.assert_array_equal(array, [0, 0, 0, z, z, z, 0, 0, 0], err_msg=name)


def test_update_bias_is_added_to_other_inits_too() -> None:
    plain, moved = (grus.GRU(2, 3, init="torch", update_bias=b, dtype="float64", seed=0) for b in (0, 2))
    for name, array in moved.parameters.items():
        expected = np.array(plain.parameters[name])
        if name.startswith("bias_ih"):
            expected[3:6] += 2
        np.testing.assert_array_equal(array, expected, err_msg=name)


def test_torch_init_fills_its_bounds() -> None:
    gru = grus.GRU(20, 25, 2, init="torch", dtype="float64", seed=0)
    for name, array in gru.parameters.items():
        assert 0.9 / 5 < np.abs(array).max() <= 1 / 5, name
        assert abs(array.mean()) < 5 / 5 / np.sqrt(3 * array.size), name


@pytest.mark.parametrize("init", ["orthogonal", "torch"])
def test_the_seed_determines_the_parameters(init: str) -> None:
    def flat(seed: Any) -> Array:
        return grus.GRU(2, 3, 2, init=init, seed=seed).flat

    before = np.random.get_state()[1].copy()  # noqa: NPY002 - to see that nobody uses it
    np.testing.assert_array_equal(flat(4), flat(4))
    np.testing.assert_array_equal(flat(np.random.default_rng(4)), flat(4))
    assert not np.array_equal(flat(5), flat(4))
    assert not np.array_equal(flat(None), flat(None))
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


# ----------------------------------------------------------------------- state dictionaries, repr and settings


def test_a_state_dict_is_a_copy() -> None:
    gru = grus.GRU(2, 3, seed=0)
    before = gru.flat.copy()
    for array in gru.state_dict().values():
        array[...] = 7
    np.testing.assert_array_equal(gru.flat, before)


@pytest.mark.parametrize("options", [{}, {"num_layers": 3, "bidirectional": True}, {"bias": False}])
def test_a_state_dict_round_trip(options: dict[str, Any]) -> None:
    gru, other = (grus.GRU(2, 3, seed=seed, init="torch", **options) for seed in (0, 1))
    other.load_state_dict(gru.state_dict())
    np.testing.assert_array_equal(other.flat, gru.flat)
    wide = grus.GRU(2, 3, dtype="float64", **options)
    wide.load_state_dict(gru.state_dict())
    np.testing.assert_array_equal(wide.flat, gru.flat)


def test_loading_what_matches() -> None:
    gru, other = grus.GRU(2, 3, seed=0, init="torch"), grus.GRU(2, 3, 2, seed=1, init="torch")
    before = other.state_dict()
    other.load_state_dict(gru.state_dict() | {"head": np.zeros(3)}, strict=False)
    for name, array in other.parameters.items():
        np.testing.assert_array_equal(array, gru.parameters[name] if name in gru.parameters else before[name])


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    ("bad", "error"),
    [(np.zeros(8, "float32"), ValueError), (np.zeros(9), TypeError), ([[1], [2, 3]], ValueError)],
    ids=["shape", "dtype", "ragged"],
)
def test_loading_is_all_or_nothing(bad: Any, error: type[Exception], strict: bool) -> None:
    gru = grus.GRU(2, 3, seed=0, init="torch")
    before, state = gru.flat.copy(), grus.GRU(2, 3, seed=1, init="torch").state_dict()
    state["bias_hh_l0"] = bad  # the last one
    with pytest.raises(error, match="bias_hh_l0"):
        gru.load_state_dict(state, strict)
    np.testing.assert_array_equal(gru.flat, before)


@pytest.mark.parametrize("change", ["missing", "unknown"])
def test_strict_loading_refuses_other_names(change: str) -> None:
    gru = grus.GRU(2, 3, seed=0, init="torch")
    before, state = gru.flat.copy(), grus.GRU(2, 3, seed=1).state_dict()
    if change == "missing":
        del state["bias_hh_l0"]
    else:
        state["bias_hh_l1"] = state["bias_hh_l0"]
    with pytest.raises(ValueError, match=f"{change} bias_hh_l"):
        gru.load_state_dict(state)
    np.testing.assert_array_equal(gru.flat, before)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "GRU(2, 3) float32, 63 parameters"),
        (
            {"num_layers": 2, "bidirectional": True, "dtype": "float64"},
            "GRU(2, 3, num_layers=2, bidirectional=True) float64, 324 parameters",
        ),
        (
            {"bias": False, "batch_first": False, "reset_after": False, "dropout": 0.25, "activation": "relu"},
            "GRU(2, 3, bias=False, batch_first=False, reset_after=False, dropout=0.25, activation='relu') "
            "float32, 45 parameters",
        ),
    ],
)
def test_repr(options: dict[str, Any], text: str) -> None:
    assert repr(grus.GRU(2, 3, **options)) == text


@pytest.mark.parametrize(
    "options",
    [
        {},
        {
            "num_layers": 2, "bias": False, "batch_first": False, "bidirectional": True, "reset_after": False,
            "activation": grus.Activation("elu", alpha=0.5), "gate_activation": ("hard_sigmoid", "sigmoid"),
            "dropout": 0.25, "init": "torch", "dtype": "float64",
        },
        {"update_bias": 1.5, "gate_activation": "hard_sigmoid_keras2", "dtype": np.float64},
    ],
)  # fmt: skip
def test_a_config_round_trip_through_json(options: dict[str, Any]) -> None:
    gru = grus.GRU(2, 3, seed=0, **options)
    config = json.loads(json.dumps(gru.config()))
    other = grus.GRU.from_config(config, seed=0)
    assert other.config() == gru.config()
    assert other.formulation == gru.formulation
    np.testing.assert_array_equal(other.flat, gru.flat)
    assert repr(other) == repr(gru)


def test_float32_is_as_near_to_float64_as_its_digits_allow() -> None:
    wide = random_gru(2, 3, 2, bidirectional=True)
    narrow = grus.GRU(2, 3, 2, bidirectional=True)
    narrow.flat[...] = wide.flat
    wide.flat[...] = narrow.flat
    rng = np.random.default_rng(0)
    x, h0 = rng.standard_normal((4, 5, 2)).astype("float32"), states(narrow, 4, rng)
    exact = everything(wide, x.astype("float64"), h0.astype("float64"), reset=np.eye(4, 5, 1, dtype=bool))
    for name, value in everything(narrow, x, h0, reset=np.eye(4, 5, 1, dtype=bool)).items():
        assert value.dtype == np.float32, name
        error = np.linalg.norm(value - exact[name]) / np.linalg.norm(exact[name])
        assert error < relative("same maths", "float32"), f"{name}: {error:.1e}"


def test_saved_outputs_alone_are_a_fifth_of_the_tape() -> None:
    x = np.random.default_rng(0).standard_normal((4, 6, 3), dtype=np.float32)
    for save, planes in (("gates", 4), ("outputs", 0)):
        gru = grus.GRU(3, 5, bidirectional=True, save=save, seed=0)
        assert gru.config()["save"] == save
        with grus.use_engine("native"):
            *_, tape = gru.forward(x)
        for run in tape.runs:
            assert run.states.size == 4 * 6 * 5
            assert (0 if run.saved.workspace is None else run.saved.workspace.size) == planes * 4 * 6 * 5
