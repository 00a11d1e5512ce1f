"""Random problems of every size up to 70 and any options, on every instruction set: what the reference gives.

300 in the normal run, 10 000 with ``GRUS_STRESS=1``. A failure names its problem, which can be drawn by itself.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import grus
from grus._gradcheck import relative_error
from grus.activations import ELEMENTWISE
from native_cases import ISAS, STRESS, Run, instruction_set
from tolerances import relative

pytestmark = pytest.mark.skipif(not ISAS, reason="no compiled kernels for this processor")

BOUNDED = {"tanh", "sigmoid", "softsign", "hard_sigmoid", "hard_sigmoid_keras2", "scaled_tanh"}
# Their derivatives jump, so that the last bit of a float32 may decide about all of a gradient.
KINKED = {"relu", "leaky_relu", "hard_sigmoid", "hard_sigmoid_keras2", "thresholded_relu", "clip"}


def random_sizes(rng: np.random.Generator) -> tuple[int, int, int, int]:
    """T, B, I, H: mostly small, because a step of the reference takes its time."""
    T, B, I, H = (int(rng.integers(0, rng.choice([3, 10, 21, 71]))) for _ in range(4))
    return T, B, max(I, 1), max(H, 1)


def moderate(params: grus.GRUParams, bounded: bool) -> grus.GRUParams:
    """Parameters that saturate no gate, since 1 - n^2 then loses its digits, and let no state grow without end."""
    I, H = params.weight_ih.shape[1], len(params.weight_hh) // 3
    scale = 0.25 if bounded else 0.06 / H
    params = grus.GRUParams(*(p if p is None else p * p.dtype.type(scale) for p in params[:4]), *params[4:])
    return params._replace(weight_ih=params.weight_ih * params.weight_ih.dtype.type(np.sqrt(H / I)))


def random_problem(number: int) -> tuple[Run, set[str]]:
    """A problem and the functions in it."""
    rng = np.random.default_rng(number)
    names = [
        str(rng.choice(ELEMENTWISE)) if rng.random() < 0.5 else usual for usual in ("tanh", "sigmoid", "sigmoid")
    ]
    options: dict[str, Any] = {name: bool(rng.integers(2)) for name in ("bias", "reset_after", "reverse")}
    options |= {"activation": names[0], "gate_activation": (names[1], names[2])}
    kind = str(rng.choice(["plain", "lengths", "mask", "reset", "all"]))
    sizes, dtype = random_sizes(rng), str(rng.choice(["float32", "float64"]))
    if "thresholded_relu" in names:  # where its value jumps the last bit of a float32 decides about the state
        dtype = "float64"
    run = Run(sizes, dtype, kind, number, **options)
    run.params = moderate(run.params, bounded=BOUNDED.issuperset(names))
    if rng.random() < 0.6:  # the rest are left to the fused kernels
        add_options(run, rng, bounded=BOUNDED.issuperset(names))
    return run, set(names) | ({"clip"} & set(run.options))


def add_options(run: Run, rng: np.random.Generator, bounded: bool) -> None:
    """Each option that there is, with a chance of a quarter."""
    T, B, I = run.x.shape
    H, dtype = run.h0.shape[1], run.x.dtype

    def given() -> bool:
        return bool(rng.random() < 0.25)

    def mask(*shape: int) -> np.ndarray:
        return ((rng.random(shape) < 0.7) / 0.7).astype(dtype)

    if given():
        run.options |= {"reset_after": True, "formulation": "candidate"}
    if given():
        blocks = int(rng.choice([k for k in range(1, H + 1) if H % k == 0]))
        run.options["blocks"] = blocks
        run.params = run.params._replace(weight_hh=np.ascontiguousarray(run.params.weight_hh[:, : H // blocks]))
    if given() and bounded and I > 2:  # normalised sums of one or two numbers have next to no gradient
        gains = rng.standard_normal((2, 3 * H)).astype(dtype) * dtype.type(0.5)
        run.params = run.params._replace(gain_ih=gains[0], gain_hh=gains[1])
    if given():
        run.options["clip"] = float(rng.uniform(0.2, 2))
    if given():
        run.options["decay"] = rng.random((T, B, H)).astype(dtype)
    if given():
        run.options["recurrent_mask"] = mask(B, 3 * H)
    if given():
        run.options["input_mask"] = mask(B, 3 * H)
    if given():
        run.options["zoneout"] = rng.random((T, B, H) if given() else (1, 1, H)).astype(dtype)
    if given():
        run.options["truncate"] = int(rng.integers(0, T + 2))
    elif given():
        run.options["gradient_clip"] = float(rng.uniform(0.01, 0.5))
    run.options["save"] = str(rng.choice(["gates", "outputs"]))


def widened(run: Run) -> Run:
    """The same numbers in float64."""
    wide = copy.copy(run)
    wide.params = grus.GRUParams(*(p if p is None else p.astype(np.float64) for p in run.params))
    for name in ("x", "d_output", "h0", "d_h_n"):
        setattr(wide, name, getattr(run, name).astype(np.float64))
    wide.options = {
        name: value.astype(np.float64) if isinstance(value, np.ndarray) and value.dtype.kind == "f" else value
        for name, value in run.options.items()
    }
    return wide


def truth_and_bounds(run: Run) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """The reference's results in float64, and how far from them the native engine may be.

    Where the problem itself magnifies rounding, that is twice as far as the reference in the problem's own dtype.
    """
    bound = relative("same maths, any shape", str(run.x.dtype))
    with grus.use_engine("reference"):
        truth, rounded = widened(run)(), run()
    return truth, {name: max(bound, 2 * relative_error(rounded[name], exact)) for name, exact in truth.items()}


def check(number: int) -> None:
    run, functions = random_problem(number)
    grus.set_num_threads(1 + number % 3)
    truth, bounds = truth_and_bounds(run)
    states_only = run.x.dtype == np.float32 and functions & KINKED
    for isa in ISAS:
        with instruction_set(isa):
            found = run()
        assert found.keys() == truth.keys()
        for name in ("output", "h_n") if states_only else found:
            assert found[name].shape == truth[name].shape
            error = relative_error(found[name], truth[name])
            assert error <= bounds[name], f"{name} of problem {number} on {isa}: {error:.1e} > {bounds[name]:.1e}"


def test_any_problem() -> None:
    try:
        for number in range(10_000 if STRESS else 300):
            check(number)
    finally:
        grus.set_num_threads(None)
