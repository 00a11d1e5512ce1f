"""Layers by name, as model files know them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from grus import _check
from grus.nn._layer import Layer
from grus.nn.dense import Dense
from grus.nn.dropout import Dropout
from grus.nn.embedding import Embedding, OneHot
from grus.nn.gru import GRU
from grus.nn.grud import GRUD
from grus.nn.schedules import Schedule
from grus.nn.shape import Flatten, Pool

LAYERS: dict[str, type[Layer]] = {
    cls.__name__: cls for cls in (Dense, Dropout, Embedding, Flatten, GRU, GRUD, OneHot, Pool)
}


def layer_from_config(config: Mapping[str, Any]) -> Layer:
    """A layer from what its ``config()`` gave; sizes are not applied."""
    kind = _check.choice("kind of layer", config["kind"], LAYERS)
    options = dict(config["options"])
    if options.get("learning_rate") is not None:
        options["learning_rate"] = Schedule.from_config(options["learning_rate"])
    if "gate_activation" in options:
        options["gate_activation"] = tuple(options["gate_activation"])
    return LAYERS[kind](**options)
