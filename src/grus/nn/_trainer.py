"""The training loop: one epoch after the other, with what must survive a kill kept in a checkpoint."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from grus._files import PathLike
from grus.nn._checkpoint import State, load_state, save_state
from grus.nn._chunks import Chunk, chunks
from grus.nn._data import Dataset
from grus.nn._layer import Context
from grus.nn._progress import make_progress
from grus.nn._scores import Head, Scores, score
from grus.nn.losses import Loss
from grus.nn.metrics import Metric
from grus.nn.optimisers import Optimiser, clip_global_norm

if TYPE_CHECKING:
    from grus.nn.sequential import Sequential

Array = np.ndarray[Any, np.dtype[Any]]
Callback = Callable[["Sequential", int, dict[str, float]], Any]


@dataclass(frozen=True)
class Settings:
    """The checked settings of a run; :func:`grus.nn.fit` explains them."""

    loss: Loss
    optimiser: Optimiser
    epochs: int
    batch_size: int
    metrics: Sequence[Metric]
    shuffle: bool
    group_by_length: bool
    average: bool
    clip_norm: float | None
    patience: int | None
    monitor: str
    callbacks: Sequence[Callback]
    checkpoint: PathLike | None
    checkpoint_every: int
    progress: Any
    chunk: int | None = None


class Trainer:
    """One run."""

    def __init__(self, model: Sequential, settings: Settings, data: Dataset, held_out: Dataset | None) -> None:
        self.model, self.settings, self.data, self.held_out = model, settings, data, held_out
        self.head = Head(model, settings.loss)
        self.gradient = np.zeros_like(model.flat)
        self.gradients = model.split(self.gradient)
        self.epoch, self.best = 0, math.inf
        self.best_epoch: int | None = None
        self.best_flat = model.flat.copy()
        self.identity, self.seed = "", 0
        self.sign = 1 if settings.monitor.removeprefix("val_") in ("loss", "mse", "mae", "msle") else -1

    # -------------------------------------------------------------------------------------------------- the run

    def run(self) -> None:
        """Train to the end; on Ctrl-C the best weights so far are put back before the interrupt goes on."""
        settings, history = self.settings, self.model.history
        progress = make_progress(settings.progress, settings.epochs, self.epoch)
        try:
            while self.epoch < settings.epochs and not history.stopped:
                self._one_epoch(progress)
            history.stopped = history.stopped or "epochs"
        except BaseException as error:
            history.stopped = "interrupted" if isinstance(error, KeyboardInterrupt) else "error"
            self._restore_best()
            raise
        finally:
            progress.close()
        if settings.patience is not None:
            self._restore_best()

    def _one_epoch(self, progress: Any) -> None:
        started = time.perf_counter()
        number = self.epoch + 1
        row, rate = self._train_epoch(number, progress)
        if self.held_out is not None:
            settings = self.settings
            how = (settings.loss, settings.metrics, settings.batch_size, settings.chunk)
            scores = score(self.model, self.held_out, *how)
            row |= scores.row("val_")
        row |= {"learning_rate": rate, "seconds": time.perf_counter() - started}
        self.model.history.append(row)
        self.epoch = number
        self._judge(row)
        progress.epoch(number, row, len(self.data))
        if number % self.settings.checkpoint_every == 0 or number == self.settings.epochs:
            self.save()
        for callback in self.settings.callbacks:
            if callback(self.model, number, row):
                self.model.history.stopped = "callback"

    @np.errstate(over="ignore", invalid="ignore")  # what diverges is an error below, not a warning on the way
    def _train_epoch(self, number: int, progress: Any) -> tuple[dict[str, float], float]:
        """Every epoch has its own seed, so a resumed run draws what an uninterrupted one draws."""
        settings = self.settings
        rng = np.random.default_rng([self.seed, number])
        order = rng if settings.shuffle else None
        batches = list(self.data.batches(settings.batch_size, order, settings.group_by_length))
        scores, rate = Scores(self.head, settings.metrics, len(self.data)), 0.0
        for done, index in enumerate(batches):
            for chunk in chunks(self.data.batch(index), settings.chunk):
                at = number - 1 + (done + chunk.start) / len(batches)
                rate = settings.optimiser.schedule(at, settings.epochs)
                self._step(chunk, scores, self._rates(at, rate), rng)
                progress.batch(number, done + chunk.end, len(batches))
        if not np.isfinite(self.model.flat).all():
            raise self._diverged("a weight is infinite or NaN")
        return scores.row(), rate

    def _step(self, chunk: Chunk, scores: Scores, rate: float | Array, rng: np.random.Generator) -> None:
        """Forward, backward, clip, update; forward alone where no row of the chunk has a target."""
        model, head, settings, batch = self.model, self.head, self.settings, chunk.batch
        assert batch.y is not None  # training data has targets
        output, tape = model.record(batch.x, Context(True, rng, batch.lengths, chunk.states), head.fused)
        if not chunk.rows:
            return
        losses, dy = head.value_and_gradient(output, batch.y)
        scores.add(output, batch, losses)
        if not math.isfinite(scores.total):
            raise self._diverged(f"the loss is {scores.total}")
        weight = (chunk.weight / chunk.rows if settings.average else chunk.weight).astype(model.dtype)
        model.fill(self.gradients, tape, dy * weight[..., None], with_x=False)
        for layer, own in zip(model.layers, self.gradients, strict=True):
            if layer.clip_norm is not None:
                clip_global_norm([own.flat], layer.clip_norm)
        if settings.clip_norm is not None:
            clip_global_norm([self.gradient], settings.clip_norm)
        settings.optimiser.step(model.flat, self.gradient, rate)

    def _diverged(self, how: str) -> FloatingPointError:
        return FloatingPointError(
            f"{how} in epoch {self.epoch + 1}: training diverged. Lower the learning rate, set clip_norm, or look "
            "for extreme values in x; the best weights so far are kept."
        )

    def _rates(self, at: float, rate: float) -> float | Array:
        """One learning rate, or one for each parameter where a layer has its own."""
        if all(layer.learning_rate is None for layer in self.model.layers):
            return rate
        rates = np.full(self.model.flat.shape, rate, self.model.dtype)
        for layer, part in zip(self.model.layers, self.model.slices(), strict=True):
            if layer.learning_rate is not None:
                rates[part] = layer.learning_rate(at, self.settings.epochs)
        return rates

    # ----------------------------------------------------------------------------------------- what is kept of it

    def _judge(self, row: dict[str, float]) -> None:
        """Keep the best weights; stop when they have been the best for too long."""
        history, patience = self.model.history, self.settings.patience
        value = self.sign * row[self.settings.monitor]
        if value < self.best:
            self.best, self.best_epoch = value, self.epoch
            self.best_flat[...] = self.model.flat
        history.best_epoch = self.best_epoch
        if patience is not None and self.epoch - (self.best_epoch or 0) >= patience:
            history.stopped = "early stopping"

    def _restore_best(self) -> None:
        self.model.flat[...] = self.best_flat

    def save(self) -> None:
        """Write the checkpoint, if there is to be one."""
        if self.settings.checkpoint is not None:
            columns = {name: list(column) for name, column in self.model.history.items()}
            arrays = (self.model.flat, self.best_flat, self.settings.optimiser.state_dict())
            state = State(self.epoch, self.seed, self.best, self.best_epoch, columns, *arrays)
            save_state(self.settings.checkpoint, state, self.identity)

    def resume(self) -> None:
        """Take over the checkpoint, if there is one."""
        assert self.settings.checkpoint is not None  # fit demands it
        state = load_state(self.settings.checkpoint, self.identity)
        if state is None:
            return
        self.epoch, self.seed, self.best, self.best_epoch = state.epoch, state.seed, state.best, state.best_epoch
        self.model.flat[...], self.best_flat[...] = state.flat, state.best_flat
        if state.optimiser:
            self.settings.optimiser.load_state_dict(state.optimiser)
        history = self.model.history
        history.replace(state.history)
        history.best_epoch = self.best_epoch
        patience = self.settings.patience
        if patience is not None and self.epoch - (self.best_epoch or 0) >= patience:
            history.stopped = "early stopping"
