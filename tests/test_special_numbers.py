"""NaN and infinity propagate and stay in their row; denormal numbers are zeros inside a call, and only there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import grus
from grus._gradcheck import relative_error
from native_cases import ISAS, Run, assert_same_bits, instruction_set
from tolerances import relative

pytestmark = pytest.mark.skipif(not ISAS, reason="no compiled kernels for this processor")

T, B, I, H = SIZES = (6, 9, 3, 17)
ROW, OTHERS = 4, np.arange(B) != 4
ROW_AXIS = {"output": 1, "x": 1, "h_n": 0, "h0": 0, "reset_state": 0}  # of what has one
every_kernel = [
    pytest.mark.parametrize("isa", ISAS),
    pytest.mark.parametrize("dtype", ["float32", "float64"]),
    pytest.mark.parametrize("reset_after", [True, False]),
]


def on_every_kernel(test: Callable[..., None]) -> Callable[..., None]:
    for mark in every_kernel:
        test = mark(test)
    return test


@pytest.fixture(autouse=True)
def _native() -> Iterator[None]:
    with grus.use_engine("native"), np.errstate(all="ignore"):
        yield
    grus.set_num_threads(None)


def assert_rows_have_the_bits_of(found: dict[str, np.ndarray], clean: dict[str, np.ndarray]) -> None:
    """All rows but ROW, in everything that has rows."""
    for name in ROW_AXIS.keys() & found.keys():
        mine, theirs = (np.compress(OTHERS, run[name], ROW_AXIS[name]) for run in (found, clean))
        np.testing.assert_array_equal(mine, theirs, err_msg=name)
        assert np.isfinite(mine).all()


def assert_equals_reference(run: Run, found: dict[str, np.ndarray]) -> None:
    """NaN where the reference has NaN, the same infinities, and close numbers."""
    with grus.use_engine("reference"):
        expected = run()
    for name, value in found.items():
        finite = np.isfinite(expected[name])
        np.testing.assert_array_equal(value[~finite], expected[name][~finite], err_msg=name)
        error = relative_error(value[finite], expected[name][finite])
        assert error <= relative("same maths", str(value.dtype)), f"{name}: {error:.1e}"


# --------------------------------------------------------------------------------------------- NaN and infinity


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@on_every_kernel
def test_of_the_input_stays_in_its_row(
    reset_after: bool, dtype: str, isa: str, value: float, reverse: bool
) -> None:
    run = Run(SIZES, dtype, reset_after=reset_after, reverse=reverse)
    with instruction_set(isa):
        clean = run()
        run.x[2, ROW, 1] = value
        found = run()
    assert_rows_have_the_bits_of(found, clean)
    assert_equals_reference(run, found)
    before, after = (np.s_[3:], np.s_[:3]) if reverse else (np.s_[:2], np.s_[2:])
    np.testing.assert_array_equal(found["output"][before, ROW], clean["output"][before, ROW])
    if np.isnan(value):
        for name in ("output", "x"):
            assert np.isnan(found[name][after, ROW]).all()
        for name in ("h_n", "h0"):
            assert np.isnan(found[name][ROW]).all()
        for name in ("weight_hh", "bias_ih"):
            assert np.isnan(found[name]).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["h0", "d_h_n", "d_output"])
@on_every_kernel
def test_of_states_and_gradients_stay_in_their_row(
    reset_after: bool, dtype: str, isa: str, where: str, value: float
) -> None:
    run = Run(SIZES, dtype, reset_after=reset_after)
    with instruction_set(isa):
        clean = run()
        getattr(run, where)[..., ROW, 11] = value
        found = run()
    assert_rows_have_the_bits_of(found, clean)
    assert_equals_reference(run, found)
    spoilt = found["output"] if where == "h0" else found["h0"]
    assert not np.isfinite(spoilt[..., ROW, :]).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("gate", [0, 1, 2])
@pytest.mark.parametrize("where", ["weight_ih", "weight_hh", "bias_ih", "bias_hh"])
@on_every_kernel
def test_of_a_parameter_reach_what_the_reference_says(
    reset_after: bool, dtype: str, isa: str, where: str, gate: int, value: float
) -> None:
    run = Run(SIZES, dtype, reset_after=reset_after)
    getattr(run.params, where)[gate * H + 5, ...] = value
    with instruction_set(isa):
        found = run()
    assert_equals_reference(run, found)
    if np.isnan(value):
        units = np.arange(H) == 5
        if not (gate == 0 and not reset_after):  # a spoilt r reaches every unit by way of r * h_prev
            assert np.isfinite(found["output"][0][:, ~units]).all()
        assert np.isnan(found["output"][0][:, units]).all()
        assert np.isnan(found["output"][1:]).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
@pytest.mark.parametrize("kind", ["lengths", "mask", "all"])
@on_every_kernel
def test_of_steps_that_do_not_count_are_not_looked_at(
    reset_after: bool, dtype: str, isa: str, kind: str, value: float
) -> None:
    run = Run(SIZES, dtype, kind, reset_after=reset_after)
    counts = np.arange(T)[:, None] < run.options.get("lengths", np.full(B, T))
    counts &= run.options.get("mask", np.True_)
    assert not counts.all()
    with instruction_set(isa):
        run.x[~counts] = 0.5
        clean = run()
        run.x[~counts] = value
        found = run()
    assert_same_bits(found, clean)
    assert all(np.isfinite(each).all() for each in found.values())


@pytest.mark.parametrize("engine", ["native", "reference"])
@pytest.mark.parametrize("kind", ["lengths", "mask", "all"])
def test_decay_where_a_step_does_not_count_is_not_looked_at(kind: str, engine: str) -> None:
    run = Run(SIZES, kind=kind)
    valid = np.asarray(run.options.get("mask", np.ones((T, B), bool)))
    if "lengths" in run.options:
        valid = valid & (np.arange(T)[:, None] < run.options["lengths"])
    assert not valid.all()
    decay = np.random.default_rng(0).random((T, B, H))
    results = []
    with grus.use_engine(engine):
        for instead in (1.0, np.nan):
            run.options["decay"] = np.where(valid[..., None], decay, instead)
            results.append(run())
    assert_same_bits(results[1], results[0])
    assert np.isfinite(results[1]["decay"]).all()


@on_every_kernel
def test_a_reset_ends_them(reset_after: bool, dtype: str, isa: str) -> None:
    """What a row was before a reset doesn't matter after it, nor the other way round in backward."""
    run = Run(SIZES, dtype, "reset", reset_after=reset_after)
    run.options["reset"][:] = np.arange(T)[:, None] == 4
    with instruction_set(isa):
        clean = run()
        run.x[2, ROW] = run.h0[ROW] = np.nan
        found = run()
        for name in ("output", "x"):
            np.testing.assert_array_equal(found[name][4:], clean[name][4:])
        np.testing.assert_array_equal(found["h_n"], clean["h_n"])
        run = Run(SIZES, dtype, "reset", reset_after=reset_after)
        run.options["reset"][:] = np.arange(T)[:, None] == 4
        run.d_h_n[ROW] = np.nan
        found = run()
    for name in ("output", "h_n", "h0"):
        np.testing.assert_array_equal(found[name], clean[name])
    np.testing.assert_array_equal(found["x"][:4], clean["x"][:4])
    assert np.isnan(found["x"][4:, ROW]).all()
    assert np.isnan(found["reset_state"][ROW]).all()


# -------------------------------------------------------------------------------------------- denormal numbers


def assert_denormal_numbers_are_numbers() -> None:
    for dtype in (np.float32, np.float64):
        smallest = np.full(5, np.finfo(dtype).smallest_normal)
        assert (smallest / dtype(4) > 0).all()  # results
        assert (np.full(5, np.finfo(dtype).smallest_subnormal) * dtype(2) > 0).all()  # operands


@on_every_kernel
def test_denormal_numbers_are_as_before_a_call(reset_after: bool, dtype: str, isa: str) -> None:
    def call(threads: int) -> None:
        assert_denormal_numbers_are_numbers()
        grus.set_num_threads(threads)
        for sizes in (SIZES, (9, 45, 10, 24), (0, 3, 2, 5)):
            run = Run(sizes, dtype, reset_after=reset_after)
            *_, tape = grus.gru_forward(run.x, run.h0, run.params, **run.options)
            assert_denormal_numbers_are_numbers()
            grus.gru_backward(tape, run.d_output, run.d_h_n)
            assert_denormal_numbers_are_numbers()

    with instruction_set(isa), ThreadPoolExecutor(1) as executor:
        for threads in (1, 2, 3):
            call(threads)
            executor.submit(call, threads).result()
    assert_denormal_numbers_are_numbers()


@pytest.mark.parametrize("threads", [1, 3])
@on_every_kernel
def test_states_and_gradients_that_would_be_denormal_are_zeros(
    reset_after: bool, dtype: str, isa: str, threads: int
) -> None:
    """Without weights both are halved at every step; every thread that has rows has to flush."""
    last = -np.finfo(dtype).minexp  # 2^-last is the smallest normal number
    T, B, I, H = last + 10, 24, 1, 24
    params = grus.GRUParams(*(np.zeros(shape, dtype) for shape in ((3 * H, I), (3 * H, H), 3 * H, 3 * H)))
    x, ones = np.zeros((T, B, I), dtype), np.ones((B, H), dtype)
    grus.set_num_threads(threads)
    with instruction_set(isa):
        output, _, tape = grus.gru_forward(x, ones, params, reset_after=reset_after)
        kept = grus.gru_backward(tape, np.zeros_like(output), ones)
        shorter = grus.gru_forward(x[:last], ones, params, reset_after=reset_after)
        d = grus.gru_backward(shorter[2], np.zeros_like(output[:last]), ones)
    assert (output[last - 1] == np.finfo(dtype).smallest_normal).all()
    assert not output[last:].any()
    assert (d.h0 == np.finfo(dtype).smallest_normal).all()
    assert not kept.h0.any()


@on_every_kernel
def test_denormal_inputs_are_taken_as_zeros(reset_after: bool, dtype: str, isa: str) -> None:
    run = Run(SIZES, dtype, reset_after=reset_after)
    tiny = np.finfo(dtype).smallest_normal / 2
    with instruction_set(isa):
        run.x[:], run.h0[:] = 0, 0
        zeros = run()
        run.x[:], run.h0[:] = tiny, -tiny
        run.x[::2] = -tiny
        found = run()
    assert_same_bits(found, zeros)
