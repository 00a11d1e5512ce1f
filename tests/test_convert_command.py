"""``grus convert`` and :func:`grus.conversion.convert`: every file to every other, equal or refused."""

from __future__ import annotations

import pickle
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

import grus
from grus import nn
from grus.conversion import ConversionError, convert
from test_cli import run
from weight_files import AFTER, BEFORE, FILES, ONE_WAY, SINGLE, difference, need, random_gru, write

pytestmark = [
    pytest.mark.interop,
    # PyTorch's own, when NumPy 2 asks one of its tensors for an array
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
]
CAN = {"after": AFTER, "before": BEFORE}
SOURCES = [(*file, formulation) for formulation, can in CAN.items() for file in FILES if file[0] in can]
GRUS: dict[str, grus.GRU] = {formulation: random_gru(formulation) for formulation in CAN}


def name_of(file: tuple[str, ...]) -> str:
    return "-".join(file)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sources")


def source_of(folder: Path, layout: str, ending: str, formulation: str) -> Path:
    """Made once for all targets."""
    own = folder / formulation
    own.mkdir(exist_ok=True)
    path = own / f"{layout}{ending}"
    return path if path.exists() else write(GRUS[formulation], own, layout, ending)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A model file with a GRU of formulation "after"."""
    path = tmp_path / "saved.model"
    grus.save(GRUS["after"], path)
    return path


@pytest.mark.parametrize("target", FILES, ids=name_of)
@pytest.mark.parametrize("source", SOURCES, ids=name_of)
def test_every_file_to_every_other(
    source: tuple[str, str, str], target: tuple[str, str], folder: Path, tmp_path: Path
) -> None:
    layout, ending, formulation = source
    need(layout, target[0])
    path, made = source_of(folder, layout, ending, formulation), tmp_path / f"made{target[1]}"
    if target[0] not in CAN[formulation]:
        with pytest.raises(
            ConversionError, match="They are different functions: no weights turn one into the other"
        ):
            convert(path, made, to=target[0])
        assert not list(tmp_path.iterdir())
        return
    done = convert(path, made, to=target[0])
    assert (done.source, done.target) == (layout, target[0])
    assert done.report.found["formulation"] == f"reset {formulation} the recurrent product"
    assert done.report.found["layers"] == "2"
    assert (done.report.difference is None) == (layout == target[0] == "grus")
    assert (done.report.difference or 0.0) <= 1e-6
    back = convert(made, tmp_path / "back.safetensors", to="grus")
    assert back.source == target[0]
    assert difference(GRUS[formulation], grus.load(tmp_path / "back.safetensors")) <= 1e-6


OPTIONS: list[dict[str, Any]] = [
    {"bidirectional": True}, {"bidirectional": True, "num_layers": 1}, {"bias": False}, {"num_layers": 1},
    {"reverse": True},
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("source", SOURCES, ids=name_of)
def test_what_is_written_is_read_back(
    source: tuple[str, str, str], options: dict[str, Any], dtype: str, tmp_path: Path
) -> None:
    layout, ending, formulation = source
    need(layout)
    gru, path = random_gru(formulation, **{"dtype": dtype, "num_layers": 2} | options), tmp_path / f"made{ending}"
    grus.save(gru, tmp_path / "own.model")
    reason = _lacking(layout, gru)
    if reason:
        with pytest.raises(ConversionError, match=reason):
            convert(tmp_path / "own.model", path, to=layout)
        return
    convert(tmp_path / "own.model", path, to=layout)
    said = _unsaid(layout, ending, gru, formulation)
    back = convert(path, tmp_path / "back.model", to="grus", from_=layout, **said)
    assert (back.model.num_layers, back.model.directions) == (gru.num_layers, gru.directions)
    assert (back.model.reverse, back.model.dtype) == (gru.reverse, gru.dtype)
    assert difference(gru, back.model) <= (1e-6 if dtype == "float32" else 1e-12)


def _lacking(layout: str, gru: grus.GRU) -> str:
    if gru.bidirectional and layout in ONE_WAY:
        return "has no bidirectional, which this GRU has"
    if gru.reverse and layout not in ("grus", "keras", "onnx", "nnx"):
        return "has no reverse, which this GRU has"
    return "digits would be lost" if gru.dtype.name == "float64" and layout in SINGLE else ""


def _unsaid(layout: str, ending: str, gru: grus.GRU, formulation: str) -> dict[str, Any]:
    if ending != ".weights.h5":
        return {}
    return {"reverse": gru.reverse or None, "formulation": None if gru.bias else formulation}


@pytest.mark.parametrize("layout", ["onednn", "tensorflow", "coreml", "onnx"])
def test_digits_are_lost_only_when_asked_for(layout: str, tmp_path: Path) -> None:
    gru = random_gru("before", dtype="float64")
    grus.save(gru, tmp_path / "own.model")
    path = tmp_path / ("made.onnx" if layout == "onnx" else "made.npz")
    convert(tmp_path / "own.model", path, to=layout, allow_cast=True)
    back = convert(path, tmp_path / "back.model", to="grus").model
    assert back.dtype == np.float32
    assert difference(gru, back) <= 1e-6


def test_activations_that_arrays_do_not_say_are_asked_for(tmp_path: Path) -> None:
    gru = random_gru("before", activation="relu")
    grus.save(gru, tmp_path / "own.model")
    written = convert(tmp_path / "own.model", tmp_path / "made.npz", to="epynn")
    assert written.report.notes[0].startswith("EpyNN's GRU must be given activate=relu")
    plain = convert(tmp_path / "made.npz", tmp_path / "plain.model", to="grus")
    assert plain.report.notes == [
        "the file does not say its activations: tanh and sigmoid were taken where nothing else is given"
    ]
    assert difference(gru, plain.model) > 0.1
    told = convert(tmp_path / "made.npz", tmp_path / "told.model", to="grus", activation="relu")
    assert told.report.notes == []
    assert difference(gru, told.model) <= 1e-6


def test_the_same_for_linen(tmp_path: Path) -> None:
    need("linen")
    gru = random_gru(activation="relu", gate_activation="hard_sigmoid")
    grus.save(gru, tmp_path / "own.model")
    convert(tmp_path / "own.model", tmp_path / "made.npz", to="flax")
    said = {"activation": "relu", "gate_activation": "hard_sigmoid"}
    told = convert(tmp_path / "made.npz", tmp_path / "told.model", to="grus", from_="flax", **said)
    assert told.source == "linen"
    assert difference(gru, told.model) <= 1e-6


def test_keras_weights_say_in_a_note_what_loads_them(tmp_path: Path) -> None:
    need("keras")
    gru = random_gru(activation="relu", reverse=True, num_layers=1)
    grus.save(gru, tmp_path / "own.model")
    done = convert(tmp_path / "own.model", tmp_path / "made.weights.h5")
    assert done.report.notes[-1] == (
        "load the weights into GRU(activation='relu', recurrent_activation='sigmoid', reset_after=True, "
        "go_backwards=True)"
    )
    said = {"activation": "relu", "gate_activation": "sigmoid", "reverse": True}
    back = convert(tmp_path / "made.weights.h5", tmp_path / "back.model", to="grus", **said)
    assert difference(gru, back.model) <= 1e-6


# ------------------------------------------------------------------------------------- names that others choose


def flat_npz(path: Path, arrays: dict[str, Any]) -> Path:
    np.savez(path, **arrays)
    return path


def test_arrays_of_one_cell_need_no_layer(tmp_path: Path) -> None:
    gru = random_gru("before", num_layers=1)
    (cell,) = grus_mygrad(gru)
    done = convert(flat_npz(tmp_path / "cell.npz", cell), tmp_path / "gru.model", to="grus")
    assert done.source == "mygrad"
    assert difference(gru, done.model) <= 1e-6


def grus_mygrad(gru: grus.GRU) -> list[dict[str, Any]]:
    from grus.mygrad import to_mygrad

    return to_mygrad(gru)


@pytest.mark.parametrize("separator", ["/", "."])
@pytest.mark.parametrize("prefix", ["", "encoder"])
def test_parameters_of_linen_by_their_paths(separator: str, prefix: str, tmp_path: Path) -> None:
    need("linen")
    import flax.linen
    import jax
    from flax.traverse_util import flatten_dict

    model = flax.linen.Sequential(
        [
            flax.linen.Bidirectional(flax.linen.RNN(flax.linen.GRUCell(4)), flax.linen.RNN(flax.linen.GRUCell(4)))
            for _ in range(2)
        ]
    )
    x = np.random.default_rng(0).standard_normal((2, 7, 3)).astype("float32")
    variables = model.init(jax.random.PRNGKey(0), x)
    flat = {key: np.asarray(a) for key, a in flatten_dict(variables, sep=separator).items()}
    if prefix:
        flat = {f"{prefix}{separator}{key}": a for key, a in flat.items()} | {"head": np.zeros(3)}
    done = convert(flat_npz(tmp_path / "flax.npz", flat), tmp_path / "gru.model", to="grus", prefix=prefix or None)
    assert done.source == "linen"
    np.testing.assert_allclose(done.model(x).output, model.apply(variables, x), atol=1e-6)


def test_parameters_of_haiku_by_their_paths(tmp_path: Path) -> None:
    need("haiku")
    import haiku as hk
    import jax

    def run_model(x: Any) -> Any:
        core = hk.DeepRNN([hk.GRU(4, name="a"), hk.GRU(4, name="a")])
        return hk.dynamic_unroll(core, x, core.initial_state(2), time_major=False)[0]

    model, x = hk.without_apply_rng(hk.transform(run_model)), np.ones((2, 7, 3), "float32")
    params = model.init(jax.random.PRNGKey(0), x)
    flat = {f"{module}/{name}": np.asarray(a) for module, own in params.items() for name, a in own.items()}
    done = convert(flat_npz(tmp_path / "haiku.npz", flat), tmp_path / "gru.model", to="grus")
    assert done.source == "haiku"
    np.testing.assert_allclose(done.model(x).output, model.apply(params, x), atol=1e-6)


def test_a_state_dict_within_a_checkpoint(tmp_path: Path) -> None:
    need("torch")
    import torch

    module = torch.nn.GRU(3, 5, 2, batch_first=True)
    inside = {f"encoder.gru.{name}": a for name, a in module.state_dict().items()} | {"head": torch.zeros(2)}
    torch.save({"model": inside, "epoch": 3}, tmp_path / "checkpoint.pt")
    x = np.random.default_rng(0).standard_normal((2, 7, 3)).astype("float32")
    for prefix in ("encoder.gru", "model.encoder.gru"):
        done = convert(tmp_path / "checkpoint.pt", tmp_path / "gru.model", to="grus", prefix=prefix, force=True)
        np.testing.assert_allclose(done.model(x).output, module(torch.tensor(x))[0].detach(), atol=1e-6)


def test_a_state_dict_as_npz(tmp_path: Path) -> None:
    gru = random_gru()
    done = convert(flat_npz(tmp_path / "torch.npz", gru.state_dict()), tmp_path / "gru.model", to="grus")
    assert done.source == "torch"
    np.testing.assert_array_equal(done.model.flat, gru.flat)


# ------------------------------------------------------------------------------------------------ whole models


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    train, _ = grus.datasets.load_japanese_vowels()
    model = grus.GRUClassifier(hidden_size=8, epochs=2, bidirectional=False, random_state=0).fit(train.x, train.y)
    path = tmp_path_factory.mktemp("classifier") / "speakers.model"
    grus.save(model, path)
    return path


@pytest.mark.parametrize("streaming", [False, True])
def test_a_classifier_goes_to_onnx_whole(classifier: Path, streaming: bool, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    arguments = ("--streaming",) if streaming else ()
    output = run(tmp_path, "convert", str(classifier), "speakers.onnx", *arguments)
    assert "grus GRUClassifier" in output
    assert re.search(r"grus to onnx +speakers\.onnx +largest difference of the check \d", output)
    session = runtime.InferenceSession(tmp_path / "speakers.onnx")
    names = {each.name for each in session.get_inputs()}
    assert names == ({"X", "h0", "pool0"} if streaming else {"X", "lengths"})
    if not streaming:
        _, test = grus.datasets.load_japanese_vowels()
        given = {"X": test.x[0][None].astype("float32"), "lengths": np.array([len(test.x[0])], "int32")}
        assert session.run(["label"], given)[0] == grus.load(classifier).predict(test.x[:1])


def test_a_sequential_goes_to_onnx(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    model = nn.Sequential([nn.GRU(4), nn.Dense(2)], seed=0).build(np.ones((1, 5, 3)))
    grus.save(model, tmp_path / "model.model")
    done = convert(tmp_path / "model.model", tmp_path / "model.onnx")
    assert done.report.found == {"layout": "grus Sequential", "layers": "GRU, Dense"}
    assert done.report.difference is not None


def test_a_whole_model_goes_nowhere_else(classifier: Path, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="is a whole GRUClassifier, which only ONNX takes"):
        convert(classifier, tmp_path / "made.npz", to="mygrad")


# ---------------------------------------------------------------------------------------------- what is refused


class Code:
    """Runs when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_with_code_in_it_is_refused_and_never_run(tmp_path: Path) -> None:
    need("torch")
    import torch

    ran = tmp_path / "ran"
    torch.save({"weight_ih_l0": Code(ran)}, tmp_path / "evil.pt")
    np.savez(tmp_path / "evil.npz", weight_ih_l0=np.array([Code(ran)], object))
    (tmp_path / "evil.safetensors").write_bytes(pickle.dumps(Code(ran)))
    for name, why in {
        "evil.pt": "which grus never unpickles",
        "evil.npz": "is no .npz file of numbers",
        "evil.safetensors": "is no safetensors file, or damaged or cut short",
    }.items():
        for command in (("convert", name, "made.model", "--to", "grus"), ("inspect", name)):
            output = " ".join(run(tmp_path, *command, code=1).split())
            assert why in output
            assert "Traceback" not in output
    assert not ran.exists()


@pytest.mark.parametrize("source", SOURCES, ids=name_of)
def test_what_is_cut_short_is_refused(source: tuple[str, str, str], folder: Path, tmp_path: Path) -> None:
    layout, ending, formulation = source
    need(layout)
    content = source_of(folder, layout, ending, formulation).read_bytes()
    path = tmp_path / f"short{ending}"
    for kept in (0, 6, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:kept])
        with pytest.raises(ValueError, match=r"damaged|cut short|not valid"):
            convert(path, tmp_path / "made.model", to="grus")
        assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_what_exists_is_replaced_only_when_asked(saved: Path, tmp_path: Path) -> None:
    target = tmp_path / "made.npz"
    target.write_text("mine")
    output = run(tmp_path, "convert", saved.name, target.name, "--to", "haste", code=1)
    assert "'made.npz' exists. Name another file, or replace it with --force (force=True)." in output
    assert target.read_text() == "mine"
    run(tmp_path, "convert", saved.name, target.name, "--to", "haste", "--force")
    assert difference(GRUS["after"], convert(target, tmp_path / "b.model", to="grus").model) <= 1e-6


def test_a_target_that_fails_leaves_an_existing_file_as_it_was(saved: Path, tmp_path: Path) -> None:
    target = tmp_path / "made.npz"
    target.write_text("mine")
    with pytest.raises(ConversionError, match="different functions"):
        convert(saved, target, to="mygrad", force=True)
    assert target.read_text() == "mine"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["made.npz", "saved.model"]


def refused(text: str, call: Any, error: type[Exception] = ConversionError) -> None:
    with pytest.raises(error) as caught:
        call()
    assert text in str(caught.value)
    assert type(caught.value) is error


def test_arguments_that_do_not_fit(saved: Path, tmp_path: Path) -> None:
    made = partial(convert, saved)
    refused(
        "--to (to=) must name the layout of 'a.npz', one of linen, nnx, equinox, haiku, mygrad, epynn, onednn, "
        "tensorflow, coreml, haste: its ending does not tell.",
        lambda: made(tmp_path / "a.npz"), ValueError,
    )  # fmt: skip
    refused("'a.txt', one of grus, torch, keras, onnx, linen,", lambda: made(tmp_path / "a.txt"), ValueError)
    refused(
        "the target must end in .keras or .weights.h5 for the layout 'keras'; got 'a.h5'.",
        lambda: made(tmp_path / "a.h5", to="keras"), ValueError,
    )  # fmt: skip
    refused(
        "--to (to=) must be one of grus, torch, keras", lambda: made(tmp_path / "a.npz", to="pytorch"), ValueError
    )
    refused(
        "streaming is of ONNX alone; got it with the layout 'haste'.",
        lambda: made(tmp_path / "a.npz", to="haste", streaming=True), ValueError,
    )  # fmt: skip
    refused(
        "prefix is of no use to a source of the layout 'grus'; it takes none.",
        lambda: made(tmp_path / "a.npz", to="haste", prefix="gru"), ValueError,
    )  # fmt: skip
    refused(
        "is no file of the layout 'mygrad': it is one of grus.",
        lambda: made(tmp_path / "a.npz", to="haste", from_="mygrad"),
    )
    refused("the folder", lambda: made(tmp_path / "no" / "a.npz", to="haste"), FileNotFoundError)
    absent = partial(convert, tmp_path / "no.npz", tmp_path / "a.npz", to="haste")
    refused("there is no file", absent, FileNotFoundError)
    (tmp_path / "text.csv").write_text("a,b")
    refused(
        "a file of weights must end in .onnx, .keras, .h5, .pt, .pth, .npz, .safetensors, or be one that "
        "grus.save wrote; got 'text.csv'.",
        lambda: convert(tmp_path / "text.csv", tmp_path / "a.npz", to="haste"), ValueError,
    )  # fmt: skip


def test_arrays_that_do_not_tell_whose_they_are(tmp_path: Path) -> None:
    need("equinox")
    path = write(random_gru(bias=False), tmp_path, "equinox", ".npz")
    refused(
        "fits the layouts equinox, coreml by its names and shapes: say which it is with --from equinox "
        "(from_='equinox') or another of them.",
        lambda: convert(path, tmp_path / "a.model", to="grus"),
    )
    path = flat_npz(tmp_path / "onednn.npz", onednn_without_bias())
    refused(
        'formulation must be "after" (lbr_gru) or "before" (gru) where no bias tells which; got None.',
        lambda: convert(path, tmp_path / "a.model", to="grus"),
    )
    told = convert(path, tmp_path / "a.model", to="grus", formulation="before")
    assert told.model.formulation.reset == "before"
    refused(
        "is no file of the layout 'onnx': it is arrays by name.",
        lambda: convert(path, tmp_path / "b.model", to="grus", from_="onnx"),
    )


@pytest.mark.parametrize(("layout", "ending"), [("onednn", ".npz"), ("keras", ".keras"), ("keras", ".weights.h5")])
def test_a_lie_about_the_formulation_is_refused(layout: str, ending: str, tmp_path: Path) -> None:
    need(layout)
    path = write(random_gru(), tmp_path, layout, ending)
    with pytest.raises(ConversionError, match="different functions"):
        convert(path, tmp_path / "a.model", to="grus", formulation="before")


def test_a_layout_that_it_is_not_is_refused(tmp_path: Path) -> None:
    path = write(random_gru(), tmp_path, "haste", ".npz")
    for other in ("mygrad", "torch", "onednn"):
        with pytest.raises(ConversionError, match="must hold"):
            convert(path, tmp_path / "a.model", to="grus", from_=other)


def onednn_without_bias() -> dict[str, Any]:
    from grus.onednn import to_onednn

    (primitive,) = to_onednn(random_gru("before", num_layers=1))
    return {f"0/{name}": a for name, a in primitive.items() if name != "bias"}


def test_keras_weights_that_do_not_say_their_formulation(tmp_path: Path) -> None:
    need("keras")
    path = write(random_gru(bias=False), tmp_path, "keras", ".weights.h5")
    refused(
        "Here that is --formulation after or before (formulation=).",
        lambda: convert(path, tmp_path / "a.model", to="grus"),
    )
    refused(
        "formulation must be one of after, before; got 'candidate'",
        lambda: convert(path, tmp_path / "a.model", to="grus", formulation="candidate"), ValueError,
    )  # fmt: skip
    gru = random_gru(activation=grus.Activation("elu", alpha=0.5), num_layers=1)
    grus.save(gru, tmp_path / "elu.model")
    refused(
        "a file of weights does not hold the activation ELU, a layer of its own: write a .keras file.",
        lambda: convert(tmp_path / "elu.model", tmp_path / "elu.weights.h5"),
    )
    back = convert(tmp_path / "elu.model", tmp_path / "elu.keras").model
    assert difference(gru, back) == 0


def haste_file(tmp_path: Path, change: Any) -> Path:
    """A file of haste's layout with two layers, after a change to its names."""
    from grus.haste import to_haste

    layers = to_haste(random_gru())
    arrays = {f"{k}/forward/{name}": a for k, layer in enumerate(layers) for name, a in layer.items()}
    return flat_npz(tmp_path / "haste.npz", change(arrays))


def renamed(old: str, new: str, arrays: dict[str, Any]) -> dict[str, Any]:
    return {name.replace(old, new): a for name, a in arrays.items()}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (partial(renamed, "1/", "2/"), "source holds the layers 0, 2: numbers must run from 0 without a gap."),
        (partial(renamed, "1/forward", "1/reverse"), "source must hold the same directions in every layer; got"),
        (partial(renamed, "1/forward/bias", "1/side/bias"), "holds side beside forward and reverse of a layer."),
        (lambda arrays: arrays | renamed("forward", "reverse", arrays), "both directions, and haste has one."),
        (
            lambda arrays: arrays | {"1/forward/kernel/kernel": np.ones(3)},
            "source holds '1/forward/kernel/kernel' and an array named by the beginning of that.",
        ),
        (
            lambda arrays: {"1/forward/kernel/kernel": np.ones(3)} | arrays,
            "source holds '1/forward/kernel' twice, or as the beginning of other names.",
        ),
        (
            lambda arrays: {name: a for name, a in arrays.items() if name != "1/forward/bias"},
            "layers[1] must hold kernel, recurrent_kernel, bias, recurrent_bias as haste has it; missing 'bias'.",
        ),
        (lambda arrays: {"a": np.ones(3)}, "holds no GRU that is known by its names and shapes; it holds a."),
    ],
)  # fmt: skip
def test_names_that_do_not_fit(change: Any, text: str, tmp_path: Path) -> None:
    path = haste_file(tmp_path, change)
    refused(
        text, lambda: convert(path, tmp_path / "a.model", to="grus", from_=None if "no GRU" in text else "haste")
    )


def test_a_prefix_that_is_not_there(tmp_path: Path) -> None:
    path = haste_file(tmp_path, dict)
    refused(
        "source has no arrays under prefix='encoder'; it has 0/forward/kernel,",
        lambda: convert(path, tmp_path / "a.model", to="grus", from_="haste", prefix="encoder"),
    )
    under = haste_file(tmp_path, lambda arrays: {f"encoder/{name}": a for name, a in arrays.items()})
    done = convert(under, tmp_path / "a.model", to="grus", prefix="encoder")
    assert difference(random_gru(), done.model) <= 1e-6


def test_an_lstm_is_refused_by_its_name(tmp_path: Path) -> None:
    arrays = {"weight_ih_l0": np.ones((20, 3), "f4"), "weight_hh_l0": np.ones((20, 5), "f4")}
    safetensors.numpy.save_file(arrays, tmp_path / "lstm.safetensors")
    refused(
        "holds no GRU that is known by its names and shapes; it holds LSTM (alone).",
        lambda: convert(tmp_path / "lstm.safetensors", tmp_path / "a.model", to="grus"),
    )


def test_wrong_blocks_by_their_sizes(tmp_path: Path) -> None:
    arrays = random_gru(num_layers=1).state_dict()
    arrays["weight_ih_l0"] = arrays["weight_ih_l0"][:10]
    safetensors.numpy.save_file(arrays, tmp_path / "gru.safetensors")
    refused("holds no GRU", lambda: convert(tmp_path / "gru.safetensors", tmp_path / "a.model", to="grus"))
    refused(
        "source['weight_ih_l0'] must have shape (15, any); got (10, 3).",
        lambda: convert(tmp_path / "gru.safetensors", tmp_path / "a.model", to="grus", from_="torch"),
    )


# -------------------------------------------------------------------------------------------- as a person runs it


def test_the_command_prints_what_it_found_and_how_exact_it_was(tmp_path: Path) -> None:
    safetensors.numpy.save_file(random_gru(bidirectional=True).state_dict(), tmp_path / "gru.safetensors")
    output = run(tmp_path, "convert", "gru.safetensors", "gru.npz", "--to", "onednn")
    for row in (
        "gru.safetensors", r"layout +PyTorch nn\.GRU", r"formulation +reset after the recurrent product",
        r"gate order +r, z, n", r"update gate +z multiplies the previous state", r"biases +two",
        r"activations +tanh, sigmoid", r"layers +2, both directions", r"input size +3", r"hidden size +5",
        r"dtype +float32", r"note oneDNN lbr_gru has one bias where grus has two",
        r"torch to onednn +gru\.npz +largest difference of the check \d\.\de-\d\d",
    ):  # fmt: skip
        assert re.search(row, output), row
    assert sorted(np.load(tmp_path / "gru.npz").files) == [
        f"{layer}/{name}" for layer in (0, 1) for name in ("bias", "weights_iter", "weights_layer")
    ]


def test_a_refusal_is_one_clear_line(saved: Path, tmp_path: Path) -> None:
    output = run(tmp_path, "convert", saved.name, "made.npz", "--to", "epynn", code=1)
    assert output.startswith("Error: EpyNN is the formulation 'before' and this GRU is 'after'.")
    assert "Traceback" not in output
    assert not (tmp_path / "made.npz").exists()


def test_options_reach_the_readers(tmp_path: Path) -> None:
    arrays = {f"encoder.gru.{name}": a for name, a in random_gru().state_dict().items()}
    safetensors.numpy.save_file(arrays | {"head": np.ones(3, "f4")}, tmp_path / "model.safetensors")
    assert "prefix='encoder.gru.'" in run(
        tmp_path, "convert", "model.safetensors", "a.model", "--to", "grus", code=1
    )
    output = run(tmp_path, "convert", "model.safetensors", "a.model", "--to", "grus", "--prefix", "encoder.gru")
    assert "1 arrays beside the GRU's are left out" in output
    assert difference(random_gru(), grus.load(tmp_path / "a.model")) == 0


def test_a_node_is_named(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    path = write(random_gru(), tmp_path, "onnx", ".onnx")
    first = next(node.name for node in onnx.load(path).graph.node if node.op_type == "GRU")
    run(tmp_path, "convert", path.name, "first.model", "--to", "grus", "--node", first)
    assert grus.load(tmp_path / "first.model").num_layers == 1


def test_keras_takes_a_backend_that_is_there_and_keeps_every_digit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("keras")
    gru = random_gru(bias=False, dtype="float64")
    grus.save(gru, tmp_path / "own.model")
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    assert "grus to keras" in run(tmp_path, "convert", "own.model", "made.keras")
    back = convert(tmp_path / "made.keras", tmp_path / "back.model", to="grus").model
    assert (back.dtype, difference(gru, back)) == (np.float64, 0)


@pytest.mark.parametrize("command", ["convert", "inspect"])
def test_help_teaches(command: str) -> None:
    assert f"Example: grus {command}" in run(Path.cwd(), command, "--help")
