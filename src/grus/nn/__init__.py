"""Models around a GRU: layers, losses, optimisers, schedules, and training that survives a kill."""

from grus.nn._layer import Layer
from grus.nn.dense import Dense
from grus.nn.dropout import Dropout
from grus.nn.embedding import Embedding, OneHot
from grus.nn.fit import evaluate, fit
from grus.nn.gru import GRU
from grus.nn.grud import GRUD
from grus.nn.history import History
from grus.nn.losses import MAE, MSE, MSLE, BinaryCrossEntropy, CategoricalCrossEntropy, Loss, get_loss
from grus.nn.metrics import Metric, get_metric
from grus.nn.optimisers import SGD, Adam, AdamW, Optimiser, clip_global_norm, get_optimiser
from grus.nn.schedules import Constant, Cosine, ExpDecay, LinDecay, Schedule, get_schedule
from grus.nn.sequential import Sequential
from grus.nn.shape import Flatten, Pool

__all__ = [
    "GRU",
    "GRUD",
    "MAE",
    "MSE",
    "MSLE",
    "SGD",
    "Adam",
    "AdamW",
    "BinaryCrossEntropy",
    "CategoricalCrossEntropy",
    "Constant",
    "Cosine",
    "Dense",
    "Dropout",
    "Embedding",
    "ExpDecay",
    "Flatten",
    "History",
    "Layer",
    "LinDecay",
    "Loss",
    "Metric",
    "OneHot",
    "Optimiser",
    "Pool",
    "Schedule",
    "Sequential",
    "clip_global_norm",
    "evaluate",
    "fit",
    "get_loss",
    "get_metric",
    "get_optimiser",
    "get_schedule",
]
