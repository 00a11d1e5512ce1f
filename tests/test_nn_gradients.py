"""Every gradient of every layer and loss by name and by value, against central differences and complex steps."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from grus import Activation, nn
from grus._gradcheck import complex_step
from grus.activations import NAMES
from helpers import assert_close, central_differences

B, T, I = 3, 4, 2
LENGTHS = np.array([4, 2, 3])
EMPTY_ROW = np.array([4, 0, 3])
SYMBOLS = np.array([[0, 1, 2, 1], [2, 0, 1, 0], [1, 1, 0, 2]])


class Case(NamedTuple):
    """A model with random parameters, its input, and how it is run in training."""

    model: nn.Sequential
    x: np.ndarray
    lengths: np.ndarray | None = None
    seed: int | None = None  # of dropout masks, the same at every run

    def output(self) -> tuple[np.ndarray, Any]:
        return self.model.forward(self.x, self.lengths, self.seed)

    def weights(self) -> np.ndarray:
        """Random numbers that make one loss of the output; zeros where the output is padding."""
        output, _ = self.output()
        weights = np.random.default_rng(8).standard_normal(output.shape)
        if output.ndim == 3 and self.lengths is not None:
            weights[np.arange(output.shape[1]) >= self.lengths[:, None]] = 0
        return weights


def random_case(
    layers: list[nn.Layer],
    *,
    shape: tuple[int, ...] = (B, T, I),
    lengths: np.ndarray | None = None,
    symbols: bool = False,
    dtype: str = "float64",
    padding: float = -7.5,
    seed: int | None = None,
) -> Case:
    """Parameters, biases included, and x are random; what is past a length is ``padding``."""
    rng = np.random.default_rng(5)
    x = SYMBOLS.copy() if symbols else rng.standard_normal(shape)
    model = nn.Sequential(layers, dtype=dtype, seed=1).build(x)
    model.flat[...] = rng.standard_normal(model.flat.size) * 0.7
    if lengths is not None:
        x[np.arange(T) >= lengths[:, None]] = 99 if symbols else padding
    return Case(model, x if symbols else x.astype(dtype), lengths, seed)


def assert_gradients(case: Case, kind: str = "central differences") -> None:
    """The gradients of a random weighted sum of the output: every parameter by name, and x."""
    weights = case.weights()
    output, tape = case.output()
    assert output.shape == weights.shape
    exact = case.model.backward(tape, weights.astype(output.dtype))

    def loss() -> Any:
        return (weights * case.output()[0]).sum()

    differences: Callable[..., Any] = complex_step if kind == "complex step" else central_differences
    compared = dict(case.model.parameters)
    found: dict[str, Any] = dict(exact.parameters)
    if exact.x is not None:
        compared, found = compared | {"x": case.x}, found | {"x": exact.x}
    for name, array in compared.items():
        assert np.count_nonzero(found[name]), f"the gradient of {name} is zero"
        assert_close(found[name], differences(loss, array), kind, name=name)


# ------------------------------------------------------------------------------------------------------- layers


@pytest.mark.parametrize("lengths", [None, LENGTHS, EMPTY_ROW], ids=["equal", "ragged", "empty row"])
@pytest.mark.parametrize("reset_after", [True, False])
@pytest.mark.parametrize(
    ("sequences", "bidirectional", "layers"), list(itertools.product((True, False), (False, True), (1, 2)))
)
def test_gru(
    sequences: bool, bidirectional: bool, layers: int, reset_after: bool, lengths: np.ndarray | None
) -> None:
    options = {"num_layers": layers, "bidirectional": bidirectional, "reset_after": reset_after}
    assert_gradients(random_case([nn.GRU(2, sequences, **options)], lengths=lengths))


@pytest.mark.parametrize("layers", [1, 2])
def test_gru_without_biases_with_other_activations(layers: int) -> None:
    options = {"bias": False, "activation": "softsign", "gate_activation": ("hard_sigmoid", "sigmoid")}
    assert_gradients(random_case([nn.GRU(3, num_layers=layers, **options)], lengths=LENGTHS))


def test_gru_with_dropout_between_its_layers() -> None:
    gru = nn.GRU(3, num_layers=2, dropout=0.4, bidirectional=True)
    assert_gradients(random_case([gru], lengths=LENGTHS, seed=3))


@pytest.mark.parametrize("lengths", [None, LENGTHS, EMPTY_ROW], ids=["equal", "ragged", "empty row"])
@pytest.mark.parametrize("how", ["last", "mean", "max"])
@pytest.mark.parametrize("below", ["x", "gru"])
def test_pool(how: str, below: str, lengths: np.ndarray | None) -> None:
    layers = [nn.GRU(3, sequences=True)] if below == "gru" else []
    assert_gradients(random_case([*layers, nn.Pool(how), nn.Dense(2)], lengths=lengths))


def test_flatten() -> None:
    assert_gradients(random_case([nn.GRU(2, sequences=True), nn.Flatten(), nn.Dense(3, "tanh")]))
    assert_gradients(random_case([nn.Flatten(), nn.Dense(3, "tanh")]))


@pytest.mark.parametrize("shape", [(B, I), (B, T, I)], ids=["vectors", "sequences"])
@pytest.mark.parametrize("activation", [*NAMES, Activation("softmax", temperature=5)], ids=str)
def test_dense(activation: str | Activation, shape: tuple[int, ...]) -> None:
    assert_gradients(random_case([nn.Dense(3, activation)], shape=shape))


def test_dense_without_bias() -> None:
    assert_gradients(random_case([nn.Dense(3, "tanh", bias=False)]))


@pytest.mark.parametrize("axis", [(), 1, 0, (0, 1), -1], ids=str)
def test_dropout(axis: Any) -> None:
    layers = [nn.Dropout(0.3, axis=axis), nn.GRU(5, sequences=True), nn.Dropout(0.3, axis=axis), nn.Dense(2)]
    assert_gradients(random_case(layers, shape=(B, T, 5), seed=4))


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["equal", "ragged"])
@pytest.mark.parametrize("layer", ["OneHot", "Embedding"])
def test_symbols(layer: str, lengths: np.ndarray | None) -> None:
    """Past a length even a symbol that is not in the vocabulary is no matter."""
    first = nn.OneHot() if layer == "OneHot" else nn.Embedding(2)
    assert_gradients(random_case([first, nn.GRU(3), nn.Dense(2)], lengths=lengths, symbols=True))


def test_embedding_of_every_step() -> None:
    assert_gradients(random_case([nn.Embedding(3), nn.Dense(2, "tanh")], symbols=True))


def deep_layers() -> list[nn.Layer]:
    return [
        nn.Dense(2, "tanh"),
        nn.GRU(2, sequences=True, bidirectional=True),
        nn.Dropout(0.2, axis=1),
        nn.Dense(2, "elu"),
        nn.Pool("max"),
        nn.Dropout(0.2),
        nn.Dense(3, "softmax"),
    ]


def test_a_deep_stack() -> None:
    assert_gradients(random_case(deep_layers(), lengths=LENGTHS, seed=1))


@pytest.mark.parametrize("last", ["gru", "pool", "dense"])
@pytest.mark.parametrize("padding", [0.0, 1e6, np.nan, np.inf])
def test_gradients_do_not_depend_on_what_is_past_a_length(padding: float, last: str) -> None:
    """The same bits, and zeros where x is padding."""

    def gradients(padding: float) -> Any:
        ends = {"gru": [nn.GRU(2)], "pool": [nn.Pool("max")], "dense": [nn.Dense(2), nn.Pool("mean")]}
        case = random_case([nn.Dense(3, "tanh"), *ends[last]], lengths=EMPTY_ROW, padding=padding)
        return case.model.backward(case.output()[1], case.weights())

    one, other = gradients(-7.5), gradients(padding)
    np.testing.assert_array_equal(one.parameters.flat, other.parameters.flat)
    np.testing.assert_array_equal(one.x, other.x)
    assert np.count_nonzero(one.x[1]) == 0
    assert np.count_nonzero(one.x[2, 3]) == 0
    assert np.count_nonzero(one.x[0]) > 0


def test_gradients_replace_what_their_buffer_held() -> None:
    """Training uses one buffer for every step."""
    for below in ([nn.Embedding(3)], [nn.OneHot()], [nn.Embedding(2), nn.Dense(3, "tanh")]):
        case = random_case([*below, nn.GRU(3, num_layers=2, bidirectional=True), nn.Dense(2)], symbols=True)
        out = np.full(case.model.flat.size, np.nan)
        gradients = case.model.backward(case.output()[1], case.weights(), out)
        fresh = case.model.backward(case.output()[1], case.weights())
        assert gradients.parameters.flat is out
        np.testing.assert_array_equal(out, fresh.parameters.flat)


# ------------------------------------------------------------------------------------------------- complex steps

COMPLEX = {
    "gru": lambda: [nn.GRU(2, bidirectional=True, num_layers=2)],
    "sequences": lambda: [nn.GRU(2, sequences=True, reset_after=False)],
    "pool last": lambda: [nn.GRU(3, sequences=True), nn.Pool("last")],
    "pool mean": lambda: [nn.GRU(3, sequences=True), nn.Pool("mean")],
    "pool max": lambda: [nn.GRU(3, sequences=True), nn.Pool("max")],
    "dropout": lambda: [nn.Dropout(0.3, axis=1), nn.GRU(3, sequences=True), nn.Dropout(0.3), nn.Dense(2)],
    "two GRUs": lambda: [nn.GRU(2, sequences=True), nn.Dense(2, "tanh"), nn.GRU(2), nn.Dense(2, "softmax")],
    "deep": deep_layers,
}


@pytest.mark.parametrize("layers", COMPLEX.values(), ids=COMPLEX)
def test_layers_by_complex_steps(layers: Callable[[], list[nn.Layer]]) -> None:
    assert_gradients(random_case(layers(), lengths=LENGTHS, dtype="complex128", seed=1), "complex step")


@pytest.mark.parametrize("activation", [*NAMES, Activation("softmax", temperature=5)], ids=str)
def test_dense_by_complex_steps(activation: str | Activation) -> None:
    layers = [nn.Flatten(), nn.Dense(3, activation)]
    assert_gradients(random_case(layers, dtype="complex128"), "complex step")


def test_symbols_by_complex_steps() -> None:
    for first in (nn.OneHot(), nn.Embedding(2)):
        case = random_case([first, nn.GRU(3)], symbols=True, lengths=LENGTHS, dtype="complex128")
        assert_gradients(case, "complex step")


# -------------------------------------------------------------------------------------------------------- losses

HEADS: dict[str, tuple[str, str | Activation, int]] = {
    "mse identity": ("mse", "identity", 2),
    "mse one output": ("mse", "identity", 1),
    "mse sigmoid": ("mse", "sigmoid", 2),
    "mse softmax": ("mse", "softmax", 3),
    "mse softmax T=5": ("mse", Activation("softmax", temperature=5), 3),
    "mae tanh": ("mae", "tanh", 2),
    "mae identity": ("mae", "identity", 1),
    "msle sigmoid": ("msle", "sigmoid", 2),
    "msle elu": ("msle", "elu", 2),
    "bce sigmoid, fused": ("binary_crossentropy", "sigmoid", 2),
    "bce one sigmoid, fused": ("binary_crossentropy", "sigmoid", 1),
    "bce softmax": ("binary_crossentropy", "softmax", 3),
    "bce softmax T=5": ("binary_crossentropy", Activation("softmax", temperature=5), 3),
    "cce softmax, fused": ("categorical_crossentropy", "softmax", 3),
    "cce softmax T=5, fused": ("categorical_crossentropy", Activation("softmax", temperature=5), 3),
    "cce sigmoid": ("categorical_crossentropy", "sigmoid", 2),
}
FUSED = tuple(name for name in HEADS if "fused" in name)
N = 5


def targets(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Distributions where there are several outputs, so that every loss takes them."""
    values = rng.random(shape) + 0.05
    return values / values.sum(axis=-1, keepdims=True) if shape[-1] > 1 else 0.9 * values / values.max()


def spread_logits(model: nn.Sequential) -> None:
    """Scale the last weights by a softmax's temperature, so that its outputs differ from each other."""
    last: Any = model.layers[-1]
    last.parameters["weight"][...] *= 2 * last.activation.parameters.get("temperature", 1.0)


def training_data(rng: np.random.Generator, outputs: int, per_step: bool, ragged: bool) -> tuple[Any, Any]:
    lengths = rng.integers(1, T + 1, N) if ragged else np.full(N, T)
    x = [rng.standard_normal((length, 1)) for length in lengths]
    y: Any = [targets(rng, (length, outputs)) for length in lengths] if per_step else targets(rng, (N, outputs))
    return (x, y) if ragged else (np.stack(x), np.stack(y))


def applied_gradient(model: nn.Sequential, x: Any, y: Any, **settings: Any) -> np.ndarray:
    """What training subtracts from the parameters in its only step at a learning rate of 1."""
    before = model.build(x).flat.copy()
    model.fit(x, y, optimiser=nn.SGD(1.0), epochs=1, batch_size=N, shuffle=False, **settings)
    gradient = before - model.flat
    model.flat[...] = before
    return gradient


@pytest.mark.parametrize("ragged", [False, True], ids=["equal", "ragged"])
@pytest.mark.parametrize("per_step", [False, True], ids=["at the end", "at every step"])
@pytest.mark.parametrize("head", HEADS)
def test_training_descends_the_loss_that_evaluate_measures(head: str, per_step: bool, ragged: bool) -> None:
    """The whole stack, from the public side: weights and both reductions included."""
    loss, activation, outputs = HEADS[head]
    rng = np.random.default_rng(len(head))
    x, y = training_data(rng, outputs, per_step, ragged)
    settings = {"loss": loss, "sample_weight": rng.random(N) + 0.5}
    model = nn.Sequential([nn.GRU(2, per_step), nn.Dense(outputs, activation)], dtype="float64", seed=0).build(x)
    model.flat[...] = rng.standard_normal(model.flat.size) * 0.7
    spread_logits(model)
    mean, total = (applied_gradient(model, x, y, reduction=how, **settings) for how in ("mean", "sum"))
    by_name = model.parameters.like(mean)
    for name, array in model.parameters.items():
        exact = central_differences(lambda: model.evaluate(x, y, **settings)["loss"], array)
        assert np.count_nonzero(by_name[name]), f"the gradient of {name} is zero"
        assert_close(by_name[name], exact, "central differences", name=name)
    assert_close(total, N * mean, "other library")  # a difference of parameters has lost some digits


@pytest.mark.parametrize("loss", ["mse", "categorical_crossentropy"])
def test_a_row_of_weight_zero_does_not_count(loss: str) -> None:
    rng = np.random.default_rng(0)
    x, y = training_data(rng, 3, per_step=False, ragged=True)
    weight = np.array([1.0, 0, 2, 0, 0.5])
    model = nn.Sequential([nn.GRU(2), nn.Dense(3, "softmax")], dtype="float64", seed=0)
    whole = applied_gradient(model, x, y, loss=loss, sample_weight=weight, reduction="sum")
    used = {"y": y[weight > 0], "sample_weight": weight[weight > 0]}
    part = applied_gradient(model, [x[0], x[2], x[4]], loss=loss, reduction="sum", **used)
    assert_close(whole, part, "other library")


@pytest.mark.parametrize("head", HEADS)
def test_losses_by_complex_steps(head: str) -> None:
    name, activation, outputs = HEADS[head]
    loss: Any = nn.get_loss(name)
    case = random_case([nn.GRU(2), nn.Dense(outputs, activation)], lengths=LENGTHS, dtype="complex128")
    target = targets(np.random.default_rng(1), (B, outputs))

    def value() -> Any:
        output, _ = case.model.forward(case.x, case.lengths, logits=head in FUSED)
        return (loss.value_from_logits if head in FUSED else loss.value)(output, target).sum()

    output, tape = case.model.forward(case.x, case.lengths, logits=head in FUSED)
    dy = (loss.gradient_from_logits if head in FUSED else loss.gradient)(output, target)
    exact = case.model.backward(tape, dy)
    for name, array in (dict(case.model.parameters) | {"x": case.x}).items():
        found = exact.x if name == "x" else exact.parameters[name]
        assert found is not None
        assert np.count_nonzero(found), f"the gradient of {name} is zero"
        assert_close(found, complex_step(value, array), "complex step", name=name)


@pytest.mark.parametrize("head", FUSED)
def test_fused_and_unfused_gradients_agree(head: str) -> None:
    name, activation, outputs = HEADS[head]
    loss: Any = nn.get_loss(name)
    case = random_case([nn.GRU(2), nn.Dense(outputs, activation)])
    target = targets(np.random.default_rng(1), (B, outputs))
    output, tape = case.model.forward(case.x)
    logits, fused_tape = case.model.forward(case.x, logits=True)
    assert_close(loss.value_from_logits(logits, target), loss.value(output, target), "same maths")
    fused = case.model.backward(fused_tape, loss.gradient_from_logits(logits, target))
    unfused = case.model.backward(tape, loss.gradient(output, target))
    assert_close(fused.parameters.flat, unfused.parameters.flat, "same maths")


def test_a_wrong_gradient_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutation: a sign flipped in Dense, and a part left zero in Pool, must not pass."""
    right = nn.Dense._linear_backward
    monkeypatch.setattr(nn.Dense, "_linear_backward", lambda self, x, da, g: -right(self, x, da, g))
    with pytest.raises(AssertionError, match="x: relative error"):
        assert_gradients(random_case([nn.Dense(2)]))
    monkeypatch.undo()
    monkeypatch.setattr(nn.Pool, "backward", lambda self, tape, dy, g: np.zeros(tape.shape[:2] + dy.shape[1:]))
    with pytest.raises(AssertionError, match="the gradient of x is zero"):
        assert_gradients(random_case([nn.Pool("mean")]))
