"""The self-check that ends every conversion: both sides run on random input, from random states."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from grus.conversion.errors import ConversionError
from grus.conversion.report import Report
from grus.layer import GRU

Array = np.ndarray[Any, np.dtype[Any]]
TOLERANCE = {"float32": 1e-6, "float64": 1e-12}
BATCH, STEPS = 3, 6
Theirs = Callable[[Array, Array], tuple[Array, Array]]


def check_same(
    gru: GRU, theirs: Theirs, name: str, *, dtype: str = "float64", report: Report | None = None
) -> None:
    """Raise unless ``theirs`` computes what the GRU does.

    Parameters
    ----------
    gru : GRU
        Ours.
    theirs : callable
        x (B, T, I) and h0 (layers*directions, B, H), of ``dtype``, to output (B, T, directions*H) and h_n
        (layers*directions, B, H): the other side, or its layout's own formula.
    name : str
        The other side's, for the message.
    dtype : {"float64", "float32"}
        In which ``theirs`` computes; ours does too.
    report : Report, optional
        Where the largest difference goes.

    Raises
    ------
    ConversionError
        They differ by more than 1e-12, or 1e-6 where the weights or the computation are float32, or what
        :func:`tolerance_of` allows; absolute where numbers are below 1, relative above.
    """
    ours, rng = in_dtype(gru, dtype), np.random.default_rng(0)
    x = rng.standard_normal((BATCH, STEPS, gru.input_size)).astype(dtype)
    h0 = rng.uniform(-1, 1, (gru.num_layers * gru.directions, BATCH, gru.hidden_size)).astype(dtype)
    entered = x if gru.batch_first else x.swapaxes(0, 1)
    output, h_n = ours(entered, h0)
    expected = {"output": output if gru.batch_first else output.swapaxes(0, 1), "h_n": h_n}
    got = dict(zip(expected, (np.asarray(each) for each in theirs(x, h0)), strict=True))
    kind = "float32" if "float32" in (dtype, gru.dtype.name) else "float64"
    check_close(expected, got, name, tolerance_of(ours, kind, entered, h0), report)


def check_close(
    expected: Mapping[str, Array],
    got: Mapping[str, Array],
    name: str,
    tolerance: float,
    report: Report | None = None,
) -> None:
    """Raise unless what was expected (ours) and what ``name`` gave are the same."""
    worst = float(np.max([_difference(name, each, expected[each], got[each]) for each in expected]))  # NaN wins
    if report is not None:
        report.difference = max(worst, report.difference or 0.0)
    if not worst <= tolerance:
        raise ConversionError(
            f"the converted GRU is not the same function: {name} and grus differ by {worst:.1e} on random input, "
            f"where {tolerance:.0e} is allowed. Nothing was converted."
        )


def tolerance_of(gru: GRU, dtype: str, x: Array, h0: Array | None = None, **given: Array) -> float:
    """1e-6 or 1e-12, and more where the GRU itself makes rounding grow: wide ones, and those of large weights.

    There two right answers differ by more. How much follows from the error ``e`` of our own float32 against our
    float64 on the same input: 8*e of computations in float32, e/10**7 of those in float64.
    """
    states = [None if h0 is None else h0.astype(each) for each in TOLERANCE]
    single, exact = (
        in_dtype(gru, each)(x.astype(each), h, **given) for each, h in zip(TOLERANCE, states, strict=True)
    )
    e = float(np.max([_difference("float32", "it", *each) for each in zip(exact, single, strict=True)]))
    rounding = 8 * e if dtype == "float32" else 1e-7 * e
    return max(TOLERANCE[dtype], rounding) if np.isfinite(rounding) else TOLERANCE[dtype]


def in_dtype(gru: GRU, dtype: str) -> GRU:
    """The GRU in another dtype, with the same weights, rounded where they must be."""
    if gru.dtype.name == dtype:
        return gru
    twin = GRU.from_config(gru.config() | {"dtype": dtype}, seed=0)
    twin.flat[...] = gru.flat
    return twin


def _difference(name: str, what: str, expected: Array, got: Array) -> float:
    if got.shape != expected.shape:
        raise ConversionError(f"{name} gives {what} of shape {got.shape} where grus has {expected.shape}.")
    with np.errstate(all="ignore"):  # of infinity less itself; NaN is no small difference
        return float(np.max(np.abs(got - expected) / np.maximum(1, np.abs(expected)), initial=0.0))
