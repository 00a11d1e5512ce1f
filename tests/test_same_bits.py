"""The native engine's promise: the same bits however the work is split, and on every fused instruction set."""

from __future__ import annotations

import numpy as np
import pytest

import grus
from native_cases import ISAS, Run, assert_same_bits, instruction_set
from test_native import python
from test_random_problems import add_options

pytestmark = pytest.mark.skipif(not ISAS, reason="no compiled kernels for this processor")

DTYPES = ["float32", "float64"]
# T, B, I, H: enough work for several threads; by rows of the batch, by hidden units, and several blocks of steps
BY_ROWS, BY_UNITS, LONG = (9, 45, 10, 24), (5, 3, 40, 150), (40, 32, 40, 64)


@pytest.fixture(autouse=True)
def _native():
    with grus.use_engine("native"):
        yield
    grus.set_num_threads(None)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reset_after", [True, False])
@pytest.mark.parametrize("sizes", [BY_ROWS, BY_UNITS, LONG])
def test_any_number_of_threads(sizes: tuple[int, ...], reset_after: bool, dtype: str, isa: str) -> None:
    for kind, reverse in (("plain", False), ("all", True)):
        run = Run(sizes, dtype, kind, reset_after=reset_after, reverse=reverse)
        with instruction_set(isa):
            grus.set_num_threads(1)
            expected, alone = run(), run.forward()
            for threads in (2, 3, 5):
                grus.set_num_threads(threads)
                assert_same_bits(run(), expected)
                np.testing.assert_array_equal(run.forward() if kind == "plain" else alone, alone)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("sizes", [BY_ROWS, BY_UNITS, LONG])
def test_options_on_any_number_of_threads(sizes: tuple[int, ...], isa: str) -> None:
    for number in range(8):
        rng = np.random.default_rng(number)
        run = Run(sizes, DTYPES[number % 2], "all" if number % 3 else "plain", number, reverse=bool(number % 2))
        add_options(run, rng, bounded=True)
        with instruction_set(isa):
            grus.set_num_threads(1)
            expected = run()
            for threads in (2, 3, 5):
                grus.set_num_threads(threads)
                assert_same_bits(run(), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", [(60, 1, 40, 64), (40, 1, 40, 150), (30, 32, 10, 24), (2, 1, 3, 5)])
def test_two_directions_on_any_number_of_threads(sizes: tuple[int, ...], dtype: str) -> None:
    """A thread for each direction, threads that share each, or one for both."""
    T, B, I, H = sizes
    x = np.random.default_rng(0).standard_normal((B, T, I)).astype(dtype)
    gru = grus.GRU(I, H, 2, bidirectional=True, dtype=dtype, seed=1)
    expected = None
    for threads in (1, 2, 3, 5):
        grus.set_num_threads(threads)
        output, h_n, tape = gru.forward(x)
        d = gru.backward(tape, output, h_n)
        found = {"output": output, "h_n": h_n, "x": d.x, "h0": d.h0, "parameters": d.parameters.flat}
        expected = expected or found
        assert_same_bits(found, expected)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reset_after", [True, False])
def test_any_split_of_the_batch(reset_after: bool, dtype: str, isa: str) -> None:
    run = Run((4, 19, 5, 21), dtype, reset_after=reset_after)
    with instruction_set(isa):
        whole = run.forward()
        for width in range(1, 19):
            for first in range(0, 19, width):
                rows = slice(first, first + width)
                np.testing.assert_array_equal(run.forward(rows), whole[:, rows])


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reset_after", [True, False])
@pytest.mark.parametrize("batch", [1, 3, 10])
def test_any_chunking_in_time(batch: int, reset_after: bool, dtype: str, isa: str) -> None:
    run = Run((23, batch, 5, 37), dtype, reset_after=reset_after)
    with instruction_set(isa):
        whole = run()["output"]
        for length in (1, 2, 7, 23):
            np.testing.assert_array_equal(run.chunks(length), whole)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reset_after", [True, False])
@pytest.mark.parametrize("sizes", [BY_ROWS, BY_UNITS, (3, 300, 2, 5), (300, 3, 5, 9)])
def test_gates_kept_or_computed_again(sizes: tuple[int, ...], reset_after: bool, dtype: str, isa: str) -> None:
    for kind, reverse in (("plain", True), ("all", False)):
        kept = Run(sizes, dtype, kind, reset_after=reset_after, reverse=reverse)
        again = Run(sizes, dtype, kind, reset_after=reset_after, reverse=reverse, save="outputs")
        with instruction_set(isa):
            for threads in (1, 3):
                grus.set_num_threads(threads)
                assert_same_bits(again(), kept())


@pytest.mark.parametrize("reset_after", [True, False])
def test_gradients_of_rows_and_of_chunks(reset_after: bool) -> None:
    """dx and dh0 are those of the whole, row by row and chunk by chunk."""
    run = Run((8, 11, 5, 21), "float32", reset_after=reset_after)
    expected = run()
    for rows in (slice(0, 1), slice(2, 5), slice(5, 11)):
        *_, tape = grus.gru_forward(run.x[:, rows], run.h0[rows], run.params, **run.options)
        d = grus.gru_backward(tape, run.d_output[:, rows], run.d_h_n[rows])
        np.testing.assert_array_equal(d.x, expected["x"][:, rows])
        np.testing.assert_array_equal(d.h0, expected["h0"][rows])
    _, h_3, first = grus.gru_forward(run.x[:3], run.h0, run.params, **run.options)
    *_, second = grus.gru_forward(run.x[3:], h_3, run.params, **run.options)
    later = grus.gru_backward(second, run.d_output[3:], run.d_h_n)
    earlier = grus.gru_backward(first, run.d_output[:3], later.h0)
    np.testing.assert_array_equal(np.concatenate([earlier.x, later.x]), expected["x"])
    np.testing.assert_array_equal(earlier.h0, expected["h0"])


@pytest.mark.skipif("x86-64-v3" not in ISAS or "x86-64-v4" not in ISAS, reason="needs two fused instruction sets")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reset_after", [True, False])
@pytest.mark.parametrize(
    "functions",
    [
        ("tanh", "sigmoid"), ("elu", "hard_sigmoid"), ("softsign", "sigmoid"), ("softplus", "scaled_tanh"),
        ("thresholded_relu", "affine"),
    ],
)  # fmt: skip
def test_every_fused_instruction_set(functions: tuple[str, str], reset_after: bool, dtype: str) -> None:
    for sizes in ((7, 9, 13, 21), (3, 1, 40, 67), (40, 8, 3, 5)):
        new, gate = functions
        run = Run(sizes, dtype, "all", reset_after=reset_after, activation=new, gate_activation=gate)
        with instruction_set("x86-64-v3"):
            expected = run()
        with instruction_set("x86-64-v4"):
            assert_same_bits(run(), expected)


# --------------------------------------------------------------------------------------------------- threads


@pytest.mark.parametrize(
    ("environment", "threads"),
    [({"GRUS_NUM_THREADS": "3", "OMP_NUM_THREADS": "1"}, "3"), ({"OMP_NUM_THREADS": "1,2"}, "1")],
)
def test_the_environment_sets_the_number_of_threads(environment: dict[str, str], threads: str) -> None:
    assert python("import grus; print(grus.num_threads())", **environment).stdout.strip() == threads


def test_set_num_threads() -> None:
    grus.set_num_threads(3)
    assert grus.num_threads() == 3
    grus.set_num_threads(None)
    assert python("import grus; print(grus.num_threads())").stdout.strip() == str(grus.cpu_info()["threads"])
    with pytest.raises(ValueError, match="n must be at least 1; got 0"):
        grus.set_num_threads(0)
