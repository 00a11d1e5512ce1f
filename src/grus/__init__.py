"""grus: the Gated Recurrent Unit for Python."""


from grus._engine import cpu_info, engine_name, use_engine
from grus.activations import Activation
from grus.functional import GRUGradients, GRUParams, gru_backward, gru_forward
from grus.gradcheck import gradcheck
from grus.layer import GRU, Gradients, GRUOutput, GRUTraining

__all__ = [
    "GRU",
    "Activation",
    "GRUGradients",
    "GRUOutput",
    "GRUParams",
    "GRUTraining",
    "Gradients",
    "cpu_info",
    "datasets",
    "engine_name",
    "gradcheck",
    "gru_backward",
    "gru_forward",
    "nn",
    "use_engine",
]
