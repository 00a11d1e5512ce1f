"""Schedules: the published formulas, continuity, immutability, round trips, messages."""

from __future__ import annotations

import dataclasses
import json
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grus.nn.schedules import Constant, Cosine, ExpDecay, LinDecay, Schedule, get_schedule
from helpers import assert_close

EXAMPLES: tuple[Schedule, ...] = (
    Constant(0.1),
    LinDecay(0.1),
    LinDecay(0.1, k=0.02, cycle_epochs=3),
    ExpDecay(0.1),
    ExpDecay(0.1, 0.3, cycle_epochs=4, cycle_descent=0.2),
    Cosine(0.1),
    Cosine(0.1, warmup=1.5, final=0.01),
)
rates = st.floats(1e-6, 10)


def message(text: str) -> str:
    return "^" + re.escape(text)


def epynn(kind: str, lr: float, x: int, epochs: int, k: float, cycle_epochs: int, d: float) -> float:
    """EpyNN's schedules as its code writes them; 0 stands for its default."""
    cycle = cycle_epochs if cycle_epochs else epochs
    k = k if k else 5 / cycle
    if kind == "lin_decay":
        return lr / (1 + k * 100 * x)
    return lr * (1 - d) ** (x // cycle) * math.exp(-k * (x % cycle))


@pytest.mark.parametrize("cycle_epochs", [0, 3])
@pytest.mark.parametrize("k", [0.0, 0.05])
def test_decays_are_those_of_epynn(k: float, cycle_epochs: int) -> None:
    lin = LinDecay(0.1, k or None, cycle_epochs)
    exp = ExpDecay(0.1, k or None, cycle_epochs, cycle_descent=0.3)
    for x in range(10):
        assert_close(lin(x, 10), epynn("lin_decay", 0.1, x, 10, k, cycle_epochs, 0.0), "other library")
        assert_close(exp(x, 10), epynn("exp_decay", 0.1, x, 10, k, cycle_epochs, 0.3), "other library")


def test_decays_step_at_whole_epochs() -> None:
    for decay in (LinDecay(0.1), ExpDecay(0.1, cycle_epochs=2, cycle_descent=0.5)):
        assert decay(2.999, 5) == decay(2, 5) != decay(3, 5)


def test_a_decay_of_zero_is_constant() -> None:
    assert [ExpDecay(0.1, k=0)(x, 4) for x in range(4)] == [0.1] * 4
    assert LinDecay(0.1, k=0)(3, 4) == 0.1


def test_the_default_decay_belongs_to_each_run() -> None:
    """EpyNN stores the default of the first run in the caller's settings; the second run then starves."""
    decay = ExpDecay(0.1)
    before = decay(4, epochs=5)
    assert decay(49, epochs=50) == pytest.approx(0.1 * math.exp(-5 * 49 / 50))
    assert decay.k is None
    assert decay(4, epochs=5) == before


@given(lr=rates, progress=st.floats(0, 200), epochs=st.integers(1, 100))
def test_constant(lr: float, progress: float, epochs: int) -> None:
    assert Constant(lr)(progress, epochs) == lr


@given(lr=rates, epochs=st.integers(2, 100), part=st.floats(0, 0.9), final=st.floats(0, 1))
def test_cosine_is_continuous_and_meets_its_ends(lr: float, epochs: int, part: float, final: float) -> None:
    warmup = part * epochs
    cosine = Cosine(lr, warmup=warmup, final=final * lr)
    assert cosine(warmup, epochs) == pytest.approx(lr)
    assert cosine(0, epochs) == pytest.approx(lr / 100 if warmup else lr)
    assert cosine(epochs, epochs) == pytest.approx(final * lr)
    assert cosine(2 * epochs, epochs) == pytest.approx(final * lr)
    half = warmup + (epochs - warmup) / 2
    assert cosine(half, epochs) == pytest.approx(lr * (1 + final) / 2)
    steepest = lr * max(0.99 / warmup if warmup > 1e-6 else 0, math.pi / 2 / (epochs - warmup))
    for progress in np.linspace(1e-3 if warmup <= 1e-6 else 0, epochs, 50):
        jump = abs(cosine(progress + 1e-7, epochs) - cosine(progress, epochs))
        assert jump <= 1.01e-7 * steepest + 1e-12 * lr


def test_cosine_against_torch() -> None:
    torch = pytest.importorskip("torch")
    optimiser = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    annealing = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=8, eta_min=0.02)
    for epoch in range(9):
        assert_close(Cosine(0.1, final=0.02)(epoch, 8), annealing.get_last_lr()[0], "other library")
        optimiser.step()
        annealing.step()


@given(progress=st.floats(0, 300), epochs=st.integers(2, 100))
def test_every_rate_is_finite_and_never_above_the_base(progress: float, epochs: int) -> None:
    for schedule in EXAMPLES:
        rate = schedule(progress, epochs)
        assert type(rate) is float
        assert 0 <= rate <= 0.1 * (1 + 1e-15)


# ---------------------------------------------------------------------------------------- settings, names


@pytest.mark.parametrize("schedule", EXAMPLES, ids=repr)
def test_config_goes_through_json(schedule: Schedule) -> None:
    config = json.loads(json.dumps(schedule.config()))
    kept = dict(config)
    assert Schedule.from_config(config) == schedule
    assert config == kept
    assert config["name"] == schedule.name


def test_numpy_numbers_become_python_numbers() -> None:
    schedule = Cosine(np.float32(0.5), warmup=np.int64(2))  # type: ignore[arg-type]
    assert json.dumps(schedule.config()) == '{"name": "cosine", "lr": 0.5, "warmup": 2.0, "final": 0.0}'


def test_schedules_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'lr'"):
        Constant(0.1).lr = 0.2  # type: ignore[misc]


def test_a_setting_left_out_has_its_default() -> None:
    assert Schedule.from_config({"name": "cosine", "lr": 0.1}) == Cosine(0.1)


def test_get_schedule() -> None:
    schedule = LinDecay(0.1)
    assert get_schedule(schedule) is schedule
    assert get_schedule(0.1) == Constant(0.1)
    assert get_schedule("constant", lr=0.1) == Constant(0.1)
    assert get_schedule("lin_decay", lr=0.1) == LinDecay(0.1)
    assert get_schedule("exp_decay", lr=0.1) == ExpDecay(0.1)
    assert get_schedule("cosine", lr=0.1) == Cosine(0.1)


# ------------------------------------------------------------------------------------------------ messages

NAMES = "constant, lin_decay, exp_decay, cosine"


def test_messages_of_get_schedule() -> None:
    text = f"schedule must be one of {NAMES}; got 'cosin'. Did you mean 'cosine'?"
    with pytest.raises(ValueError, match=message(text)):
        get_schedule("cosin", lr=0.1)
    with pytest.raises(TypeError, match=message("schedule 'cosine' needs lr; pass lr=0.01 or a Schedule.")):
        get_schedule("cosine")
    text = "lr goes with the name of a schedule only; got schedule=0.1 and lr=0.2."
    with pytest.raises(TypeError, match=message(text)):
        get_schedule(0.1, lr=0.2)
    with pytest.raises(ValueError, match=message("learning_rate must be above 0; got -1.")):
        get_schedule(-1)
    with pytest.raises(TypeError, match=message("learning_rate must be a number; got None of type NoneType.")):
        get_schedule(None)  # type: ignore[arg-type]


def test_messages_of_from_config() -> None:
    with pytest.raises(ValueError, match=message(f"schedule must be one of {NAMES}; got None.")):
        Schedule.from_config({"lr": 0.1})
    text = "schedule 'cosine' takes lr, warmup, final; got 'warmpu'. Did you mean 'warmup'?"
    with pytest.raises(ValueError, match=message(text)):
        Schedule.from_config({"name": "cosine", "lr": 0.1, "warmpu": 1})
    with pytest.raises(ValueError, match=message("schedule 'cosine' needs lr; got ['warmup'].")):
        Schedule.from_config({"name": "cosine", "warmup": 1})


@pytest.mark.parametrize(
    ("kind", "settings", "text"),
    [
        (Constant, {"lr": 0}, "lr must be above 0; got 0."),
        (Constant, {"lr": math.inf}, "lr must be finite; got inf."),
        (LinDecay, {"lr": 1, "k": -1}, "k must be at least 0; got -1."),
        (ExpDecay, {"lr": 1, "k": math.nan}, "k must be finite; got nan."),
        (ExpDecay, {"lr": 1, "cycle_epochs": -2}, "cycle_epochs must be at least 0; got -2."),
        (ExpDecay, {"lr": 1, "cycle_descent": 1}, "cycle_descent must be at least 0 and below 1; got 1."),
        (Cosine, {"lr": 1, "warmup": -1}, "warmup must be at least 0; got -1."),
        (Cosine, {"lr": 1, "final": -1}, "final must be at least 0; got -1."),
        (Cosine, {"lr": 1, "final": 2}, "final must be at most lr, 1; got 2."),
    ],
)
def test_messages_of_settings(kind: type[Schedule], settings: dict[str, float], text: str) -> None:
    with pytest.raises(ValueError, match=message(text)):
        kind(**settings)


def test_messages_of_the_call() -> None:
    with pytest.raises(ValueError, match=message("progress must be at least 0; got -1.")):
        Constant(0.1)(-1, 10)
    with pytest.raises(ValueError, match=message("epochs must be at least 1; got 0.")):
        Constant(0.1)(0, 0)
    with pytest.raises(TypeError, match=message("epochs must be a whole number; got 2.5 of type float.")):
        Constant(0.1)(0, 2.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message("warmup must be below the 3 epochs of training; got 3.")):
        Cosine(0.1, warmup=3)(0, 3)
