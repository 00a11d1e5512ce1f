"""The state in which a GRU rests: the fixed point h = f(x0, h) under a constant input, by Newton's method.

Every row of every layer is solved on its own, in float64; a layer's input is the fixed point of the one below. The
Jacobian is exact: :func:`grus.equations.step_backward` of the rows of the identity.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from grus._stack import Stack, inference_problems
from grus.equations import Formulation, Gates, Masks, Weights, from_input, step_backward, step_forward
from grus.parameters import Parameters

Array = np.ndarray[Any, np.dtype[Any]]
_FIRST_STEPS = 200  # of the GRU itself, towards whatever attracts the state
_NEWTON_STEPS = 100
_HALVINGS = 30  # of a Newton step that does not lower the residual
_TOLERANCE = 1e-13  # of the residual, relative to the state or to 1: some hundred roundings of float64
_MARGIN = 1e-6  # above 1, of a spectral radius: what rounding and an end of squaring make of it
_SQUARINGS = 25


class Layer(NamedTuple):
    """One layer under inference."""

    weights: Weights
    form: Formulation
    masks: Masks


def rest_states(stack: Stack, x0: Array) -> Array:
    """x0 (B, I) gives the fixed points (layers, B, H), of x0's dtype."""
    wide, given = np.result_type(x0, np.float64), stack.parameters
    parameters = Parameters(given.shapes, wide, given.flat.astype(wide))
    problems = inference_problems(stack._replace(parameters=parameters), x0.shape[1], 1)
    layers = [Layer(problem.weights, problem.form, problem.masks) for problem in problems]
    return resting_states(layers, x0.astype(wide)).astype(x0.dtype)


def resting_states(layers: list[Layer], x0: Array) -> Array:
    """x0 (B, I) gives the fixed points (layers, B, H)."""
    states = []
    for k, layer in enumerate(layers):
        rows = [_Row(layer, x, f"layer {k} has no rest state for row {b} of x0") for b, x in enumerate(x0)]
        x0 = np.array([row.solved() for row in rows], x0.dtype).reshape(
            len(rows), len(layer.weights.weight_hh) // 3
        )
        states.append(x0)
    return np.stack(states)


class _Row:
    """The search for one fixed point, h (1, H)."""

    def __init__(self, layer: Layer, x: Array, name: str) -> None:
        self.weights, self.form, masks = layer
        # Zoneout only mixes h with itself at a fixed point: without it the point is the same, and nearer.
        self.masks = masks._replace(zoneout=None)
        _, self.gx = from_input(x[None], self.weights, self.masks)
        self.name = name

    def step(self, h: Array) -> tuple[Array, Gates]:
        return step_forward(self.gx, h, self.weights, self.form, self.masks)

    def residual(self, h: Array) -> float:
        """The largest |f(x0, h) - h|; infinite where that is not a number."""
        found = float(np.abs(self.step(h)[0] - h).max())
        return found if np.isfinite(found) else np.inf

    def jacobian(self, h: Array) -> Array:
        """(H, H): row i is the gradient of f's unit i with respect to h."""
        H = h.shape[-1]
        gates = (None if a is None else np.broadcast_to(a, (H, a.shape[-1])) for a in self.step(h)[1])
        rows = np.eye(H, dtype=h.dtype), np.broadcast_to(h, (H, H)), Gates(*gates)  # type: ignore[arg-type]
        return step_backward(*rows, self.weights, self.form, self.masks).h_prev

    def solved(self) -> Array:
        """The fixed point (H,)."""
        with np.errstate(all="ignore"):  # a state that grows without bounds is told below
            h = np.zeros((1, len(self.weights.weight_hh) // 3), self.gx.dtype)
            for _ in range(_FIRST_STEPS):
                h = self.step(h)[0]
            best = self.residual(h)
            for _ in range(_NEWTON_STEPS):
                found, residual = self.nearer(h, best)
                if not residual < best:
                    break
                h, best = found, residual
            self.check(h, best)
        return np.asarray(h[0])

    def nearer(self, h: Array, best: float) -> tuple[Array, float]:
        """A Newton step, or the largest part of it that lowers the residual; h itself where none does."""
        if not 0 < best < np.inf:
            return h, best
        f, _ = self.step(h)
        move = _solution(np.eye(h.shape[-1]) - self.jacobian(h), (f - h)[0])
        for halving in range(_HALVINGS):
            tried = h + move * 0.5**halving
            if (residual := self.residual(tried)) < best:
                return tried, residual
        return h, best

    def check(self, h: Array, residual: float) -> None:
        """That h is a fixed point, and one that a state near it goes to rather than leaves."""
        if not residual <= _TOLERANCE * max(1.0, float(np.abs(h).max())):
            raise RuntimeError(
                f"{self.name}: the nearest found still moves by {residual:.2g} a step. The state may oscillate or "
                "grow without bounds: look at GRU.trace over a long constant input."
            )
        radius = growth(self.jacobian(h))
        if radius > 1 + _MARGIN:
            raise RuntimeError(
                f"{self.name}: it has a fixed point (it moves by {residual:.2g} a step), but states near it go "
                f"away from it, by a factor of {radius:.4g} a step. The state oscillates, or rests elsewhere: "
                "look at GRU.trace over a long constant input, and take as h0 a state that it comes to."
            )


def growth(matrix: Array) -> float:
    """The spectral radius to some 1e-6, if it is 1 or more; else a bound on it below 1.

    Gelfand's formula, the norm of a power to one over the exponent, on squares of squares: a few products of
    matrices where the eigenvalues take long.
    """
    power, log_scale, rate = matrix, 0.0, 0.0
    for k in range(_SQUARINGS):
        norm = float(np.linalg.norm(power))
        if norm == 0:
            return 0.0
        log_scale += math.log(norm)
        rate = log_scale / 2**k
        if rate < 0:
            break
        power, log_scale = (power / norm) @ (power / norm), 2 * log_scale
    return math.exp(rate)


def _solution(matrix: Array, right: Array) -> Array:
    """Of the linear equations; where several solve them (a unit that never moves), the smallest."""
    try:
        return np.asarray(np.linalg.solve(matrix, right))
    except np.linalg.LinAlgError:
        return np.asarray(np.linalg.lstsq(matrix, right, rcond=None)[0])
