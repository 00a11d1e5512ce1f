"""Each system that grus was asked to implement, in a few lines, and equal to grus.

Seed 001: EpyNN's GRU layer. Seed 002: a GRU built by hand. Seed 003: a step-by-step GRU as a PyTorch module.
Seed 004: MyGrad's ``gru`` function. The equations are theirs, with the errata of their texts corrected.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

import grus
from grus import nn
from grus.datasets import make_dummy_strings
from helpers import assert_close

GATES = ("r", "z", "n")


def sigmoid(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def random_gru(input_size: int, hidden_size: int, **options: object) -> grus.GRU:
    gru = grus.GRU(input_size, hidden_size, dtype="float64", **options)
    gru.flat[...] = np.random.default_rng(3).standard_normal(gru.flat.size) * 0.8
    return gru


def one_bias(gru: grus.GRU) -> None:
    """The seeds have one bias a gate: the other one is zero."""
    gru.parameters["bias_hh_l0"] = np.zeros(3 * gru.hidden_size)


def blocks(gru: grus.GRU, name: str) -> dict[str, np.ndarray]:
    """The r, z and n blocks of a parameter, transposed as the seeds have them: (inputs, units)."""
    return dict(zip(GATES, (block.T for block in np.split(gru.parameters[f"{name}_l0"], 3)), strict=True))


# ------------------------------------------------------------------------------------------------------ seed 001


def strings() -> tuple[np.ndarray, np.ndarray]:
    letters, labels = make_dummy_strings(seed=1)
    return letters, labels


def seed_001_network() -> nn.Sequential:
    layers = [nn.OneHot("ATGC"), nn.GRU(1, reset_after=False), nn.Dense(2, "softmax")]
    return nn.Sequential(layers, dtype="float64", seed=1)


def test_seed_001_shapes_at_every_layer() -> None:
    letters, _ = strings()
    text = " ".join(seed_001_network().summary(letters).split())
    for line in (
        "(480, 12) -> (480, 12, 4)",  # X, one-hot (m, s, e)
        "(480, 12, 4) -> (480, 1) (480, 1) -> (480, 12, 4)",  # h (m, u), and dX
        "weight_ih_l0 (3, 4) dweight_ih_l0 (3, 4)",  # Ur, Uz, Uhh
        "weight_hh_l0 (3, 1) dweight_hh_l0 (3, 1)",  # Vr, Vz, Vhh
        "(480, 1) -> (480, 2) (480, 2) -> (480, 1)",
    ):
        assert line in text, f"{line!r} is not in\n{text}"


def test_seed_001_network_learns() -> None:
    """GRU(1)-Dense(2), full batch, binary cross-entropy, gradients summed, plain SGD at 0.005, as published."""
    letters, labels = strings()
    settings = {"loss": "binary_crossentropy", "reduction": "sum", "metrics": ["accuracy"], "shuffle": False}
    history = seed_001_network().fit(
        letters[:320],
        labels[:320],
        optimiser=nn.SGD(0.005),
        epochs=50,
        batch_size=320,
        validation_data=(letters[320:], labels[320:]),
        seed=1,
        **settings,
    )
    loss = history["loss"]
    assert all(after < before for before, after in itertools.pairwise(loss[:11]))
    assert loss[-1] < 0.585
    assert history["val_accuracy"][-1] >= 0.7


def test_seed_001_a_wider_gru_solves_its_task() -> None:
    """EpyNN concludes that a GRU can't do better than the majority class; with 16 units it can."""
    letters, labels = make_dummy_strings(3000, seed=1)
    layers = [nn.OneHot("ATGC"), nn.GRU(16, reset_after=False), nn.Dense(2, "softmax")]
    model = nn.Sequential(layers, seed=0)
    model.fit(
        letters[:2500], labels[:2500], loss="categorical_crossentropy", learning_rate=0.01, epochs=25, seed=0,
        clip_norm=1.0,
    )  # fmt: skip
    scores = model.evaluate(letters[2500:], labels[2500:], loss="categorical_crossentropy", metrics=["accuracy"])
    assert scores["accuracy"] > 0.95


@pytest.mark.parametrize("gates", ["sigmoid", ("hard_sigmoid", "sigmoid")])
def test_seed_001_equations_step_by_step(gates: object) -> None:
    """(4.1s) to (7s) forward and (4s) to (9s) backward, sample by step by element: X (m, s, e), h (m, s, u)."""
    gru = random_gru(4, 3, reset_after=False, gate_activation=gates)
    one_bias(gru)
    rng = np.random.default_rng(0)
    X, dA = rng.standard_normal((5, 6, 4)), rng.standard_normal((5, 6, 3))
    U, V, b = blocks(gru, "weight_ih"), blocks(gru, "weight_hh"), blocks(gru, "bias_ih")
    activate = [grus.Activation.of(gate) for gate in (gates if isinstance(gates, tuple) else (gates, gates))]

    def slope(gate: int, output: np.ndarray) -> np.ndarray:
        return activate[gate].derivative(output)

    cache, hp = [], np.zeros((5, 3))
    for s in range(6):
        x = X[:, s]
        r = activate[0](x @ U["r"] + hp @ V["r"] + b["r"])
        z = activate[1](x @ U["z"] + hp @ V["z"] + b["z"])
        hh = np.tanh(x @ U["n"] + (r * hp) @ V["n"] + b["n"])
        h = z * hp + (1 - z) * hh
        cache.append((x, hp, r, z, hh, h))
        hp = h
    output, _, tape = gru.forward(X)
    assert_close(output, np.stack([step[-1] for step in cache], axis=1), "other library")

    dX, dV, dhn = np.empty_like(X), {gate: np.zeros((3, 3)) for gate in GATES}, np.zeros((5, 3))
    for s in reversed(range(6)):
        x, hp, r, z, hh, _ = cache[s]
        dh = dA[:, s] + dhn
        dhh_ = dh * (1 - z) * (1 - hh**2)
        dz_ = dh * (hp - hh) * slope(1, z)
        dr_ = dhh_ @ V["n"].T * hp * slope(0, r)
        dhn = dhh_ @ V["n"].T * r + dz_ @ V["z"].T + dr_ @ V["r"].T + dh * z
        dX[:, s] = dhh_ @ U["n"].T + dz_ @ U["z"].T + dr_ @ U["r"].T
        dV["r"] += hp.T @ dr_
        dV["z"] += hp.T @ dz_
        dV["n"] += (r * hp).T @ dhh_
    gradients = gru.backward(tape, dA)
    assert_close(gradients.x, dX, "other library")
    expected = np.concatenate([dV[gate].T for gate in GATES])
    assert_close(gradients.parameters["weight_hh_l0"], expected, "other library")


# ------------------------------------------------------------------------------------------------------ seed 002


def test_seed_002_equations_on_concatenated_weights() -> None:
    """W [x, h] with one matrix a gate over the input and the state, one sample, node by node."""
    gru = random_gru(4, 5, reset_after=False)
    one_bias(gru)
    W = {
        gate: np.vstack([u, v]).T
        for gate, u, v in zip(
            GATES, blocks(gru, "weight_ih").values(), blocks(gru, "weight_hh").values(), strict=True
        )
    }
    b = blocks(gru, "bias_ih")
    x = np.random.default_rng(0).standard_normal((7, 4))
    h, nodes = np.zeros(5), []
    for x_t in x:
        z = sigmoid(W["z"] @ np.concatenate([x_t, h]) + b["z"])
        r = sigmoid(W["r"] @ np.concatenate([x_t, h]) + b["r"])
        g = np.tanh(W["n"] @ np.concatenate([x_t, r * h]) + b["n"])
        h = z * h + (1 - z) * g
        nodes.append(h)
    assert_close(gru(x).output, np.stack(nodes), "other library")


def test_seed_002_eight_targets_are_learned() -> None:
    """8 targets on h[0], inputs of 50 numbers, 100 units from U(-0.1, 0.1), plain SGD at 0.01, 1000 iterations."""
    y = np.array([-0.5, 1.0, 0.3, 0.6, 0.2, -0.1, 0.3, 0.8])
    rng = np.random.default_rng(0)
    x = rng.random((8, 50))
    gru = grus.GRU(50, 100, reset_after=False, dtype="float64")
    gru.flat[...] = rng.uniform(-0.1, 0.1, gru.flat.size)
    losses = []
    for _ in range(1000):
        output, _, tape = gru.forward(x)
        error = output[:, 0] - y
        losses.append((error**2).sum())
        d_output = np.zeros_like(output)
        d_output[:, 0] = 2 * error
        gru.parameters.flat[...] -= 0.01 * gru.backward(tape, d_output).parameters.flat
    assert losses[0] > 1
    assert losses[-1] < 3e-3


# ------------------------------------------------------------------------------------------------------ seed 003


def seed_003_step(
    linear: dict[str, Callable[[np.ndarray], np.ndarray]], x: np.ndarray, hidden: np.ndarray
) -> np.ndarray:
    """The module's forward, line by line; each linear layer has its own weight and bias."""
    reset_gate = sigmoid(linear["xr"](x) + linear["hr"](hidden))
    update_gate = sigmoid(linear["xz"](x) + linear["hz"](hidden))
    candidate = np.tanh(linear["xh"](x) + reset_gate * linear["hh"](hidden))
    return update_gate * hidden + (1 - update_gate) * candidate


def test_seed_003_one_step_is_step() -> None:
    gru = random_gru(4, 5, reset_after=True)
    linear = {}
    for name, gate in (("r", "r"), ("z", "z"), ("h", "n")):
        for side, kind in (("x", "ih"), ("h", "hh")):
            weight, bias = blocks(gru, f"weight_{kind}")[gate], blocks(gru, f"bias_{kind}")[gate]
            linear[side + name] = lambda a, weight=weight, bias=bias: a @ weight + bias
    rng = np.random.default_rng(0)
    x, hidden = rng.standard_normal((2, 4)), rng.standard_normal((1, 2, 5))
    assert_close(gru.step(x, hidden)[-1], seed_003_step(linear, x, hidden[0]), "other library")


# ------------------------------------------------------------------------------------------------------ seed 004


def test_seed_004_equations_with_an_initial_state() -> None:
    """X (T, N, C), S (T+1, N, D) with S[0] = s0, which the function's own documentation calls the seed."""
    gru = random_gru(4, 3, reset_after=False, batch_first=False)
    one_bias(gru)
    rng = np.random.default_rng(0)
    X, s0 = rng.standard_normal((6, 5, 4)), rng.standard_normal((5, 3))
    U, W, b = blocks(gru, "weight_ih"), blocks(gru, "weight_hh"), blocks(gru, "bias_ih")
    S = np.empty((7, 5, 3))
    S[0] = s0
    for t in range(6):
        Z = sigmoid(X[t] @ U["z"] + S[t] @ W["z"] + b["z"])
        R = sigmoid(X[t] @ U["r"] + S[t] @ W["r"] + b["r"])
        H = np.tanh(X[t] @ U["n"] + (R * S[t]) @ W["n"] + b["n"])
        S[t + 1] = (1 - Z) * H + Z * S[t]
    output, h_n = gru(X, s0[None])
    assert_close(np.concatenate([s0[None], output]), S, "other library")
    assert_close(h_n[0], S[-1], "other library")
    batch_first = random_gru(4, 3, reset_after=False)
    one_bias(batch_first)
    assert_close(batch_first(X.swapaxes(0, 1), s0[None]).output.swapaxes(0, 1), S[1:], "other library")
