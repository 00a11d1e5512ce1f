"""What the converters share: the table of conventions, the self-check, and every message."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import grus
from grus import coreml, epynn, haste, mygrad, onednn, tensorflow
from grus.conversion import CONVENTIONS, Convention, ConversionError, Report, arrays, cells, formulas, layered
from grus.conversion.cells import Cells, cells_of, check_convertible
from grus.conversion.check import check_same
from grus.conversion.conventions import INPUT_ONLY, SPLIT_N, TWO, Blocks
from layouts import Array, Case, difference, inputs, refused

ROWS = pytest.mark.parametrize("key", CONVENTIONS)
SIZES = st.integers(1, 6)


def random_cell(rng: np.random.Generator, input_size: int, hidden_size: int, bias: bool) -> grus.GRUParams:
    shapes = [(3 * hidden_size, input_size), (3 * hidden_size, hidden_size), *([(3 * hidden_size,)] * (2 * bias))]
    return grus.GRUParams(*(rng.normal(0, 0.6, shape) for shape in shapes))


def fitting(row: Convention, cell: grus.GRUParams) -> grus.GRUParams:
    """The cell, without what this row can't hold."""
    if row.biases == INPUT_ONLY and cell.bias_hh is not None:
        cell.bias_hh[2 * len(cell.bias_hh) // 3 :] = 0
    return cell


# -------------------------------------------------------------------------------------------- the table


@ROWS
@given(input_size=SIZES, hidden_size=SIZES, bias=st.booleans(), seed=st.integers(0, 99))
def test_pack_and_unpack_are_inverse(key: str, input_size: int, hidden_size: int, bias: bool, seed: int) -> None:
    row, rng = CONVENTIONS[key], np.random.default_rng(seed)
    cell = fitting(row, random_cell(rng, input_size, hidden_size, bias))
    blocks = row.pack(cell)
    columns = (input_size, 3 * hidden_size), (hidden_size, 3 * hidden_size)
    shapes = columns if row.columns else tuple(shape[::-1] for shape in columns)
    assert (blocks.weight_ih.shape, blocks.weight_hh.shape) == shapes
    assert (blocks.bias_ih is None) == (not bias)
    assert (blocks.bias_hh is None) == (not bias or row.biases not in (TWO, SPLIT_N))
    back = row.unpack(blocks)
    np.testing.assert_array_equal(back.weight_ih, cell.weight_ih)
    np.testing.assert_array_equal(back.weight_hh, cell.weight_hh)
    for again, block in zip(row.pack(back), blocks, strict=True):
        np.testing.assert_array_equal(again, block)
    if bias:
        assert_same_biases(row, cell, back)
    else:
        assert back.bias_ih is None
        assert back.bias_hh is None


def assert_same_biases(row: Convention, cell: grus.GRUParams, back: grus.GRUParams) -> None:
    """Each by itself where there are two, else their sums, and the new gate's apart where r is between them."""
    one, other = np.stack([cell.bias_ih, cell.bias_hh]), np.stack([back.bias_ih, back.bias_hh])
    if row.biases == TWO:
        np.testing.assert_array_equal(other, one)
        return
    np.testing.assert_allclose(other.sum(axis=0), one.sum(axis=0), rtol=0, atol=1e-15)
    if row.formulation == "after":
        new = slice(2 * one.shape[1] // 3, None)
        np.testing.assert_array_equal(other[:, new], one[:, new])


@ROWS
def test_pack_copies(key: str) -> None:
    row = CONVENTIONS[key]
    cell = fitting(row, random_cell(np.random.default_rng(0), 2, 3, True))
    for block in row.pack(cell):
        assert block is None or not any(np.shares_memory(block, array) for array in cell[:4])


def stated(row: Convention, blocks: Blocks) -> formulas.Step:
    """A step as the row's own entries state it, over its own blocks."""
    w_ih, w_hh = (w if row.columns else w.T for w in blocks[:2])
    H = len(w_hh)
    order = [row.gates.index(gate) * H for gate in "rzn"]
    zeros = np.zeros(3 * H)
    one = zeros if blocks.bias_ih is None else blocks.bias_ih
    two = zeros.copy()
    if row.biases == TWO and blocks.bias_hh is not None:
        two = blocks.bias_hh
    elif row.biases == SPLIT_N and blocks.bias_hh is not None:
        two[order[2] : order[2] + H] = blocks.bias_hh

    def step(x: Array, h: Array) -> Array:
        gx, gh = x @ w_ih + one, h @ w_hh + two
        r, z = (formulas.sigmoid(gx[:, k : k + H] + gh[:, k : k + H]) for k in order[:2])
        n = slice(order[2], order[2] + H)
        inner = r * gh[:, n] if row.formulation == "after" else (r * h) @ w_hh[:, n] + two[n]
        keep = z if row.keeps == "z" else 1 - z
        return np.asarray(keep * h + (1 - keep) * np.tanh(gx[:, n] + inner))

    return step


@ROWS
@pytest.mark.parametrize("bias", [True, False])
def test_rows_are_what_they_state(key: str, bias: bool) -> None:
    """Gate order, formulation, what keeps the state, orientation, biases: each row, run as stated, is grus."""
    row = CONVENTIONS[key]
    cell = fitting(row, random_cell(np.random.default_rng(1), 3, 5, bias))
    gru = Cells([[cell]], formulation=row.formulation).gru()
    step = stated(row, row.pack(cell))
    x, h0 = inputs(gru)
    assert difference(gru(x, h0), formulas.over_time([[step]], x, h0)) <= 1e-12
    assert difference(gru(x, h0), row_gru(row, row.pack(cell))(x, h0)) <= 1e-12


def row_gru(row: Convention, blocks: Blocks) -> grus.GRU:
    return Cells([[row.unpack(blocks)]], formulation=row.formulation).gru()


@ROWS
def test_rows_are_complete(key: str) -> None:
    row = CONVENTIONS[key]
    assert sorted(row.gates) == sorted("rzn")
    assert len(row.theirs.split(", ")) == 3
    assert row.source.startswith("https://")
    assert row.library
    assert row.weights
    found = row.found(2, 2, True)
    assert found["layers"] == "2, both directions"
    assert found["biases"] == row.biases
    assert row.found(1, 1, False) | {"layers": "1", "biases": "none"} == row.found(1, 1, False)


LAYOUTS: dict[str, tuple[Callable[[grus.GRU], Any], Callable[[Any], formulas.Step]]] = {
    "mygrad": (mygrad.to_mygrad, formulas.mygrad),
    "epynn": (epynn.to_epynn, formulas.epynn),
    "tensorflow": (lambda gru: tensorflow.to_tensorflow(gru), formulas.tensorflow),
    "coreml": (lambda gru: coreml.to_coreml(gru), formulas.coreml),
    "haste": (haste.to_haste, formulas.haste),
    "onednn": (lambda gru: onednn.to_onednn(gru), formulas.onednn_lbr),
    "onednn-before": (lambda gru: onednn.to_onednn(gru), formulas.onednn),
}


@pytest.mark.parametrize("key", LAYOUTS)
def test_layouts_own_formula_on_their_own_arrays(key: str) -> None:
    gru = Case(1, 1, True, CONVENTIONS[key].formulation, "float32").gru()
    write, formula = LAYOUTS[key]
    (layer,) = write(gru)
    cell = {name: array[0, 0] for name, array in layer.items()} if key.startswith("onednn") else layer
    x, h0 = inputs(gru)
    assert difference(gru(x, h0), formulas.over_time([[formula(cell)]], x, h0)) <= 1e-6


def test_merging_says_so_and_a_recurrent_bias_that_has_no_place_is_refused() -> None:
    cell, report = random_cell(np.random.default_rng(0), 2, 3, True), Report()
    for row in CONVENTIONS.values():
        if row.biases != INPUT_ONLY:
            report.notes.clear()
            row.pack(cell, report)
            row.pack(cell, report)
            assert len(report.notes) == (row.biases != TWO)
    assert cell.bias_hh is not None
    cell.bias_hh[6:] = 0, -1.5, 0
    text = (
        "Flax nnx GRUCell has no recurrent bias in the new gate, and this GRU's is not zero (bias_hh[2H:], up to "
    )
    text += "1.5): r multiplies it, so no other bias can stand in for it."
    refused(text, lambda: CONVENTIONS["nnx"].pack(cell))


# -------------------------------------------------------------------------------------------- the self-check


def mistaken(gru: grus.GRU, mistake: Callable[[Array], None]) -> Callable[[Array, Array], tuple[Array, Array]]:
    """Another GRU with a mistake in each array, as the other side."""
    twin = grus.GRU.from_config(gru.config(), seed=0)
    twin.load_state_dict(gru.state_dict())
    for array in twin.parameters.values():
        mistake(array)
    return lambda x, h0: tuple(twin(x, h0))


def swap(array: Array) -> None:
    """r and z change places."""
    array[...] = np.concatenate([array[5:10], array[:5], array[10:]])


def flip(array: Array) -> None:
    """The update gate's sign."""
    array[5:10] *= -1


def permute(array: Array) -> None:
    array[...] = np.roll(array, 5, axis=0)


def nudge(array: Array) -> None:
    array.flat[0] += 1e-9


MISTAKES = pytest.mark.parametrize("mistake", [swap, flip, permute, nudge])


@MISTAKES
@pytest.mark.parametrize("formulation", ["after", "before"])
def test_the_check_can_fail(mistake: Callable[[Array], None], formulation: str) -> None:
    gru, report = Case(1, 1, True, formulation, "float64").gru(), Report()
    with pytest.raises(ConversionError) as caught:
        check_same(gru, mistaken(gru, mistake), "the other", report=report)
    assert report.difference is not None
    assert report.difference > 1e-12
    assert str(caught.value) == (
        f"the converted GRU is not the same function: the other and grus differ by {report.difference:.1e} on "
        "random input, where 1e-12 is allowed. Nothing was converted."
    )


def test_the_check_sees_a_lie_about_the_formulation() -> None:
    gru = Case(1, 1, True, "after", "float64").gru()
    other = Case(1, 1, True, "before", "float64").gru()
    np.testing.assert_array_equal(other.flat, gru.flat)
    with pytest.raises(ConversionError, match="is not the same function"):
        check_same(gru, lambda x, h0: tuple(other(x, h0)), "the other")


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_check_passes_what_is_right(batch_first: bool, dtype: str) -> None:
    gru, report = Case(2, 2, True, "after", "float32").gru(batch_first=batch_first), Report()
    twin = Case(2, 2, True, "after", dtype).gru()
    twin.flat[...] = gru.flat
    check_same(gru, lambda x, h0: tuple(twin(x, h0)), "the other", dtype=dtype, report=report)
    assert report.difference is not None
    assert report.difference < 1e-6


def test_the_report_keeps_the_worst() -> None:
    gru, report = Case(1, 1, True, "after", "float64").gru(), Report(difference=0.5)
    check_same(gru, lambda x, h0: tuple(gru(x, h0)), "itself", report=report)
    assert report.difference == 0.5


@pytest.mark.parametrize("factors", [(np.nan, np.nan), (np.nan, 1), (1, np.nan)])
def test_nan_does_not_pass(factors: tuple[float, float]) -> None:
    gru = Case(1, 1, True, "after", "float64").gru()
    with pytest.raises(ConversionError, match="differ by nan"):
        check_same(gru, lambda x, h0: tuple(map(np.multiply, gru(x, h0), factors)), "the other")


@MISTAKES
@pytest.mark.parametrize("key", LAYOUTS)
def test_a_mistake_in_a_converter_is_caught(
    key: str, mistake: Callable[[Array], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each converter with a table that is wrong refuses to convert."""
    gru = Case(1, 1, True, CONVENTIONS[key].formulation, "float32").gru()
    write = Convention.pack

    def wrong(self: Convention, cell: grus.GRUParams, report: Report | None = None) -> Blocks:
        cell = grus.GRUParams(*(np.array(each) for each in cell[:4]))
        for array in cell[:4]:
            if mistake is nudge:
                array.flat[0] += 1e-3
            else:
                mistake(array)
        return write(self, cell, report)

    monkeypatch.setattr(Convention, "pack", wrong)
    with pytest.raises(ConversionError, match="is not the same function"):
        LAYOUTS[key][0](gru)


# -------------------------------------------------------------------------------------------- messages

GRU = grus.GRU(3, 5, seed=0)
ONE = cells_of(GRU)[0][0]
BIAS, WIDE = np.ones(15, "float32"), random_cell(np.random.default_rng(0), 5, 7, True)


def convertible(text: str, gru: Any = GRU, error: type[Exception] = ConversionError, **options: Any) -> Any:
    call: Callable[[], Any] = lambda: check_convertible(gru, "X", **({"formulations": ("after",)} | options))  # noqa: E731
    return pytest.param(text, call, error, id=text[:60])


def message(text: str, call: Callable[[], Any], error: type[Exception] = ConversionError) -> Any:
    return pytest.param(text, call, error, id=text[:60])


def not_finite() -> grus.GRU:
    gru = grus.GRU(3, 5, seed=0)
    gru.parameters["weight_hh_l0"][2, 1] = np.inf
    return gru


CHANGES = ", which this GRU has and which changes its results."
MESSAGES = [
    convertible("gru must be a grus.GRU; got dict.", {}, TypeError),
    convertible(
        "X is the formulation 'before' and this GRU is 'after'. They are different functions: no weights turn one "
        "into the other. Train one with formulation='before'.",
        formulations=("before",),
    ),
    *(
        convertible(f"X has no {what}{CHANGES}", grus.GRU(3, 6, seed=0, **options), bidirectional=False)
        for what, options in {
            "layer_norm": {"layer_norm": True}, "blocks=2": {"blocks": 2}, "learn_h0": {"learn_h0": True},
            "zoneout=0.5": {"zoneout": 0.5}, "clip=3.0": {"clip": 3}, "bidirectional": {"bidirectional": True},
        }.items()
    ),
    convertible(
        "X has no clip of one gate alone, which this GRU has and which changes its results: its activation's is "
        "9.0. Pass it as the GRU's clip.",
        grus.GRU(3, 5, activation=grus.Activation("tanh", clip=9.0), seed=0),
    ),
    convertible(
        "X knows only tanh and sigmoid; this GRU's new, reset and update gates have relu, tanh, sigmoid.",
        grus.GRU(3, 5, activation="relu", gate_activation=("tanh", "sigmoid"), seed=0),
    ),
    convertible("weight_hh_l0 holds NaN or infinity: a conversion of it can't be checked.", not_finite()),
    convertible(
        "X holds real numbers and this GRU is complex128, for complex steps alone.",
        grus.GRU(3, 5, dtype="complex128", seed=0), allow_cast=True,
    ),
    convertible(
        "X holds float32 and this GRU is float64: digits would be lost. Pass allow_cast=True to round them.",
        grus.GRU(3, 5, dtype="float64", seed=0), float64=False,
    ),
    message(
        "layer 1 has 1 direction(s) of {7} units where layer 0 has 1 of 5: grus.GRU has one size for all its "
        "layers. Convert them one by one.",
        lambda: Cells([[ONE], [WIDE]]).gru(),
    ),
    message(
        "layer 1 has 2 direction(s) of {5} units where layer 0 has 1 of 5: grus.GRU has one size for all its "
        "layers. Convert them one by one.",
        lambda: Cells([[ONE], [ONE, ONE]]).gru(),
    ),
    message(
        "layer 1 reads 3 numbers, but the layer before it gives 5: a layer is missing, or they are in the wrong "
        "order.",
        lambda: Cells([[ONE], [ONE]]).gru(),
    ),
    message("a must map b, c to arrays; got list.", lambda: arrays.named("a", [], ("b", "c"), "X"), TypeError),  # type: ignore[arg-type]
    message(
        "a must hold b, c as X has it; missing 'c'; unknown 'd'.",
        lambda: arrays.named("a", {"b": BIAS, "d": BIAS}, ("b", "c"), "X"),
    ),
    message("a['b'] must be float32 or float64; got int64.", lambda: arrays.one_dtype("a", {"b": np.arange(3)})),
    message(
        "a['b'] must be float32 or float64; got object.", lambda: arrays.one_dtype("a", {"b": np.array([None])})
    ),
    message(
        "a['b'] holds NaN or infinity: a conversion of it can't be checked.",
        lambda: arrays.one_dtype("a", {"b": np.array([0, np.nan])}),
    ),
    message(
        "a must be of one dtype; got float32 and float64.",
        lambda: arrays.one_dtype("a", {"b": BIAS, "c": BIAS.astype("float64")}),
    ),
    message("a must have shape (any, 5); got (15,).", lambda: arrays.shaped("a", BIAS, (None, 5))),
    message("a must have shape (any, 5); got (0, 5).", lambda: arrays.shaped("a", np.ones((0, 5)), (None, 5))),
    message(
        "a must have shape (5, 15); got (5, 14).",
        lambda: arrays.hidden_size("a", np.ones((5, 14)), columns=True),
    ),
    message(
        "X gives output of shape (2, 1) where grus has (3, 6, 5).",
        lambda: check_same(GRU, lambda x, h0: (np.ones((2, 1)), h0), "X"),
    ),
    message(
        "the converted GRU is not the same function: X and grus differ by inf on random input, where 1e-06 is "
        "allowed. Nothing was converted.",
        lambda: check_same(GRU, lambda x, h0: (np.full((3, 6, 5), np.inf), h0), "X"),
    ),
    message("a must hold at least one of X's layers; got none.", lambda: layered.listed((), "X", "a")),
    message(
        "a must be a mapping from X's names to arrays, or a sequence of them; got str.",
        lambda: layered.listed("no", "X", "a"), TypeError,
    ),
    message(
        "Flax nnx GRUCell has no recurrent bias in the new gate, and this GRU's is not zero (bias_hh[2H:], up to "
        "1): r multiplies it, so no other bias can stand in for it.",
        lambda: CONVENTIONS["nnx"].pack(ONE._replace(bias_hh=BIAS)),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("text", "call", "error"), MESSAGES)
def test_message(text: str, call: Callable[[], Any], error: type[Exception]) -> None:
    refused(text, call, error)


FOLDER = Path(cells.__file__).parent
MODULES = ("arrays", "cells", "check", "conventions", "layered")


def raised_at(call: Callable[[], Any]) -> list[tuple[str, int]]:
    """The modules and lines that the call's error came through."""
    try:
        call()
    except (ConversionError, TypeError) as error:
        frames, traceback = [], error.__traceback__
        while traceback is not None:
            frames.append((Path(traceback.tb_frame.f_code.co_filename).stem, traceback.tb_lineno))
            traceback = traceback.tb_next
        return frames[-1:]
    pytest.fail("no error")


@pytest.mark.parametrize("module", MODULES)
def test_every_raise_has_a_message_here(module: str) -> None:
    tree = ast.parse((FOLDER / f"{module}.py").read_text(encoding="utf-8"))
    lines = [(node.lineno, node.end_lineno or 0) for node in ast.walk(tree) if isinstance(node, ast.Raise)]
    assert lines
    reached = {line for param in MESSAGES for stem, line in raised_at(param.values[1]) if stem == module}
    missing = [first for first, last in lines if not any(first <= line <= last for line in reached)]
    assert not missing, f"no row here reaches the raise at {module}.py:{missing}"


# -------------------------------------------------------------------------------------------- the rest


def test_half_floats_are_widened() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="could not import 'ml_dtypes', which has bfloat16")
    numbers = np.array([0.5, -1.25, 3.0])
    for dtype in ("float16", ml_dtypes.bfloat16):
        read = arrays.one_dtype("a", {"b": numbers.astype(dtype), "c": BIAS})
        assert read["b"].dtype == "float32"
        np.testing.assert_array_equal(read["b"], numbers)


def test_what_only_acts_in_training_is_noted() -> None:
    report = Report()
    gru = grus.GRU(3, 5, 2, dropout=0.1, recurrent_dropout=0.25, seed=0)
    check_convertible(gru, "X", formulations=("after",), report=report)
    note = "dropout=0.1, recurrent_dropout=0.25: acts only in training and does not go to X"
    assert report.notes == [note]


def test_rounding_is_noted() -> None:
    report = Report()
    onednn.to_onednn(Case(1, 1, False, "after", "float64").gru(), allow_cast=True, report=report)
    assert report.notes == [
        "oneDNN holds float32: the weights are rounded to it, and the check is of the rounded ones"
    ]


def test_cells_are_copied() -> None:
    cell = random_cell(np.random.default_rng(0), 3, 5, True)
    gru = Cells([[cell]]).gru()
    gru.flat[...] = 0
    assert all(np.count_nonzero(each) for each in cell[:4] if each is not None)
