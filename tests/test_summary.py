"""The table of a model: every shape forward and backward, and errors that name the layer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from grus import nn
from grus.nn._summary import layer_shapes

STRINGS = np.random.default_rng(1).choice(list("ACGT"), (480, 12))
X = np.random.default_rng(0).standard_normal((6, 5, 3))


def dummy_string() -> nn.Sequential:
    """The network of the seed project's example: 480 strings of 12 letters, two classes."""
    return nn.Sequential([nn.OneHot(), nn.GRU(1), nn.Dense(2, "softmax")], seed=1)


def assert_parameters_mirrored(model: nn.Sequential, found: list[dict[str, dict[str, Any]]]) -> None:
    for layer, shapes in zip(model.layers, found, strict=True):
        for name, view in layer.parameters.items():
            assert shapes["forward"][name] == shapes["backward"][f"d{name}"] == view.shape


def test_shapes_of_the_seed_network() -> None:
    model = dummy_string()
    one_hot, gru, dense = layer_shapes(model, STRINGS)
    assert one_hot == {
        "forward": {"x": (480, 12), "y": (480, 12, 4)},
        "backward": {"dy": (480, 12, 4)},  # no gradient of letters
    }
    assert gru == {
        "forward": {
            "x": (480, 12, 4), "weight_ih_l0": (3, 4), "weight_hh_l0": (3, 1), "bias_ih_l0": (3,),
            "bias_hh_l0": (3,), "y": (480, 1),
        },
        "backward": {
            "dy": (480, 1), "dweight_ih_l0": (3, 4), "dweight_hh_l0": (3, 1), "dbias_ih_l0": (3,),
            "dbias_hh_l0": (3,), "dx": (480, 12, 4),
        },
    }  # fmt: skip
    assert dense == {
        "forward": {"x": (480, 1), "weight": (2, 1), "bias": (2,), "y": (480, 2)},
        "backward": {"dy": (480, 2), "dweight": (2, 1), "dbias": (2,), "dx": (480, 1)},
    }
    assert_parameters_mirrored(model, [one_hot, gru, dense])


def test_table_of_the_seed_network() -> None:
    assert dummy_string().summary(STRINGS).splitlines() == [
        "layer     kind            forward: x -> y            backward: dy -> dx        parameters",
        "--------  --------------  -------------------------  ------------------------  ----------",
        "onehot_1  OneHot          (480, 12) -> (480, 12, 4)  (480, 12, 4) -> none               0",
        "gru_1     GRU             (480, 12, 4) -> (480, 1)   (480, 1) -> (480, 12, 4)          21",
        "            weight_ih_l0  (3, 4)                     dweight_ih_l0 (3, 4)              12",
        "            weight_hh_l0  (3, 1)                     dweight_hh_l0 (3, 1)               3",
        "            bias_ih_l0    (3,)                       dbias_ih_l0 (3,)                   3",
        "            bias_hh_l0    (3,)                       dbias_hh_l0 (3,)                   3",
        "dense_1   Dense           (480, 1) -> (480, 2)       (480, 2) -> (480, 1)               4",
        "            weight        (2, 1)                     dweight (2, 1)                     2",
        "            bias          (2,)                       dbias (2,)                         2",
        "25 parameters, float32, 0.0001 MB",
    ]


def test_symbolic_table_of_a_built_model() -> None:
    model = dummy_string().build(STRINGS)
    assert model.summary().splitlines() == [
        "layer     kind            forward: x -> y      backward: dy -> dx    parameters",
        "--------  --------------  -------------------  --------------------  ----------",
        "onehot_1  OneHot          (B, T) -> (B, T, 4)  (B, T, 4) -> none              0",
        "gru_1     GRU             (B, T, 4) -> (B, 1)  (B, 1) -> (B, T, 4)           21",
        "            weight_ih_l0  (3, 4)               dweight_ih_l0 (3, 4)          12",
        "            weight_hh_l0  (3, 1)               dweight_hh_l0 (3, 1)           3",
        "            bias_ih_l0    (3,)                 dbias_ih_l0 (3,)               3",
        "            bias_hh_l0    (3,)                 dbias_hh_l0 (3,)               3",
        "dense_1   Dense           (B, 1) -> (B, 2)     (B, 2) -> (B, 1)               4",
        "            weight        (2, 1)               dweight (2, 1)                 2",
        "            bias          (2,)                 dbias (2,)                     2",
        "25 parameters, float32, 0.0001 MB",
    ]


LAYERS: dict[str, tuple[list[Any], list[tuple[int, ...]]]] = {
    "flatten": ([nn.Flatten, lambda: nn.Dense(4, "relu")], [(6, 5, 3), (6, 15), (6, 4)]),
    "pool": ([lambda: nn.GRU(4, sequences=True), nn.Pool], [(6, 5, 3), (6, 5, 4), (6, 4)]),
    "directions": ([lambda: nn.GRU(4, bidirectional=True, num_layers=2)], [(6, 5, 3), (6, 8)]),
    "sequences": (
        [lambda: nn.GRU(4, sequences=True, bidirectional=True), lambda: nn.Dense(2)],
        [(6, 5, 3), (6, 5, 8), (6, 5, 2)],
    ),
    "dropout": (
        [lambda: nn.Dropout(0.5, axis=1), lambda: nn.GRU(2, num_layers=2, dropout=0.5)],
        [(6, 5, 3), (6, 5, 3), (6, 2)],
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_backward_mirrors_forward(name: str) -> None:
    makers, chain = LAYERS[name]
    model = nn.Sequential([make() for make in makers], seed=0)
    found = layer_shapes(model, X)
    for shapes, x, y in zip(found, chain[:-1], chain[1:], strict=True):
        assert (shapes["forward"]["x"], shapes["forward"]["y"]) == (x, y)
        assert (shapes["backward"]["dy"], shapes["backward"]["dx"]) == (y, x)
    assert_parameters_mirrored(model, found)


@pytest.mark.parametrize("name", LAYERS)
def test_the_table_says_what_the_shapes_are(name: str) -> None:
    makers, chain = LAYERS[name]
    model = nn.Sequential([make() for make in makers], seed=0)
    table = model.summary(X).splitlines()
    rows = [line for line in table[2:-1] if not line.startswith(" ")]
    for row, layer, x, y in zip(rows, model.layers, chain[:-1], chain[1:], strict=True):
        assert row.split()[:2] == [layer.name, layer.kind]
        assert f"{x} -> {y}" in row
        assert f"{y} -> {x}" in row
        assert row.split()[-1] == str(sum(math.prod(view.shape) for view in layer.parameters.values()))
    symbolic = model.summary()
    assert f"(B, {'T, ' if len(chain[1]) == 3 else ''}{chain[1][-1]})" in symbolic
    assert "(6, 5, " not in symbolic


def test_a_ragged_batch_is_padded_to_its_longest() -> None:
    model = nn.Sequential([nn.Embedding(3), nn.GRU(2)], seed=0)
    found = layer_shapes(model, [np.array([1, 2, 3]), np.array([3])])
    assert found[0]["forward"] == {"x": (2, 3), "weight": (3, 3), "y": (2, 3, 3)}
    assert found[0]["backward"] == {"dy": (2, 3, 3), "dweight": (3, 3)}


def test_vectors_have_no_steps() -> None:
    model = nn.Sequential([nn.Dense(4), nn.Dense(2)], seed=0).build(X[:, 0])
    assert "(B, 3) -> (B, 4)" in model.summary()
    assert "T" not in model.summary().replace("T,", "")


def test_symbolic_numbers_below_symbols() -> None:
    """The first layer's symbols are numbers here, and no zeros."""
    model = nn.Sequential([nn.Embedding(2), nn.Pool("max")], seed=0).build(np.array([[7, 9]]))
    assert "(B, T) -> (B, T, 2)" in model.summary()


def test_a_model_that_is_not_built() -> None:
    model = dummy_string()
    text = model.summary()
    assert text.endswith("not built yet: call summary(x) with a batch to infer the sizes.")
    assert text.startswith("Sequential([OneHot(vocabulary=None), GRU(1), Dense(2, 'softmax')]) float32")
    assert not model.built
    model.summary(STRINGS)
    assert model.built  # as documented: x infers the sizes


def test_a_summary_changes_nothing() -> None:
    model = nn.Sequential([nn.GRU(3), nn.Dropout(0.5), nn.Dense(2)], seed=0).build(X)
    before = model.flat.copy()
    state = np.asarray(np.random.get_state()[1]).copy()  # noqa: NPY002
    assert model.summary(X) == model.summary(X)
    np.testing.assert_array_equal(model.flat, before)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


def test_large_numbers_are_grouped() -> None:
    model = nn.Sequential([nn.Dense(1000, bias=False, name="wide")], dtype="float64", seed=0).build(X)
    assert model.summary().splitlines()[-1] == "3,000 parameters, float64, 0.024 MB"
    assert model.summary().splitlines()[2].endswith("3,000")


MISFITS: dict[str, tuple[list[Any], Any, str]] = {
    "GRU after the last state": (
        [lambda: nn.GRU(3), lambda: nn.GRU(3)],
        X,
        r"layer 2 \(gru_2\): GRU needs an input of shape \(B, T, features\), sequences; got \(1, 3\)\. After",
    ),
    "Pool after the last state": (
        [lambda: nn.GRU(3), nn.Pool],
        X,
        r"layer 2 \(pool_1\): Pool needs an input of shape \(B, T, features\), sequences; got \(1, 3\)",
    ),
    "Flatten of ragged sequences": (
        [lambda: nn.GRU(3, sequences=True), nn.Flatten],
        [X[0], X[1, :2]],
        r"layer 2 \(flatten_1\): Flatten needs sequences of one length; got lengths 2 \.\.\. 5\. Use Pool, or GRU",
    ),
    "letters for numbers": (
        [lambda: nn.Dense(2), nn.OneHot],
        X,
        r"layer 2 \(onehot_1\): OneHot needs whole numbers or characters; got dtype float32",
    ),
    "an axis too many": (
        [lambda: nn.Dropout(0.5, axis=3), lambda: nn.GRU(3)],
        X,
        r"layer 1 \(dropout_1\): axis must name axes of x, which has 3; got \(3,\)",
    ),
}


@pytest.mark.parametrize("name", MISFITS)
def test_a_layer_that_does_not_fit_is_named(name: str) -> None:
    makers, x, message = MISFITS[name]
    model = nn.Sequential([make() for make in makers], seed=0)
    with pytest.raises((ValueError, TypeError), match=message):
        model.summary(x)


def test_another_batch_that_does_not_fit_is_named() -> None:
    """Dense after all steps of a GRU, flattened: built for 5 steps, it can't take 4."""
    model = nn.Sequential([nn.GRU(3, sequences=True), nn.Flatten(), nn.Dense(2, name="head")], seed=0).build(X)
    with pytest.raises(
        ValueError, match=r"layer 3 \(head\): x must have shape \(B, 15\) because head is built so;"
    ):
        model.summary(X[:, :4])
    with pytest.raises(
        ValueError, match=r"layer 1 \(gru_1\): x must have shape \(B, T, 3\) because input_size is 3"
    ):
        model.summary(X[..., :2])
