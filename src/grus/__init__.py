"""grus: the Gated Recurrent Unit for Python."""

from typing import TYPE_CHECKING, Any

from grus import datasets, nn, report
from grus._engine import cpu_info, engine_name, instruction_set, num_threads, set_num_threads, use_engine
from grus.activations import Activation
from grus.functional import GRUGradients, GRUParams, gru_backward, gru_forward
from grus.gradcheck import gradcheck
from grus.io import load, save
from grus.layer import GRU, Gradients, GRUOutput, GRUTraining

if TYPE_CHECKING:
    from grus.estimators import GRUClassifier, GRURegressor

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


def __getattr__(name: str) -> Any:
    """scikit-learn is imported only when an estimator is asked for."""
    if name in ("GRUClassifier", "GRURegressor"):
        from grus import estimators

        return getattr(estimators, name)
    if name == "__version__":
        from importlib.metadata import version

        return version("grus")
    raise AttributeError(f"module 'grus' has no attribute {name!r}")
