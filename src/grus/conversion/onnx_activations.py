"""A GRU's activations and clip as the attributes of an ONNX node, and back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from grus.activations import Activation
from grus.conversion.errors import ConversionError
from grus.layer import GRU

# ONNX's name, ours, which lists of the node hold its parameters, and the operator's default where it has one.
_ROWS: tuple[tuple[str, str, dict[str, float | None]], ...] = (
    ("Relu", "relu", {}),
    ("Tanh", "tanh", {}),
    ("Sigmoid", "sigmoid", {}),
    ("Affine", "affine", {"alpha": None, "beta": None}),
    ("LeakyRelu", "leaky_relu", {"alpha": 0.01}),
    ("ThresholdedRelu", "thresholded_relu", {"alpha": 1.0}),
    ("ScaledTanh", "scaled_tanh", {"alpha": None, "beta": None}),
    ("HardSigmoid", "hard_sigmoid", {"alpha": 0.2, "beta": 0.5}),
    ("Elu", "elu", {"alpha": 1.0}),
    ("Softsign", "softsign", {}),
    ("Softplus", "softplus", {}),
)
_THEIRS = {ours: theirs for theirs, ours, _ in _ROWS}
_BY_NAME = {theirs.lower(): (ours, takes) for theirs, ours, takes in _ROWS}
_IDENTITY = Activation("affine", alpha=1.0, beta=0.0)


def attributes_of(gru: GRU, dtype: str, allow_cast: bool = False) -> dict[str, Any]:
    """``activations``, ``activation_alpha``, ``activation_beta`` and ``clip``, for each direction.

    Parameters are written for every function that has some: ONNX Runtime takes 0 for those that are not there. A
    node holds them as float32, so those of a float64 graph must be float32 numbers, or ``allow_cast`` rounds them.
    """
    form = gru.formulation
    if form.reset_activation != form.update_activation:
        raise ConversionError(
            f"ONNX has one activation for the reset and the update gate; this GRU has {form.reset_activation} and "
            f"{form.update_activation}."
        )
    both = [_named(form.update_activation), _named(form.activation)] * gru.directions
    given: dict[str, Any] = {"activations": [_THEIRS[each.name] for each in both]}
    for key in ("alpha", "beta"):
        numbers = [each.parameters[key] for each in both if key in each.parameters]
        if numbers:
            given[f"activation_{key}"] = [_single(key, number, dtype, allow_cast) for number in numbers]
    if form.activation.clip is not None:
        given["clip"] = _single("clip", form.activation.clip, dtype, allow_cast)
    return given


def _named(activation: Activation) -> Activation:
    return _IDENTITY if activation.name == "identity" else activation


def _single(name: str, number: float, dtype: str, allow_cast: bool) -> float:
    rounded = float(np.float32(number))
    if dtype == "float64" and rounded != number and not allow_cast:
        raise ConversionError(
            f"ONNX holds {name} as float32 and this float64 GRU's is {number!r}: digits would be lost. Pass "
            f"allow_cast=True to round it to {rounded!r}."
        )
    return rounded


def activations_from(
    node: str, attributes: dict[str, Any], directions: int, dtype: str
) -> tuple[Activation, Activation]:
    """Those of the gates and of the new gate, by ONNX's rule: each takes what it needs, in their order.

    Where the lists end, the rest have their operators' defaults; where those have none, that is refused.
    """
    names = list(attributes.get("activations", ("Sigmoid", "Tanh") * directions))
    if len(names) != 2 * directions:
        raise ConversionError(
            f"activations of {node} must be {2 * directions} names, {directions} direction(s) of two; got "
            f"{len(names)}."
        )
    lists = {key: list(attributes.get(f"activation_{key}", ())) for key in ("alpha", "beta")}
    left = {key: iter(values) for key, values in lists.items()}
    of = [_activation(node, name, left, dtype) for name in names]
    for key, rest in left.items():
        if extra := len(list(rest)):
            raise ConversionError(
                f"activation_{key} of {node} has {len(lists[key])} numbers, {extra} more than its activations "
                f"{', '.join(names)} take."
            )
    if of[:2] * directions != of:
        raise ConversionError(
            f"the directions of {node} have different activations: {_text(of[:2])} and {_text(of[2:])}. grus.GRU "
            "has the same in both."
        )
    return of[0], of[1]


def _text(of: Sequence[Activation]) -> str:
    return ", ".join(map(repr, of))


def _activation(node: str, name: str, left: dict[str, Iterator[float]], dtype: str) -> Activation:
    if name.lower() not in _BY_NAME:
        raise ConversionError(
            f"{node} has the activation {name!r}; ONNX's GRU knows {', '.join(row[0] for row in _ROWS)}."
        )
    ours, takes = _BY_NAME[name.lower()]
    parameters = {}
    for key, default in takes.items():
        value = next(left[key], default)
        if value is None:
            raise ConversionError(
                f"{node} has the activation {name} without its {key}, for which ONNX has no default: write "
                f"activation_{key}."
            )
        parameters[key] = number_of(value, dtype)
    try:
        return Activation(ours, **parameters)
    except ValueError as error:
        raise ConversionError(f"grus has no such {name} as that of {node}: {error}") from error


def number_of(value: float, dtype: str) -> float:
    """A node's float32 as float64; in a float32 graph as the simplest number that it can be the rounding of."""
    single = np.float32(value)
    simple = float(Fraction(float(single)).limit_denominator(1000)) if np.isfinite(single) else float(single)
    return simple if dtype == "float32" and np.float32(simple) == single else float(single)


def rounded(gru: GRU) -> GRU:
    """The GRU with alpha, beta and clip as a node holds them, which is the same in float32."""
    config = gru.config()
    singles = {"alpha", "beta", "clip"}

    def single(of: dict[str, Any]) -> dict[str, Any]:
        return {key: float(np.float32(value)) if key in singles else value for key, value in of.items()}

    new, gates = single(config["activation"]), [single(each) for each in config["gate_activation"]]
    clip = None if gru.clip is None else float(np.float32(gru.clip))
    twin = GRU.from_config(config | {"activation": new, "gate_activation": gates, "clip": clip}, seed=0)
    twin.flat[...] = gru.flat
    return twin
