"""Every error of ``grus.nn`` and its files, by what a user does wrong, with what the message must say."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import pytest
import safetensors.numpy

import grus
from grus import nn
from grus._files import read_tensors

SOURCE = Path(nn.__file__).parent
FILES = [
    *(SOURCE / f"{name}.py" for name in (
        "_checkpoint", "_chunks", "_data", "_layer", "_progress", "_registry", "_scores", "_summary", "_targets",
        "_trainer", "dense", "dropout", "embedding", "fit", "gru", "grud", "history", "sequential", "shape",
    )),
    SOURCE.parent / "_files.py",
]  # fmt: skip

X = np.random.default_rng(0).standard_normal((6, 5, 3))
Y = np.arange(6) % 2
LETTERS = np.array([list("GATTA"), list("CAGGA")])
WRONG = np.where(X > 1, np.nan, X)
TIMED = np.concatenate(
    [X, np.broadcast_to(np.arange(5.0)[:, None], (6, 5, 1))], axis=2
)  # the last feature is a time


class Case(NamedTuple):
    """What is done (in an empty folder), and the error that must come."""

    act: Callable[[Path], Any]
    error: type[BaseException]
    message: str


def classifier(*below: nn.Layer) -> nn.Sequential:
    return nn.Sequential([*below, nn.GRU(4), nn.Dense(2, "softmax")], seed=0)


def regressor() -> nn.Sequential:
    return nn.Sequential([nn.GRU(4), nn.Dense(1)], seed=0)


def stepwise() -> nn.Sequential:
    return nn.Sequential([nn.GRU(4, sequences=True), nn.Dense(2, "softmax")], seed=0)


def fit(x: Any = X, y: Any = Y, model: nn.Sequential | None = None, **settings: Any) -> nn.History:
    settings = {"loss": "categorical_crossentropy", "epochs": 2, "seed": 0, **settings}
    return (model or classifier()).fit(x, y, **settings)


def refuse(
    x: Any = X, y: Any = Y, error: type[BaseException] = ValueError, message: str = "", **changes: Any
) -> Case:
    """A call of fit that must not be accepted."""
    return Case(lambda _: fit(x, y, **changes), error, message)


def built(model: nn.Sequential | None = None, x: Any = X) -> nn.Sequential:
    return (model or classifier()).build(x)


def rewritten(folder: Path, metadata: dict[str, str] | None) -> nn.History:
    """Go on from a checkpoint whose metadata were replaced."""
    path = folder / "c"
    fit(checkpoint=path, epochs=1)
    arrays, _ = read_tensors(path, "checkpoint")
    safetensors.numpy.save_file(arrays, path, metadata)
    return fit(checkpoint=path, resume=True)


def other_format(folder: Path, **changes: Any) -> nn.History:
    path = folder / "c"
    fit(checkpoint=path, epochs=1)
    text = json.loads(read_tensors(path, "checkpoint")[1]["grus_checkpoint"])
    return rewritten(folder, {"grus_checkpoint": json.dumps(text | changes)})


def resumed_as(folder: Path, **changes: Any) -> nn.History:
    fit(checkpoint=folder / "c", epochs=1)
    return fit(checkpoint=folder / "c", resume=True, **changes)


def cut_short(folder: Path) -> nn.History:
    fit(checkpoint=folder / "c", epochs=1)
    (folder / "c").write_bytes((folder / "c").read_bytes()[:-5])
    return fit(checkpoint=folder / "c", resume=True)


def resumed_from_a_folder(folder: Path) -> nn.History:
    (folder / "c").mkdir()
    return fit(checkpoint=folder / "c", resume=True)


class Deaf(nn.Layer):
    """A layer of one's own that lets no gradient through."""

    def forward(self, x: np.ndarray, context: Any) -> tuple[np.ndarray, Any]:
        return x, None

    def backward(self, tape: Any, dy: np.ndarray, gradients: Any) -> None:
        return None


class Total(Deaf):
    """A layer of one's own that gives a single number for each row."""

    def forward(self, x: np.ndarray, context: Any) -> tuple[np.ndarray, Any]:
        return x.sum(axis=(1, 2)), None


def backward_through(model: nn.Sequential) -> Any:
    output, tape = model.forward(X.astype(np.float32))
    return model.backward(tape, output)


def second_model(_: Path) -> nn.Sequential:
    layers = [nn.GRU(2)]
    nn.Sequential(layers).build(X)
    return nn.Sequential(layers).build(X)


INPUTS = {
    "a number": refuse(5.0, error=TypeError, message="x must be an array, or a list with .*; got float"),
    "nothing": refuse(None, error=TypeError, message="x must be an array, .* got NoneType"),
    "a generator": refuse((x for x in X), error=TypeError, message="x must be an array, .* got generator"),
    "a text": refuse("GATTA", error=TypeError, message="x must be an array, .* got str"),
    "no rows": refuse(X[:0], Y[:0], message="x must hold at least one sequence; got none"),
    "an empty list": refuse([], [], message="x must hold at least one sequence; got none"),
    "no axes": refuse(np.array(1.0), message=r"x must have shape \(N, T, \.\.\.\), one row for each .*; got \(\)"),
    "one axis": refuse(X[:, 0, 0], message=r"x must have shape \(N, T, \.\.\.\), .*; got \(6,\)"),
    "two axes": refuse(X[:, 0], message=r"layer 1 \(gru_1\): GRU needs an input of shape \(B, T, features\)"),
    "four axes": refuse(X[None], Y[:1], message=r"layer 1 \(gru_1\): GRU needs .*; got \(1, 6, 5, 3\)"),
    "float16": refuse(X.astype(np.float16), error=TypeError, message="x must hold float32, float64 or whole"),
    "complex": refuse(X + 0j, error=TypeError, message="x must hold float32.*; got dtype complex128"),
    "booleans": refuse(X > 0, error=TypeError, message="x must hold float32.*; got dtype bool"),
    "strings": refuse(LETTERS, Y[:2], error=TypeError, message="x must hold float32.*; got dtype <U1"),
    "objects": refuse(
        np.array(["GA", "TT"], object),
        Y[:2],
        error=TypeError,
        message=r"x\[0\] must hold float32.*; got dtype <U2",
    ),
    "a table of objects": refuse(X.astype(object), error=TypeError, message="x must hold .*; got dtype object"),
    "a list of numbers": refuse(
        [1.0, 2.0], Y[:2], message=r"x\[0\] must be a sequence, of shape \(T, \.\.\.\); got"
    ),
    "widths that differ": refuse(
        [X[0], X[1, :, :2]],
        Y[:2],
        message=r"x\[1\] must have shape \(T, 3\) because x\[0\] has that; got \(5, 2\)",
    ),
    "ranks that differ": refuse([X[0], X[1, 0]], Y[:2], message=r"x\[1\] must have shape \(T, 3\) .*; got \(3,\)"),
    "rows that differ": refuse([[[1, 2], [3]]], Y[:1], message=r"x\[0\] must be an array; got a list whose rows"),
    "NaN": refuse(
        WRONG,
        message=r"x must be finite; got 18 NaN .*, the first at \(0, 2, 0\)\. Fill them in, .* begin with GRUD",
    ),
    "NaN in a list": refuse(list(WRONG), message=r"x\[0\] must be finite; got 1 NaN .* the first at \(2, 0\)"),
    "too large for float32": refuse(X * 1e300, message="x must be finite; got 90 NaN or infinite values"),
    "floats for symbols": refuse(
        X[..., 0],
        error=TypeError,
        model=classifier(nn.OneHot()),
        message="x must hold whole numbers or characters",
    ),
    "other width at predict": Case(
        lambda _: built().predict(X[..., :2]),
        ValueError,
        r"layer 1 \(gru_1\): x must have shape \(B, T, 3\) because input_size is 3; got \(6, 5, 2\)",
    ),
    "no rows at predict": Case(lambda _: built().predict(X[:0]), ValueError, "x must hold at least one sequence"),
    "no rows at a call": Case(lambda _: built()([]), ValueError, "x must hold at least one sequence"),
    "float16 at predict": Case(lambda _: built().predict(X.astype("f2")), TypeError, "got dtype float16"),
    "NaN at evaluate": Case(
        lambda _: built().evaluate(WRONG, Y, loss="mse"), ValueError, "x must be finite; got 18 NaN"
    ),
    "lengths beyond x": Case(
        lambda _: built()(X, lengths=[1, 2, 3, 4, 5, 6]),
        ValueError,
        r"lengths must be in 0 \.\.\. 5 \(the steps of x\); got 6 in row 5",
    ),
    "negative lengths": Case(
        lambda _: built()(X, lengths=[5, -1, 5, 5, 5, 5]), ValueError, r"0 \.\.\. 5 .*; got -1 in row 1"
    ),
    "too few lengths": Case(
        lambda _: built()(X, lengths=[5] * 5), ValueError, r"lengths must have shape \(6,\) because x holds 6"
    ),
    "lengths with a fraction": Case(
        lambda _: built()(X, lengths=[5.0] * 6), TypeError, "lengths must be whole numbers; got dtype float64"
    ),
    "lengths beyond x in training": Case(
        lambda _: built().forward(X, [6] * 6), ValueError, r"lengths must be in 0 \.\.\. 5"
    ),
}

TARGETS = {
    "too few": refuse(y=Y[:5], message="y must hold one entry for each of the 6 rows of x; got 5"),
    "none": refuse(y=None, error=TypeError, message="y must hold numbers; got dtype object"),
    "texts": refuse(
        y=list("abcabc"),
        error=TypeError,
        message=r"y must hold numbers; got dtype <U1\. Classes go in as 0 \.\.\. K-1",
    ),
    "complex": refuse(y=np.eye(2)[Y] * 1j, error=TypeError, message="y must hold numbers; got dtype complex128"),
    "rows that differ": refuse(y=[[1], [1, 2], *[[1]] * 4], message="y must be an array; got a list whose rows"),
    "a class too many": refuse(
        y=Y + 1,
        message=r"y must hold class indices in 0 \.\.\. 1, because the model has 2 outputs; got 1 \.\.\. 2",
    ),
    "a negative class": refuse(y=Y - 1, message=r"class indices in 0 \.\.\. 1, .* got -1 \.\.\. 0"),
    "classes as floats": refuse(
        y=Y * 1.0, message=r"y must have shape \(N, 2\) because the model's output .* \(2,\)"
    ),
    "outputs too many": refuse(y=np.ones((6, 3)), message=r"y must have shape \(N, 2\) .*; got \(6, 3\)"),
    "NaN": refuse(
        y=np.where(Y, np.nan, 1),
        model=regressor(),
        loss="mse",
        message=r"y must be finite; got 3 NaN .*, the first at \(1, 0\)\. Leave out rows without a target",
    ),
    "too large for float32": refuse(y=Y * 1e300, model=regressor(), loss="mse", message="y must be finite; got 3"),
    "steps too few": refuse(
        y=np.zeros((6, 4), int), model=stepwise(), message=r"y\[0\] must hold 5 steps because x\[0\] does; got 4"
    ),
    "steps too many for a short row": refuse(
        [X[0], X[1, :3]], np.zeros((2, 5), int), model=stepwise(), message=r"y\[1\] must hold 3 steps .*; got 5"
    ),
    "steps too few in a list": refuse(
        [X[0], X[1, :3]],
        [np.zeros(5, int), np.zeros(2, int)],
        model=stepwise(),
        message=r"y\[1\] must hold 3 .* got 2",
    ),
    "a class too many in a list": refuse(
        [X[0]], [np.full(5, 2)], model=stepwise(), message=r"y\[0\] must hold class indices in 0 \.\.\. 1"
    ),
    "not a probability": refuse(
        y=np.eye(2)[Y] * 2, message="target must be in .0, 1. for categorical_crossentropy"
    ),
    "weights too few": refuse(
        sample_weight=np.ones(5),
        message=r"sample_weight must have shape \(6,\) because x holds 6 sequences; got \(5,\)",
    ),
    "negative weights": refuse(sample_weight=-np.ones(6), message="sample_weight must be finite and at least 0"),
    "NaN weights": refuse(sample_weight=np.full(6, np.nan), message="sample_weight must be finite and at least 0"),
    "zero weights": refuse(sample_weight=np.zeros(6), message="at least 0, and not all 0"),
    "weights of text": refuse(
        sample_weight=list("abcdef"), error=TypeError, message="sample_weight must hold numbers; got dtype <U1"
    ),
}

SETTINGS = {
    "loss": refuse(loss="mes", message=r"loss must be one of mse, .*; got 'mes'\. Did you mean 'mse'\?"),
    "loss of another type": refuse(loss=3, error=TypeError, message="loss must be a name or a Loss; got int"),
    "optimiser": refuse(
        optimiser="adm", message=r"optimiser must be one of .*; got 'adm'\. Did you mean 'adam'\?"
    ),
    "optimiser of another type": refuse(optimiser=3, error=TypeError, message="optimiser must be a name or an"),
    "two learning rates": refuse(
        optimiser=nn.SGD(), learning_rate=0.1, error=TypeError, message="learning_rate must be None with SGD"
    ),
    "learning rate": refuse(learning_rate=-1, message="learning_rate must be above 0; got -1"),
    "metric": refuse(
        metrics=["accurac"], message=r"metric must be one of .*; got 'accurac'\. Did you mean 'accuracy'\?"
    ),
    "metrics as a text": refuse(
        metrics="accuracy", error=TypeError, message=r"metrics must be a list of names; .* Pass \['accuracy'\]"
    ),
    "monitor": refuse(
        monitor="val_los",
        validation_fraction=0.5,
        message=r"monitor must be one of loss, val_loss; got 'val_los'\. Did you mean 'val_loss'\?",
    ),
    "monitor of what is not measured": refuse(monitor="val_loss", message=r"monitor must be one of loss; got"),
    "epochs": refuse(epochs=0, message="epochs must be at least 1; got 0"),
    "batch size": refuse(batch_size=2.5, error=TypeError, message="batch_size must be a whole number; got 2.5"),
    "chunk": refuse(chunk=0, message="chunk must be at least 1; got 0"),
    "chunk of evaluate": Case(
        lambda _: built().evaluate(X, Y, loss="mse", chunk=2.5), TypeError, "chunk must be a whole number; got 2.5"
    ),
    "chunks of a bidirectional GRU": refuse(
        chunk=2,
        model=nn.Sequential([nn.GRU(2, bidirectional=True), nn.Dense(2, "softmax")]),
        message=r"chunk must be None because of layer 1 \(gru_1\): its reverse direction begins at each "
        r"sequence's end\. Use bidirectional=False",
    ),
    "chunks of a mean": refuse(
        chunk=2,
        model=nn.Sequential([nn.GRU(2, sequences=True), nn.Pool("mean"), nn.Dense(2, "softmax")]),
        message=r"because of layer 2 \(pool_1\): the mean needs all steps of a sequence at once\. Use the last",
    ),
    "flattened chunks": refuse(
        chunk=2,
        model=nn.Sequential([nn.GRU(2, sequences=True), nn.Flatten(), nn.Dense(2, "softmax")]),
        message=r"because of layer 2 \(flatten_1\): Flatten needs all steps .*\. Use GRU with sequences=False",
    ),
    "chunks of a layer of one's own": refuse(
        chunk=2,
        model=nn.Sequential([Deaf(), nn.GRU(2), nn.Dense(2, "softmax")]),
        message=r"layer 1 \(deaf_1\): whether Deaf can work on parts of a sequence is not known: see Layer\.",
    ),
    "patience": refuse(patience=0, message="patience must be at least 1; got 0"),
    "checkpoint_every": refuse(checkpoint_every=0, message="checkpoint_every must be at least 1; got 0"),
    "clip_norm": refuse(clip_norm=0, message="clip_norm must be above 0; got 0"),
    "shuffle": refuse(shuffle="yes", error=TypeError, message="shuffle must be True or False; got 'yes'"),
    "group_by_length": refuse(group_by_length=1, error=TypeError, message="group_by_length must be True or False"),
    "reduction": refuse(reduction="avg", message="reduction must be one of mean, sum; got 'avg'"),
    "seed": refuse(seed=-1, message="seed must be at least 0; got -1"),
    "seed as a text": refuse(seed="a", error=TypeError, message="seed must be a whole number; got 'a'"),
    "progress": refuse(progress="yes", message="progress must be True, False or 'auto'; got 'yes'"),
    "callbacks": refuse(
        callbacks=print, error=TypeError, message=r"callbacks must be a list of functions of \(model, epoch, row\)"
    ),
    "a callback": refuse(
        callbacks=[print, 3], error=TypeError, message=r"callbacks must .*; got \[<built-in .*, 3\]"
    ),
    "validation data": refuse(
        validation_data=(X,), message=r"validation_data must be \(x, y\) or \(x, y, sample_weight\); got 1 parts"
    ),
    "validation twice": refuse(
        validation_data=(X, Y), validation_fraction=0.5, message="validation_data or validation_fraction, not both"
    ),
    "validation of nothing": refuse(
        validation_fraction=0.01,
        message=r"validation_fraction 0\.01 of 6 sequences leaves 0 to measure on and 6 to train on; both need",
    ),
    "training on nothing": refuse(validation_fraction=0.99, message="leaves 6 to measure on and 0 to train on"),
    "validation fraction": refuse(
        validation_fraction=1, message="validation_fraction must be at least 0 and below 1"
    ),
    "validation of another width": refuse(
        validation_data=(X[..., :2], Y), message=r"layer 1 \(gru_1\): x must have shape \(B, T, 3\)"
    ),
    "warm-up": refuse(learning_rate=nn.Cosine(0.1, warmup=2), message="warmup must be below the 2 epochs"),
    "batch size of evaluate": Case(
        lambda _: built().evaluate(X, Y, loss="mse", batch_size=0),
        ValueError,
        "batch_size must be at least 1; got 0",
    ),
    "batch size of predict": Case(
        lambda _: built().predict(X, batch_size=0), ValueError, "batch_size must be at least 1; got 0"
    ),
}

MODELS = {
    "no layers": Case(lambda _: nn.Sequential([]), ValueError, "layers must hold at least one layer; got none"),
    "not a layer": Case(
        lambda _: nn.Sequential([nn.Dense(1), grus.GRU(1, 2)]),
        TypeError,
        r"layers\[1\] must be a layer of grus\.nn; got GRU",
    ),
    "a class": Case(
        lambda _: nn.Sequential([nn.Flatten]),
        TypeError,
        r"layers\[0\] must be a layer of grus\.nn; got ABCMeta",
    ),
    "names": Case(
        lambda _: nn.Sequential([nn.Dense(1, name="a"), nn.GRU(1, name="a")]),
        ValueError,
        "each layer needs a name of its own; 'a' stands 2 times",
    ),
    "a layer twice": Case(
        lambda _: nn.Sequential([nn.Flatten()] * 2), ValueError, "name of its own; 'flatten_1' stands 2 times"
    ),
    "a layer of another model": Case(
        second_model, ValueError, "the layer 'gru_1' belongs to another model; make a"
    ),
    "dtype": Case(
        lambda _: nn.Sequential([nn.Flatten()], dtype="float16"), ValueError, "dtype must be one of float32"
    ),
    "seed": Case(
        lambda _: nn.Sequential([nn.Flatten()], seed="a"),
        ValueError,
        "seed must be a whole number of at least 0 or a numpy.random.Generator; got 'a'",
    ),
    "rng": Case(
        lambda _: built().forward(X, rng=-1), ValueError, "rng must be a whole number of at least 0 or a numpy"
    ),
    "logits": Case(
        lambda _: nn.Sequential([nn.GRU(2)]).forward(X, logits=True),
        ValueError,
        "logits needs a Dense layer at .* GRU",
    ),
    "no gradient": Case(
        lambda _: backward_through(nn.Sequential([nn.GRU(2), Deaf()])),
        ValueError,
        "gru_1 stands below a layer that reads symbols, so no gradient reaches it",
    ),
    "a misfit": Case(
        lambda _: nn.Sequential([nn.GRU(2), nn.GRU(2)]).build(X),
        ValueError,
        r"layer 2 \(gru_2\): GRU needs an input of shape \(B, T, features\), sequences; got \(1, 2\)\. After",
    ),
    "kind": Case(
        lambda _: nn.Sequential.from_config(
            {"dtype": "float32", "input_shape": None, "layers": [{"kind": "Dens", "options": {}}]}
        ),
        ValueError,
        r"kind of layer must be one of .*; got 'Dens'\. Did you mean 'Dense'\?",
    ),
    "state": Case(
        lambda _: built().load_state_dict({}),
        ValueError,
        "state_dict does not fit: missing dense_1.bias, dense_1.wei",
    ),
}

LAYERS = {
    "units": Case(lambda _: nn.Dense(0), ValueError, "units must be at least 1; got 0"),
    "activation": Case(
        lambda _: nn.Dense(1, "rleu"), ValueError, r"activation must be .*; got 'rleu'\. Did you mean"
    ),
    "bias": Case(lambda _: nn.Dense(1, bias=1), TypeError, "bias must be True or False"),
    "Pool of vectors": Case(
        lambda _: nn.Sequential([nn.GRU(2), nn.Pool()]).build(X),
        ValueError,
        r"layer 2 \(pool_1\): Pool needs an input of shape \(B, T, features\), sequences; got \(1, 2\)",
    ),
    "Dense of single numbers": Case(
        lambda _: nn.Sequential([Total(), nn.Dense(1)]).build(X),
        ValueError,
        r"layer 2 \(dense_1\): Dense needs an input of shape \(B, \.\.\., features\); got \(1,\)",
    ),
    "other features": Case(
        lambda _: built(nn.Sequential([nn.Dense(1)]))(X[..., :2]),
        ValueError,
        r"layer 1 \(dense_1\): x must have shape \(B, T, 3\) because dense_1 is built so; got \(6, 5, 2\)",
    ),
    "GRU units": Case(lambda _: nn.GRU(2.5), TypeError, "units must be a whole number; got 2.5"),
    "GRU sequences": Case(lambda _: nn.GRU(2, 2), TypeError, "sequences must be True or False; got 2"),
    "GRU input_size": Case(
        lambda _: nn.GRU(2, input_size=3), TypeError, "GRU in a model takes no input_size: it is inf"
    ),
    "GRU batch_first": Case(
        lambda _: nn.GRU(2, batch_first=False),
        TypeError,
        r"takes no batch_first: a model's arrays are \(B, T, features\)",
    ),
    "GRU dtype": Case(lambda _: nn.GRU(2, dtype="float64"), TypeError, "takes no dtype: pass it to Sequential"),
    "GRU seed": Case(lambda _: nn.GRU(2, seed=1), TypeError, "takes no seed: pass it to Sequential"),
    "GRU option": Case(lambda _: nn.GRU(2, layers=1), TypeError, "unexpected keyword argument 'layers'"),
    "GRU dropout without rng": Case(
        lambda _: nn.Sequential([nn.GRU(2, num_layers=2, dropout=0.5)]).forward(X.astype("f4")),
        ValueError,
        r"layer 1 \(gru_1\): rng must be given because dropout is 0\.5\. Pass rng=0 or a Generator",
    ),
    "dropout rate": Case(lambda _: nn.Dropout(1), ValueError, "rate must be at least 0 and below 1; got 1"),
    "dropout axis": Case(
        lambda _: nn.Dropout(0.5, 1.5), TypeError, "axis must be a whole number, or several; got 1.5"
    ),
    "dropout axes": Case(
        lambda _: nn.Sequential([nn.Dropout(0.5, axis=(1, 3))]).forward(X, rng=0),
        ValueError,
        r"layer 1 \(dropout_1\): axis must name axes of x, which has 3; got \(1, 3\)",
    ),
    "dropout without rng": Case(
        lambda _: nn.Sequential([nn.Dropout(0.5)]).forward(X),
        ValueError,
        r"layer 1 \(dropout_1\): rng must be given because Dropout's rate is 0\.5\. Pass rng=0 or a Generator",
    ),
    "pool": Case(
        lambda _: nn.Pool("max_"), ValueError, "how must be one of last, mean, max; got 'max_'. Did you mean"
    ),
    "flatten": Case(
        lambda _: nn.Sequential([nn.Flatten()])([X[0], X[1, :2]]),
        ValueError,
        r"layer 1 \(flatten_1\): Flatten needs sequences of one length; got lengths 2 \.\.\. 5\. Use Pool, or GRU",
    ),
    "an unknown symbol": Case(
        lambda _: classifier(nn.OneHot()).build(LETTERS)([list("GAX")]),
        ValueError,
        r"layer 1 \(onehot_1\): x holds the symbol X, which is not in the vocabulary of onehot_1 \(4 symbols: "
        r"A, C, G, T\)\. Pass vocabulary= with all symbols",
    ),
    "an unknown number": Case(
        lambda _: nn.Sequential([nn.Embedding(2, range(20), name="e")]).build([[1]])([[20]]),
        ValueError,
        r"the symbol 20, which is not in the vocabulary of e \(20 symbols: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, \.\.\.\)",
    ),
    "a vocabulary of floats": Case(
        lambda _: nn.OneHot([0.5]), TypeError, "OneHot needs whole numbers or characters"
    ),
    "symbols above numbers": Case(
        lambda _: nn.Sequential([nn.Dense(2), nn.Embedding(2)]).build(X),
        TypeError,
        r"layer 2 \(embedding_1\): Embedding needs whole numbers or characters; got dtype float32",
    ),
    "GRUD option": Case(
        lambda _: nn.GRUD(2, num_layers=2),
        TypeError,
        "GRUD takes no num_layers: of GRU's options it has bias, reset_after, activation, gate_activation, init,",
    ),
    "GRUD time_feature": Case(
        lambda _: nn.GRUD(2, time_feature=1.5), TypeError, "time_feature must be a whole number; got 1.5"
    ),
    "GRUD above another layer": Case(
        lambda _: nn.Sequential([nn.Dense(2), nn.GRUD(2)]).build(X),
        ValueError,
        r"layer 2 \(grud_1\): GRUD must be a model's first layer: only there can values be missing\. Use GRU here",
    ),
    "GRUD of vectors": Case(
        lambda _: nn.Sequential([nn.GRUD(2)]).build(X[0]), ValueError, r"GRUD needs an input of shape \(B, T, feat"
    ),
    "GRUD without such a feature": Case(
        lambda _: nn.Sequential([nn.GRUD(2, time_feature=3)]).build(X),
        ValueError,
        r"layer 1 \(grud_1\): time_feature must be a feature of x beside .*; got 3 for x with 3 features",
    ),
    "GRUD of times alone": Case(
        lambda _: nn.Sequential([nn.GRUD(2, time_feature=0)]).build(X[..., :1]),
        ValueError,
        "time_feature must be a feature of x beside at least one other; got 0 for x with 1 features",
    ),
    "GRUD of times that decrease": Case(
        lambda _: nn.Sequential([nn.GRUD(2, time_feature=-1)]).build([TIMED[0], TIMED[0, [0, 1, 3, 2]]]),
        ValueError,
        r"x\[1\] must hold finite times that do not decrease, in feature -1 \(time_feature\); got 2, counted from "
        r"the sequence's first, at step 3\. Sort its steps by time",
    ),
    "GRUD of times that decrease later": Case(
        lambda _: built(nn.Sequential([nn.GRUD(2, time_feature=-1)]), TIMED).predict(TIMED[:, ::-1]),
        ValueError,
        r"layer 1 \(grud_1\): x must hold finite times .*; got -1, .* at \(0, 1\)",
    ),
    "GRUD of a time that is missing": Case(
        lambda _: nn.Sequential([nn.GRUD(2, time_feature=0)]).build(WRONG), ValueError, "must hold finite times"
    ),
    "GRUD of a feature never observed": Case(
        lambda _: nn.Sequential([nn.GRUD(2)]).build(X * np.array([1, np.nan, 1])),
        ValueError,
        "x must hold at least one observation of each feature; got only NaN for feature 1",
    ),
    "GRUD of infinity": refuse(
        X * np.array([1, np.inf, 1]),
        model=nn.Sequential([nn.GRUD(2), nn.Dense(2, "softmax")]),
        message=r"layer 1 \(grud_1\): x\[0\] must be finite; .* Missing values are NaN",
    ),
    "GRUD of other features": Case(
        lambda _: built(nn.Sequential([nn.GRUD(2)]))(X[..., :2]),
        ValueError,
        r"layer 1 \(grud_1\): x must have shape \(B, T, 3\) because grud_1 is built so; got \(6, 5, 2\)",
    ),
    "layer clip_norm": Case(lambda _: nn.Dense(1, clip_norm=-1), ValueError, "clip_norm must be above 0; got -1"),
    "layer learning_rate": Case(
        lambda _: nn.Dense(1, learning_rate=0), ValueError, "learning_rate must be above 0"
    ),
}

RUNS = {
    "resume without a checkpoint": refuse(resume=True, message="resume needs checkpoint=, the file to go on from"),
    "a folder that is missing": Case(
        lambda folder: fit(checkpoint=folder / "missing" / "c"),
        FileNotFoundError,
        r"the folder .*missing' does not exist; make it, or name another path",
    ),
    "another run": Case(
        lambda folder: resumed_as(folder, batch_size=3),
        ValueError,
        r"the checkpoint .*c' belongs to a run with other data, another model or other settings\. Use what",
    ),
    "cut short": Case(cut_short, ValueError, r"c' is not a checkpoint of grus, or it is damaged or cut short \("),
    "a folder": Case(resumed_from_a_folder, FileNotFoundError, r"there is no checkpoint at .*c'"),
    "another file": Case(
        lambda folder: rewritten(folder, None),
        ValueError,
        r"c' is a safetensors file, but not a checkpoint of grus",
    ),
    "a damaged header": Case(
        lambda folder: rewritten(folder, {"grus_checkpoint": "[1]"}),
        ValueError,
        r"c' has a damaged header: TypeError",
    ),
    "a newer format": Case(
        lambda folder: other_format(folder, format=2),
        ValueError,
        r"c' was written by a newer grus\. Update grus, or",
    ),
    "a number that changed": Case(
        lambda folder: other_format(folder, epoch=2),
        ValueError,
        "c' is damaged: it does not hold what was written",
    ),
    "divergence": Case(
        lambda _: fit(
            y=Y * 1e15, model=regressor(), loss="mse", optimiser="sgd", learning_rate=1e10, batch_size=1
        ),
        FloatingPointError,
        r"the loss is (inf|nan) in epoch 1: training diverged\. Lower the learning rate, set clip_norm, or look",
    ),
    "divergence in the last step": Case(
        lambda _: fit(y=Y * 1e3, model=regressor(), loss="mse", optimiser="sgd", learning_rate=3e38, epochs=1),
        FloatingPointError,
        "a weight is infinite or NaN in epoch 1: training diverged",
    ),
}

CASES = {
    f"{group}: {name}": case
    for group, cases in (
        ("x", INPUTS),
        ("y", TARGETS),
        ("fit", SETTINGS),
        ("model", MODELS),
        ("layer", LAYERS),
        ("run", RUNS),
    )
    for name, case in cases.items()
}


@pytest.mark.parametrize("name", CASES)
def test_message(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    with pytest.raises(case.error, match=case.message) as caught:
        case.act(tmp_path)
    assert type(caught.value) is case.error


def test_a_refused_call_leaves_the_model_as_it_was() -> None:
    model = built()
    before, history = model.flat.copy(), model.history
    for case in (INPUTS["NaN"], TARGETS["too few"], SETTINGS["monitor"], SETTINGS["epochs"], SETTINGS["loss"]):
        with pytest.raises(case.error):
            case.act(Path())
    np.testing.assert_array_equal(model.flat, before)
    assert model.history is history


# ------------------------------------------------------------------------------------------------- nothing missing


def raises_in(path: Path) -> Iterator[tuple[str, int, int]]:
    """Where a file raises something: its name, and the first and the last line of the statement."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Raise) and node.exc is not None:
            yield path.name, node.lineno, node.end_lineno or node.lineno


def raised_at(error: BaseException | None) -> Iterator[tuple[str, int]]:
    """Where an error, and those that it came from, were raised."""
    while error is not None:
        trace: TracebackType | None = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        if trace is not None:
            yield Path(trace.tb_frame.f_code.co_filename).name, trace.tb_lineno
        error = error.__cause__ or error.__context__


def test_every_raise_has_a_case(tmp_path: Path) -> None:
    """A new error in these files needs a row above."""
    seen: set[tuple[str, int]] = set()
    for i, case in enumerate(CASES.values()):
        folder = tmp_path / str(i)
        folder.mkdir()
        try:
            case.act(folder)
        except case.error as error:
            seen |= set(raised_at(error))
    missing = [
        f"{name}:{first}"
        for path in FILES
        for name, first, last in raises_in(path)
        if not any(name == file and first <= line <= last for file, line in seen)
    ]
    assert missing == []
