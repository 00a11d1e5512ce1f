"""Layers and models outside training: values against plain formulas, what is inferred, shared and stored."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import grus
from grus import Activation, nn
from grus.nn._layer import Context
from helpers import assert_close

B, T, I = 4, 5, 3
LENGTHS = np.array([5, 0, 2, 4])
X = np.random.default_rng(0).standard_normal((B, T, I))
SEQUENCES = [x[:length] for x, length in zip(X, LENGTHS, strict=True)]
SYMBOLS = np.array([list("GATTA"), list("CAGGA"), list("TTACA"), list("AAAGC")])


def global_state() -> np.ndarray:
    """NumPy's legacy random state, which grus must leave alone."""
    return np.asarray(np.random.get_state()[1]).copy()  # noqa: NPY002


def built(*layers: nn.Layer, x: Any = X, dtype: str = "float64", seed: int = 1) -> nn.Sequential:
    """A model whose parameters, biases included, are random."""
    model = nn.Sequential(list(layers), dtype=dtype, seed=seed).build(x)
    model.flat[...] = np.random.default_rng(seed).standard_normal(model.flat.size) * 0.7
    return model


# ----------------------------------------------------------------------------------------------- OneHot, Embedding


@pytest.mark.parametrize(
    ("x", "vocabulary"),
    [
        (SYMBOLS, ["A", "C", "G", "T"]),
        (np.array([[7, -2, 7], [300, 0, -2]]), [-2, 0, 7, 300]),
        (np.array([[7, 2], [3, 2]], np.uint8), [2, 3, 7]),
        (np.array([["yes", "no"], ["no", "maybe"]]), ["maybe", "no", "yes"]),
    ],
    ids=["characters", "numbers", "bytes", "words"],
)
def test_one_hot_is_a_one_in_the_column_of_the_symbol(x: np.ndarray, vocabulary: list[Any]) -> None:
    layer = nn.OneHot()
    output = nn.Sequential([layer])(x)
    assert layer.vocabulary is not None
    assert layer.vocabulary.tolist() == vocabulary
    assert output.shape == (*x.shape, len(vocabulary))
    assert output.dtype == np.float32
    for index in np.ndindex(x.shape):
        np.testing.assert_array_equal(output[index], [float(symbol == x[index]) for symbol in vocabulary])
    np.testing.assert_array_equal(layer.decode(output), x)
    np.testing.assert_array_equal(layer.decode(np.random.default_rng(9).random(output.shape) + 2 * output), x)


def test_embedding_is_the_row_of_the_symbol() -> None:
    model = built(nn.Embedding(3), x=SYMBOLS)
    weight = model.parameters["embedding_1.weight"]
    assert weight.shape == (4, 3)
    expected = np.array([[weight["ACGT".index(symbol)] for symbol in row] for row in SYMBOLS])
    np.testing.assert_array_equal(model(SYMBOLS), expected)


@pytest.mark.parametrize("kind", [nn.OneHot, lambda vocabulary: nn.Embedding(2, vocabulary)])
@pytest.mark.parametrize("vocabulary", ["TTGCAN", ["N", "T", "G", "C", "A"], np.array(list("ACGNT"))], ids=type)
def test_a_given_vocabulary_is_sorted_and_goes_before_the_data(kind: Callable[..., Any], vocabulary: Any) -> None:
    layer = kind(vocabulary)
    output = nn.Sequential([layer], seed=0)(SYMBOLS)
    assert "".join(layer.vocabulary) == "ACGNT"
    assert output.shape[-1] == (5 if isinstance(layer, nn.OneHot) else 2)


def test_texts_are_sequences_of_characters() -> None:
    model = nn.Sequential([nn.OneHot()])
    texts = ["".join(row) for row in SYMBOLS]
    output = model(SYMBOLS)
    for x in (texts, np.array(texts), np.array(texts, object), list(SYMBOLS)):
        np.testing.assert_array_equal(model(x), output)
    ragged = model.predict(["GAT", "", "TACA"])
    np.testing.assert_array_equal(ragged.sum(axis=(1, 2)), [3, 0, 4])
    np.testing.assert_array_equal(ragged[0, :3], output[0, :3])


@pytest.mark.parametrize("layer", [nn.OneHot, lambda: nn.Embedding(2)])
def test_symbols_that_training_did_not_see(layer: Callable[[], nn.Layer]) -> None:
    model = nn.Sequential([layer(), nn.GRU(2)], seed=0).build(SYMBOLS)
    for x in (np.array([list("GAXTA")]), np.array([[1, 2]])):
        with pytest.raises(ValueError, match=r"the symbol [X1], which is not in .*4 symbols: A, C, G, T\)"):
            model(x)
    padded = np.array([list("GATXX")])
    np.testing.assert_allclose(model(padded, lengths=[3]), model(np.array([list("GAT")])), rtol=1e-6)


# ---------------------------------------------------------------------------------------------------------- Dense

FORMULAS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "identity": lambda a: a,
    "tanh": np.tanh,
    "sigmoid": lambda a: 1 / (1 + np.exp(-a)),
    "relu": lambda a: np.maximum(a, 0),
    "leaky_relu": lambda a: np.where(a > 0, a, 0.01 * a),
    "elu": lambda a: np.where(a > 0, a, np.exp(a) - 1),
    "softsign": lambda a: a / (1 + abs(a)),
    "hard_sigmoid": lambda a: np.clip(a / 6 + 0.5, 0, 1),
    "hard_sigmoid_keras2": lambda a: np.clip(0.2 * a + 0.5, 0, 1),
    "affine": lambda a: a,
    "thresholded_relu": lambda a: np.where(a > 1, a, 0),
    "scaled_tanh": np.tanh,
    "softplus": lambda a: np.log(1 + np.exp(a)),
    "softmax": lambda a: np.exp(a) / np.exp(a).sum(axis=-1, keepdims=True),
}


@pytest.mark.parametrize("x", [X, X[:, 0]], ids=["sequences", "vectors"])
@pytest.mark.parametrize("name", FORMULAS)
def test_dense(name: str, x: np.ndarray) -> None:
    model = built(nn.Dense(4, name), x=x)
    a = x @ model.parameters["dense_1.weight"].T + model.parameters["dense_1.bias"]
    assert_close(model(x), FORMULAS[name](a), "same maths")


@pytest.mark.parametrize("temperature", [0.5, 1.0, 5.0])
def test_softmax_with_temperature_and_its_logits(temperature: float) -> None:
    """Logits are divided by the temperature: their plain softmax is the output."""
    model = built(nn.Dense(4, Activation("softmax", temperature=temperature), bias=False))
    logits, _ = model.forward(X, logits=True)
    assert_close(logits, X @ model.parameters["dense_1.weight"].T / temperature, "same maths")
    assert_close(model(X), FORMULAS["softmax"](logits), "same maths")
    assert list(model.parameters) == ["dense_1.weight"]


# -------------------------------------------------------------------------------------------------- Pool, Flatten


def pooled(how: str, rows: list[np.ndarray]) -> np.ndarray:
    """One row after the other, by the words of the documentation."""
    ways = {"last": lambda row: row[-1], "mean": lambda row: row.mean(axis=0), "max": lambda row: row.max(axis=0)}
    return np.array([ways[how](row) if len(row) else np.zeros(I) for row in rows])


@pytest.mark.parametrize("padding", [0.0, 1e9, np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("how", ["last", "mean", "max"])
def test_pool_reads_valid_steps_alone(how: str, padding: float) -> None:
    """Zeros for a row without any; whatever stands in the padding, by the model and by the layer alone."""
    x = np.where(np.arange(T)[:, None] < LENGTHS[:, None, None], X, padding)
    layer = nn.Pool(how)
    model = built(layer)
    expected = pooled(how, SEQUENCES)
    assert_close(model(x, lengths=LENGTHS), expected, "same maths")
    assert_close(model(SEQUENCES), expected, "same maths")
    assert_close(layer.forward(x, Context(lengths=LENGTHS))[0], expected, "same maths")
    assert_close(model(X), pooled(how, list(X)), "same maths")


@pytest.mark.parametrize("how", ["last", "mean", "max"])
def test_pool_of_no_steps_at_all(how: str) -> None:
    np.testing.assert_array_equal(built(nn.Pool(how))(np.ones((2, 0, I))), np.zeros((2, I)))


@pytest.mark.parametrize("how", ["last", "mean", "max"])
def test_pool_keeps_nan_in_its_row_and_feature(how: str) -> None:
    x = X.copy()
    x[1, -1, 2] = np.nan
    np.testing.assert_array_equal(np.argwhere(np.isnan(built(nn.Pool(how))(x))), [[1, 2]])


def test_max_of_equal_steps_has_one_winner() -> None:
    """A tie must not count twice in the gradient."""
    model = built(nn.Pool("max"))
    x = np.repeat(X[:, :1], T, axis=1)
    lengths = np.full(len(x), T)
    x[0, :, 1], lengths[-1] = np.nan, 0  # no winner at all here must not hide two there
    output, tape = model.forward(x, lengths)
    dy = np.random.default_rng(9).standard_normal(output.shape)
    gradient = model.backward(tape, dy).x
    assert gradient is not None
    dy[0, 1] = dy[-1] = 0
    assert_close(gradient.sum(axis=1), dy, "same maths")
    assert_close(gradient[:, 0], dy, "same maths")  # the first of them


def test_flatten_is_a_reshape() -> None:
    model = built(nn.Flatten())
    np.testing.assert_array_equal(model(X), X.reshape(B, T * I))
    np.testing.assert_array_equal(model(list(X)), X.reshape(B, T * I))
    with pytest.raises(ValueError, match=r"layer 1 \(flatten_1\): Flatten needs .* lengths 0 \.\.\. 5\. Use Pool"):
        model(SEQUENCES)


# -------------------------------------------------------------------------------------------------------- Dropout


def test_dropout_does_nothing_outside_training() -> None:
    model = built(nn.Dropout(0.9), nn.GRU(4, num_layers=2, dropout=0.9), nn.Dropout(0.9))
    plain = built(nn.GRU(4, num_layers=2))
    plain.flat[...] = model.flat
    for output in (model(X), model.predict(X)):
        np.testing.assert_array_equal(output, plain(X))


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_dropout_scales_what_it_keeps(rate: float) -> None:
    x = np.random.default_rng(9).standard_normal((50, 40, 10))
    output, _ = built(nn.Dropout(rate), x=x).forward(x, rng=0)
    kept = output != 0
    assert_close(output[kept], x[kept] / (1 - rate), "same maths")
    spread = np.sqrt(rate * (1 - rate) / x.size)
    assert abs((1 - kept.mean()) - rate) < 5 * spread


@pytest.mark.parametrize(
    ("axis", "shape"),
    [((), (B, T, I)), (1, (B, 1, I)), (0, (1, T, I)), (-1, (B, T, 1)), ((0, 1), (1, 1, I)), ([1, -1], (B, 1, 1))],
    ids=str,
)
def test_dropout_shares_a_mask_along_its_axes(axis: Any, shape: tuple[int, ...]) -> None:
    model, seen = built(nn.Dropout(0.5, axis=axis)), set()
    for seed in range(12):
        mask = model.forward(X, rng=seed)[0] / X
        first = mask[tuple(slice(0, n) for n in shape)]
        np.testing.assert_allclose(mask, np.broadcast_to(first, mask.shape), rtol=1e-12)
        seen |= {tuple(first.round(6).ravel().tolist())}
    assert len(seen) > 3
    assert {number for mask in seen for number in mask} == {0.0, 2.0}


def test_dropout_depends_on_its_generator_alone() -> None:
    model = built(nn.Dropout(0.5), nn.GRU(4, num_layers=2, dropout=0.5))
    state = global_state()
    runs = [model.forward(X, rng=seed)[0] for seed in (1, 1, 2)]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert (runs[0] != runs[2]).any()
    generator = np.random.default_rng(1)
    np.testing.assert_array_equal(model.forward(X, rng=generator)[0], runs[0])
    assert (model.forward(X, rng=generator)[0] != runs[0]).any()  # the generator moves on
    np.testing.assert_array_equal(global_state(), state)


def test_dropout_of_rate_0_needs_no_generator() -> None:
    output, _ = built(nn.Dropout(0.0)).forward(X)
    np.testing.assert_array_equal(output, X)


# ------------------------------------------------------------------------------------------------------------ GRU


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("reset_after", [True, False])
def test_gru_is_the_core_gru(bidirectional: bool, layers: int, reset_after: bool) -> None:
    options = {"num_layers": layers, "bidirectional": bidirectional, "reset_after": reset_after}
    sequences, last = built(nn.GRU(4, sequences=True, **options)), built(nn.GRU(4, **options))
    core = grus.GRU(I, 4, dtype="float64", **options)
    core.flat[...] = last.flat
    output, h_n = core(X, lengths=LENGTHS)
    np.testing.assert_array_equal(sequences(X, lengths=LENGTHS), output)
    directions = 2 if bidirectional else 1
    np.testing.assert_array_equal(last(X, lengths=LENGTHS), np.concatenate(h_n[-directions:], axis=-1))


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
def test_the_last_state_is_that_of_each_sequence_alone(bidirectional: bool, layers: int) -> None:
    """Under ragged lengths each direction's own end counts: the row's last step, and its first."""
    model = built(nn.GRU(4, num_layers=layers, bidirectional=bidirectional))
    together = model(SEQUENCES)
    alone = np.concatenate([model(each[None]) for each in SEQUENCES])
    assert_close(together, alone, "same maths")
    assert np.count_nonzero(together[1]) == 0  # no step, so h0
    steps = built(nn.GRU(4, sequences=True, num_layers=layers, bidirectional=bidirectional))
    output = steps(SEQUENCES)
    for row, length in enumerate(LENGTHS):
        if length:
            ends = [output[row, length - 1, :4], output[row, 0, 4:]]  # in reverse, the end is the start
            assert_close(together[row], np.concatenate(ends), "same maths")


# ---------------------------------------------------------------------------------- running on ragged and odd data


@pytest.mark.parametrize("padding", [np.nan, np.inf, 1e30])
def test_padding_never_matters(padding: float) -> None:
    model = built(nn.Dense(3, "tanh"), nn.GRU(4, sequences=True, bidirectional=True), nn.Dense(2), nn.Pool("mean"))
    x = np.where(np.arange(T)[:, None] < LENGTHS[:, None, None], X, padding)
    np.testing.assert_array_equal(model(x, lengths=LENGTHS), model(SEQUENCES))
    alone = [model(each[None])[0] for each in SEQUENCES]
    assert_close(model(SEQUENCES), np.array(alone), "same maths")


def test_predict_is_a_call_batch_by_batch() -> None:
    model = built(nn.GRU(4, sequences=True), nn.Dense(2))
    for batch_size in (1, 2, 3, 100):
        output = model.predict(SEQUENCES, batch_size=batch_size)
        assert output.shape == (B, T, 2)
        for row, each in enumerate(SEQUENCES):
            assert_close(output[row, : len(each)], model(each[None])[0], "same maths")
            assert np.count_nonzero(output[row, len(each) :]) == 0


def test_predict_of_short_sequences_alone_is_short() -> None:
    assert built(nn.GRU(4, sequences=True)).predict([X[0, :2], X[1, :3]]).shape == (2, 3, 4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("given", [np.int64, np.float32, np.float64, np.uint8])
def test_numbers_become_the_models_dtype(given: Any, dtype: str) -> None:
    x = np.random.default_rng(0).integers(0, 3, (2, 4, 3)).astype(given)
    output = built(nn.GRU(3), nn.Dense(2), x=x, dtype=dtype)(x)
    assert output.dtype == dtype
    np.testing.assert_array_equal(output, built(nn.GRU(3), nn.Dense(2), x=x, dtype=dtype)(x.tolist()))


# --------------------------------------------------------------------------------- building, names and parameters


def test_sizes_come_from_the_data() -> None:
    layers = [nn.Embedding(6), nn.GRU(4, sequences=True, bidirectional=True), nn.Flatten(), nn.Dense(2)]
    model = nn.Sequential(layers, seed=0)
    assert not model.built
    assert model.flat.size == 0
    assert "not built yet" in repr(model)
    model.build(SYMBOLS)
    assert model.built
    assert model.input_shape == (T,)
    assert [layer.sizes for layer in model.layers] == [
        {"vocabulary": ["A", "C", "G", "T"]},
        {"input_size": 6},
        {},
        {"input_size": T * 2 * 4},
    ]
    size = 4 * 6 + 2 * (3 * 4 * (6 + 4) + 6 * 4) + 2 * T * 8 + 2
    assert model.flat.size == size
    assert repr(model).endswith(f"float32, {size} parameters")


def test_a_model_is_built_once() -> None:
    model = built(nn.GRU(4), nn.Dense(2))
    flat = model.flat
    assert model.build(X[..., :2]) is model
    assert model.flat is flat


def test_the_seed_gives_the_initial_parameters() -> None:
    def flat(seed: Any) -> np.ndarray:
        layers = [nn.Embedding(3), nn.GRU(4, sequences=True), nn.GRU(4), nn.Dense(2)]
        return nn.Sequential(layers, seed=seed).build(SYMBOLS).flat

    state = global_state()
    np.testing.assert_array_equal(flat(3), flat(3))
    np.testing.assert_array_equal(flat(3), flat(np.random.default_rng(3)))
    assert (flat(3) != flat(4)).any()
    assert (flat(None) != flat(None)).any()
    np.testing.assert_array_equal(global_state(), state)


def test_layers_of_a_kind_start_differently() -> None:
    model = nn.Sequential([nn.Dense(I), nn.Dense(I)], seed=0).build(X)  # EpyNN's seed 0 gives every layer seed 0
    assert (model.parameters["dense_1.weight"] != model.parameters["dense_2.weight"]).any()


def test_names() -> None:
    layers = [nn.Dense(2), nn.Dense(2, name="middle"), nn.GRU(2, sequences=True), nn.Dense(2, bias=False)]
    model = nn.Sequential(layers).build(X)
    assert [layer.name for layer in model.layers] == ["dense_1", "middle", "gru_1", "dense_3"]
    gru = [f"gru_1.{kind}_{end}_l0" for kind in ("weight", "bias") for end in ("ih", "hh")]
    assert list(model.parameters) == [
        "dense_1.weight", "dense_1.bias", "middle.weight", "middle.bias", *gru, "dense_3.weight"
    ]  # fmt: skip


def test_all_parameters_are_views_of_one_buffer() -> None:
    model = built(nn.Dense(3), nn.GRU(4, num_layers=2, bidirectional=True), nn.Dense(2, "softmax"))
    assert model.flat.flags.c_contiguous
    total = 0
    for layer, part in zip(model.layers, model.slices(), strict=True):
        for name, view in layer.parameters.items():
            assert np.shares_memory(view, model.flat[part])
            assert np.shares_memory(view, model.parameters[f"{layer.name}.{name}"])
            total += view.size
    assert total == model.flat.size
    flat, before = model.flat, model(X)
    state = model.state_dict()
    flat[...] = np.random.default_rng(9).standard_normal(flat.size)
    assert np.abs(model(X) - before).max() > 1e-3
    model.load_state_dict(state)
    assert model.flat is flat
    np.testing.assert_array_equal(model(X), before)
    model.parameters["dense_2.bias"] = [100.0, 0.0]
    assert model(X)[:, 0].min() > 0.99


def test_each_parameter_counts_for_the_output() -> None:
    model = built(nn.Dense(3), nn.GRU(2, num_layers=2, bidirectional=True), nn.Dense(2))
    before = model(X)
    for i in range(model.flat.size):
        value = model.flat[i]
        model.flat[i] += 0.3
        assert (model(X) != before).any(), i
        model.flat[i] = value


def pickled(model: nn.Sequential) -> nn.Sequential:
    return pickle.loads(pickle.dumps(model))


def read_only(model: nn.Sequential) -> nn.Sequential:
    """As joblib hands a model to another process: its arrays lie in memory that can't be written."""
    buffers: list[pickle.PickleBuffer] = []
    content = pickle.dumps(model, protocol=5, buffer_callback=buffers.append)
    return pickle.loads(content, buffers=[bytes(buffer.raw()) for buffer in buffers])


@pytest.mark.parametrize("copied", [copy.deepcopy, pickled, read_only])
def test_a_copy_has_parameters_of_its_own(copied: Callable[[nn.Sequential], nn.Sequential]) -> None:
    model = built(nn.Dropout(0.1), nn.GRU(4), nn.Dense(1))
    twin, before = copied(model), model(X)
    np.testing.assert_array_equal(twin(X), before)
    settings: dict[str, Any] = {"loss": "mse", "epochs": 2, "seed": 0}
    twin.fit(X, np.arange(B), **settings)
    assert np.abs(twin(X) - before).max() > 1e-6
    np.testing.assert_array_equal(model(X), before)
    model.fit(X, np.arange(B), **settings)
    np.testing.assert_array_equal(model(X), twin(X))
    twin.flat[...] = 0
    assert np.count_nonzero(twin(X)) == 0
    assert not any(view.any() for view in twin.parameters.values())


def test_a_layer_belongs_to_one_model() -> None:
    """Two models cannot take turns with one layer's parameters."""
    layers = [nn.GRU(3), nn.Dense(1)]
    first, second = nn.Sequential(layers, seed=0).build(X), nn.Sequential(layers, seed=1)
    with pytest.raises(ValueError, match="the layer 'gru_1' belongs to another model"):
        second(X)
    assert first(X).shape == (B, 1)


def test_a_build_that_failed_can_be_repeated() -> None:
    model = nn.Sequential([nn.Dense(3), nn.GRU(3)], seed=0)
    with pytest.raises(ValueError, match=r"layer 2 \(gru_1\): GRU needs an input of shape \(B, T, features\)"):
        model.build(X[:, 0])
    assert not model.built
    assert model(X).shape == (B, 3)


# --------------------------------------------------------------------------------------- configuration and state

STORED: dict[str, tuple[Callable[[], list[nn.Layer]], np.ndarray]] = {
    "one-hot": (lambda: [nn.OneHot()], SYMBOLS),
    "one-hot with a vocabulary": (lambda: [nn.OneHot("ACGTN", name="letters")], SYMBOLS),
    "embedding": (lambda: [nn.Embedding(3)], SYMBOLS),
    "embedding with a vocabulary": (lambda: [nn.Embedding(3, range(9), clip_norm=2.0)], np.array([[3, 8]])),
    "gru": (lambda: [nn.GRU(3)], X),
    "gru, every option": (
        lambda: [
            nn.GRU(
                3,
                sequences=True,
                num_layers=2,
                bias=False,
                bidirectional=True,
                reset_after=False,
                activation=Activation("leaky_relu", alpha=0.3),
                gate_activation=("hard_sigmoid", Activation("hard_sigmoid", alpha=0.3, beta=0.4)),
                dropout=0.25,
                init="torch",
                name="core",
                learning_rate=nn.Cosine(0.1, warmup=1),
                clip_norm=0.5,
            )
        ],
        X,
    ),
    "gru with an update bias": (lambda: [nn.GRU(3, update_bias=1.5, learning_rate=0.25)], X),
    "dense": (lambda: [nn.Dense(3)], X),
    "dense, every option": (
        lambda: [
            nn.Dense(
                3,
                Activation("softmax", temperature=5),
                bias=False,
                name="head",
                learning_rate=nn.ExpDecay(0.1, cycle_epochs=2, cycle_descent=0.5),
                clip_norm=1.0,
            )
        ],
        X,
    ),
    "dropout": (lambda: [nn.Dropout(0.4)], X),
    "dropout with axes": (lambda: [nn.Dropout(0.4, axis=(0, 1))], X),
    "pool": (lambda: [nn.Pool("max")], X),
    "flatten": (lambda: [nn.Flatten()], X),
    "grud": (lambda: [nn.GRUD(4), nn.Dense(2)], np.where(X > 1, np.nan, X)),
    "grud, every option": (
        lambda: [
            nn.GRUD(
                3,
                sequences=True,
                time_feature=1,
                bias=False,
                reset_after=True,
                activation="softsign",
                gate_activation=("hard_sigmoid", "sigmoid"),
                init="torch",
                save="outputs",
                name="missing",
                learning_rate=0.1,
                clip_norm=1.0,
            )
        ],
        X.cumsum(axis=1) + np.arange(T)[:, None] * 9,
    ),
    "stack": (lambda: [nn.OneHot(), nn.GRU(4, True), nn.Dropout(0.3, axis=1), nn.Pool(), nn.Dense(2)], SYMBOLS),
}


@pytest.mark.parametrize("stored", STORED)
def test_a_model_from_its_configuration_computes_the_same_bits(stored: str) -> None:
    """Through JSON, outside training and in it, at the second time as at the first."""
    layers, x = STORED[stored]
    model = built(*layers(), x=x, dtype="float32")
    config = json.loads(json.dumps(model.config()))
    twin = nn.Sequential.from_config(config)
    assert twin.built
    assert twin.config() == model.config()
    assert json.loads(json.dumps(twin.config())) == config
    twin.load_state_dict(model.state_dict())
    np.testing.assert_array_equal(twin(x), model(x))
    raw = x if x.dtype.kind in "iU" else x.astype(np.float32)
    np.testing.assert_array_equal(twin.forward(raw, rng=3)[0], model.forward(raw, rng=3)[0])
    assert repr(twin) == repr(model)


@pytest.mark.parametrize("stored", STORED)
def test_a_configuration_before_building(stored: str) -> None:
    layers, x = STORED[stored]
    config = json.loads(json.dumps(nn.Sequential(layers()).config()))
    twin = nn.Sequential.from_config(config)
    assert not twin.built
    assert twin(x).shape == nn.Sequential(layers())(x).shape


def test_options_are_all_stored() -> None:
    """A new constructor argument must show in options(), or a stored model would lose it."""
    for layers, x in STORED.values():
        for layer in built(*layers(), x=x).layers:
            arguments = set(inspect.signature(type(layer)).parameters) - {"common", "options"}
            assert arguments | {"name", "learning_rate", "clip_norm"} <= set(layer.config()["options"])


def test_state_dict_holds_copies() -> None:
    model = built(nn.GRU(3), nn.Dense(2))
    state = model.state_dict()
    assert list(state) == list(model.parameters)
    before = model(X)
    for array in state.values():
        array[...] = 0
    np.testing.assert_array_equal(model(X), before)


def test_state_dict_is_strict() -> None:
    model = built(nn.GRU(3), nn.Dense(2))
    state, before = model.state_dict(), model.flat.copy()
    missing = {name: array for name, array in state.items() if name != "dense_1.bias"}
    bad: list[tuple[Any, type[Exception], str]] = [
        (missing, ValueError, r"missing dense_1\.bias"),
        (state | {"dense_9.bias": np.zeros(2)}, ValueError, r"unknown dense_9\.bias"),
        (state | {"dense_1.bias": np.zeros(3)}, ValueError, r"'dense_1\.bias'.* must have shape \(2,\)"),
        (state | {"dense_1.bias": np.zeros(2, complex)}, TypeError, r"'dense_1\.bias'.* complex128"),
        ([("dense_1.bias", np.zeros(2))], TypeError, "must be a mapping"),
    ]
    for given, error, message in bad:
        with pytest.raises(error, match=message):
            model.load_state_dict(given)
        np.testing.assert_array_equal(model.flat, before)
    model.load_state_dict({"dense_1.bias": [1.0, 2.0], "other": np.zeros(7)}, strict=False)
    np.testing.assert_array_equal(model.parameters["dense_1.bias"], [1.0, 2.0])
    np.testing.assert_array_equal(model.flat[:-2], before[:-2])


def test_float32_does_not_take_float64_without_a_word() -> None:
    narrow, wide = (built(nn.GRU(3), dtype=dtype) for dtype in ("float32", "float64"))
    wide.load_state_dict(narrow.state_dict())
    np.testing.assert_array_equal(wide.flat, narrow.flat)
    with pytest.raises(TypeError, match=r"float64, which this model's float32 can't hold without loss"):
        narrow.load_state_dict(wide.state_dict())


# --------------------------------------------------------------------------------------------- layers of your own


class Scale(nn.Layer):
    """Each feature times a number."""

    def infer(self, x: np.ndarray) -> dict[str, Any]:
        return {"width": x.shape[-1]}

    def shapes(self, sizes: dict[str, Any]) -> dict[str, tuple[int, ...]]:
        return {"factor": (sizes["width"],)}

    def initialise(self, rng: np.random.Generator) -> None:
        self.parameters["factor"][...] = 1

    def forward(self, x: np.ndarray, context: Any) -> tuple[np.ndarray, Any]:
        return x * self.parameters["factor"], x

    def backward(self, tape: Any, dy: np.ndarray, gradients: Any) -> np.ndarray:
        gradients["factor"][...] = (dy * tape).sum(axis=tuple(range(tape.ndim - 1)))
        return dy * self.parameters["factor"]


def test_a_layer_of_your_own() -> None:
    model = nn.Sequential([Scale(), nn.GRU(3), Scale(name="out")], dtype="float64", seed=0)
    assert model(X).shape == (B, 3)
    names = list(model.parameters)
    assert (names[0], names[-1]) == ("scale_1.factor", "out.factor")
    y = np.random.default_rng(9).standard_normal((B, 3))
    history = model.fit(X, y, loss="mse", learning_rate=0.05, epochs=30, seed=0)
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    assert (model.parameters["out.factor"] != 1).all()
