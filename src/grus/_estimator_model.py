"""What the estimators are made of: seed, scaling, model, optimiser, and their constructor's arguments as JSON."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from grus import _check, nn
from grus.activations import Activation

Array = np.ndarray[Any, np.dtype[Any]]
Rows = Array | list[Array]
DTYPES = ("float32", "float64")
POOLS = ("last", "mean", "max")
LEARNING_RATE = 0.01
_OF_THE_GRU = (
    "num_layers", "bidirectional", "reset_after", "formulation", "activation", "gate_activation", "clip", "blocks",
    "layer_norm", "dropout", "input_dropout", "recurrent_dropout", "weight_dropout", "zoneout", "learn_h0",
    "truncate", "gradient_clip", "init", "update_bias",
)  # fmt: skip
_SEEDS = 2**32  # how many seeds NumPy's RandomState, which draws scikit-learn's splits, takes


def as_seed(random_state: Any) -> int:
    """A seed: fresh where ``random_state`` is None, itself where that is a whole number, else drawn from it."""
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(_SEEDS, dtype=np.int64))
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(_SEEDS))
    if (seed := _check.size("random_state", random_state, 0)) >= _SEEDS:
        raise ValueError(f"random_state must be below 2**32; got {seed}.")
    return seed


# ---------------------------------------------------------------------------------------------------- scaling


def weighted_scaling(rows: Array, weight: Array) -> tuple[Array, Array]:
    """Mean and standard deviation (1 for a constant) of each column of rows (M, K), float64; weight is (M,)."""
    rows = rows.astype(np.float64, copy=False)
    exponent = np.frexp(np.abs(rows).max(axis=0))[1]
    unit = np.ldexp(rows, -exponent)  # exact, and within -1 ... 1: no square can overflow
    mean = weight @ unit / weight.sum()
    spread = np.ldexp(np.sqrt(weight @ (unit - mean) ** 2 / weight.sum()), exponent)
    constant = (rows == rows[0]).all(axis=0) | (spread == 0)
    return np.where(constant, rows[0], np.ldexp(mean, exponent)), np.where(constant, 1.0, spread)


def scaled(x: Rows, mean: Array, scale: Array, dtype: str) -> Rows:
    """(x - mean) / scale, in the model's dtype."""
    if isinstance(x, list):
        return [_scaled(f"X[{i}]", each, mean, scale, dtype) for i, each in enumerate(x)]
    return _scaled("X", x, mean, scale, dtype)


def _scaled(name: str, x: Array, mean: Array, scale: Array, dtype: str) -> Array:
    with np.errstate(over="ignore", invalid="ignore"):
        result = np.asarray((x - mean) / scale, dtype)
    advice = f"It was finite before it was standardised and converted to {dtype}: scale the features down."
    return _check.finite(name, result, advice)


# ---------------------------------------------------------------------------------------------------- classes


def class_weights(spec: Any, classes: Array, codes: Array, weight: Array) -> Array:
    """(K,) how much each class counts; ``codes`` (N,) is each sequence's class, ``weight`` (N,) what it counts."""
    if spec is None:
        return np.ones(len(classes))
    if isinstance(spec, str) and spec == "balanced":
        return np.asarray(weight.sum() / (len(classes) * np.bincount(codes, weight)))
    if not isinstance(spec, Mapping):
        raise ValueError(f"class_weight must be a dict, 'balanced' or None; got {spec!r}.")
    unnamed = [each for each in classes.tolist() if each not in spec]
    if unnamed and len(classes) - len(unnamed) != len(spec):  # a misspelt class: one too few, and one too many
        raise ValueError(f"class_weight must name classes of y, {classes.tolist()}; got {sorted(spec, key=str)}.")
    return np.array(
        [_check.non_negative(f"class_weight[{each!r}]", spec.get(each, 1.0)) for each in classes.tolist()]
    )


def encode_classes(classes: Array) -> dict[str, Any]:
    """Classes as JSON can hold them; :func:`decode_classes` reads it."""
    values = classes.tolist()
    if classes.dtype.kind not in "biufU" and not all(isinstance(value, str) for value in values):
        raise TypeError(f"classes must be text, whole numbers, numbers or booleans, to be saved; got {values}.")
    return {"dtype": "object" if classes.dtype.hasobject else classes.dtype.str, "values": values}


def decode_classes(config: Mapping[str, Any]) -> Array:
    """What :func:`encode_classes` was given."""
    return np.array(config["values"], dtype=np.dtype(config["dtype"]))


# ----------------------------------------------------------------------------------------------- model, optimiser


def build_model(settings: Mapping[str, Any], head: nn.Dense, seed: int) -> nn.Sequential:
    """GRU, Pool (unless the last state is what counts), Dropout and the head."""
    pool = _check.choice("pool", settings["pool"], POOLS)
    dtype = _check.dtype(settings["dtype"]).name
    options = {name: settings[name] for name in _OF_THE_GRU}
    gru = nn.GRU(_check.size("hidden_size", settings["hidden_size"]), sequences=pool != "last", **options)
    layers: list[nn.Layer] = [gru] if pool == "last" else [gru, nn.Pool(pool)]
    layers += [nn.Dropout(settings["dropout"])] if settings["dropout"] else []
    return nn.Sequential([*layers, head], dtype=_check.choice("dtype", dtype, DTYPES), seed=seed)


def build_optimiser(spec: Any, learning_rate: Any) -> nn.Optimiser:
    """A fresh optimiser: the one that is given belongs to the caller, and has a learning rate of its own."""
    if not isinstance(spec, nn.Optimiser):
        return nn.get_optimiser(spec, learning_rate)
    if learning_rate is not None and learning_rate != LEARNING_RATE:
        raise ValueError(
            f"learning_rate must be left at its default with {spec!r}, which has its own; got {learning_rate!r}."
        )
    return nn.Optimiser.from_config(spec.config())


# ----------------------------------------------------------------------------------------- arguments as JSON


def encode(name: str, value: Any) -> Any:
    """An argument of the constructor as JSON can hold it; :func:`decode` reads it."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (nn.Optimiser, nn.Schedule, Activation)):
        kind = next(kind for kind, cls in _OBJECTS.items() if isinstance(value, cls))
        return {"kind": kind, "value": value.config()}
    if isinstance(value, (tuple, list)):
        return {"kind": "tuple", "value": [encode(name, each) for each in value]}
    if isinstance(value, Mapping):
        return {"kind": "dict", "value": [[encode(name, k), encode(name, v)] for k, v in value.items()]}
    if isinstance(value, (np.random.RandomState, np.random.Generator)):
        return None  # its state has moved on since: there is nothing to come back to
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if name == "dtype":
        return _check.dtype(value).name
    raise TypeError(f"{name} must be something that a file can hold, to be saved; got {value!r}.")


def decode(value: Any) -> Any:
    """What :func:`encode` was given."""
    if not isinstance(value, Mapping):
        return value
    kind = _check.choice("kind of argument", value["kind"], (*_OBJECTS, "tuple", "dict"))
    if kind == "tuple":
        return tuple(decode(each) for each in value["value"])
    if kind == "dict":
        return {decode(k): decode(v) for k, v in value["value"]}
    return (
        _OBJECTS[kind].of(value["value"]) if kind == "activation" else _OBJECTS[kind].from_config(value["value"])
    )


_OBJECTS: dict[str, Any] = {"optimiser": nn.Optimiser, "schedule": nn.Schedule, "activation": Activation}
