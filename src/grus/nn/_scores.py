"""Loss and metrics gathered over batches, and what a model says of data outside training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from grus.nn._chunks import chunks
from grus.nn._data import Batch, Dataset
from grus.nn._layer import Context
from grus.nn.dense import Dense
from grus.nn.losses import Loss
from grus.nn.metrics import CLASSIFICATION, Metric

if TYPE_CHECKING:
    from grus.nn.sequential import Sequential

Array = np.ndarray[Any, np.dtype[Any]]


class Head:
    """How a loss meets the model's output: on its last pre-activations where the two are fused."""

    def __init__(self, model: Sequential, loss: Loss) -> None:
        self.loss, self.last = loss, model.layers[-1]
        self.fused = isinstance(self.last, Dense) and loss.fuses == self.last.activation.name

    def value(self, output: Array, target: Array) -> Array:
        """The loss of each sample (and step)."""
        return self.loss.value_from_logits(output, target) if self.fused else self.loss.value(output, target)  # type: ignore[attr-defined]

    def value_and_gradient(self, output: Array, target: Array) -> tuple[Array, Array]:
        """And its gradient with respect to the output, or to the logits."""
        if self.fused:
            return self.loss.value_and_gradient_from_logits(output, target)  # type: ignore[attr-defined,no-any-return]
        return self.loss.value_and_gradient(output, target)

    def prediction(self, output: Array) -> Array:
        """What the model predicts, from what it gave to the loss."""
        return self.last.outputs(output) if self.fused and isinstance(self.last, Dense) else output


class Scores:
    """The mean loss and the metrics of an epoch of so many sequences."""

    def __init__(self, head: Head, metrics: Sequence[Metric], count: int) -> None:
        self.head, self.metrics, self.count = head, metrics, count
        self.total = 0.0
        self.pairs: list[tuple[Array, Array]] = []

    def add(self, output: Array, batch: Batch, losses: Array) -> None:
        """Count a batch, or a chunk of one; ``losses`` are those of each sample (and step)."""
        assert batch.y is not None  # training data has targets
        self.total += float((losses * batch.weight).sum(where=batch.weight > 0))
        if self.metrics:
            used = batch.weight > 0
            self.pairs.append((batch.y[used], output[used]))

    def row(self, prefix: str = "") -> dict[str, float]:
        """Loss and metrics by name."""
        row = {f"{prefix}loss": self.total / self.count}
        if self.metrics:
            target, output = (np.concatenate(parts) for parts in zip(*self.pairs, strict=True))
            prediction = self.head.prediction(output)
            row |= {prefix + metric.name: _measure(metric, target, prediction) for metric in self.metrics}
        return row


def _measure(metric: Metric, target: Array, prediction: Array) -> float:
    if metric.name not in CLASSIFICATION:
        return metric(target, prediction)
    return metric(decide(target), decide(prediction))


def decide(outputs: Array) -> Array:
    """The class that outputs (..., K) say: the largest, or whether a single one is above one half."""
    return outputs.argmax(axis=-1) if outputs.shape[-1] > 1 else (outputs[..., 0] > 0.5).astype(np.intp)


@np.errstate(over="ignore", invalid="ignore")  # an infinite loss is a result, as in the losses themselves
def score(
    model: Sequential,
    data: Dataset,
    loss: Loss,
    metrics: Sequence[Metric],
    batch_size: int,
    chunk: int | None = None,
) -> Scores:
    """Run the model outside training over data with targets, on so many steps at once."""
    scores = Scores(Head(model, loss), metrics, len(data))
    for index in data.batches(batch_size, group_by_length=True):
        for batch, _, rows, states, *_ in chunks(data.batch(index), chunk):
            output = model.run(batch.x, Context(lengths=batch.lengths, states=states), scores.head.fused).output
            assert batch.y is not None  # evaluate and fit demand targets
            if rows:
                scores.add(output, batch, scores.head.value(output, batch.y))
    return scores
