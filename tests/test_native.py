"""The native engine: equal to the reference, on every instruction set of this machine."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import grus
from grus import _core
from grus.activations import ELEMENTWISE
from helpers import VARIED, assert_close, central_differences
from native_cases import ISAS, Run, instruction_set

pytestmark = pytest.mark.skipif(not ISAS, reason="no compiled kernels for this processor")

SIZES = [  # T, B, I, H: 1, around each width of a vector (2 ... 16), primes, and every rest of a block of rows
    (1, 1, 1, 1), (3, 2, 1, 3), (4, 3, 3, 5), (5, 4, 2, 7), (2, 5, 17, 8), (5, 9, 7, 15), (3, 13, 16, 17),
    (4, 8, 5, 31), (3, 6, 33, 49), (2, 7, 50, 97), (40, 11, 4, 6),
]  # fmt: skip
EMPTY = [(0, 3, 2, 5), (3, 0, 2, 5), (0, 0, 1, 1)]


@pytest.fixture(autouse=True)
def _native():
    with grus.use_engine("native"):
        yield


def assert_equals_reference(run: Run, isa: str, bound: str = "same maths") -> None:
    with instruction_set(isa):
        found = run()
    with grus.use_engine("reference"):
        expected = run()
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert_close(value, expected[name], bound, str(value.dtype), f"{name} on {isa}")


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("kind", ["plain", "lengths", "mask", "reset", "all"])
@pytest.mark.parametrize("reset_after", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("isa", ISAS)
def test_equals_the_reference(isa: str, dtype: str, reset_after: bool, kind: str, reverse: bool) -> None:
    for sizes in SIZES + EMPTY:
        assert_equals_reference(Run(sizes, dtype, kind, reset_after=reset_after, reverse=reverse), isa)


@pytest.mark.parametrize("kind", ["plain", "all"])
@pytest.mark.parametrize("reset_after", [True, False])
@pytest.mark.parametrize("engine", ["native", "reference"])
def test_gates_computed_again_are_those_kept(engine: str, reset_after: bool, kind: str) -> None:
    for sizes in [*SIZES, (0, 3, 2, 5), (3, 0, 2, 5)]:
        with grus.use_engine(engine):
            again = Run(sizes, kind=kind, reset_after=reset_after, save="outputs")()
            kept = Run(sizes, kind=kind, reset_after=reset_after)()
        for name, value in again.items():
            assert_close(value, kept[name], "same maths", name=name)


@pytest.mark.parametrize("activation", [*ELEMENTWISE, *VARIED], ids=str)
@pytest.mark.parametrize("reset_after", [True, False])
@pytest.mark.parametrize("isa", ISAS)
def test_activations(isa: str, reset_after: bool, activation: str | grus.Activation) -> None:
    for role in ({"activation": activation}, {"gate_activation": (activation, "sigmoid")},
                 {"gate_activation": ("sigmoid", activation)}):  # fmt: skip
        assert_equals_reference(Run((5, 3, 2, 9), kind="all", reset_after=reset_after, **role), isa)


@pytest.mark.parametrize("reset_after", [True, False])
def test_without_biases(reset_after: bool) -> None:
    assert_equals_reference(Run((4, 3, 2, 5), bias=False, reset_after=reset_after), ISAS[0])


@settings(max_examples=60)
@given(
    sizes=st.tuples(*(st.integers(low, high) for low, high in ((0, 9), (0, 20), (1, 40), (1, 70)))),
    kind=st.sampled_from(["plain", "lengths", "mask", "reset", "all"]),
    isa=st.sampled_from(ISAS or [""]),
    dtype=st.sampled_from(["float32", "float64"]),
    flags=st.tuples(st.booleans(), st.booleans()),
    seed=st.integers(0, 99),
)
def test_any_shape(
    sizes: tuple[int, int, int, int], kind: str, isa: str, dtype: str, flags: tuple[bool, bool], seed: int
) -> None:
    run = Run(sizes, dtype, kind, seed, reset_after=flags[0], reverse=flags[1])
    assert_equals_reference(run, isa, "same maths, any shape")


@pytest.mark.parametrize("reset_after", [True, False])
@pytest.mark.parametrize("isa", ISAS)
def test_central_differences(isa: str, reset_after: bool) -> None:
    run = Run((4, 3, 2, 5), kind="all", reset_after=reset_after)
    inside = np.arange(4)[:, None] < run.options["lengths"]
    run.x[~inside] = 0.0

    def loss() -> float:
        output, h_n, _ = grus.gru_forward(run.x, run.h0, run.params, training=False, **run.options)
        return float((output * run.d_output).sum() + (h_n * run.d_h_n).sum())

    with instruction_set(isa):
        found = run()
        arrays = {"x": run.x, "h0": run.h0, "reset_state": run.options["reset_state"], **run.weights}
        for name, array in arrays.items():
            assert_close(found[name], central_differences(loss, array), "central differences", name=name)


@pytest.mark.parametrize("reset_after", [True, False])
def test_any_strides_of_time_and_batch(reset_after: bool) -> None:
    run = Run((6, 5, 4, 7), kind="all", reset_after=reset_after)
    expected = run()
    x, d_output = run.x, run.d_output
    wide = np.zeros((6, 5, 11))
    for change in (
        lambda a: np.ascontiguousarray(a.swapaxes(0, 1)).swapaxes(0, 1),
        lambda a: np.ascontiguousarray(a[::-1, ::-1])[::-1, ::-1],
        lambda a: np.asfortranarray(a),
        lambda a: wide[..., : a.shape[-1]] * 0 + a,
        lambda a: np.concatenate([a, a], axis=-1)[..., a.shape[-1] :],
        lambda a: np.frombuffer(b"0" + a.tobytes(), np.uint8)[1:].view(a.dtype).reshape(a.shape),  # not aligned
    ):
        run.x, run.d_output = change(x), change(d_output)
        for name, value in run().items():
            np.testing.assert_array_equal(value, expected[name], err_msg=name)


def test_complex_numbers_run_on_the_reference() -> None:
    run = Run((3, 2, 2, 4))
    expected = run()
    run.params = grus.GRUParams(**{name: a.astype(complex) for name, a in run.weights.items()})
    run.x, run.h0, run.d_output, run.d_h_n = (a.astype(complex) for a in (run.x, run.h0, run.d_output, run.d_h_n))
    with grus.use_engine("native"):
        for name, value in run().items():
            assert_close(value.real, expected[name], "same maths", name=name)


def test_a_tape_goes_back_to_the_engine_that_made_it() -> None:
    run = Run((3, 2, 2, 4))
    expected = run()
    for first, second in (("native", "reference"), ("reference", "native")):
        with grus.use_engine(first):
            *_, tape = grus.gru_forward(run.x, run.h0, run.params)
        with grus.use_engine(second):
            assert_close(grus.gru_backward(tape, run.d_output, run.d_h_n).x, expected["x"], "same maths")


# ---------------------------------------------------------------------------------------- accuracy and choice


def ulps(value: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """|value - exact| in units of value's last place at exact; numbers below the normal ones count as zero."""
    info = np.finfo(value.dtype)
    spacing = np.spacing(np.maximum(np.abs(exact), info.smallest_normal).astype(value.dtype))
    error = np.abs(value.astype(exact.dtype) - exact)
    return np.where(np.abs(exact) < info.smallest_normal, np.where(np.abs(value) > info.smallest_normal, 99, 0),
                    error / spacing)  # fmt: skip


def activate(name: str, a: np.ndarray, alpha: float = 0.0, beta: float = 0.0) -> np.ndarray:
    out = np.empty_like(a)
    _core.activate(out, a, _core.Activation(getattr(_core.Function, name), alpha, beta, 0.0))
    return out


def exact_values(name: str, a: np.ndarray) -> np.ndarray:
    if name == "tanh":
        return np.tanh(a)
    e = np.exp(-np.abs(a))
    if name == "softplus":
        return np.log1p(e) + np.maximum(a, 0)
    return np.where(a < 0, e, 1) / (1 + e)


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "softplus"])
@pytest.mark.parametrize("isa", ISAS)
def test_four_ulp_in_float32(isa: str, name: str) -> None:
    """Every 997th float32; test_accuracy.py takes more, in C++."""
    stride = 997
    worst, span = 0.0, 2**22 * stride
    for start in range(0, 2**32, span):
        bits = np.arange(start, min(start + span, 2**32), stride, dtype=np.uint64).astype(np.uint32)
        a = bits.view(np.float32)
        a = a[np.isfinite(a)]
        with instruction_set(isa):
            value = activate(name, a)
        worst = max(worst, ulps(value, exact_values(name, a.astype(np.float64))).max(initial=0))
    assert worst <= 4


@pytest.mark.skipif(np.finfo(np.longdouble).nmant <= 52, reason="no wider type to compare with")
@pytest.mark.parametrize("name", ["sigmoid", "tanh", "softplus"])
@pytest.mark.parametrize("isa", ISAS)
def test_four_ulp_in_float64(isa: str, name: str) -> None:
    rng = np.random.default_rng(0)
    a = rng.standard_normal(400_000) * 10.0 ** rng.uniform(-20, 3, 400_000)
    with instruction_set(isa):
        value = activate(name, a)
    assert ulps(value, exact_values(name, a.astype(np.longdouble))).max() <= 4


@pytest.mark.parametrize("spec", [*(name for name in ELEMENTWISE if name != "softsign"), *VARIED], ids=str)
@pytest.mark.parametrize("isa", ISAS)
def test_limits(isa: str, spec: str | grus.Activation) -> None:
    """At infinities and beyond what e^x can hold: as the reference, and nothing overflows; NaN stays NaN."""
    activation = grus.Activation.of(spec)
    name, parameters = activation.name, activation.parameters
    for dtype in (np.float32, np.float64):
        a = np.array([-np.inf, -1e30, -800, -100, -0.0, 0, 100, 800, 1e30, np.inf], dtype)
        with instruction_set(isa):
            value = activate(name, a, **parameters)
            nan = activate(name, np.full(1, np.nan, dtype), **parameters)
        expected = activation(a)
        np.testing.assert_allclose(value, expected, rtol=1e-6, atol=1e-37)
        assert np.isnan(nan).all()


def python(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("GRUS_", "OMP_"))}
    return subprocess.run([sys.executable, "-c", script], env=keep | environment, capture_output=True, text=True)


@pytest.mark.parametrize("isa", ISAS)
def test_grus_isa_chooses(isa: str) -> None:
    result = python("import grus; print(grus.engine_name(), grus.instruction_set())", GRUS_ISA=isa)
    assert result.stdout.split() == ["native", isa], result.stderr


def test_the_best_is_the_default() -> None:
    assert python("import grus; print(grus.instruction_set())").stdout.strip() == ISAS[0]


def test_an_instruction_set_that_is_not_there() -> None:
    result = python("import grus", GRUS_ISA="x86-64-v9")
    assert f"GRUS_ISA must be one of {', '.join(ISAS)} on this machine; got 'x86-64-v9'." in result.stderr
    assert "RuntimeError" in result.stderr
