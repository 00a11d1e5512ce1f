"""Keras' activation functions: what each computes, and ours that is the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from grus.activations import Activation
from grus.conversion import formulas
from grus.conversion.errors import ConversionError

Array = np.ndarray[Any, np.dtype[Any]]


class Known(NamedTuple):
    """One of Keras' activations."""

    name: str
    ours: Activation
    formula: Callable[[Array], Array]  # as Keras writes it, without grus


def _leaky(slope: float) -> Callable[[Array], Array]:
    return lambda a: np.where(a < 0, slope * a, a)


def _elu(alpha: float) -> Callable[[Array], Array]:
    return lambda a: np.where(a < 0, alpha * np.expm1(np.minimum(a, 0)), a)


_ROWS = (
    Known("linear", Activation("identity"), lambda a: a),
    Known("tanh", Activation("tanh"), np.tanh),
    Known("sigmoid", Activation("sigmoid"), formulas.sigmoid),
    Known("hard_sigmoid", Activation("hard_sigmoid"), lambda a: np.clip(a / 6 + 0.5, 0, 1)),
    Known("hard_sigmoid_keras2", Activation("hard_sigmoid_keras2"), lambda a: np.clip(0.2 * a + 0.5, 0, 1)),
    Known("relu", Activation("relu"), lambda a: np.maximum(a, 0)),
    Known("leaky_relu", Activation("leaky_relu", alpha=0.2), _leaky(0.2)),
    Known("elu", Activation("elu"), _elu(1.0)),
    Known("celu", Activation("elu"), _elu(1.0)),  # with its default alpha, all that a name can say, it is elu
    Known("softplus", Activation("softplus"), lambda a: np.logaddexp(a, 0)),
    Known("softsign", Activation("softsign"), lambda a: a / (1 + np.abs(a))),
    Known("hard_tanh", Activation("identity", clip=1.0), lambda a: np.clip(a, -1, 1)),
)
NAMED = {row.name: row for row in _ROWS}


def known(spec: Any, where: str, keras: int | None = 3) -> Known:
    """The activation that a configuration names.

    Parameters
    ----------
    spec : None, str or mapping
        As Keras' ``serialize`` writes it: a function's name, or a layer of class LeakyReLU, ELU, ReLU,
        ThresholdedReLU or Activation.
    where : str
        Whose it is, for the message.
    keras : int, optional
        The major version that wrote it: ``hard_sigmoid`` is another function in 2 than in 3.

    Raises
    ------
    ConversionError
        grus has no such activation, or it can't be told which is meant.
    """
    if spec is None:
        return NAMED["linear"]
    if isinstance(spec, Mapping):
        return _of_layer(spec, where, keras)
    if spec == "hard_sigmoid" and keras is None:
        raise ConversionError(
            f"{where} is 'hard_sigmoid', and the file does not say which Keras wrote it: it is 0.2x + 0.5 in "
            "Keras 2, x/6 + 0.5 in Keras 3. Pass 'hard_sigmoid_keras2' or 'hard_sigmoid' for it."
        )
    name = "hard_sigmoid_keras2" if spec == "hard_sigmoid" and keras == 2 else spec
    if not isinstance(name, str) or name not in NAMED:
        raise ConversionError(
            f"{where} is {spec!r}, which grus has not, or which is not Keras' own: it takes {', '.join(NAMED)}."
        )
    return NAMED[name]


def builtin(entry: Mapping[str, Any]) -> bool:
    """Keras' own class, not one of a user that has the same name; files of Keras 2 say neither."""
    module, name = str(entry.get("module") or "keras"), str(entry.get("registered_name") or "")
    return module.split(".")[0] in ("keras", "tf_keras") and ">" not in name  # registered by a user: package>name


def _of_layer(spec: Mapping[str, Any], where: str, keras: int | None) -> Known:
    """A layer used as an activation."""
    kind, config = spec.get("class_name"), spec.get("config")
    config = config if builtin(spec) and isinstance(config, Mapping) else {}
    try:
        if kind == "Activation" and "activation" in config:
            return known(config["activation"], where, keras)
        if kind == "LeakyReLU":  # Keras 2 calls it alpha
            return _sloped(float(config["negative_slope" if "negative_slope" in config else "alpha"]))
        if kind == "ELU":
            return Known("ELU", Activation("elu", alpha=float(config["alpha"])), _elu(float(config["alpha"])))
        if kind == "ThresholdedReLU":
            return _thresholded(float(config["theta"]))
        if kind == "ReLU" and config["max_value"] is None:
            return _relu(float(config["negative_slope"] or 0), float(config["threshold"] or 0))
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, ConversionError):
            raise
        raise ConversionError(f"{where} is a layer {kind!r} with settings that grus has not ({error}).") from None
    raise ConversionError(
        f"{where} is {kind!r} with {config or spec.get('config')}, which is not one of Keras' activations that "
        f"grus has: {', '.join(NAMED)}, or a layer LeakyReLU, ELU, ReLU without max_value, ThresholdedReLU."
    )


def _relu(slope: float, threshold: float) -> Known:
    if slope and threshold:
        raise ValueError(f"negative_slope={slope:g} and threshold={threshold:g} together")
    return _thresholded(threshold) if threshold else _sloped(slope)


def _sloped(slope: float) -> Known:
    return Known("LeakyReLU", Activation("leaky_relu", alpha=slope), _leaky(slope)) if slope else NAMED["relu"]


def _thresholded(theta: float) -> Known:
    ours = Activation("thresholded_relu", alpha=theta)
    return Known("ReLU", ours, lambda a: np.where(a > theta, a, 0))


def written(activation: Activation, argument: str) -> tuple[str, dict[str, float]]:
    """The name of Keras' function, or of its layer with the layer's settings, that is this activation."""
    for row in _ROWS:
        if row.ours == activation and row.name != "hard_sigmoid_keras2":
            return row.name, {}
    if activation.clip is None and activation.name in ("leaky_relu", "elu", "thresholded_relu"):
        alpha = activation.parameters["alpha"]
        return {
            "leaky_relu": ("LeakyReLU", {"negative_slope": alpha}),
            "elu": ("ELU", {"alpha": alpha}),
            "thresholded_relu": ("ReLU", {"threshold": alpha}),
        }[activation.name]
    reason = " (its hard_sigmoid is x/6 + 0.5; 0.2x + 0.5 was Keras 2's)"
    raise ConversionError(
        f"Keras has no activation that is this GRU's {argument}, {activation!r}"
        f"{reason if activation.name == 'hard_sigmoid' else ''}."
    )
