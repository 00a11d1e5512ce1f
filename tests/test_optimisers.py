"""Optimisers: torch's numbers, the published algorithms, resumed runs to the bit, memory, messages."""

from __future__ import annotations

import json
import math
import re
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grus.nn._optimiser import OPTIMISERS, descend
from grus.nn.optimisers import SGD, Adam, AdamW, Optimiser, clip_global_norm, get_optimiser
from grus.nn.schedules import Constant, Cosine
from helpers import assert_close

SETTINGS: tuple[tuple[type[Optimiser], dict[str, Any]], ...] = (
    (SGD, {}),
    (SGD, {"weight_decay": 0.1}),
    (SGD, {"momentum": 0.9}),
    (SGD, {"momentum": 0.9, "weight_decay": 0.1}),
    (SGD, {"momentum": 0.8, "nesterov": True}),
    (SGD, {"momentum": 0.8, "nesterov": True, "weight_decay": 0.1}),
    (Adam, {}),
    (Adam, {"beta1": 0.7, "beta2": 0.9, "epsilon": 1e-3}),
    (Adam, {"beta1": 0.0, "beta2": 0.0}),
    (AdamW, {}),
    (AdamW, {"beta1": 0.8, "beta2": 0.95, "epsilon": 1e-4, "weight_decay": 0.3}),
)
every_setting = pytest.mark.parametrize(("kind", "settings"), SETTINGS)
Rates = Callable[[int], float]


def message(text: str) -> str:
    return "^" + re.escape(text)


def falling_rate(step: int) -> float:
    return 0.1 / (1 + step)


def gradient_at(flat: np.ndarray, step: int) -> np.ndarray:
    """Of a bent valley, so that steps depend on where the last one led, and on the step as batches do."""
    return np.sin(3 * flat) + flat * np.linspace(0.1, 4, flat.size).astype(flat.dtype) + 0.1 * math.cos(step)


def start(size: int = 13, dtype: str = "float64") -> np.ndarray:
    return np.random.default_rng(0).standard_normal(size).astype(dtype)


def run(optimiser: Optimiser, flat: np.ndarray, steps: range, rate: Rates = falling_rate) -> np.ndarray:
    for step in steps:
        optimiser.step(flat, gradient_at(flat, step).astype(flat.dtype), rate(step))
    return flat


# ----------------------------------------------------------------------------------------------- the numbers


def in_torch(torch: Any, kind: type[Optimiser], settings: dict[str, Any], tensor: Any) -> Any:
    settings = dict(settings)
    if issubclass(kind, Adam):
        settings["betas"] = (settings.pop("beta1", 0.9), settings.pop("beta2", 0.999))
        settings["eps"] = settings.pop("epsilon", 1e-8)
    return getattr(torch.optim, kind.__name__)([tensor], lr=1.0, **settings)


@every_setting
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_twenty_steps_as_in_torch(kind: type[Optimiser], settings: dict[str, Any], dtype: str) -> None:
    torch = pytest.importorskip("torch")
    flat, optimiser = start(dtype=dtype), kind(**settings)
    tensor = torch.tensor(flat)
    theirs = in_torch(torch, kind, settings, tensor)
    for step in range(20):
        tensor.grad = torch.tensor(gradient_at(tensor.numpy(), step).astype(dtype))
        theirs.param_groups[0]["lr"] = falling_rate(step)
        theirs.step()
        optimiser.step(flat, gradient_at(flat, step).astype(dtype), falling_rate(step))
        assert_close(flat, tensor.numpy(), "other library", dtype, f"step {step}")
    assert flat.dtype == dtype


def published(kind: type[Optimiser], o: Any, steps: int) -> np.ndarray:
    """The algorithms as the papers print them, with a new array for everything."""
    p, b, m, v = start(), 0.0, 0.0, 0.0
    for t in range(1, steps + 1):
        g, rate = gradient_at(p, t - 1), falling_rate(t - 1)
        if kind is SGD:
            g = g + o.weight_decay * p
            b = o.momentum * b + g
            p = p - rate * (g + o.momentum * b if o.nesterov else b)
            continue
        m, v = o.beta1 * m + (1 - o.beta1) * g, o.beta2 * v + (1 - o.beta2) * g**2
        decay = o.weight_decay * p if kind is AdamW else 0.0
        p = p - rate * decay
        p = p - rate * (m / (1 - o.beta1**t)) / (np.sqrt(v / (1 - o.beta2**t)) + o.epsilon)
    return p


@every_setting
def test_twenty_steps_as_published(kind: type[Optimiser], settings: dict[str, Any]) -> None:
    optimiser = kind(**settings)
    flat = run(optimiser, start(), range(20))
    assert_close(flat, published(kind, optimiser, 20), "other library")


@every_setting
def test_one_rate_per_parameter(kind: type[Optimiser], settings: dict[str, Any]) -> None:
    """Layers with their own rates in one buffer are optimised as if each were alone, to the bit."""
    together, apart = start(), start()
    parts, rates = (slice(0, 5), slice(5, 13)), (0.1, 0.03)
    optimisers, one = [kind(**settings) for _ in parts], kind(**settings)
    array = np.concatenate([np.full(5, 0.1), np.full(8, 0.03)])
    for step in range(5):
        gradient = gradient_at(apart, step)
        one.step(together, gradient, array)
        for optimiser, part, rate in zip(optimisers, parts, rates, strict=True):
            optimiser.step(apart[part], gradient[part], rate)
        assert np.array_equal(together, apart)


@every_setting
def test_a_rate_of_zero_changes_nothing(kind: type[Optimiser], settings: dict[str, Any]) -> None:
    assert np.array_equal(run(kind(**settings), start(), range(3), rate=lambda step: 0.0), start())


@every_setting
def test_the_gradient_is_not_changed(kind: type[Optimiser], settings: dict[str, Any]) -> None:
    gradient = start()
    gradient.flags.writeable = False
    kind(**settings).step(start(), gradient, 0.1)


@every_setting
def test_nan_stays_in_its_parameter(kind: type[Optimiser], settings: dict[str, Any]) -> None:
    flat, gradient = start(4, "float32"), np.array([np.nan, 1, np.inf, 1e30], "float32")
    optimiser = kind(**settings)
    for _ in range(2):
        optimiser.step(flat, gradient, 0.1)
    assert np.isnan(flat[0])
    assert not np.isfinite(flat[2])
    assert np.isfinite(flat[1])


@every_setting
def test_a_step_allocates_nothing_of_the_size_of_the_parameters(
    kind: type[Optimiser], settings: dict[str, Any]
) -> None:
    flat, gradient, optimiser = start(200_000), start(200_000), kind(**settings)
    rates = np.full(flat.size, 0.1)
    optimiser.step(flat, gradient, 0.1)
    tracemalloc.start()
    try:
        optimiser.step(flat, gradient, 0.1)
        optimiser.step(flat, gradient, rates)
        assert tracemalloc.get_traced_memory()[1] < 20_000
    finally:
        tracemalloc.stop()


@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(1e-3, 1e3))
def test_adam_does_not_see_the_scale_of_the_gradient(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    gradients = rng.standard_normal((6, 5))
    one, two = np.zeros(5), np.zeros(5)
    plain, scaled = Adam(epsilon=1e-200), Adam(epsilon=1e-200)
    for gradient in gradients:
        plain.step(one, gradient, 0.1)
        scaled.step(two, scale * gradient, 0.1)
    assert np.allclose(one, two, rtol=1e-9, atol=1e-12)


# ------------------------------------------------------------------------------------------------ resumed runs


@every_setting
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("pause", [0, 1, 7])
def test_a_resumed_run_continues_to_the_bit(
    kind: type[Optimiser], settings: dict[str, Any], dtype: str, pause: int
) -> None:
    whole = run(kind(**settings), start(dtype=dtype), range(20))
    first = kind(**settings)
    flat = run(first, start(dtype=dtype), range(pause))
    state = {name: array.copy() for name, array in first.state_dict().items()}
    second = Optimiser.from_config(json.loads(json.dumps(first.config())))
    second.load_state_dict(state)
    run(first, start(dtype=dtype), range(3))  # the first goes on: the second must not notice
    assert np.array_equal(run(second, flat, range(pause, 20)), whole)
    assert second.steps == 20


def test_state_dict_holds_arrays_of_the_right_kind() -> None:
    optimiser = Adam()
    assert optimiser.state_dict() == {"step": 0}
    run(optimiser, start(dtype="float32"), range(3))
    state = optimiser.state_dict()
    assert list(state) == ["step", "m", "v"]
    assert (state["step"].shape, state["step"].dtype, int(state["step"])) == ((), np.int64, 3)
    assert all(state[name].dtype == "float32" and state[name].shape == (13,) for name in ("m", "v"))
    state["m"][:] = 7  # a copy
    assert not (optimiser.state_dict()["m"] == 7).any()
    momentum = SGD(momentum=0.5)
    run(momentum, start(), range(1))
    assert list(momentum.state_dict()) == ["step", "momentum"]


def test_loading_copies() -> None:
    first, second = Adam(), Adam()
    run(first, start(), range(2))
    state = first.state_dict()
    second.load_state_dict(state)
    state["m"][:] = 7
    assert np.array_equal(second.state_dict()["m"], first.state_dict()["m"])


def test_messages_of_load_state_dict() -> None:
    m, step = np.ones(3), np.array(2)
    load = Adam().load_state_dict
    text = "adam state at step 2 must have the keys step, m, v; got step, m."
    with pytest.raises(ValueError, match=message(text)):
        load({"step": step, "m": m})
    with pytest.raises(ValueError, match=message("adam state at step 0 must have the keys step; got none.")):
        load({})
    with pytest.raises(ValueError, match=message("sgd state at step 2 must have the keys step; got step, m.")):
        SGD().load_state_dict({"step": step, "m": m})
    with pytest.raises(ValueError, match=message("state_dict['step'] must be at least 0; got -1.")):
        load({"step": np.array(-1)})
    with pytest.raises(TypeError, match=message("state_dict['step'] must be a whole number; got")):
        load({"step": np.array(1.5)})
    text = "state_dict['v'] must have shape (3,) because state_dict['m'] is; got (4,)."
    with pytest.raises(ValueError, match=message(text)):
        load({"step": step, "m": m, "v": np.ones(4)})
    with pytest.raises(ValueError, match=message("state_dict['m'] must have shape (P,), one axis; got (1, 3).")):
        load({"step": step, "m": m[None], "v": m})
    text = "state_dict['v'] must be float64 because state_dict['m'] is; got float32."
    with pytest.raises(TypeError, match=message(text)):
        load({"step": step, "m": m, "v": m.astype("float32")})
    with pytest.raises(TypeError, match=message("state_dict['m'] must be float32 or float64; got int64.")):
        load({"step": step, "m": m.astype(np.int64), "v": m})


# -------------------------------------------------------------------------------------------- settings, names


@every_setting
def test_config_goes_through_json(kind: type[Optimiser], settings: dict[str, Any]) -> None:
    for learning_rate in (0.5, Cosine(0.5, warmup=1)):
        optimiser = kind(learning_rate, **settings)
        config = json.loads(json.dumps(optimiser.config()))
        kept = json.dumps(config)
        again = Optimiser.from_config(config)
        assert type(again) is kind
        assert repr(again) == repr(optimiser)
        assert json.dumps(config) == kept


def test_learning_rate_is_a_schedule_when_asked() -> None:
    cosine = Cosine(0.5)
    assert SGD(cosine).schedule is cosine
    assert SGD(0.5).schedule == Constant(0.5)
    assert (SGD().learning_rate, Adam().learning_rate, AdamW().learning_rate) == (0.01, 1e-3, 1e-3)


def test_repr_is_the_call() -> None:
    assert repr(AdamW(0.1)) == (
        "AdamW(learning_rate=0.1, beta1=0.9, beta2=0.999, epsilon=1e-08, weight_decay=0.01)"
    )
    assert repr(SGD(Constant(0.1), momentum=0.9)) == (
        "SGD(learning_rate=Constant(lr=0.1), momentum=0.9, nesterov=False, weight_decay=0.0)"
    )


def test_get_optimiser() -> None:
    adam = Adam()
    assert get_optimiser(adam) is adam
    assert repr(get_optimiser("adamw")) == repr(AdamW())
    assert repr(get_optimiser("sgd", learning_rate=0.5)) == repr(SGD(0.5))
    assert repr(get_optimiser("adam", learning_rate=Cosine(0.5))) == repr(Adam(Cosine(0.5)))


@pytest.fixture
def own_optimiser() -> Iterator[type[Optimiser]]:
    @dataclass(eq=False)
    class SignSGD(Optimiser):
        name: ClassVar[str] = "sign_sgd"

        def _state_names(self) -> tuple[str, ...]:
            return ()

        def _update(self, flat: Any, gradient: Any, rate: Any, scratch: Any, **state: Any) -> None:
            descend(flat, np.sign(gradient, out=scratch), rate, scratch)

    yield SignSGD
    del OPTIMISERS["sign_sgd"]


def test_an_optimiser_of_your_own(own_optimiser: type[Optimiser]) -> None:
    optimiser = get_optimiser("sign_sgd", learning_rate=0.5)
    assert type(Optimiser.from_config(optimiser.config())) is own_optimiser
    flat = np.array([1.0, 2.0])
    optimiser.step(flat, np.array([3.0, -4.0]), 0.5)
    assert flat.tolist() == [0.5, 2.5]


NAMES = "sgd, adam, adamw"


def test_messages_of_get_optimiser() -> None:
    text = f"optimiser must be one of {NAMES}; got 'adm'. Did you mean 'adam'?"
    with pytest.raises(ValueError, match=message(text)):
        get_optimiser("adm")
    with pytest.raises(TypeError, match=message("optimiser must be a name or an Optimiser; got int.")):
        get_optimiser(3)  # type: ignore[arg-type]
    text = (
        "learning_rate must be None with SGD(learning_rate=0.1, momentum=0.0, nesterov=False, weight_decay=0.0),"
    )
    with pytest.raises(TypeError, match=message(f"{text} which has its own; got 0.2.")):
        get_optimiser(SGD(0.1), learning_rate=0.2)


def test_messages_of_from_config() -> None:
    with pytest.raises(ValueError, match=message(f"optimiser must be one of {NAMES}; got None.")):
        Optimiser.from_config({})
    text = "optimiser 'adam' takes learning_rate, beta1, beta2, epsilon; got 'beta3'."
    with pytest.raises(ValueError, match=message(text)):
        Optimiser.from_config({"name": "adam", "beta3": 0.1})


@pytest.mark.parametrize(
    ("kind", "settings", "text"),
    [
        (SGD, {"learning_rate": 0.0}, "learning_rate must be above 0; got 0."),
        (SGD, {"learning_rate": math.nan}, "learning_rate must be finite; got nan."),
        (SGD, {"momentum": 1.0}, "momentum must be at least 0 and below 1; got 1."),
        (SGD, {"weight_decay": -1}, "weight_decay must be at least 0; got -1."),
        (SGD, {"nesterov": True}, "momentum must be above 0 because nesterov is True; got 0."),
        (Adam, {"beta1": -0.1}, "beta1 must be at least 0 and below 1; got -0.1."),
        (Adam, {"beta2": 1}, "beta2 must be at least 0 and below 1; got 1."),
        (Adam, {"epsilon": 0}, "epsilon must be above 0; got 0."),
        (AdamW, {"weight_decay": math.inf}, "weight_decay must be finite; got inf."),
    ],
)
def test_messages_of_settings(kind: type[Optimiser], settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=message(text)):
        kind(**settings)


def test_messages_of_types() -> None:
    with pytest.raises(TypeError, match=message("nesterov must be True or False; got 1 of type int.")):
        SGD(momentum=0.9, nesterov=1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=message("learning_rate must be a number; got 'fast' of type str.")):
        SGD("fast")  # type: ignore[arg-type]


def test_messages_of_step() -> None:
    step, flat = Adam().step, start(4)
    with pytest.raises(TypeError, match=message("flat must be an ndarray, to be updated in place; got list.")):
        step([1.0], flat, 0.1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=message("flat must be float32 or float64; got int64.")):
        step(flat.astype(np.int64), flat, 0.1)
    with pytest.raises(ValueError, match=message("flat must have shape (P,), one axis; got (2, 2).")):
        step(flat.reshape(2, 2), flat, 0.1)
    with pytest.raises(ValueError, match=message("gradient must have shape (4,) because flat is; got (3,).")):
        step(flat, flat[:3], 0.1)
    with pytest.raises(TypeError, match=message("gradient must be float64 because flat is; got float32.")):
        step(flat, flat.astype("float32"), 0.1)
    with pytest.raises(ValueError, match=message("learning_rate must be at least 0; got -1.")):
        step(flat, flat, -1)
    text = "learning_rate must have shape (4,) because flat has this shape; got (3,)."
    with pytest.raises(ValueError, match=message(text)):
        step(flat, flat, np.ones(3))
    locked = start(4)
    locked.flags.writeable = False
    text = "flat must be writeable because it is updated in place; it is read-only."
    with pytest.raises(ValueError, match=message(text)):
        step(locked, flat, 0.1)


def test_a_state_belongs_to_one_buffer() -> None:
    optimiser = Adam()
    run(optimiser, start(4), range(1))
    text = "flat must have shape (4,) because the state of this optimiser is; got (5,)."
    with pytest.raises(ValueError, match=message(text)):
        run(optimiser, start(5), range(1))
    text = "flat must be float64 because the state of this optimiser is; got float32."
    with pytest.raises(TypeError, match=message(text)):
        run(optimiser, start(4, "float32"), range(1))
    assert optimiser.steps == 1  # a refused step is no step


# --------------------------------------------------------------------------------------------------- clipping


def random_gradients(dtype: str = "float64") -> list[np.ndarray]:
    """Several shapes and layouts: 2-D, transposed, strided, a scalar, and nothing at all."""
    rng = np.random.default_rng(0)
    whole = rng.standard_normal((5, 6)).astype(dtype)
    return [
        rng.standard_normal((3, 4)).astype(dtype),
        whole.T[::2],
        np.array(1.5, dtype),
        np.empty((0, 3), dtype),
    ]


def exact_norm(gradients: list[np.ndarray]) -> float:
    return math.sqrt(math.fsum(float(value) ** 2 for g in gradients for value in g.flat))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_clipping_scales_all_gradients_together(dtype: str) -> None:
    gradients = random_gradients(dtype)
    before = [gradient.copy() for gradient in gradients]
    norm = clip_global_norm(gradients, 0.5)
    assert_close(norm, exact_norm(before), "other library", "float64")
    assert_close(exact_norm(gradients), 0.5, "other library", dtype)
    for gradient, old in zip(gradients, before, strict=True):
        assert_close(gradient, old * (0.5 / norm), "other library", dtype)


@pytest.mark.parametrize("max_norm", [100.0, math.inf])
def test_small_gradients_are_left_alone(max_norm: float) -> None:
    gradients, before = random_gradients(), random_gradients()
    assert_close(clip_global_norm(gradients, max_norm), exact_norm(before), "other library")
    assert all(np.array_equal(new, old) for new, old in zip(gradients, before, strict=True))


@pytest.mark.parametrize(("bad", "norm"), [(np.nan, math.nan), (np.inf, math.inf), (-np.inf, math.inf)])
def test_a_norm_that_is_not_finite_is_returned_and_changes_nothing(bad: float, norm: float) -> None:
    gradients = [np.array([3.0, 4.0]), np.array([bad])]
    assert clip_global_norm(gradients, 1.0) == pytest.approx(norm, nan_ok=True)
    assert gradients[0].tolist() == [3, 4]


def test_the_norm_is_summed_in_double_precision() -> None:
    """Each square overflows or vanishes in float32; so does a long sum of tenths."""
    assert clip_global_norm([np.full(4, 1e30, "float32")], math.inf) == pytest.approx(2e30)
    assert clip_global_norm([np.full(4, 1e-30, "float32")], math.inf) == pytest.approx(2e-30)
    tenths = np.full(1_000_000, 0.1, "float32")
    assert_close(clip_global_norm([tenths], math.inf), 1000 * float(np.float32(0.1)), "other library")


def test_clipping_copies_nothing() -> None:
    gradient = start(400_000, "float32")
    clip_global_norm([gradient], 1.0)
    tracemalloc.start()
    try:
        clip_global_norm([gradient], 0.5)
        assert tracemalloc.get_traced_memory()[1] < 400_000  # the pieces: a quarter of a copy
    finally:
        tracemalloc.stop()


def test_clipping_as_in_torch() -> None:
    torch = pytest.importorskip("torch")
    gradients = random_gradients()[:3]
    tensors = [torch.zeros(gradient.shape, dtype=torch.float64) for gradient in gradients]
    for tensor, gradient in zip(tensors, gradients, strict=True):
        tensor.grad = torch.tensor(gradient.copy())
    norm = torch.nn.utils.clip_grad_norm_(tensors, 0.5)
    assert_close(clip_global_norm(gradients, 0.5), norm.item(), "other library")
    for tensor, gradient in zip(tensors, gradients, strict=True):
        assert np.allclose(gradient, tensor.grad.numpy(), rtol=1e-5)  # torch divides by norm + 1e-6


@given(values=st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=8), max_norm=st.floats(1e-3, 1e3))
def test_clipping_keeps_the_direction_and_bounds_the_norm(values: list[float], max_norm: float) -> None:
    gradient, before = np.array(values), np.array(values)
    norm = clip_global_norm([gradient], max_norm)
    assert exact_norm([gradient]) <= max_norm * (1 + 1e-12)
    assert np.allclose(gradient * max(norm / max_norm, 1), before, rtol=1e-12, atol=1e-300)


def test_messages_of_clip_global_norm() -> None:
    for bad in (0, -1.0, math.nan):
        with pytest.raises(ValueError, match=message(f"max_norm must be above 0; got {bad}.")):
            clip_global_norm([np.ones(2)], bad)
    text = "gradients[1] must be an ndarray, to be updated in place; got float."
    with pytest.raises(TypeError, match=message(text)):
        clip_global_norm([np.ones(2), 1.0], 1.0)  # type: ignore[list-item]
    with pytest.raises(TypeError, match=message("gradients[0] must be float32 or float64; got int64.")):
        clip_global_norm([np.ones(2, np.int64)], 1.0)
