"""Training chunk by chunk: the states are carried, the gradients are not, and nothing else differs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import grus
from grus import nn
from grus.nn._layer import Context
from helpers import assert_close

FEATURES, LONGEST = 2, 11


def ragged(count: int = 14, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    lengths = np.array([LONGEST, *rng.integers(1, LONGEST + 1, count - 1)])
    return [rng.standard_normal((length, FEATURES)) for length in lengths]


def running_sums(x: list[np.ndarray]) -> list[np.ndarray]:
    """(T_i, 1): a target at every step."""
    return [np.tanh(each[:, :1].cumsum(axis=0)) for each in x]


def stepwise(dtype: str = "float64", dropout: float = 0.0) -> nn.Sequential:
    layers = [nn.GRU(4, sequences=True, num_layers=2, dropout=dropout), nn.Dropout(dropout), nn.Dense(1)]
    return nn.Sequential(layers, dtype=dtype, seed=0)


def at_the_end(dtype: str = "float64", dropout: float = 0.0) -> nn.Sequential:
    layers = [nn.GRU(4, sequences=True), nn.Dropout(dropout), nn.GRU(3), nn.Dense(1)]
    return nn.Sequential(layers, dtype=dtype, seed=0)


def symbols() -> nn.Sequential:
    return nn.Sequential([nn.Embedding(3), nn.GRU(4, sequences=True), nn.Pool("last"), nn.Dense(1)], seed=0)


def missing() -> nn.Sequential:
    return nn.Sequential([nn.GRUD(4, sequences=True), nn.Dense(1)], dtype="float64", seed=0)


def case(kind: str) -> tuple[nn.Sequential, Any, Any]:
    """A model, x and y."""
    x = ragged()
    ends = np.array([each[:, 0].sum() for each in x])
    if kind == "at every step":
        return stepwise(dropout=0.3), x, running_sums(x)
    if kind == "at the end":
        return at_the_end("float32", dropout=0.3), x, ends
    if kind == "equal lengths":
        equal = np.stack([np.resize(each, (6, FEATURES)) for each in x])
        return at_the_end(), equal, ends
    if kind == "symbols":
        return symbols(), [(each[:, 0] > 0).astype(int) for each in x], ends
    rng = np.random.default_rng(1)
    return missing(), [np.where(rng.random(each.shape) < 0.4, np.nan, each) for each in x], running_sums(x)


KINDS = ("at every step", "at the end", "equal lengths", "symbols", "missing values")


def trained(kind: str, epochs: int = 3, **settings: Any) -> tuple[np.ndarray, dict[str, list[float]]]:
    model, x, y = case(kind)
    settings = {"loss": "mse", "metrics": ["mae"], "batch_size": 5, "clip_norm": 1.0, "seed": 1, **settings}
    history = model.fit(x, y, epochs=epochs, learning_rate=nn.Cosine(0.02), **settings)
    return model.flat.copy(), {name: column for name, column in history.items() if name != "seconds"}


def steps_taken(monkeypatch: pytest.MonkeyPatch) -> list[tuple[np.ndarray, np.ndarray, float]]:
    """A list that will hold parameters, gradient and learning rate of every step of SGD."""
    taken: list[tuple[np.ndarray, np.ndarray, float]] = []
    original = nn.SGD.step

    def step(self: nn.SGD, flat: np.ndarray, gradient: np.ndarray, learning_rate: Any) -> None:
        taken.append((flat.copy(), gradient.copy(), learning_rate))
        original(self, flat, gradient, learning_rate)

    monkeypatch.setattr(nn.SGD, "step", step)
    return taken


# ------------------------------------------------------------------------------------------------ the same numbers


@pytest.mark.parametrize("chunk", [LONGEST, 1000])
@pytest.mark.parametrize("kind", KINDS)
def test_a_chunk_that_holds_all_steps_changes_no_bit(kind: str, chunk: int) -> None:
    weights = np.random.default_rng(0).random(14)
    for settings in ({}, {"validation_fraction": 0.3, "reduction": "sum"}, {"sample_weight": weights}):
        flat, history = trained(kind, **settings)
        flat_again, history_again = trained(kind, chunk=chunk, **settings)
        np.testing.assert_array_equal(flat_again, flat)
        assert history_again == history


@pytest.mark.parametrize("chunk", [1, 3, 10])
@pytest.mark.parametrize("kind", KINDS)
def test_measuring_in_chunks_gives_the_same(kind: str, chunk: int) -> None:
    """So each layer carries all that later steps need."""
    model, x, y = case(kind)
    settings: dict[str, Any] = {"loss": "mse", "metrics": ["mae"], "batch_size": 4}
    settings["sample_weight"] = np.random.default_rng(0).random(len(x))
    whole = model.build(x).evaluate(x, y, **settings)
    parts = model.evaluate(x, y, chunk=chunk, **settings)
    accuracy = "float32" if model.dtype == np.float32 else "float64"
    for name, value in whole.items():
        assert_close(parts[name], value, "same maths, any shape", accuracy)


def test_times_are_carried_over_a_cut() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((5, 9, 3))
    x[rng.random(x.shape) < 0.5] = np.nan
    x[..., 0] = 1e5 + rng.random((5, 9)).cumsum(axis=1)
    y = rng.standard_normal((5, 9, 1))
    layers = [nn.GRUD(4, sequences=True, time_feature=0), nn.Dense(1)]
    model = nn.Sequential(layers, dtype="float64", seed=0).build(x)
    whole = model.evaluate(x, y, loss="mse")["loss"]
    for chunk in (1, 2, 4):
        assert_close(model.evaluate(x, y, loss="mse", chunk=chunk)["loss"], whole, "same maths, any shape")


@pytest.mark.parametrize("kind", ["at every step", "at the end"])
def test_the_loss_of_an_epoch_is_that_of_whole_sequences(kind: str) -> None:
    _, x, y = case(kind)
    layers = [nn.GRU(4, sequences=kind == "at every step"), nn.Dense(1)]
    model = nn.Sequential(layers, dtype="float64", seed=0)
    history = model.fit(x, y, loss="mse", metrics=["mae"], chunk=3, epochs=1, learning_rate=1e-12, seed=0)
    for name, value in model.evaluate(x, y, loss="mse", metrics=["mae"]).items():
        np.testing.assert_allclose(history[name][0], value, rtol=1e-9)


# ----------------------------------------------------------------------------------------------------- each chunk


def by_hand(flat: np.ndarray, x: np.ndarray, y: np.ndarray, h: Any, lengths: np.ndarray, rate: np.ndarray) -> Any:
    """Gradient of the sum of rate * squared error of Dense(1) on GRU(4) from the state h, and the state after."""
    core = grus.GRU(FEATURES, 4, dtype="float64")
    core.flat[...] = flat[: core.flat.size]
    weight, bias = flat[core.flat.size : -1], flat[-1]
    output, h_n, tape = core.forward(x, h, lengths=lengths)
    error = 2 * rate * (output @ weight + bias - y)
    gradients = core.backward(tape, error[..., None] * weight).parameters.flat
    return np.concatenate([gradients, np.tensordot(error, output, 2), [error.sum()]]), h_n


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_each_chunk_descends_its_mean_loss_from_the_carried_state(
    reduction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = steps_taken(monkeypatch)
    x = sorted(ragged(6), key=len, reverse=True)
    y = running_sums(x)
    model = nn.Sequential([nn.GRU(4, sequences=True), nn.Dense(1)], dtype="float64", seed=0)
    settings: dict[str, Any] = {"optimiser": nn.SGD(0.5), "shuffle": False, "reduction": reduction}
    model.fit(x, y, loss="mse", chunk=4, batch_size=6, epochs=1, seed=0, **settings)
    assert len(taken) == 3
    h: Any = None
    for i, (flat, gradient, _) in enumerate(taken):
        rows = [row for row in range(6) if len(x[row]) > 4 * i]
        lengths = np.array([min(len(x[row]) - 4 * i, 4) for row in rows])
        part, target, rate = np.zeros((len(rows), 4, FEATURES)), np.zeros((len(rows), 4)), np.zeros((len(rows), 4))
        for k, (row, length) in enumerate(zip(rows, lengths, strict=True)):
            part[k, :length], target[k, :length] = x[row][4 * i :][:4], y[row][4 * i :][:4, 0]
            rate[k, :length] = 1 / length / (len(rows) if reduction == "mean" else 1)
        h = None if h is None else h[:, : len(rows)]
        exact, h = by_hand(flat, part, target, h, lengths, rate)
        assert_close(gradient, exact, "same maths, any shape")
    assert abs(h).max() > 0.01


def test_one_output_a_sequence_is_trained_in_each_rows_last_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of 9, 8, 8 and 2 steps in chunks of 4: one step for the rows that end in the chunk, none before."""
    taken = steps_taken(monkeypatch)
    rng = np.random.default_rng(0)
    x = [rng.standard_normal((length, FEATURES)) for length in (9, 8, 8, 5)]
    y = rng.standard_normal(4)
    model = nn.Sequential([nn.GRU(4), nn.Dense(1)], dtype="float64", seed=0)
    model.fit(x, y, loss="mse", chunk=4, optimiser=nn.SGD(0.5), shuffle=False, epochs=1, seed=0)
    assert len(taken) == 2  # in the first chunk no row ends
    padded = np.zeros((4, 12, FEATURES))
    for row, each in zip(padded, x, strict=True):
        row[: len(each)] = each
    core = grus.GRU(FEATURES, 4, dtype="float64")
    core.flat[...] = taken[0][0][: core.flat.size]
    carried = core(padded[:, :4]).h_n
    rate, target = np.zeros((4, 4)), np.zeros((4, 4))
    for row, length in ((1, 4), (2, 4), (3, 1)):
        rate[row, length - 1], target[row, length - 1] = 1 / 3, y[row]
    exact, carried = by_hand(taken[0][0], padded[:, 4:8], target, carried, np.array([4, 4, 4, 1]), rate)
    assert_close(taken[0][1], exact, "same maths, any shape")
    target, rate = np.array([[y[0]]]), np.ones((1, 1))
    exact, _ = by_hand(taken[1][0], padded[:1, 8:9], target, carried[:, :1], np.array([1]), rate)
    assert_close(taken[1][1], exact, "same maths, any shape")


def test_sequences_without_steps() -> None:
    x = [np.ones((0, FEATURES)), np.ones((3, FEATURES)), np.ones((0, FEATURES))]
    for chunk in (None, 2):
        model = nn.Sequential([nn.GRU(2), nn.Dense(1)], seed=0)
        history = model.fit(
            x, np.arange(3.0), loss="mse", chunk=chunk, batch_size=1, shuffle=False, epochs=2, seed=0
        )
        assert np.isfinite(history["loss"]).all()
        assert model.evaluate(x, np.arange(3.0), loss="mse", chunk=chunk)["loss"] > 0


# ------------------------------------------------------------------------------------------------- the whole of it


def first_sign(count: int, steps: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise, but for the first step, whose sign is the target at every step."""
    rng = np.random.default_rng(seed)
    x = 0.3 * rng.standard_normal((count, steps, 1))
    x[:, 0, 0] = rng.choice([-2.0, 2.0], count)
    return x, np.repeat(x[:, :1] > 0, steps, axis=1).astype(float)


def test_a_memory_longer_than_a_chunk_is_learnt() -> None:
    """Thirty steps in chunks of five; where the state is reset instead, five steps in six are guessed."""
    (x, y), (x_new, y_new) = first_sign(200, 30, 0), first_sign(200, 30, 1)
    carried, reset = (nn.Sequential([nn.GRU(8, sequences=True), nn.Dense(1, "sigmoid")], seed=0) for _ in range(2))
    settings: dict[str, Any] = {"loss": "binary_crossentropy", "learning_rate": 0.02, "clip_norm": 1.0, "seed": 0}
    carried.fit(x, y, chunk=5, epochs=8, **settings)
    pieces = x.reshape(-1, 5, 1), y.reshape(-1, 5, 1)
    reset.fit(*pieces, epochs=8, **settings)
    measured = {"loss": "binary_crossentropy", "metrics": ["accuracy"]}
    assert carried.evaluate(x_new, y_new, **measured)["accuracy"] > 0.98
    new_pieces = x_new.reshape(-1, 5, 1), y_new.reshape(-1, 5, 1)
    assert reset.evaluate(*new_pieces, **measured)["accuracy"] < 0.7


def test_no_step_keeps_more_than_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """In training its workspace, and outside its output."""
    kept: list[int] = []
    original = nn.GRU.forward

    def forward(self: nn.GRU, x: np.ndarray, context: Context) -> tuple[np.ndarray, Any]:
        output, tape = original(self, x, context)
        arrays = [output] if tape is None else [tape.runs[0].states, tape.runs[0].saved.workspace]
        kept.extend(array.size // (4 if array.shape[-1] == 16 else 1) for array in arrays)
        return output, tape

    model = nn.Sequential([nn.GRU(4, sequences=True), nn.Dense(1)], seed=0)
    x = np.random.default_rng(0).standard_normal((6, 100, 2))
    model.build(x[:, :7])
    fit = {"loss": "mse", "chunk": 7, "batch_size": 3, "epochs": 1, "validation_fraction": 0.5, "seed": 0}
    monkeypatch.setattr(nn.GRU, "forward", forward)
    model.fit(x, x[..., 0], **fit)
    first = 100 * 4  # one sequence is run to learn the shape of the output
    assert kept[0] == first
    assert len(kept) == 1 + 3 * 15
    assert max(kept[1:]) == 3 * 7 * 4


def test_the_learning_rate_moves_on_within_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = steps_taken(monkeypatch)
    x = np.random.default_rng(0).standard_normal((3, 8, 2))
    model = nn.Sequential([nn.GRU(2, sequences=True), nn.Dense(1)], seed=0)
    rate = nn.LinDecay(0.1, k=1.0)
    model.fit(x, x[..., 0], loss="mse", optimiser=nn.SGD(rate), chunk=2, epochs=2, seed=0)
    assert_close([step[2] for step in taken], [rate(i / 4, 2) for i in range(8)], "same maths")


def test_the_bar_moves_on_within_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    class Recorder:
        def __init__(self) -> None:
            self.done: list[tuple[int, float, int]] = []

        def batch(self, epoch: int, done: float, of: int) -> None:
            self.done.append((epoch, done, of))

        def epoch(self, *_: Any) -> None:
            return

        def close(self) -> None:
            return

    recorder = Recorder()
    monkeypatch.setattr("grus.nn._trainer.make_progress", lambda *_: recorder)
    x = np.random.default_rng(0).standard_normal((4, 8, 2))
    nn.Sequential([nn.GRU(2, sequences=True), nn.Dense(1)], seed=0).fit(
        x, x[..., 0], loss="mse", chunk=4, batch_size=2, epochs=1, seed=0
    )
    assert recorder.done == [(1, 0.5, 2), (1, 1.0, 2), (1, 1.5, 2), (1, 2.0, 2)]


@pytest.mark.parametrize("kind", ["at every step", "at the end", "missing values"])
def test_a_resumed_run_ends_with_the_same_bits(kind: str, tmp_path: Path) -> None:
    def interrupt(model: nn.Sequential, epoch: int, row: dict[str, float]) -> None:
        if epoch == 2:
            raise KeyboardInterrupt

    settings: dict[str, Any] = {"chunk": 3, "validation_fraction": 0.3}
    kept = {"checkpoint": tmp_path / "c", "resume": True}
    with pytest.raises(KeyboardInterrupt):
        trained(kind, 4, callbacks=[interrupt], **settings, **kept)
    flat, history = trained(kind, 4, **settings, **kept)
    whole, expected = trained(kind, 4, **settings)
    np.testing.assert_array_equal(flat, whole)
    assert history == expected


def test_another_chunk_is_another_run(tmp_path: Path) -> None:
    kept = {"checkpoint": tmp_path / "c", "resume": True}
    trained("at the end", 1, chunk=3, **kept)
    with pytest.raises(ValueError, match="belongs to a run with other data, another model or other settings"):
        trained("at the end", 2, chunk=4, **kept)


def test_a_layer_of_ones_own_that_says_so_works() -> None:
    class Doubled(nn.Layer):
        def forward(self, x: np.ndarray, context: Context) -> tuple[np.ndarray, Any]:
            return 2 * x, None

        def backward(self, tape: Any, dy: np.ndarray, gradients: Any) -> np.ndarray:
            return 2 * dy

        def obstacle_to_chunks(self) -> str:
            return ""

    x = ragged()
    model = nn.Sequential([Doubled(), nn.GRU(4, sequences=True), nn.Dense(1)], seed=0)
    history = model.fit(x, running_sums(x), loss="mse", chunk=4, epochs=5, learning_rate=0.02, seed=0)
    assert history["loss"][-1] < history["loss"][0]


# ------------------------------------------------------------------------------------------------------ estimators


def test_estimators_train_in_chunks() -> None:
    x = ragged(40)
    y = np.array([each[:, 0].sum() for each in x])
    settings: dict[str, Any] = {"hidden_size": 4, "epochs": 3, "random_state": 0, "bidirectional": False}
    whole, same, parts = (
        grus.GRURegressor(chunk=chunk, **settings).fit(x, y).predict(x) for chunk in (None, 100, 4)
    )
    np.testing.assert_array_equal(same, whole)
    assert (parts != whole).any()
    classifier = grus.GRUClassifier(chunk=4, pool="last", **settings).fit(x, y > 0)
    assert classifier.get_params()["chunk"] == 4
    with pytest.raises(
        ValueError, match=r"chunk must be None because of layer 2 \(pool_1\): the max needs all steps"
    ):
        grus.GRUClassifier(chunk=4, **settings).fit(x, y > 0)
