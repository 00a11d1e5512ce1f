"""grus: the Gated Recurrent Unit for Python."""

from typing import TYPE_CHECKING, Any

from grus._engine import cpu_info, engine_name, instruction_set, num_threads, set_num_threads, use_engine
from grus._trace import Trace
from grus.activations import Activation
from grus.functional import GRUGradients, GRUParams, gru_backward, gru_forward
from grus.layer import GRU, Gradients, GRUOutput, GRUTraining

if TYPE_CHECKING:
    from grus import datasets, nn, report
    from grus._gradcheck import gradcheck
    from grus.estimators import GRUClassifier, GRURegressor
    from grus.io import load, save
    from grus.stream import Stream

__all__ = [
    "GRU",
    "Activation",
    "GRUClassifier",
    "GRUGradients",
    "GRUOutput",
    "GRUParams",
    "GRURegressor",
    "GRUTraining",
    "Gradients",
    "Stream",
    "Trace",
    "cpu_info",
    "datasets",
    "engine_name",
    "gradcheck",
    "gru_backward",
    "gru_forward",
    "instruction_set",
    "load",
    "nn",
    "num_threads",
    "report",
    "save",
    "set_num_threads",
    "use_engine",
]
_MODULES = ("datasets", "io", "nn", "report")
_FROM = {
    "GRUClassifier": "estimators",
    "GRURegressor": "estimators",
    "Stream": "stream",
    "gradcheck": "_gradcheck",
    "load": "io",
    "save": "io",
}


def __getattr__(name: str) -> Any:
    """What goes beyond the layer is imported when it is first asked for; then it stands here like the rest."""
    from importlib import import_module

    if name == "__version__":
        return import_module("importlib.metadata").version("grus")
    if name in _MODULES:
        return import_module(f"grus.{name}")
    if name not in _FROM:
        raise AttributeError(f"module 'grus' has no attribute {name!r}")
    globals()[name] = value = getattr(import_module(f"grus.{_FROM[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
