"""Training a :class:`grus.nn.Sequential`, and measuring it.

Longer than 300 lines because its docstrings explain every setting; the code is about half.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from grus import _check
from grus._files import PathLike, check_folder
from grus.nn._checkpoint import fingerprint, saved_seed
from grus.nn._chunks import check_chunks
from grus.nn._data import Dataset, Inputs, as_weights, check_inputs, check_steps
from grus.nn._layer import Context
from grus.nn._scores import score
from grus.nn._targets import as_targets
from grus.nn._trainer import Callback, Settings, Trainer
from grus.nn.history import History
from grus.nn.losses import Loss, get_loss
from grus.nn.metrics import Metric, get_metric
from grus.nn.optimisers import Optimiser, get_optimiser
from grus.nn.schedules import Schedule

if TYPE_CHECKING:
    from grus.nn.sequential import Sequential

Array = np.ndarray[Any, np.dtype[Any]]
Validation = tuple[Any, ...] | None


def fit(
    model: Sequential,
    x: Inputs,
    y: Any,
    *,
    loss: str | Loss,
    optimiser: str | Optimiser = "adam",
    learning_rate: float | Schedule | None = None,
    epochs: int = 10,
    batch_size: int = 32,
    chunk: int | None = None,
    metrics: Sequence[str | Metric] = (),
    sample_weight: npt.ArrayLike | None = None,
    validation_data: Validation = None,
    validation_fraction: float = 0.0,
    shuffle: bool = True,
    group_by_length: bool = False,
    reduction: str = "mean",
    clip_norm: float | None = None,
    patience: int | None = None,
    monitor: str | None = None,
    callbacks: Sequence[Callback] = (),
    checkpoint: PathLike | None = None,
    checkpoint_every: int = 1,
    resume: bool = False,
    progress: bool | str = "auto",
    seed: int | None = None,
) -> History:
    """Train a model by gradient descent on minibatches.

    Parameters
    ----------
    model : Sequential
        Built on first use.
    x : ndarray, shape (N, T, I), or list of N arrays (T_i, I)
        The sequences; (N, T) or (T_i,) symbols or texts where the first layer is OneHot or Embedding. Numbers are
        converted to the model's dtype, and must be finite in it; but for GRUD, to which NaN says "not observed".
    y : array, shape (N, K)
        The targets; (N,) class indices 0 ... K-1, or (N,) numbers where the model has one output. With an output
        at every step: (N, T, K), or a list of (T_i, K).
    loss : str or Loss
        ``"mse"``, ``"mae"``, ``"msle"``, ``"binary_crossentropy"``, ``"categorical_crossentropy"``. The last two
        are computed from pre-activations where the last layer is Dense with sigmoid and softmax respectively.
    optimiser : str or Optimiser, default "adam"
        ``"sgd"``, ``"adam"``, ``"adamw"``. Pass the same Optimiser again to go on with its state.
    learning_rate : float or Schedule, optional
        The optimiser's own default when omitted. A layer's ``learning_rate`` goes before it.
    epochs, batch_size : int, default 10 and 32
        The last batch of an epoch may be smaller; it is never dropped.
    chunk : int, optional
        Truncated backpropagation: a batch is cut along time into chunks of so many steps, and each is a step of
        the optimiser. The GRUs' states are carried from chunk to chunk, their gradients are not, so what a step
        keeps does not grow with the length of the sequences. With an output at every step each chunk descends its
        own mean loss. With one output for each sequence a row's loss comes with its last chunk, beyond which its
        gradient does not reach; the chunks before only move the state on. Dropout masks are new in each chunk.
    metrics : sequence of str or Metric
        ``"accuracy"``, ``"precision"``, ``"recall"``, ``"fscore"``, ``"specificity"``, ``"npv"``, ``"mse"``, ...
    sample_weight : array, shape (N,), optional
        How much each sequence counts; used as given.
    validation_data : (x, y) or (x, y, sample_weight), optional
        Data that is measured after every epoch and not trained on.
    validation_fraction : float, default 0
        Instead of validation data, this share of the data, drawn by ``seed``.
    shuffle : bool, default True
        Anew in every epoch.
    group_by_length : bool, default False
        Put sequences of like length into one batch, so that less is padded.
    reduction : {"mean", "sum"}, default "mean"
        Gradients averaged over the batch, or summed: then they grow with the batch.
    clip_norm : float, optional
        Largest 2-norm of all gradients together. A layer's own ``clip_norm`` is applied before it.
    patience : int, optional
        Stop when ``monitor`` has not improved for this many epochs, and put back the best weights.
    monitor : str, optional
        A column of the history; ``"val_loss"``, or ``"loss"`` without validation, when omitted. The loss, mse, mae
        and msle are to fall, every other metric is to rise: let one of your own rise with quality.
    callbacks : sequence of callable
        ``callback(model, epoch, row)`` after every epoch, with the history's row; True stops training.
    checkpoint : path, optional
        A file, written whole or not at all, from which ``resume=True`` goes on.
    checkpoint_every : int, default 1
        Epochs from one checkpoint to the next.
    resume : bool, default False
        Go on from ``checkpoint`` if it exists; the numbers are then, bit for bit, those of a run that was never
        stopped. ``epochs`` may be larger than before.
    progress : bool or "auto", default "auto"
        A bar on a terminal; True: lines elsewhere too; False: nothing.
    seed : int, optional
        Of the order of the data, of dropout and of the validation split; a fresh one when omitted.

    Returns
    -------
    History
        Also kept as ``model.history``.

    Raises
    ------
    ValueError, TypeError
        An argument does not fit; the message names it.
    FloatingPointError
        The loss became infinite or NaN; the weights are those of the best epoch before.
    KeyboardInterrupt
        Ctrl-C was pressed; the weights are those of the best epoch before.

    Examples
    --------
    >>> import numpy as np
    >>> from grus import nn
    >>> rng = np.random.default_rng(0)
    >>> x = [rng.standard_normal((t, 2)) for t in rng.integers(3, 9, 50)]
    >>> y = np.array([sequence[:, 0].mean() for sequence in x])
    >>> model = nn.Sequential([nn.GRU(8), nn.Dense(1)], seed=0)
    >>> history = nn.fit(model, x, y, loss="mse", learning_rate=0.02, epochs=20, seed=0)
    >>> history["loss"][-1] < 0.1 * history["loss"][0]
    True
    """
    _check_choices(resume, checkpoint, validation_data, validation_fraction, reduction, callbacks)
    new = not model.built
    model.build(x)
    data = _dataset(model, x, y, sample_weight)
    entropy = _entropy(seed, checkpoint if resume else None)
    data, held_out = _split(model, data, validation_data, validation_fraction, [entropy, 0])
    if new and validation_fraction:
        model.layers[0].adapt(data.x)  # without what is held out
    chosen = _metrics(metrics, data)
    settings = Settings(
        get_loss(loss),
        get_optimiser(optimiser, learning_rate),
        _check.size("epochs", epochs),
        _check.size("batch_size", batch_size),
        chosen,
        _check.boolean("shuffle", shuffle),
        _check.boolean("group_by_length", group_by_length),
        reduction == "mean",
        None if clip_norm is None else _check.positive("clip_norm", clip_norm),
        None if patience is None else _check.size("patience", patience),
        _monitored(monitor, chosen, held_out is not None),
        tuple(callbacks),
        checkpoint,
        _check.size("checkpoint_every", checkpoint_every),
        progress,
        _chunk(chunk, model),
    )
    trainer = Trainer(model, settings, data, held_out)
    trainer.seed = entropy
    trainer.identity = _identity(model, settings, data, held_out, seed)
    model.history = History()
    if resume:
        trainer.resume()
    trainer.run()
    return model.history


def evaluate(
    model: Sequential,
    x: Inputs,
    y: Any,
    *,
    loss: str | Loss,
    metrics: Sequence[str | Metric] = (),
    sample_weight: npt.ArrayLike | None = None,
    batch_size: int = 256,
    chunk: int | None = None,
) -> dict[str, float]:
    """The mean loss and the metrics of a model on data, outside training.

    Parameters
    ----------
    model, x, y, loss, metrics, sample_weight
        As for :func:`fit`.
    batch_size : int, default 256
        Sequences that are run together.
    chunk : int, optional
        Run so many steps at once, carrying the states: the same numbers in less memory.

    Returns
    -------
    dict of str to float
        ``loss`` and each metric.

    Examples
    --------
    >>> import numpy as np
    >>> from grus import nn
    >>> model = nn.Sequential([nn.GRU(8), nn.Dense(1)], seed=0)
    >>> sorted(nn.evaluate(model, np.ones((4, 5, 2)), np.ones(4), loss="mse", metrics=["mae"]))
    ['loss', 'mae']
    """
    data = _dataset(model.build(x), x, y, sample_weight)
    chosen = _metrics(metrics, data)
    batch_size = _check.size("batch_size", batch_size)
    return score(model, data, get_loss(loss), chosen, batch_size, _chunk(chunk, model)).row()


def _check_choices(
    resume: bool,
    checkpoint: PathLike | None,
    validation_data: Validation,
    fraction: float,
    reduction: str,
    callbacks: Sequence[Callback],
) -> None:
    _check.choice("reduction", reduction, ("mean", "sum"))
    if resume and checkpoint is None:
        raise ValueError("resume needs checkpoint=, the file to go on from.")
    if checkpoint is not None:
        check_folder(checkpoint)
    if _check.probability("validation_fraction", fraction) and validation_data is not None:
        raise ValueError("give validation_data or validation_fraction, not both.")
    if callable(callbacks) or not all(map(callable, callbacks)):
        raise TypeError(f"callbacks must be a list of functions of (model, epoch, row); got {callbacks!r}.")


def _entropy(seed: int | None, resumed: PathLike | None) -> int:
    """The seed; where none is given, that of the run to go on with, or a fresh one."""
    if seed is not None:
        return _check.size("seed", seed, 0)
    saved = None if resumed is None else saved_seed(resumed)
    return int(str(np.random.SeedSequence().entropy)) if saved is None else saved


def _dataset(model: Sequential, x: Inputs, y: Any, weight: npt.ArrayLike | None) -> Dataset:
    inputs = model.inputs(x)
    check_inputs(inputs, model.layers[0].check)
    sample = model.run(inputs[0][None], Context()).output
    targets = as_targets(y, sample.shape[1:], model.dtype)
    data = Dataset(inputs, targets, None if weight is None else as_weights(weight, len(inputs)))
    check_steps(data)
    return data


def _chunk(chunk: int | None, model: Sequential) -> int | None:
    """A number of steps that this model can take at once."""
    if chunk is None:
        return None
    check_chunks(model)
    return _check.size("chunk", chunk)


def _metrics(metrics: Sequence[str | Metric], data: Dataset) -> list[Metric]:
    """The metrics, told how many classes there are: data may hold only some of them."""
    assert data.y is not None  # training data has targets
    if isinstance(metrics, str):
        raise TypeError(f"metrics must be a list of names; got {metrics!r}. Pass [{metrics!r}].")
    return [get_metric(metric, classes=max(2, data.y[0].shape[-1])) for metric in metrics]


def _split(
    model: Sequential, data: Dataset, validation: Validation, fraction: float, entropy: list[int]
) -> tuple[Dataset, Dataset | None]:
    """The data to train on, and the data to measure on."""
    if validation is not None:
        if len(validation) not in (2, 3):
            raise ValueError(
                f"validation_data must be (x, y) or (x, y, sample_weight); got {len(validation)} parts."
            )
        x, y, weight = (*validation, None)[:3]
        return data, _dataset(model, x, y, weight)
    held = round(fraction * len(data))
    if not fraction:
        return data, None
    if not 0 < held < len(data):
        raise ValueError(
            f"validation_fraction {fraction:g} of {len(data)} sequences leaves {held} to measure on and "
            f"{len(data) - held} to train on; both need at least 1."
        )
    order = np.random.default_rng(entropy).permutation(len(data))
    return data.subset(np.sort(order[held:])), data.subset(np.sort(order[:held]))


def _monitored(monitor: str | None, metrics: Sequence[Metric], validated: bool) -> str:
    names = ["loss", *(metric.name for metric in metrics)]
    columns = [*names, *(f"val_{name}" for name in names)] if validated else names
    return _check.choice("monitor", monitor or ("val_loss" if validated else "loss"), columns)


def _identity(
    model: Sequential, settings: Settings, data: Dataset, held_out: Dataset | None, seed: int | None
) -> str:
    """What a checkpoint must agree with: all that decides the numbers, but how many epochs follow."""
    named = vars(settings) | {"loss": settings.loss.name, "optimiser": settings.optimiser.config()}
    for free in ("epochs", "callbacks", "checkpoint", "checkpoint_every", "progress"):
        del named[free]
    named["metrics"] = [metric.name for metric in settings.metrics]
    parts = [part for each in (data, held_out) if each is not None for part in (each.x, each.y, each.weight)]
    arrays = [a for part in parts if part is not None for a in (part if isinstance(part, list) else [part])]
    return fingerprint({"model": model.config(), "settings": named, "seed": seed}, arrays)
