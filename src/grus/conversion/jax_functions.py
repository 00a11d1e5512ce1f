"""Between grus' activations and JAX's functions."""

from __future__ import annotations

from functools import partial
from typing import Any

from grus.activations import Activation
from grus.conversion.errors import ConversionError
from grus.conversion.jax_cells import Functions
from grus.conversion.jax_side import library
from grus.layer import GRU

# Ours, JAX's, and what JAX calls our parameters, whose defaults are the same; hard_sigmoid's are fixed there.
_TABLE: dict[str, tuple[str, dict[str, str]]] = {
    "identity": ("identity", {}),
    "tanh": ("tanh", {}),
    "sigmoid": ("sigmoid", {}),
    "relu": ("relu", {}),
    "leaky_relu": ("leaky_relu", {"alpha": "negative_slope"}),
    "elu": ("elu", {"alpha": "alpha"}),
    "softsign": ("soft_sign", {}),
    "hard_sigmoid": ("hard_sigmoid", {}),
    "softplus": ("softplus", {}),
}


def function_of(activation: Activation) -> Any:
    """JAX's function for ours."""
    theirs, renamed = _TABLE.get(activation.name, ("", {}))
    default = Activation(activation.name)
    if not theirs or (not renamed and activation.parameters != default.parameters):
        raise ConversionError(f"JAX has no function for {activation!r}; it has {', '.join(_TABLE)}.")
    function = getattr(library("jax.nn", "jax"), theirs)
    if activation.parameters == default.parameters:
        return function
    return partial(function, **{renamed[key]: value for key, value in activation.parameters.items()})


def functions_of(gru: GRU, target: str) -> Functions:
    """Those of the new gate and of the two others, which must share one."""
    form = gru.formulation
    if form.reset_activation != form.update_activation:
        raise ConversionError(
            f"{target} has one function for the reset and the update gate; this GRU has "
            f"{form.reset_activation!r} and {form.update_activation!r}."
        )
    return function_of(form.activation), function_of(form.update_activation)


def activation_of(function: Any, argument: str) -> Activation:
    """Ours for JAX's function, told by identity."""
    nn = library("jax.nn", "jax")
    inner, given = (function.func, function.keywords) if isinstance(function, partial) else (function, {})
    for ours, (theirs, renamed) in _TABLE.items():
        if inner is getattr(nn, theirs) and set(given) <= set(renamed.values()):
            names = {value: key for key, value in renamed.items()}
            return Activation(ours, **{names[key]: float(value) for key, value in given.items()})
    raise ConversionError(
        f"the cell's function {getattr(function, '__name__', function)} is not one that grus knows. If it is one "
        f"under another name, pass {argument}= and the self-check will tell."
    )
