"""``GRU.trace`` and its picture: the gates are those of the equations, at every step, layer and direction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import grus
from grus import _core
from grus.equations import NO_MASKS, from_input, step_forward
from grus.parameters import gru_weights
from grus.reference import Steps, reset_before
from grus.report import plot_gates
from helpers import assert_close, steps_case

B, T, I, H = 3, 7, 2, 5
ENGINES = ["reference", "native"] if _core.available_instruction_sets() else ["reference"]


def gru_and_call(kind: str = "plain", dtype: str = "float64", **options: Any) -> tuple[grus.GRU, dict[str, Any]]:
    rng = np.random.default_rng(3)
    gru = grus.GRU(I, H, init="torch", dtype=dtype, seed=1, **options)
    states = (gru.num_layers * gru.directions, B, H)
    call = {"x": rng.standard_normal((B, T, I)), "h0": rng.standard_normal(states)}
    call |= steps_case(kind, rng, B, T)
    if "reset" in call:
        call["reset_state"] = rng.standard_normal(states)
    floats = ("x", "h0", "reset_state")
    return gru, {name: v.astype(dtype) if name in floats else v for name, v in call.items()}


def of_the_equations(gru: grus.GRU, call: dict[str, Any]) -> list[np.ndarray]:
    """r, z, n and h, each (layers*directions, T, B, H), one step after the other."""
    valid = call.get("mask", np.ones((B, T), bool)).T
    if "lengths" in call:
        valid = valid & (np.arange(T)[:, None] < call["lengths"])
    reset = call["reset"].T if "reset" in call else None
    if reset is not None and "lengths" in call:
        reset = reset & (np.arange(T)[:, None] < call["lengths"])
    found, x = np.zeros((4, len(call["h0"]), T, B, H), gru.dtype), call["x"].swapaxes(0, 1)
    for layer in range(gru.num_layers):
        below = []
        for direction in range(gru.directions):
            i = layer * gru.directions + direction
            weights, h = gru_weights(gru.parameters, layer, direction), call["h0"][i]
            _, gx = from_input(np.where(valid[..., None], x, 0), weights, NO_MASKS)
            begins = reset_before(Steps(h, direction == 1, None, reset))
            for t in range(T)[:: -1 if direction else 1]:
                if begins is not None:
                    h = np.where(begins[t, :, None], call["reset_state"][i], h)
                after, gates = step_forward(gx[t], h, weights, gru.formulation)
                h = np.where(valid[t, :, None], after, h)
                found[:3, i, t] = np.where(valid[t, :, None], gates[:3], 0)
                found[3, i, t] = h
            below.append(found[3, i])
        x = np.concatenate(below, axis=-1)
        if "lengths" in call:
            x = np.where((np.arange(T)[:, None] < call["lengths"])[..., None], x, 0)
    return list(found)


@pytest.mark.parametrize("reset_after", [True, False])
@pytest.mark.parametrize("kind", ["plain", "lengths", "mask", "reset", "all"])
@pytest.mark.parametrize("engine", ENGINES)
def test_the_gates_are_those_of_the_equations(engine: str, kind: str, reset_after: bool) -> None:
    for options in ({}, {"num_layers": 3}, {"num_layers": 2, "bidirectional": True}):
        gru, call = gru_and_call(kind, reset_after=reset_after, **options)
        with grus.use_engine(engine):
            trace = gru.trace(**call)
        for name, value, exact in zip(trace._fields, trace, of_the_equations(gru, call), strict=True):
            assert_close(value, exact.swapaxes(1, 2), "same maths", name=name)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
def test_the_states_are_the_bits_of_a_call(dtype: str) -> None:
    gru, call = gru_and_call("all", dtype, num_layers=2, bidirectional=True, dropout=0.5, save="outputs")
    result, trace = gru(**call), gru.trace(**call)
    inside = np.arange(T) < call["lengths"][:, None]
    output = np.concatenate([trace.h[2], trace.h[3]], axis=-1)
    np.testing.assert_array_equal(np.where(inside[..., None], output, 0), result.output)
    for end, i in ((-1, 2), (0, 3)):
        np.testing.assert_array_equal(trace.h[i][:, end], result.h_n[i])
    assert {a.dtype for a in trace} == {gru.dtype}


@pytest.mark.parametrize("num_layers", [1, 2])
def test_it_is_laid_out_as_x(num_layers: int) -> None:
    """On the reference too, whose sums depend on the layout."""
    gru, call = gru_and_call(num_layers=num_layers)
    expected = gru.trace(**call)
    other = grus.GRU.from_config(gru.config() | {"batch_first": False})
    other.flat[...] = gru.flat
    time_first = other.trace(call["x"].swapaxes(0, 1), call["h0"])
    one = gru.trace(call["x"][1], call["h0"][:, 1])
    for name, value in expected._asdict().items():
        assert value.shape == (num_layers, B, T, H)
        assert_close(getattr(time_first, name), value.swapaxes(1, 2), "same maths", name=name)
        assert_close(getattr(one, name), value[:, 1], "same maths", name=name)


@pytest.mark.parametrize("sizes", [(0, T), (B, 0), (0, 0)])
def test_without_rows_or_steps(sizes: tuple[int, int]) -> None:
    for options in ({}, {"num_layers": 2, "bidirectional": True}):
        gru = grus.GRU(I, H, seed=0, **options)
        trace = gru.trace(np.zeros((*sizes, I), np.float32))
        assert {a.shape for a in trace} == {(gru.num_layers * gru.directions, *sizes, H)}


def test_a_trace_leaves_the_input_and_the_parameters() -> None:
    gru, call = gru_and_call("all")
    before = gru.flat.copy(), {name: np.copy(value) for name, value in call.items()}
    for a in gru.trace(**call):
        a[...] = 9  # views or not, what it returns is the caller's
    np.testing.assert_array_equal(gru.flat, before[0])
    for name, value in before[1].items():
        np.testing.assert_array_equal(call[name], value)


# ------------------------------------------------------------------------------------------------------- picture


def panels(figure: Any) -> list[Any]:
    """The heat maps' axes, without those of the colour bars."""
    return [axes for axes in figure.axes if axes.images]


@pytest.mark.parametrize("options", [{}, {"num_layers": 3}, {"num_layers": 2, "bidirectional": True}])
def test_a_row_of_panels_for_each_layer_and_direction(options: dict[str, Any]) -> None:
    gru, call = gru_and_call(**options)
    trace = gru.trace(call["x"])
    figure = plot_gates(trace, row=1, title="a run", bidirectional=gru.bidirectional)
    found = panels(figure)
    assert len(found) == 4 * len(trace.h)
    assert len(figure.axes) == 2 * len(found)  # and a colour bar each
    assert figure.get_suptitle() == "a run"
    assert [axes.get_title() for axes in found[:4]] == ["reset gate r", "update gate z", "new gate n", "state h"]
    assert {axes.get_xlabel() for axes in found[-4:]} == {"step"}
    labels = [axes.get_ylabel() for axes in found[::4]]
    if gru.bidirectional:
        names = ["layer 0, forward", "layer 0, reverse", "layer 1, forward", "layer 1, reverse"]
    else:
        names = [f"layer {i}" for i in range(gru.num_layers)]
    assert labels == [f"{name}\nunit" for name in names]
    for i, axes in enumerate(found):
        drawn = axes.images[0]
        np.testing.assert_array_equal(drawn.get_array(), trace[i % 4][i // 4, 1].T)
        assert drawn.get_clim() == ((0, 1) if i % 4 < 2 else (-1, 1))
        assert not axes.get_images()[0].get_array().mask.any()


def test_any_layout_and_what_leaves_the_usual_range() -> None:
    gru, call = gru_and_call(activation="identity", gate_activation="tanh")
    call["x"] *= 4
    trace = gru.trace(**call)
    expected = [np.asarray(axes.images[0].get_array()) for axes in panels(plot_gates(trace, row=2))]
    time_first = grus.Trace(*(a.swapaxes(1, 2) for a in trace))
    for figure in (
        plot_gates(time_first, row=2, batch_first=False),
        plot_gates(gru.trace(call["x"][2], call["h0"][:, 2])),
    ):
        for axes, array in zip(panels(figure), expected, strict=True):
            assert_close(np.asarray(axes.images[0].get_array()), array, "same maths")
    r, _, n, _ = panels(plot_gates(trace, row=2))
    assert r.images[0].get_clim() == (-1, 1)
    assert n.images[0].get_clim()[1] == abs(trace.n[0, 2]).max() > 1


@pytest.mark.parametrize(("units", "steps"), [(4, 1), (512, 2000)])
def test_it_is_drawn_at_any_size(units: int, steps: int, tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((steps, I)).astype("float32")
    figure = plot_gates(grus.GRU(I, units, seed=0).trace(x), tmp_path / "gates.png")
    assert [file.name for file in tmp_path.iterdir()] == ["gates.png"]
    assert (tmp_path / "gates.png").read_bytes().startswith(b"\x89PNG")
    for axes in panels(figure):
        assert axes.get_xlim() == (-0.5, steps - 0.5)
        assert axes.get_ylim() == (-0.5, units - 0.5)
        box = axes.get_window_extent()
        assert box.width > 100
        assert box.height > 80
        visible = [t for t in axes.get_xticks() if 0 <= t < steps]
        assert visible
        assert all(t == int(t) for t in visible)


def test_what_can_not_be_drawn(tmp_path: Path) -> None:
    gru, call = gru_and_call()
    trace = gru.trace(**call)
    with pytest.raises(TypeError, match=r"trace must be what GRU\.trace returned; got ndarray\."):
        plot_gates(trace.h)
    with pytest.raises(ValueError, match=r"row must be below 3, the sequences of the trace; got 3\."):
        plot_gates(trace, row=3)
    with pytest.raises(ValueError, match=r"row must be below 1, the sequences of the trace; got 1\."):
        plot_gates(gru.trace(call["x"][0]), row=1)
    with pytest.raises(ValueError, match=r"row must be at least 0; got -1\."):
        plot_gates(trace, row=-1)
    with pytest.raises(TypeError, match=r"batch_first must be True or False; got 1 of type int\."):
        plot_gates(trace, batch_first=1)
    with pytest.raises(ValueError, match=r"trace must hold at least one step; got none\."):
        plot_gates(gru.trace(call["x"][:, :0]))
    with pytest.raises(ValueError, match="xyz"):
        plot_gates(trace, tmp_path / "gates.xyz")
    assert list(tmp_path.iterdir()) == []
