"""Comparisons that raise, and random cases; data is random, never zeros or ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from grus import Activation
from grus._gradcheck import relative_error
from tolerances import relative

# Every activation with parameters, of other values than its defaults; some make it a decreasing function.
VARIED = (
    Activation("leaky_relu", alpha=0.3),
    Activation("elu", alpha=0.7),
    Activation("elu", alpha=1.6),
    Activation("hard_sigmoid", alpha=0.4, beta=0.3),
    Activation("affine", alpha=0.6, beta=-0.2),
    Activation("affine", alpha=-0.8, beta=0.1),
    Activation("thresholded_relu", alpha=0.2),
    Activation("thresholded_relu", alpha=0.0),
    Activation("scaled_tanh", alpha=0.7, beta=1.3),
    Activation("scaled_tanh", alpha=-0.6, beta=0.8),
)


def assert_close(value: Any, exact: Any, kind: str, dtype: str = "float64", name: str = "") -> None:
    """Equal shapes, and a relative error in the 2-norm within the table's bound."""
    value, exact = np.asarray(value), np.asarray(exact)
    assert value.shape == exact.shape, f"{name}: shape {value.shape}, expected {exact.shape}"
    error = relative_error(value, exact)
    assert error <= relative(kind, dtype), f"{name}: relative error {error:.2e} > {relative(kind, dtype):.0e}"


def central_differences(loss: Callable[[], float], array: np.ndarray, step: float = 6e-6) -> np.ndarray:
    """The gradient of ``loss()`` with respect to a float64 array that it reads, stepped in place."""
    gradient = np.empty(array.shape)
    for index in np.ndindex(array.shape):
        value = array[index]
        array[index] = value + step
        above = loss()
        array[index] = value - step
        gradient[index] = (above - loss()) / (2 * step)
        array[index] = value
    return gradient


def steps_case(kind: str, rng: np.random.Generator, batch: int, steps: int) -> dict[str, Any]:
    """The call keywords of one way to use sequences: plain, lengths, mask, reset, or all together."""
    options: dict[str, Any] = {}
    if kind in ("lengths", "all"):
        options["lengths"] = np.array([steps, 0, *rng.integers(1, steps, batch)])[:batch]
    if kind in ("mask", "all"):
        options["mask"] = rng.random((batch, steps)) < 0.7
    if kind in ("reset", "all"):
        options["reset"] = rng.random((batch, steps)) < 0.4
        options["reset"][0, :2] = True, False
    return options
