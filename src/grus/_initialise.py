"""What the parameters of a GRU are at first: each gate's weights and biases by the name of an initialiser."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from grus import _check
from grus.parameters import Parameters, glorot_uniform, orthogonal

Array = np.ndarray[Any, np.dtype[Any]]
Shape = tuple[int, ...]
INITS: dict[str, dict[str, Any]] = {
    "orthogonal": {
        "weight_ih": "glorot_uniform", "weight_hh": "orthogonal", "bias_ih": "zeros", "bias_hh": "zeros",
    },
    "torch": {"weight_ih": "uniform", "weight_hh": "uniform", "bias_ih": "uniform", "bias_hh": "uniform"},
}  # fmt: skip
_OF_MATRICES: dict[str, Callable[[np.random.Generator, int, int], Array]] = {
    "orthogonal": orthogonal,
    "glorot_uniform": glorot_uniform,
    "identity": lambda _, rows, columns: np.eye(rows, columns),
}
_CONSTANTS = {"zeros": 0.0, "ones": 1.0}
_OF_ANY = ("uniform", *_CONSTANTS)


def checked_init(init: Any, bias: bool) -> str | dict[str, Any]:
    """``init`` as a configuration holds it: a name, or of each kind of parameter one initialiser or three."""
    if not isinstance(init, Mapping):
        return _check.choice("init", init, INITS)
    names = tuple(INITS["orthogonal"])
    _check.known_keys("init", init, names if bias else names[:2])
    return {name: _checked(name, spec) for name, spec in init.items()}


def _checked(name: str, spec: Any) -> Any:
    allowed = (*_OF_MATRICES, *_OF_ANY) if name.startswith("weight") else _OF_ANY
    name = f"init[{name!r}]"
    if not isinstance(spec, (tuple, list)):
        return _initialiser(name, spec, allowed)
    if len(spec) != 3:
        raise ValueError(f"{name} must be one initialiser or three, of r, z and n; got {len(spec)}.")
    return [_initialiser(name, each, allowed) for each in spec]


def _initialiser(name: str, spec: Any, allowed: tuple[str, ...]) -> str | float:
    return _check.choice(name, spec, allowed) if isinstance(spec, str) else _check.number(name, spec)


def initialise_gru(
    parameters: Parameters,
    rng: np.random.Generator,
    init: str | Mapping[str, Any],
    update_bias: float,
    blocks: int,
) -> None:
    """Fill in place, each gate by itself; what ``init`` does not name is as in "orthogonal".

    ``update_bias`` is added to the update gate's ``bias_ih``: above 0, the state is kept longer at first. Gains of
    layer normalisation are 1, learned first states 0.
    """
    given = INITS[init] if isinstance(init, str) else INITS["orthogonal"] | dict(init)
    for name, view in parameters.items():
        kind = name.rsplit("_l", 1)[0]
        if kind not in given:
            view[...] = 1 if kind.startswith("gain") else 0
            continue
        specs = given[kind] if isinstance(given[kind], (tuple, list)) else [given[kind]] * 3
        for gate, spec in zip(np.split(view, 3), specs, strict=True):
            gate[...] = _drawn(rng, spec, gate.shape, blocks if kind == "weight_hh" else 1)
        if kind == "bias_ih":
            np.split(view, 3)[1][...] += update_bias


def _drawn(rng: np.random.Generator, spec: str | float, shape: Shape, blocks: int) -> Array | float:
    """One gate's rows (H, I), or its blocks one below the other (H, H/blocks), or its biases (H,)."""
    if not isinstance(spec, str):
        return spec
    if spec in _CONSTANTS:
        return _CONSTANTS[spec]
    H = shape[0]
    if spec == "uniform":
        return rng.uniform(-1 / math.sqrt(H), 1 / math.sqrt(H), shape)
    return np.concatenate([_OF_MATRICES[spec](rng, H // blocks, shape[1]) for _ in range(blocks)])
