"""What a GRU keeps between calls follows its parameters and options; how arrays lie changes no result."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import grus
from grus import _core, _native
from grus._formulation import formulated

Array = np.ndarray[Any, np.dtype[Any]]
ENGINES = ["reference", "native"] if _core.available_instruction_sets() else ["reference"]
B, T, I, H = 3, 4, 2, 5
OPTIONS: list[dict[str, Any]] = [
    {}, {"bias": False}, {"layer_norm": True, "bias": False}, {"learn_h0": True}, {"weight_dropout": 0.5},
]  # fmt: skip


@pytest.fixture(autouse=True, params=ENGINES)
def _engine(request: pytest.FixtureRequest) -> Any:
    with grus.use_engine(request.param):
        yield


def a_gru(seed: int = 0, **options: Any) -> grus.GRU:
    """Two layers, two directions, no parameter 0."""
    gru = grus.GRU(I, H, 2, bidirectional=True, seed=seed, **options)
    gru.flat[...] += np.random.default_rng(seed).standard_normal(gru.flat.size) / 4
    return gru


def draw(*shape: int, seed: int = 1) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


X, H0, DY = draw(B, T, I), draw(4, B, H), draw(B, T, 2 * H)


def results(gru: grus.GRU, **call: Any) -> list[Array]:
    """Those of a call, of forward and of backward."""
    output, h_n, tape = gru.forward(X, None if gru.learn_h0 else H0, rng=3, **call)
    gradients = gru.backward(tape, DY)
    inference = gru(X, H0, **call)
    return [*inference, output, h_n, gradients.x, gradients.h0, gradients.parameters.flat]


def assert_same(found: list[Array], expected: list[Array]) -> None:
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def fresh(gru: grus.GRU) -> grus.GRU:
    """One that never ran, with the same options and parameters."""
    other = grus.GRU.from_config(gru.config(), seed=99)
    other.load_state_dict(gru.state_dict())
    return other


def placed(gru: grus.GRU) -> grus.GRU:
    gru.parameters.place_on(np.empty(gru.flat.size, np.float32))
    return gru


CHANGES: dict[str, Callable[[grus.GRU], grus.GRU]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda gru: pickle.loads(pickle.dumps(gru)),
    "place_on": placed,
    "nothing": lambda gru: gru,
}


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("change", CHANGES)
def test_a_gru_runs_on_the_parameters_that_it_has_now(change: str, options: dict[str, Any]) -> None:
    gru = a_gru(**options)
    before = results(gru)
    gru = CHANGES[change](gru)
    assert_same(results(gru), before)
    gru.flat[...] *= 0.5
    assert_same(results(gru), results(fresh(gru)))
    gru.load_state_dict(a_gru(1, **options).state_dict())
    assert_same(results(gru), results(a_gru(1, **options)))
    gru.parameters["weight_hh_l1_reverse"] = 0 * gru.parameters["weight_hh_l1_reverse"]
    assert_same(results(gru), results(fresh(gru)))


def test_a_deep_copy_and_what_it_was_made_of_go_apart() -> None:
    gru = a_gru()
    before = results(gru)
    for other in (copy.deepcopy(gru), pickle.loads(pickle.dumps(gru))):
        results(other)
        other.flat[...] = 0
        assert_same(results(gru), before)


@pytest.mark.parametrize(
    "changed", [{"formulation": "before"}, {"activation": "elu"}, {"save": "outputs"}, {"truncate": 2}], ids=str
)
def test_an_option_that_is_set_later_counts(changed: dict[str, Any]) -> None:
    gru, expected = a_gru(), a_gru(**changed)
    results(gru)
    gru.formulation, gru.save = expected.formulation, expected.save
    assert_same(results(gru), results(expected))


def test_formulations_without_number() -> None:
    """More than are kept, each used again."""
    gru = grus.GRU(I, H, seed=0)
    for limit in (*range(1, 300), *range(1, 300, 50)):
        gru.formulation = formulated(None, True, "tanh", "sigmoid", clip=limit / 100)
        assert_same([gru(X).output], [grus.GRU(I, H, clip=limit / 100, seed=0)(X).output])


def test_gradients_of_two_backward_passes_have_memory_of_their_own() -> None:
    gru = a_gru()
    first, second = (gru.backward(gru.forward(X, H0).tape, DY) for _ in range(2))
    pairs = (first.x, second.x), (first.h0, second.h0), (first.parameters.flat, second.parameters.flat)
    assert not any(np.shares_memory(a, b) for a, b in pairs)
    assert np.shares_memory(first.parameters["bias_hh_l1"], first.parameters.flat)
    params = grus.GRUParams.random(I, H, 0)
    grads = [grus.gru_backward(grus.gru_forward(X, None, params)[2], draw(B, T, H)).params for _ in range(2)]
    for i, a in enumerate(grads[0]):
        if a is not None:
            others = [b for b in (*grads[1], *grads[0][:i], *grads[0][i + 1 :]) if b is not None]
            assert not any(np.shares_memory(a, b) for b in others)


def test_gradients_are_written_over_what_a_buffer_holds() -> None:
    for options in OPTIONS:
        gru = a_gru(**options)
        out = np.full(gru.flat.size, np.nan, np.float32)
        found = gru.backward(gru.forward(X, rng=3).tape, DY, out=out).parameters
        assert found.flat is out
        np.testing.assert_array_equal(out, gru.backward(gru.forward(X, rng=3).tape, DY).parameters.flat)


def test_threads_that_call_a_new_gru_at_once() -> None:
    for seed in range(5):
        expected = results(a_gru(seed))
        gru = a_gru(seed)
        with ThreadPoolExecutor(4) as executor:
            for found in executor.map(lambda _: results(gru), range(16)):  # noqa: B023
                assert_same(found, expected)


# ------------------------------------------------------------------------------------------------ unusual arrays


class Own(np.ndarray):
    """A subclass."""


def misaligned(a: Array) -> Array:
    memory = np.zeros(a.nbytes + 1, np.uint8)
    result = memory[1:].view(a.dtype).reshape(a.shape)
    result[...] = a
    assert a.itemsize == 1 or not result.flags.aligned
    return result


def read_only(a: Array) -> Array:
    a = a.copy()
    a.flags.writeable = False
    return a


SAME: dict[str, Callable[[Array], Any]] = {
    "fortran": np.asfortranarray,
    "strided": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "backwards": lambda a: np.ascontiguousarray(a[..., ::-1])[..., ::-1],
    "misaligned": misaligned,
    "read-only": read_only,
    "subclass": lambda a: a.view(Own),
}
CALLS: dict[str, Array] = {
    "x": X, "h0": H0, "decay": np.abs(draw(B, T, H)), "mask": draw(B, T) > 0, "reset": draw(B, T, seed=2) > 0,
    "reset_state": draw(4, B, H, seed=3), "lengths": np.array([4, 0, 3]),
    "d_output": DY, "d_h_n": draw(4, B, H, seed=4),
}  # fmt: skip


def everything(name: str, value: Any) -> list[Array]:
    """All results where one array is another than usual."""
    calls: dict[str, Any] = CALLS | {name: value}
    gru, d_output, d_h_n = a_gru(), calls.pop("d_output"), calls.pop("d_h_n")
    output, h_n, tape = gru.forward(**calls)
    d = gru.backward(tape, d_output, d_h_n)
    return [*gru(**calls), output, h_n, d.x, d.h0, d.parameters.flat, d.reset_state, d.decay]


@pytest.mark.parametrize("kind", SAME)
@pytest.mark.parametrize("name", CALLS)
def test_how_an_array_lies_changes_no_bit(name: str, kind: str) -> None:
    assert_same(everything(name, SAME[kind](CALLS[name])), everything(name, CALLS[name]))


@pytest.mark.parametrize("name", ["mask", "reset", "lengths"])
def test_flags_and_lengths_of_other_types(name: str) -> None:
    for value in (CALLS[name].tolist(), CALLS[name].astype(np.uint8), CALLS[name].astype(">i4")):
        assert_same(everything(name, value), everything(name, CALLS[name]))


@pytest.mark.parametrize("name", ["x", "h0", "decay", "reset_state", "d_output", "d_h_n"])
@pytest.mark.parametrize(
    ("kind", "got"),
    [("f8", "float64"), ("f2", "float16"), (">f4", ">f4"), ("i4", "int32"), ("?", "bool"), ("c8", "complex64")],
)
def test_another_dtype_is_refused(name: str, kind: str, got: str) -> None:
    with pytest.raises(TypeError, match=rf"{name} must be float32 because .*; got {got}\."):
        everything(name, CALLS[name].astype(kind))


@pytest.mark.parametrize("name", ["x", "h0", "decay", "reset_state", "d_output", "d_h_n"])
def test_a_number_or_lists_are_refused(name: str) -> None:
    for value in (1.0, CALLS[name].tolist()):
        with pytest.raises(TypeError, match=f"{name} must be float32 because .*; got float64"):
            everything(name, value)
    with pytest.raises(ValueError, match=f"{name} must have shape .*; got "):
        everything(name, np.float32(1))


@pytest.mark.parametrize("kind", SAME)
def test_how_the_arrays_of_one_direction_lie_changes_no_bit(kind: str) -> None:
    x, h0, d_output, d_h_n = draw(T, B, I), draw(B, H), draw(T, B, H), draw(B, H)
    params = grus.GRUParams.random(I, H, 0)

    def run(change: Callable[[Array], Any]) -> list[Array]:
        own = grus.GRUParams(*(None if p is None else change(p) for p in params))
        output, h_n, tape = grus.gru_forward(change(x), change(h0), own)
        d = grus.gru_backward(tape, change(d_output), change(d_h_n))
        return [output, h_n, d.x, d.h0, *(p for p in d.params if p is not None)]

    assert_same(run(SAME[kind]), run(np.asarray))


def test_gradients_by_lists_of_parameters() -> None:
    """What is no array has no shape of its own; the gradients have those of the arrays that it stands for."""
    params = grus.GRUParams.random(I, H, 0, "float64")
    lists = grus.GRUParams(*(None if p is None else p.tolist() for p in params))
    x, dy = draw(T, B, I).astype(float), draw(T, B, H).astype(float)
    found, expected = (grus.gru_backward(grus.gru_forward(x, None, p)[2], dy).params for p in (lists, params))
    for a, b in zip(found, expected, strict=True):
        if b is not None:
            np.testing.assert_array_equal(a, b)


# ------------------------------------------------------------------------------------------------------ the core


@pytest.mark.skipif(len(ENGINES) == 1, reason="no native engine")
def test_the_core_refuses_what_does_not_fit_together() -> None:
    """No shape reaches a kernel unchecked, whatever Python checked before."""
    params = grus.GRUParams.random(I, H, 0)
    form = _native._formulation(formulated(None, True, "tanh", "sigmoid"))
    cell = _core.CellFloat32(form, *params)
    with pytest.raises(TypeError):
        _core.CellFloat32(form, *params[:4], np.ones(3 * H, np.float32), None)
    x, reset, state = draw(T, B, I), np.zeros((T, B), bool), draw(B, H)

    def forward(x: Array = x, h0: Array = state, **options: Any) -> _core.Forward:
        names = "reset_state", "valid", "reset", "recurrent_mask", "input_mask", "decay", "zoneout"
        absent = dict.fromkeys(names) | options
        return _core.ForwardFloat32(cell, False, x, h0, np.empty((T, B, H), np.float32), None, **absent)

    for own in ({"reset": reset}, {"reset_state": state}, {"x": X}, {"h0": draw(H, B)}, {"decay": draw(T, B, 1)}):
        with pytest.raises(TypeError):
            forward(**own)
    dy, decay, number = draw(T, B, H), draw(T, B, H), 3 * H * (I + H + 2)

    def backward(call: _core.Forward, size: int, d_reset: Array | None, d_decay: Array | None) -> None:
        d_weights = np.empty(size, np.float32)
        _core.BackwardFloat32(call, dy, state, None, np.empty((B, H), np.float32), d_weights, d_reset, d_decay)

    plain, cut, decayed = forward(), forward(reset=reset, reset_state=state), forward(decay=decay)
    for right in ((plain, number, None, None), (plain, number - 6 * H, None, None), (cut, number, state, None)):
        backward(*right)
    for wrong in (
        (plain, number - 1, None, None), (plain, number + 6 * H, None, None), (plain, number, state, None),
        (plain, number, None, decay), (cut, number, None, None), (decayed, number, None, None),
    ):  # fmt: skip
        with pytest.raises(TypeError):
            backward(*wrong)
