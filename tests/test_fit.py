"""Training: what is seen and counted, what each setting does to the numbers, and how a run ends."""

from __future__ import annotations

import itertools
import math
import sys
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from grus import nn
from grus.nn._data import Batch, Dataset
from grus.nn._trainer import Trainer
from helpers import assert_close

LOSSES = {"loss": "mse", "epochs": 1, "seed": 0}


def global_state() -> np.ndarray:
    """NumPy's legacy random state, which grus must leave alone."""
    return np.asarray(np.random.get_state()[1]).copy()  # noqa: NPY002


def ragged(count: int, features: int = 2, longest: int = 9, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((length, features)) for length in rng.integers(1, longest + 1, count)]


def classes(x: list[np.ndarray]) -> np.ndarray:
    """Whether the first feature's mean is positive: learnable."""
    return np.array([int(each[:, 0].mean() > 0) for each in x])


def regression(count: int = 12, steps: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, steps, 3)), rng.standard_normal(count)


def regressor(dtype: str = "float64", **dense: Any) -> nn.Sequential:
    return nn.Sequential([nn.GRU(4), nn.Dense(1, **dense)], dtype=dtype, seed=0)


def classifier(units: int = 8) -> nn.Sequential:
    return nn.Sequential([nn.GRU(units), nn.Dense(2, "softmax")], seed=0)


def recorded(monkeypatch: pytest.MonkeyPatch) -> tuple[list[np.ndarray], list[Batch]]:
    """Lists that will hold the rows and the arrays of every batch that is made."""
    rows: list[np.ndarray] = []
    batches: list[Batch] = []
    original = Dataset.batch

    def batch(self: Dataset, index: np.ndarray) -> Batch:
        rows.append(np.array(index))
        batches.append(original(self, index))
        return batches[-1]

    monkeypatch.setattr(Dataset, "batch", batch)
    return rows, batches


def steps_taken(monkeypatch: pytest.MonkeyPatch) -> list[tuple[np.ndarray, Any]]:
    """A list that will hold the gradient and the learning rate of every step."""
    taken: list[tuple[np.ndarray, Any]] = []
    original = nn.SGD.step

    def step(self: nn.SGD, flat: np.ndarray, gradient: np.ndarray, learning_rate: Any) -> None:
        taken.append((gradient.copy(), np.copy(learning_rate)))
        original(self, flat, gradient, learning_rate)

    monkeypatch.setattr(nn.SGD, "step", step)
    return taken


class Epochs:
    """A callback that keeps the parameters after every epoch."""

    def __init__(self) -> None:
        self.flats: list[np.ndarray] = []
        self.rows: list[dict[str, float]] = []

    def __call__(self, model: nn.Sequential, epoch: int, row: dict[str, float]) -> None:
        self.flats.append(model.flat.copy())
        self.rows.append(row)
        assert epoch == len(self.flats)


# ------------------------------------------------------------------------------------------------------- learning


@pytest.mark.parametrize("optimiser", ["sgd", "adam", "adamw"])
def test_a_classifier_learns(optimiser: str) -> None:
    x = ragged(200)
    model = classifier()
    settings = {"optimiser": optimiser, "learning_rate": 0.3 if optimiser == "sgd" else 0.02}
    history = model.fit(
        x, classes(x), loss="categorical_crossentropy", metrics=["accuracy"], epochs=20, seed=0, **settings
    )
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    assert history["accuracy"][-1] > 0.85
    fresh = ragged(200, seed=1)
    assert np.mean(model.predict(fresh).argmax(axis=1) == classes(fresh)) > 0.7
    assert history is model.history


def test_a_target_at_every_step_is_learnt() -> None:
    """The running sign of a sum, from symbols, with a list of targets and unequal lengths."""
    rng = np.random.default_rng(0)
    x = [rng.integers(0, 2, rng.integers(2, 8)) for _ in range(100)]
    y = [np.maximum.accumulate(each) for each in x]  # has a 1 come yet?
    layers = [nn.Embedding(4), nn.GRU(6, sequences=True), nn.Dense(1, "sigmoid")]
    model = nn.Sequential(layers, seed=0)
    settings = {"loss": "binary_crossentropy", "learning_rate": 0.05, "metrics": ["accuracy"]}
    history = model.fit(x, y, epochs=15, seed=0, **settings)
    assert history["accuracy"][-1] > 0.98
    assert model.predict(x).shape == (100, 7, 1)


def test_training_on_short_sequences_serves_long_ones() -> None:
    x, y = regression(steps=4)
    model = regressor()
    model.fit(x, y, **LOSSES)
    longer = np.random.default_rng(3).standard_normal((5, 9, 3))
    assert model.predict(longer).shape == (5, 1)
    assert_close(model(longer), np.concatenate([model(each[None]) for each in longer]), "same maths")


def test_one_output_takes_numbers_without_an_axis() -> None:
    x, y = regression()
    one, other = regressor(), regressor()
    one.fit(x, y, **LOSSES)
    other.fit(x, y[:, None], **LOSSES)
    np.testing.assert_array_equal(one.flat, other.flat)
    assert one.evaluate(x, y, loss="mse") == other.evaluate(x, y[:, None], loss="mse")


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, bool])
def test_class_indices_are_one_hot_rows(dtype: Any) -> None:
    x = ragged(20)
    y = classes(x)
    settings: dict[str, Any] = {
        "loss": "categorical_crossentropy",
        "epochs": 3,
        "metrics": ["accuracy"],
        "seed": 0,
    }
    one, other = classifier(), classifier()
    first = one.fit(x, y.astype(dtype), **settings)
    second = other.fit(x, np.eye(2)[y], **settings)
    np.testing.assert_array_equal(one.flat, other.flat)
    assert (first["loss"], first["accuracy"]) == (second["loss"], second["accuracy"])


def test_a_loss_and_a_metric_of_your_own() -> None:
    class Quartic(nn.Loss):
        name = "quartic"

        def _value(self, p: np.ndarray, t: np.ndarray) -> Any:
            return ((p - t) ** 4).mean(axis=-1)

        def _gradient(self, p: np.ndarray, t: np.ndarray) -> Any:
            return 4 * (p - t) ** 3 / p.shape[-1]

    def largest_error(target: np.ndarray, prediction: np.ndarray) -> float:
        return float(abs(target - prediction).max())

    x, y = regression()
    model = regressor()
    history = model.fit(x, y, loss=Quartic(), metrics=[largest_error], epochs=30, learning_rate=0.05, seed=0)
    assert history["loss"][-1] < 0.1 * history["loss"][0]
    assert history["largest_error"][-1] < history["largest_error"][0]
    measured = model.evaluate(x, y, loss=Quartic(), metrics=[largest_error])
    error = model(x)[:, 0] - y
    assert_close(measured["loss"], np.mean(error**4), "same maths")
    assert_close(measured["largest_error"], abs(error).max(), "same maths")


# ---------------------------------------------------------------------------------------- batches and their order


@pytest.mark.parametrize(("count", "batch_size"), [(10, 4), (10, 5), (10, 100), (7, 1), (171, 16)])
def test_every_row_is_seen_once_an_epoch(count: int, batch_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last partial batch too: EpyNN drops it, 11 of 171 in its own example."""
    rows, _ = recorded(monkeypatch)
    x, y = regression(count)
    regressor().fit(x, y, loss="mse", epochs=2, batch_size=batch_size, seed=0)
    sizes = [len(index) for index in rows]
    expected = [batch_size] * (count // batch_size) + [count % batch_size] * (count % batch_size > 0)
    assert sizes == 2 * expected
    for epoch in (rows[: len(expected)], rows[len(expected) :]):
        np.testing.assert_array_equal(np.sort(np.concatenate(epoch)), np.arange(count))


def orders(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> list[list[int]]:
    """The rows of three epochs, in the order in which they were seen."""
    with monkeypatch.context() as patched:
        rows, _ = recorded(patched)
        x, y = regression(20)
        regressor().fit(x, y, loss="mse", epochs=3, batch_size=6, **settings)
    return np.concatenate(rows).reshape(3, 20).tolist()


def test_the_order_is_new_every_epoch_and_comes_from_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    before = global_state()
    first = orders(monkeypatch, seed=5)
    assert first[0] != first[1] != first[2] != first[0]
    np.random.seed(99)  # noqa: NPY002
    state = global_state()
    assert orders(monkeypatch, seed=5) == first
    assert orders(monkeypatch, seed=6) != first
    assert orders(monkeypatch) != orders(monkeypatch)
    np.testing.assert_array_equal(global_state(), state)
    assert (state != before).any()


def test_without_shuffling_the_order_is_that_of_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    assert orders(monkeypatch, shuffle=False) == [list(range(20))] * 3


def test_the_same_seed_gives_the_same_bits() -> None:
    x = ragged(40)

    def run(seed: int) -> tuple[np.ndarray, list[float]]:
        model = nn.Sequential([nn.GRU(4), nn.Dropout(0.5), nn.Dense(2, "softmax")], seed=0)
        history = model.fit(x, classes(x), loss="categorical_crossentropy", epochs=3, seed=seed)
        return model.flat.copy(), history["loss"]

    (flat, losses), (again, losses_again), (other, _) = run(1), run(1), run(2)
    np.testing.assert_array_equal(flat, again)
    assert losses == losses_again
    assert (flat != other).any()


@pytest.mark.parametrize("count", [60, 301])
def test_group_by_length_pads_less_and_sees_every_row(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, padded = ragged(count, longest=30), {}
    for grouped in (False, True):
        with monkeypatch.context() as patched:
            rows, batches = recorded(patched)
            regressor().fit(
                x, np.arange(count), loss="mse", epochs=2, batch_size=4, group_by_length=grouped, seed=0
            )
        per_epoch = -(-count // 4)
        assert len(rows) == 2 * per_epoch
        for start in (0, per_epoch):
            seen = np.concatenate(rows[start : start + per_epoch])
            np.testing.assert_array_equal(np.sort(seen), np.arange(count))
        cells, valid = (
            sum(each) for each in zip(*[(b.x[..., 0].size, b.lengths.sum()) for b in batches], strict=True)
        )
        padded[grouped] = cells - valid
        widths = [batch.x.shape[1] for batch in batches[:per_epoch]]
        assert widths != sorted(widths)  # the batches themselves come in random order
        assert np.concatenate(rows[:per_epoch]).tolist() != np.concatenate(rows[per_epoch:]).tolist()
    assert padded[True] < 0.25 * padded[False]


def test_padding_is_by_the_longest_of_the_batch_which_stands_first(monkeypatch: pytest.MonkeyPatch) -> None:
    _, batches = recorded(monkeypatch)
    x = ragged(12)
    regressor().fit(x, np.arange(12), loss="mse", epochs=1, batch_size=5, shuffle=False)
    for start, batch in zip((0, 5, 10), batches, strict=True):
        part = x[start : start + 5]
        assert batch.lengths is not None
        assert batch.lengths.tolist() == sorted((len(each) for each in part), reverse=True)
        assert batch.x.shape[1] == max(len(each) for each in part)


# --------------------------------------------------------------------------------------------------- validation


def parts(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> tuple[list[int], list[int]]:
    """Which rows are trained on and which are held out; row i of x says i."""
    kept: list[Trainer] = []
    run = Trainer.run
    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "run", lambda self: (kept.append(self), run(self))[1])
        rows = np.arange(20.0)
        x = np.tile(rows[:, None, None], (1, 3, 2))
        regressor().fit(x, rows, loss="mse", epochs=1, learning_rate=1e-6, sample_weight=rows + 1, **settings)
    trainer = kept[0]
    assert trainer.held_out is not None
    for data in (trainer.data, trainer.held_out):
        np.testing.assert_array_equal(data.x[:, 0, 0], data.y[:, 0])  # rows keep their targets and weights
        np.testing.assert_array_equal(data.x[:, 0, 0] + 1, data.weight)
    return trainer.data.x[:, 0, 0].astype(int).tolist(), trainer.held_out.x[:, 0, 0].astype(int).tolist()


@pytest.mark.parametrize(("fraction", "held"), [(0.2, 4), (0.25, 5), (0.03, 1), (0.97, 19)])
def test_validation_fraction(fraction: float, held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    train, held_out = parts(monkeypatch, validation_fraction=fraction, seed=1)
    assert len(held_out) == held
    assert sorted(train + held_out) == list(range(20))  # nothing twice, nothing left out
    np.random.seed(1)  # noqa: NPY002
    assert parts(monkeypatch, validation_fraction=fraction, seed=1) == (train, held_out)
    assert parts(monkeypatch, validation_fraction=fraction, seed=2) != (train, held_out)


def test_validation_data_is_measured_and_not_trained_on() -> None:
    x, y = regression(12)
    other, target = regression(7, seed=1)
    weight = np.random.default_rng(0).random(7)
    alone, watched, weighted = regressor(), regressor(), regressor()
    settings: dict[str, Any] = {"loss": "mse", "metrics": ["mae"], "epochs": 3, "seed": 0}
    alone.fit(x, y, **settings)
    history = watched.fit(x, y, validation_data=(other, target), **settings)
    np.testing.assert_array_equal(alone.flat, watched.flat)
    measured = watched.evaluate(other, target, loss="mse", metrics=["mae"])
    assert_close(history["val_loss"][-1], measured["loss"], "same maths")
    assert_close(history["val_mae"][-1], measured["mae"], "same maths")
    history = weighted.fit(x, y, validation_data=(other, target, weight), **settings)
    assert_close(
        history["val_loss"][-1],
        weighted.evaluate(other, target, loss="mse", sample_weight=weight)["loss"],
        "same maths",
    )


# ------------------------------------------------------------------------------------------------ early stopping


def overfitting(**settings: Any) -> tuple[nn.Sequential, nn.History, Epochs]:
    """Random classes: the training loss falls, the validation loss rises after a while."""
    x = ragged(30)
    y = np.random.default_rng(1).integers(0, 2, 30)
    model, epochs = classifier(16), Epochs()
    settings = {"validation_fraction": 0.4, "learning_rate": 0.02, "epochs": 60, "seed": 0, **settings}
    loss = {"loss": "categorical_crossentropy", "metrics": ["accuracy", "mse"]}
    history = model.fit(x, y, callbacks=[epochs], **loss, **settings)
    return model, history, epochs


@pytest.mark.parametrize("patience", [1, 3])
def test_early_stopping_puts_back_the_best_weights(patience: int) -> None:
    model, history, epochs = overfitting(patience=patience)
    best = int(np.argmin(history["val_loss"])) + 1
    assert history.stopped == "early stopping"
    assert history.best_epoch == best
    assert history.epochs == best + patience < 60
    np.testing.assert_array_equal(model.flat, epochs.flats[best - 1])
    assert (model.flat != epochs.flats[-1]).any()


def test_without_patience_the_last_weights_stay() -> None:
    model, history, epochs = overfitting(epochs=25)
    assert history.stopped == "epochs"
    assert history.best_epoch == int(np.argmin(history["val_loss"])) + 1 < 25
    np.testing.assert_array_equal(model.flat, epochs.flats[-1])


def test_patience_that_is_not_exhausted_still_puts_back_the_best_weights() -> None:
    model, history, epochs = overfitting(epochs=25, patience=100)
    assert history.stopped == "epochs"
    assert history.epochs == 25
    assert history.best_epoch is not None
    assert history.best_epoch < 25
    np.testing.assert_array_equal(model.flat, epochs.flats[history.best_epoch - 1])


@pytest.mark.parametrize(
    ("monitor", "best"),
    [("loss", np.argmin), ("val_loss", np.argmin), ("val_mse", np.argmin), ("accuracy", np.argmax),
     ("val_accuracy", np.argmax)],
)  # fmt: skip
def test_what_is_monitored(monitor: str, best: Callable[[Any], Any]) -> None:
    """Losses are to fall, scores to rise, and the first of equal epochs is the best."""
    _, history, _ = overfitting(epochs=12, monitor=monitor)
    assert history.best_epoch == int(best(history[monitor])) + 1


def test_the_loss_is_monitored_where_nothing_is_held_out() -> None:
    x, y = regression()
    history = regressor().fit(x, y, loss="mse", epochs=5, seed=0)
    assert history.best_epoch == int(np.argmin(history["loss"])) + 1


# ------------------------------------------------------------------------------------------ callbacks and history


def test_callbacks_are_told_and_can_stop() -> None:
    x, y = regression()
    told: list[Any] = []
    model = regressor()

    def stop(model: nn.Sequential, epoch: int, row: dict[str, float]) -> bool:
        told.append(("stop", epoch))
        return epoch == 3

    def watch(given: nn.Sequential, epoch: int, row: dict[str, float]) -> None:
        assert given is model
        assert given.history.epochs == epoch
        assert row == given.history.last()
        told.append(("watch", epoch))

    history = model.fit(x, y, loss="mse", epochs=9, callbacks=[stop, watch], seed=0)
    assert told == [(name, epoch) for epoch in (1, 2, 3) for name in ("stop", "watch")]
    assert (history.epochs, history.stopped) == (3, "callback")


def test_history_has_a_column_a_quantity_and_a_number_an_epoch() -> None:
    x = ragged(20)
    history = classifier().fit(
        x, classes(x), loss="categorical_crossentropy", metrics=["accuracy", "fscore"], epochs=4,
        validation_fraction=0.5, seed=0,
    )  # fmt: skip
    names = ["loss", "accuracy", "fscore"]
    assert list(history) == [*names, *(f"val_{name}" for name in names), "learning_rate", "seconds"]
    assert [len(column) for column in history.values()] == [4] * len(history)
    assert all(isinstance(value, float) for column in history.values() for value in column)
    assert all(math.isfinite(value) for column in history.values() for value in column)
    assert min(history["seconds"]) > 0
    assert history.epochs == 4
    assert history.last()["loss"] == history["loss"][-1]
    assert repr(history).startswith("History(4 epochs; loss ")


def test_the_training_loss_is_the_mean_over_rows_not_over_batches() -> None:
    x, y = regression(10)
    model = regressor()
    history = model.fit(x, y, loss="mse", optimiser=nn.SGD(1e-30), epochs=1, batch_size=4, seed=0)
    assert_close(history["loss"][0], model.evaluate(x, y, loss="mse")["loss"], "same maths")


def test_each_class_counts_even_where_the_data_lacks_some() -> None:
    """Three outputs are three classes, though the rows hold only two of them."""
    x = ragged(30)
    y = classes(x)
    model = nn.Sequential([nn.GRU(4), nn.Dense(3, "softmax")], seed=0)
    model.fit(x, y, loss="categorical_crossentropy", epochs=10, learning_rate=0.02, seed=0)
    said = model.predict(x).argmax(axis=1)
    assert set(said) <= {0, 1}
    expected = np.mean([np.mean(y[said == k] == k) if (said == k).any() else 0 for k in (0, 1)])
    measured = model.evaluate(x, y, loss="categorical_crossentropy", metrics=["precision"])
    assert_close(measured["precision"], expected, "same maths")


# ------------------------------------------------------------------------------------------- gradients and steps


def test_sum_is_mean_times_the_batch() -> None:
    x, y = regression(12)
    mean, total = regressor(), regressor()
    settings: dict[str, Any] = {"loss": "mse", "epochs": 4, "batch_size": 12, "seed": 0}
    mean.fit(x, y, optimiser=nn.SGD(0.12), reduction="mean", **settings)
    total.fit(x, y, optimiser=nn.SGD(0.12 / 12), reduction="sum", **settings)
    assert_close(total.flat, mean.flat, "same maths")


def test_a_batch_is_averaged_over_its_own_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """The partial batch at the end is no weaker than the others."""
    taken = steps_taken(monkeypatch)
    x, y = regression(5)
    settings: dict[str, Any] = {"loss": "mse", "optimiser": nn.SGD(1e-30), "epochs": 1, "shuffle": False}
    regressor().fit(x, y, batch_size=4, **settings)
    regressor().fit(x[4:], y[4:], batch_size=1, **settings)
    assert len(taken) == 3
    assert_close(taken[1][0], taken[2][0], "same maths")


@pytest.mark.parametrize("clip_norm", [0.01, 1e6])
def test_clipping_of_all_gradients_together(clip_norm: float) -> None:
    x, y = regression()
    free, clipped = regressor(), regressor()
    before = free.build(x).flat.copy()
    clipped.build(x)
    for model, clip in ((free, None), (clipped, clip_norm)):
        model.fit(
            x, 10 * y, loss="mse", optimiser=nn.SGD(1.0), epochs=1, batch_size=12, shuffle=False, clip_norm=clip
        )
    step, clipped_step = before - free.flat, before - clipped.flat
    norm = np.linalg.norm(step)
    assert norm > 0.02
    assert_close(clipped_step, step * min(1, clip_norm / norm), "other library")
    if clip_norm < norm:
        assert_close(np.linalg.norm(clipped_step), clip_norm, "other library")


def test_clipping_of_one_layer_goes_before_that_of_all() -> None:
    x, y = regression()

    def step(layer_clip: float | None, clip_norm: float | None) -> tuple[np.ndarray, np.ndarray]:
        model = nn.Sequential([nn.GRU(4), nn.Dense(1, clip_norm=layer_clip)], dtype="float64", seed=0).build(x)
        before = model.flat.copy()
        model.fit(
            x,
            10 * y,
            loss="mse",
            optimiser=nn.SGD(1.0),
            epochs=1,
            batch_size=12,
            shuffle=False,
            clip_norm=clip_norm,
        )
        gru, dense = model.slices()
        return (before - model.flat)[gru], (before - model.flat)[dense]

    gru, dense = step(None, None)
    assert np.linalg.norm(dense) > 0.3
    gru_beside, dense_clipped = step(0.2, None)
    np.testing.assert_array_equal(gru_beside, gru)
    assert_close(dense_clipped, dense * 0.2 / np.linalg.norm(dense), "other library")
    both = np.concatenate([gru, dense_clipped])
    assert np.linalg.norm(both) > 0.1
    assert_close(np.concatenate(step(0.2, 0.1)), both * 0.1 / np.linalg.norm(both), "other library")


@pytest.mark.parametrize("rate", [0.5, nn.LinDecay(0.5, k=0.01)], ids=str)
def test_a_layer_with_a_learning_rate_of_its_own(rate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = steps_taken(monkeypatch)
    x, y = regression()
    model = nn.Sequential([nn.GRU(4), nn.Dense(1, learning_rate=rate)], dtype="float64", seed=0).build(x)
    flats = [model.flat.copy()]
    model.fit(
        x, y, loss="mse", optimiser=nn.SGD(0.125), epochs=3, batch_size=12, seed=0,
        callbacks=[lambda model, *_: flats.append(model.flat.copy())],
    )  # fmt: skip
    gru, dense = model.slices()
    for epoch, (gradient, rates) in enumerate(taken):
        own = 0.5 if isinstance(rate, float) else 0.5 / (1 + epoch)
        np.testing.assert_array_equal(rates[gru], 0.125)
        np.testing.assert_array_equal(rates[dense], own)
        step = flats[epoch] - flats[epoch + 1]
        assert_close(step[gru], 0.125 * gradient[gru], "other library")
        assert_close(step[dense], own * gradient[dense], "other library")
    assert model.history["learning_rate"] == [0.125] * 3  # the optimiser's


SCHEDULES: dict[str, tuple[nn.Schedule, Callable[[float], float]]] = {
    "constant": (nn.Constant(0.1), lambda x: 0.1),
    "lin_decay": (nn.LinDecay(0.1, k=0.02), lambda x: 0.1 / (1 + 2 * math.floor(x))),
    "lin_decay, k from the epochs": (nn.LinDecay(0.1), lambda x: 0.1 / (1 + 100 * math.floor(x))),
    "exp_decay": (
        nn.ExpDecay(0.1, k=0.3, cycle_epochs=2, cycle_descent=0.5),
        lambda x: 0.1 * 0.5 ** (math.floor(x) // 2) * math.exp(-0.3 * (math.floor(x) % 2)),
    ),
    "cosine": (nn.Cosine(0.1), lambda x: 0.05 * (1 + math.cos(math.pi * x / 5))),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_learning_rate_follows_its_schedule(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step at its own moment of training; the history says the last of each epoch."""
    taken = steps_taken(monkeypatch)
    schedule, formula = SCHEDULES[name]
    x, y = regression(12)
    history = regressor().fit(x, y, loss="mse", optimiser=nn.SGD(schedule), epochs=5, batch_size=4, seed=0)
    rates = np.array([rate for _, rate in taken])
    assert_close(rates, np.array([formula(step / 3) for step in range(15)]), "same maths")
    assert history["learning_rate"] == rates[2::3].tolist()


# --------------------------------------------------------------------------------------------------- going on


def test_an_optimiser_that_is_passed_again_goes_on() -> None:
    """EpyNN replays the last epoch when training goes on; here two runs of three are one of six."""
    x, y = regression()
    settings: dict[str, Any] = {"loss": "mse", "batch_size": 12, "shuffle": False}
    once, twice, anew = regressor(), regressor(), regressor()
    once.fit(x, y, optimiser=nn.Adam(0.01), epochs=6, **settings)
    optimiser = nn.Adam(0.01)
    losses: list[float] = []
    for _ in range(2):
        history = twice.fit(x, y, optimiser=optimiser, epochs=3, **settings)
        assert history.epochs == 3
        losses += history["loss"]
    np.testing.assert_array_equal(twice.flat, once.flat)
    assert losses == once.history["loss"]
    assert optimiser.steps == 6
    for _ in range(2):
        anew.fit(x, y, optimiser="adam", learning_rate=0.01, epochs=3, **settings)
    assert (anew.flat != once.flat).any()  # a name begins with a fresh state


def test_nothing_that_was_passed_is_changed() -> None:
    """EpyNN writes the default decay of a short run into the caller's settings, and so ruins a longer one."""
    x = ragged(12)
    y, weight = np.arange(12.0), np.ones(12)
    copies = [each.copy() for each in x], y.copy(), weight.copy()
    schedule = nn.LinDecay(0.1)
    optimiser = nn.SGD(schedule)
    config = optimiser.config()
    for epochs in (5, 50):
        history = regressor().fit(
            x, y, loss="mse", optimiser=optimiser, epochs=epochs, sample_weight=weight, seed=0
        )
        expected = [0.1 / (1 + 500 / epochs * epoch) for epoch in range(epochs)]
        assert_close(np.array(history["learning_rate"]), np.array(expected), "same maths")
    assert optimiser.config() == config
    assert optimiser.learning_rate is schedule
    for each, copy in zip((*x, y, weight), (*copies[0], copies[1], copies[2]), strict=True):
        np.testing.assert_array_equal(each, copy)


# ------------------------------------------------------------------------------------------------------- weights


def test_a_weight_counts_like_repetition() -> None:
    x, y = regression(6)
    weight = np.array([1, 3, 0, 2, 1, 1])
    repeated = np.repeat(np.arange(6), weight)
    one, other = regressor(), regressor()
    one.build(x)
    other.build(x)
    settings: dict[str, Any] = {"loss": "mse", "optimiser": nn.SGD(0.05), "epochs": 3, "reduction": "sum"}
    one.fit(x, y, sample_weight=weight, batch_size=100, **settings)
    other.fit(x[repeated], y[repeated], batch_size=100, **settings)
    assert_close(one.flat, other.flat, "other library")


def test_a_row_of_weight_0_cannot_spoil_the_loss() -> None:
    """Its own loss may even be infinite."""
    x, y = regression(6)
    far, weight = y.copy(), np.array([1.0, 0, 2, 1, 1, 1])
    far[1] = 1e30  # its square is beyond float32
    one, other = regressor("float32"), regressor("float32")
    settings: dict[str, Any] = {"loss": "mse", "epochs": 3, "sample_weight": weight, "seed": 0}
    first, second = one.fit(x, y, **settings), other.fit(x, far, **settings)
    np.testing.assert_array_equal(one.flat, other.flat)
    assert first["loss"] == second["loss"]


def test_weights_are_used_as_given() -> None:
    """No normalisation: twice the weights is twice the gradient and twice the loss."""
    x, y = regression(6)
    weight = np.random.default_rng(0).random(6)
    steps = []
    for factor in (1, 2):
        model = regressor().build(x)
        before = model.flat.copy()
        history = model.fit(
            x,
            y,
            loss="mse",
            optimiser=nn.SGD(1.0),
            epochs=1,
            sample_weight=factor * weight,
            batch_size=6,
            shuffle=False,
        )
        steps.append((before - model.flat, history["loss"][0]))
    assert_close(steps[1][0], 2 * steps[0][0], "other library")
    assert_close(steps[1][1], 2 * steps[0][1], "same maths")


def test_metrics_leave_out_rows_of_weight_0() -> None:
    x = ragged(20)
    y = classes(x)
    model = classifier()
    model.fit(x, y, loss="categorical_crossentropy", epochs=5, seed=0)
    right = model.predict(x).argmax(axis=1) == y
    weight = np.where(np.arange(20) % 3 == 0, 0.0, 2.0)
    measured = model.evaluate(x, y, loss="categorical_crossentropy", metrics=["accuracy"], sample_weight=weight)
    assert_close(measured["accuracy"], right[weight > 0].mean(), "same maths")


# ------------------------------------------------------------------------------------------------------ evaluate


@pytest.mark.parametrize("batch_size", [1, 3, 256])
def test_evaluate_is_the_loss_and_the_metrics_of_predict(batch_size: int) -> None:
    x = ragged(20)
    y = classes(x)
    weight = np.random.default_rng(0).random(20) + 0.1
    model = nn.Sequential([nn.GRU(4), nn.Dropout(0.5), nn.Dense(2, "softmax")], dtype="float64", seed=0).build(x)
    p = model.predict(x)
    measured = model.evaluate(
        x, y, loss="categorical_crossentropy", metrics=["accuracy", "recall", "mse"], sample_weight=weight,
        batch_size=batch_size,
    )  # fmt: skip
    said = p.argmax(axis=1)
    expected = {
        "loss": np.mean(-np.log(p[np.arange(20), y]) * weight),
        "accuracy": np.mean(said == y),
        "recall": np.mean(said[y == 1] == 1),
        "mse": np.mean((p - np.eye(2)[y]) ** 2),
    }
    assert measured.keys() == expected.keys()
    for name, value in expected.items():
        assert_close(measured[name], value, "same maths", name=name)


def test_evaluate_of_every_step_is_a_mean_of_each_sequences_mean() -> None:
    x = ragged(8)
    y = [np.random.default_rng(len(each)).random((len(each), 2)) for each in x]
    model = nn.Sequential([nn.GRU(3, sequences=True), nn.Dense(2)], dtype="float64", seed=0)
    measured = model.evaluate(x, y, loss="mae", metrics=["mae"])
    errors = [abs(model(each[None])[0] - target) for each, target in zip(x, y, strict=True)]
    assert_close(measured["loss"], np.mean([error.mean() for error in errors]), "same maths")
    assert_close(measured["mae"], np.concatenate(errors).mean(), "same maths")  # every step counts alike


def test_one_sigmoid_says_a_class() -> None:
    x = ragged(40)
    y = classes(x)
    model = nn.Sequential([nn.GRU(4), nn.Dense(1, "sigmoid")], seed=0)
    model.fit(x, y, loss="binary_crossentropy", epochs=5, learning_rate=0.1, seed=0)
    measured = model.evaluate(x, y, loss="binary_crossentropy", metrics=["accuracy", "precision"])
    said = model.predict(x)[:, 0] > 0.5
    assert_close(measured["accuracy"], np.mean(said == y), "same maths")
    assert_close(measured["precision"], np.mean(y[said]), "same maths")


def test_neither_evaluate_nor_predict_changes_the_model() -> None:
    x, y = regression()
    model = nn.Sequential([nn.GRU(4), nn.Dropout(0.5), nn.Dense(1)], seed=0).build(x)
    before = model.flat.copy()
    first = model.predict(x)
    assert model.evaluate(x, y, loss="mse") == model.evaluate(x, y, loss="mse")
    np.testing.assert_array_equal(model.predict(x), first)  # EpyNN's dropout stays on here
    np.testing.assert_array_equal(model.flat, before)


# ----------------------------------------------------------------------------------------- how a run can go wrong


@pytest.mark.parametrize("patience", [None, 2])
def test_a_run_that_diverges_keeps_the_best_weights(patience: int | None) -> None:
    x, y = regression()
    model, epochs = regressor("float32"), Epochs()

    def spoil(model: nn.Sequential, epoch: int, row: dict[str, float]) -> None:
        if epoch == 3:
            model.flat[...] *= 1e37

    with pytest.raises(
        FloatingPointError, match=r"the loss is (inf|nan) in epoch 4: training diverged\. Lower the"
    ):
        model.fit(x, y, loss="mse", epochs=9, patience=patience, callbacks=[epochs, spoil], seed=0)
    history = model.history
    assert (history.epochs, history.stopped) == (3, "error")
    assert history.best_epoch == int(np.argmin(history["loss"])) + 1
    np.testing.assert_array_equal(model.flat, epochs.flats[history.best_epoch - 1])


def test_a_run_that_diverges_at_once_keeps_the_initial_weights() -> None:
    x, y = regression()
    model = regressor("float32").build(x)
    before = model.flat.copy()
    with pytest.raises(FloatingPointError, match=r"the loss is (inf|nan) in epoch 1: training diverged"):
        model.fit(x, y, loss="mse", optimiser="sgd", learning_rate=1e37, batch_size=2, epochs=2, seed=0)
    np.testing.assert_array_equal(model.flat, before)


def test_weights_that_the_last_step_ruined_are_noticed() -> None:
    """No loss follows the last step, so the weights themselves are looked at."""
    x, y = regression()
    model = regressor("float32").build(x)
    before = model.flat.copy()
    with pytest.raises(FloatingPointError, match="a weight is infinite or NaN in epoch 1: training diverged"):
        model.fit(x, 1e3 * y, loss="mse", optimiser="sgd", learning_rate=3e38, batch_size=12, epochs=1, seed=0)
    np.testing.assert_array_equal(model.flat, before)


@pytest.mark.parametrize("activation", ["relu", "elu", "identity"])
def test_divergence_is_an_error_and_no_warning(activation: str) -> None:
    """Unbounded activations overflow inside the layers, before the loss does; here warnings are errors."""
    x, y = regression()
    model = nn.Sequential([nn.GRU(4, activation=activation), nn.Dense(4, "elu"), nn.Dense(1)], seed=0)
    with pytest.raises(FloatingPointError, match="training diverged"):
        model.fit(x, y, loss="mse", optimiser="sgd", learning_rate=1e20, batch_size=2, epochs=9, seed=0)
    assert np.isfinite(model.flat).all()


@pytest.mark.parametrize("patience", [None, 50])
def test_ctrl_c_keeps_the_best_weights(patience: int | None) -> None:
    def interrupt(model: nn.Sequential, epoch: int, row: dict[str, float]) -> None:
        if epoch == 20:
            raise KeyboardInterrupt

    x = ragged(30)
    y = np.random.default_rng(1).integers(0, 2, 30)
    model, epochs = classifier(16), Epochs()
    with pytest.raises(KeyboardInterrupt):
        model.fit(
            x, y, loss="categorical_crossentropy", validation_fraction=0.4, learning_rate=0.02, epochs=60, seed=0,
            patience=patience, callbacks=[epochs, interrupt],
        )  # fmt: skip
    history = model.history
    best = int(np.argmin(history["val_loss"])) + 1
    assert (history.stopped, history.best_epoch, history.epochs) == ("interrupted", best, 20)
    assert best < 20
    np.testing.assert_array_equal(model.flat, epochs.flats[best - 1])


def test_ctrl_c_in_the_midst_of_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = regression()
    model, epochs = regressor(), Epochs()
    step, calls = nn.Adam.step, []

    def interrupted(self: nn.Adam, *arguments: Any) -> None:
        calls.append(1)
        if len(calls) == 8:
            raise KeyboardInterrupt
        step(self, *arguments)

    monkeypatch.setattr(nn.Adam, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.fit(x, y, loss="mse", epochs=5, batch_size=4, callbacks=[epochs], seed=0)
    assert (model.history.epochs, model.history.stopped) == (2, "interrupted")
    np.testing.assert_array_equal(model.flat, epochs.flats[(model.history.best_epoch or 0) - 1])


# ------------------------------------------------------------------------------------------------------ progress


def fit_with_progress(progress: Any, epochs: int = 20, **settings: Any) -> None:
    x = ragged(12)
    settings = {"metrics": ["accuracy"], "validation_fraction": 0.5, **settings}
    classifier().fit(
        x, classes(x), loss="categorical_crossentropy", epochs=epochs, progress=progress, seed=0, **settings
    )


def assert_threads_end(before: int) -> None:
    """No more threads than before, after a moment: rich does not wait for its own."""
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before


def test_lines_where_no_one_looks(capsys: pytest.CaptureFixture[str]) -> None:
    fit_with_progress(True)
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert [line.split()[1] for line in lines] == [f"{epoch}/20" for epoch in range(2, 21, 2)]
    for line in lines:
        for word in ("loss ", "accuracy ", "val_loss ", "val_accuracy ", " sequences/s", " s left"):
            assert word in line
    assert lines[-1].endswith(" 0 s left")


@pytest.mark.parametrize("epochs", [1, 3, 25])
def test_the_last_epoch_has_a_line(epochs: int, capsys: pytest.CaptureFixture[str]) -> None:
    fit_with_progress(True, epochs)
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"epoch {epochs}/{epochs}  loss ")


def test_lines_tell_the_rate_and_the_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(0, 2)  # every epoch takes two seconds
    monkeypatch.setattr("grus.nn._progress.time", SimpleNamespace(perf_counter=lambda: next(clock)))
    fit_with_progress(True, 4)  # six rows are trained on, six held out
    ends = [line.split("  ")[-2:] for line in capsys.readouterr().err.splitlines()]
    assert ends == [["3 sequences/s", f"{left} s left"] for left in (6, 4, 2, 0)]


@pytest.mark.parametrize("progress", ["auto", False])
def test_silence_where_no_one_looks(progress: Any, capsys: pytest.CaptureFixture[str]) -> None:
    fit_with_progress(progress)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("progress", ["auto", True])
def test_a_bar_on_a_terminal(
    progress: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("rich")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    threads = threading.active_count()
    fit_with_progress(progress)
    out, err = capsys.readouterr()
    assert out == ""
    for word in ("epoch", "20/20", "val_loss", "accuracy", "sequences/s", "elapsed", "left"):
        assert word in err
    assert err.count("\x1b[?25l") == err.count("\x1b[?25h") > 0  # the cursor is hidden, and shown again
    assert_threads_end(threads)


def test_the_bar_ends_when_training_breaks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("rich")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    threads = threading.active_count()

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_with_progress("auto", callbacks=[interrupt])
    err = capsys.readouterr().err
    assert err.count("\x1b[?25l") == err.count("\x1b[?25h") > 0
    assert_threads_end(threads)


def test_a_terminal_is_silent_when_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    fit_with_progress(False)
    assert capsys.readouterr() == ("", "")


def test_lines_on_a_terminal_without_rich(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    for name in ("rich", "rich.console", "rich.progress"):
        monkeypatch.setitem(sys.modules, name, None)
    fit_with_progress("auto")
    assert len(capsys.readouterr().err.splitlines()) == 10
