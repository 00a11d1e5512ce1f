"""Forward-mode and second derivatives of a GRU, by complex steps: its methods ``jvp`` and ``hvp``.

With v + i*s*dv in place of every v and a tiny s, a function's imaginary part is s times its derivative in the
direction dv. Nothing is subtracted, so it is exact to rounding (Squire & Trapp 1998, "Using complex variables to
estimate derivatives of real functions", SIAM Review 40). The reference engine takes complex numbers, forward and
backward, with every option: so the equations stand in one place, and no rule of differentiation a second time.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from grus import _check
from grus.parameters import Parameters

if TYPE_CHECKING:
    from grus.layer import GRU, Gradients, GRUOutput

Array = np.ndarray[Any, np.dtype[Any]]
LossGradient = Callable[[Array, Array], tuple[Array | None, Array | None]]
_COMPLEX = np.dtype("complex128")
_STEP = 1e-30  # of the largest tangent


def jvp(
    gru: GRU,
    x: Array,
    h0: Array | None = None,
    *,
    dx: Array | None = None,
    dh0: Array | None = None,
    dparameters: Mapping[str, Array] | None = None,
    d_reset_state: Array | None = None,
    lengths: npt.ArrayLike | None = None,
    mask: npt.ArrayLike | None = None,
    reset: npt.ArrayLike | None = None,
    reset_state: Array | None = None,
) -> tuple[GRUOutput, GRUOutput]:
    """What a call gives, and its derivative in a direction (forward mode).

    Parameters
    ----------
    x, h0, lengths, mask, reset, reset_state
        As in a call.
    dx, dh0, d_reset_state : ndarray, of the shape of x, h0 and reset_state, optional
        The direction: how each of them changes. What is omitted does not.
    dparameters : mapping of str to ndarray, optional
        How parameters change, by name; those that are not named do not. ``gru.parameters.like(v)`` makes one from
        a vector of all of them.

    Returns
    -------
    primal : GRUOutput
        As a call returns it, from the engine in use.
    tangent : GRUOutput
        The derivative of ``output`` and of ``h_n`` in the direction given, of the GRU's dtype.

    Raises
    ------
    ValueError, TypeError
        As a call; a direction has another shape or dtype than what it belongs to, or belongs to what is omitted;
        the GRU is complex itself.

    Notes
    -----
    Exact to rounding, in float64 whatever the GRU's dtype. At kinks (relu at 0, a clip's limits) it is the
    derivative that :meth:`GRU.backward` uses too. ``truncate`` and ``gradient_clip`` do not come in: they are
    about gradients. Cost: a call, and one in complex128 on the reference engine: about four times the arithmetic,
    and NumPy's speed, not the compiled one.

    Examples
    --------
    >>> import numpy as np
    >>> import grus
    >>> gru, x = grus.GRU(3, 5, dtype="float64", seed=0), np.ones((2, 7, 3))
    >>> (output, h_n), tangent = gru.jvp(x, dx=np.ones_like(x))
    >>> nudged = gru(x + 1e-6).output
    >>> np.allclose((nudged - output) / 1e-6, tangent.output, atol=1e-5)
    True
    """
    options: dict[str, Any] = {"lengths": lengths, "mask": mask, "reset": reset}
    primal = gru(x, h0, **options, reset_state=reset_state)
    values, tangents = _named(x, h0, reset_state), _named(dx, dh0, d_reset_state)
    twin, inputs, step = _stepped("jvp", gru, values, tangents, dparameters)
    with _quiet():
        found = twin(**inputs, **options)
    return primal, found._replace(output=_tangent(found.output, step, gru), h_n=_tangent(found.h_n, step, gru))


def hvp(
    gru: GRU,
    x: Array,
    h0: Array | None = None,
    *,
    loss_gradient: LossGradient,
    dx: Array | None = None,
    dh0: Array | None = None,
    dparameters: Mapping[str, Array] | None = None,
    d_reset_state: Array | None = None,
    lengths: npt.ArrayLike | None = None,
    mask: npt.ArrayLike | None = None,
    reset: npt.ArrayLike | None = None,
    reset_state: Array | None = None,
    rng: int | np.random.Generator | None = None,
) -> Gradients:
    """The Hessian of a loss times a vector: how every gradient changes in a direction (forward over reverse).

    Parameters
    ----------
    x, h0, lengths, mask, reset, reset_state, rng
        As in :meth:`GRU.forward`: with dropout, pass the same seed each time for one Hessian.
    loss_gradient : callable
        ``loss_gradient(output, h_n)`` returns ``(d_output, d_h_n)``, the loss gradient with respect to both; None
        for one that the loss does not depend on. It gets complex128 arrays and returns such: write it with
        arithmetic and functions like ``np.exp``, no ``abs``, ``.real`` or ``np.conj``, and compare ``.real`` parts
        where it branches.
    dx, dh0, d_reset_state, dparameters
        The vector, as in :meth:`GRU.jvp`.

    Returns
    -------
    Gradients
        As :meth:`GRU.backward`, each the derivative of that gradient in the direction given: H v.

    Raises
    ------
    ValueError, TypeError
        As :meth:`GRU.forward` and :meth:`GRU.jvp`; ``loss_gradient`` returns something else than such a pair.

    Notes
    -----
    Exact to rounding, in float64 whatever the GRU's dtype; a loss that is linear in output and h_n has constant
    gradients and still a Hessian, the GRU's own. With ``truncate`` or ``gradient_clip`` it is the derivative of
    what backward gives, which is no gradient of a loss and so has no symmetric Hessian. Cost: one forward and
    backward pass in complex128 on the reference engine, about four times the arithmetic at NumPy's speed; its
    memory too is that of complex128 (``checkpoint_every`` bounds it).

    References
    ----------
    .. [1] Pearlmutter 1994, "Fast Exact Multiplication by the Hessian", Neural Computation 6.

    Examples
    --------
    The curvature of half the squared error, in the direction of all parameters alike:

    >>> import numpy as np
    >>> import grus
    >>> gru, x, y = grus.GRU(3, 5, dtype="float64", seed=0), np.ones((2, 7, 3)), np.zeros((2, 7, 5))
    >>> v = np.ones_like(gru.flat)
    >>> hv = gru.hvp(x, loss_gradient=lambda output, h_n: (output - y, None), dparameters=gru.parameters.like(v))
    >>> hv.parameters.flat.shape == v.shape, bool(v @ hv.parameters.flat > 0)
    (True, True)
    """
    options: dict[str, Any] = {"lengths": lengths, "mask": mask, "reset": reset, "rng": rng}
    values, tangents = _named(x, h0, reset_state), _named(dx, dh0, d_reset_state)
    twin, inputs, step = _stepped("hvp", gru, values, tangents, dparameters)
    with _quiet():
        output, h_n, tape = twin.forward(**inputs, **options)
    d = _loss_gradients(loss_gradient, output, h_n)
    with _quiet():
        found = twin.backward(tape, *d)
    arrays: dict[str, Any] = {name: _tangent(a, step, gru) for name, a in found._asdict().items() if _is_array(a)}
    parameters = gru.parameters.like(_tangent(found.parameters.flat, step, gru))
    return found._replace(**arrays)._replace(parameters=parameters)


def _quiet() -> np.errstate:
    """A NaN that was given is no news, but complex division would report it."""
    return np.errstate(invalid="ignore")


def _named(x: Array | None, h0: Array | None, reset_state: Array | None) -> dict[str, Array | None]:
    return {"x": x, "h0": h0, "reset_state": reset_state}


_DIRECTIONS = {"x": "dx", "h0": "dh0", "reset_state": "d_reset_state"}


def _stepped(
    caller: str,
    gru: GRU,
    values: Mapping[str, Array | None],
    tangents: Mapping[str, Array | None],
    dparameters: Mapping[str, Array] | None,
) -> tuple[GRU, dict[str, Any], float]:
    """The GRU and its inputs in complex numbers, the tangents times a step as imaginary parts; and the step."""
    if gru.dtype == _COMPLEX:
        raise TypeError(f"{caller} needs a GRU of dtype float32 or float64; got complex128.")
    parameters = gru.parameters.like(None if dparameters is None else _flat(gru.parameters, dparameters))
    checked = {name: _checked(name, value, tangents[name], gru) for name, value in values.items()}
    largest = max((_largest(d) for _, d in checked.values()), default=0.0)
    step = _STEP / (max(largest, _largest(parameters.flat)) or 1.0)
    twin = copy.copy(gru)
    twin.dtype, twin.parameters = _COMPLEX, Parameters(gru.parameters.shapes, _COMPLEX)
    twin.flat[...] = _joined(gru.flat, parameters.flat, step)
    inputs = {name: None if v is None else _joined(v, d, step) for name, (v, d) in checked.items()}
    return twin, inputs, step


def _checked(name: str, value: Any, tangent: Any, gru: GRU) -> tuple[Array | None, Array | None]:
    """A value and its tangent, of the GRU's dtype and the same shape."""
    direction = _DIRECTIONS[name]
    if value is None and tangent is not None and name != "x":
        raise ValueError(f"{direction} needs {name}, whose direction it is; got {direction} alone.")
    if value is None and name != "x":
        return None, None
    why = "that is this GRU's dtype" if name == "x" else "x and the parameters are"
    value = _check.floating(name, value, gru.dtype, why)
    if tangent is not None:
        tangent = _check.floating(direction, tangent, gru.dtype, f"{name} is")
        _check.shaped(direction, tangent, value.shape, f"{name} has that shape")
    return value, tangent


def _flat(parameters: Parameters, named: Mapping[str, Array]) -> Array:
    """All tangents of the parameters as one vector, zeros where none is named."""
    result = parameters.like()
    _check.known_keys("dparameters", _check.mapping("dparameters", named), parameters)
    for name, value in named.items():
        own = f"dparameters[{name!r}]"
        value = _check.floating(own, value, parameters.dtype, "the parameters are")
        result[name][...] = _check.shaped(own, value, parameters.shapes[name], "the parameter has that shape")
    return result.flat


def _is_array(a: Any) -> bool:
    return isinstance(a, np.ndarray)


def _largest(a: Array | None) -> float:
    """The largest finite size in a, or 0."""
    return 0.0 if a is None else float(np.max(np.abs(a), initial=0.0, where=np.isfinite(a)))


def _joined(value: Array, tangent: Array | None, step: float) -> Array:
    result = np.asarray(value, _COMPLEX)
    if tangent is not None:
        result.imag = tangent.astype(np.float64) * step
    return result


def _tangent(value: Array, step: float, gru: GRU) -> Array:
    return (value.imag / step).astype(gru.dtype)


def _loss_gradients(loss_gradient: LossGradient, output: Array, h_n: Array) -> list[Array | None]:
    """What the loss says, checked: an array that lost its imaginary part would lose the loss's curvature."""
    pair: Any = loss_gradient(output, h_n)
    if not isinstance(pair, tuple) or len(pair) != 2:
        raise TypeError(f"loss_gradient must return a tuple (d_output, d_h_n); got {type(pair).__name__}.")
    why = "loss_gradient gets complex arrays, and their imaginary parts carry the curvature"
    return [
        None if value is None else _check.floating(name, value, _COMPLEX, why)
        for name, value in zip(("d_output", "d_h_n"), pair, strict=True)
    ]
