"""``grus.torch``: weights from and to PyTorch, by value against PyTorch, or refused with the reason."""

from __future__ import annotations

import itertools
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import grus
from grus.conversion import ConversionError, Report
from option_cases import random_gru

torch = pytest.importorskip("torch", reason="could not import 'torch', which these tests compare with")
safetensors_torch = pytest.importorskip("safetensors.torch")
from grus.torch import from_torch, to_torch, to_torch_file  # noqa: E402

Array = np.ndarray[Any, np.dtype[Any]]
ALLOWED = {"float32": 1e-6, "float64": 1e-12}
ENDINGS = ("pt", "pth", "safetensors")
GRID = pytest.mark.parametrize(
    ("layers", "bidirectional", "bias", "dtype"),
    list(itertools.product((1, 2), (False, True), (True, False), ("float32", "float64"))),
)


def torch_gru(layers: int = 2, dtype: str = "float64", **options: Any) -> Any:
    """PyTorch's, 3 to 5, with its own random parameters, biases too."""
    torch.manual_seed(0)
    return torch.nn.GRU(3, 5, layers, dtype=getattr(torch, dtype), **{"batch_first": True, **options})


def assert_same(gru: grus.GRU, module: Any, dtype: str) -> None:
    """Both run on the same random input and states."""
    rng, rows = np.random.default_rng(5), gru.num_layers * gru.directions
    shape = (4, 7, 3) if gru.batch_first else (7, 4, 3)
    x, h0 = (rng.standard_normal(each).astype(dtype) for each in (shape, (rows, 4, 5)))
    assert gru.dtype.name == dtype
    assert module.batch_first is gru.batch_first
    output, h_n = gru(x, h0)
    with torch.no_grad():
        expected = module.eval()(torch.tensor(x), torch.tensor(h0))
    for ours, theirs in zip((output, h_n), expected, strict=True):
        assert theirs.numpy().dtype == dtype
        assert np.abs(ours - theirs.numpy()).max() <= ALLOWED[dtype]
    assert np.abs(output).max() > 0.1


def refused(text: str, kind: type[Exception] = ConversionError) -> Any:
    return pytest.raises(kind, match=text)


# ----------------------------------------------------------------------------------------------------- the grid


@GRID
@pytest.mark.parametrize("batch_first", [True, False])
def test_from_a_module(layers: int, bidirectional: bool, bias: bool, dtype: str, batch_first: bool) -> None:
    module = torch_gru(layers, dtype, bias=bias, bidirectional=bidirectional, batch_first=batch_first).train()
    report = Report()
    gru = from_torch(module, report=report)
    assert module.training
    assert_same(gru, module, dtype)
    assert gru.bias is bias
    assert report.difference is not None
    assert report.difference <= ALLOWED[dtype]
    assert report.found["biases"] == ("two" if bias else "none")
    assert report.found["layers"] == f"{layers}" + (", both directions" if bidirectional else "")
    assert report.notes == []


@GRID
@pytest.mark.parametrize("batch_first", [True, False])
def test_to_a_module(layers: int, bidirectional: bool, bias: bool, dtype: str, batch_first: bool) -> None:
    gru = random_gru(3, 5, layers, bias=bias, bidirectional=bidirectional, batch_first=batch_first, dtype=dtype)
    report = Report()
    module = to_torch(gru, report=report)
    assert not module.training
    assert_same(gru, module, dtype)
    assert report.difference is not None
    assert report.difference <= ALLOWED[dtype]
    for name, parameter in module.named_parameters():
        assert parameter.requires_grad
        np.testing.assert_array_equal(parameter.detach().numpy(), gru.parameters[name], err_msg=name)
    before = gru.flat.copy()
    with torch.no_grad():
        module.weight_ih_l0.zero_()
    np.testing.assert_array_equal(gru.flat, before)


@GRID
@pytest.mark.parametrize("ending", ENDINGS)
def test_files(tmp_path: Path, layers: int, bidirectional: bool, bias: bool, dtype: str, ending: str) -> None:
    """Ours is read by PyTorch, theirs by us, through the libraries' own functions."""
    path, theirs = tmp_path / f"gru.{ending}", tmp_path / f"theirs.{ending}"
    gru = random_gru(3, 5, layers, bias=bias, bidirectional=bidirectional, dtype=dtype)
    report = Report()
    to_torch_file(gru, path, report=report)
    plain = ending == "safetensors"
    state = safetensors_torch.load_file(path) if plain else torch.load(path, weights_only=True)
    module = torch_gru(layers, dtype, bias=bias, bidirectional=bidirectional)
    module.load_state_dict(state)
    assert_same(gru, module, dtype)
    (safetensors_torch.save_file if plain else torch.save)(module.state_dict(), theirs)
    for source in (path, str(theirs)):
        again = from_torch(source, report=report)
        np.testing.assert_array_equal(again.flat, gru.flat)
        assert again.parameters.keys() == gru.parameters.keys()
    assert report.difference is not None
    assert report.difference <= ALLOWED[dtype]
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted([path.name, theirs.name])


@pytest.mark.parametrize("formulation", ["before", "candidate"])
@pytest.mark.parametrize("convert", [to_torch, lambda gru: to_torch_file(gru, "never.safetensors")])
def test_the_other_formulations_are_refused(convert: Any, formulation: str) -> None:
    for options in ({}, {"num_layers": 2, "bidirectional": True, "bias": False}):
        gru = grus.GRU(3, 5, formulation=formulation, **options)
        with refused(
            f"PyTorch nn.GRU is the formulation 'after' and this GRU is '{formulation}'. They are differ"
        ):
            convert(gru)
    assert not Path("never.safetensors").exists()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"reverse": True}, "PyTorch nn.GRU has no reverse"),
        ({"layer_norm": True}, "has no layer_norm"),
        ({"blocks": 5}, "has no blocks=5"),
        ({"learn_h0": True}, "has no learn_h0"),
        ({"zoneout": 0.5}, "has no zoneout=0.5"),
        ({"clip": 2.0}, "has no clip=2.0"),
        (
            {"activation": "relu"},
            "knows only tanh and sigmoid; this GRU's new, reset and update gates have relu",
        ),
        ({"dtype": "complex128"}, "this GRU is complex128"),
    ],
)
def test_what_pytorch_does_not_have(options: dict[str, Any], text: str) -> None:
    with refused(text):
        to_torch(grus.GRU(3, 5, **options))


# ------------------------------------------------------------------------------------------------- state_dicts


@pytest.mark.parametrize("prefix", ["", "gru.", "encoder.gru.", "module._orig_mod."])
@pytest.mark.parametrize("arrays", [False, True], ids=["tensors", "arrays"])
def test_a_state_dict_with_any_prefix(prefix: str, arrays: bool) -> None:
    module = torch_gru(bidirectional=True)
    state = {prefix + name: a.numpy() if arrays else a for name, a in module.state_dict().items()}
    for given in (None, prefix, prefix.rstrip(".")):
        assert_same(from_torch(state, prefix=given), module, "float64")


def test_one_of_two_grus_and_what_else_a_model_holds(tmp_path: Path) -> None:
    model = torch.nn.ModuleDict({
        "encoder": torch_gru(), "decoder": torch_gru(1, bias=False), "head": torch.nn.Linear(5, 2),
    })  # fmt: skip
    with torch.no_grad():
        model["encoder"].weight_hh_l1 += 0.1
    torch.save({"epoch": 3, "model": model.state_dict(), "optimizer": {"state": {}}}, tmp_path / "checkpoint.pt")
    for source in (
        model,
        model.state_dict(),
        {"epoch": 3, "model": model.state_dict()},
        tmp_path / "checkpoint.pt",
    ):
        for name in ("encoder", "decoder"):
            assert_same(from_torch(source, prefix=name), model[name], "float64")
    report = Report()
    from_torch(model.state_dict(), prefix="decoder", report=report)
    assert report.notes == ["10 arrays beside the GRU's are left out"]
    with refused(r"more than one GRU, under 'encoder\.', 'decoder\.'\. Pass prefix='encoder\.' or"):
        from_torch(model.state_dict())
    with refused(r"got ModuleDict, which holds GRUs at 'encoder', 'decoder': pass one as prefix"):
        from_torch(model)
    with refused(r"has no GRU under prefix='head\.'\. Pass prefix='encoder\.'"):
        from_torch(model.state_dict(), prefix="head")
    with refused("holds GRUs at 'encoder', 'decoder': pass one as prefix"):
        from_torch(model, prefix="head")


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_cell(bias: bool, dtype: str) -> None:
    torch.manual_seed(0)
    cell = torch.nn.GRUCell(3, 5, bias=bias, dtype=getattr(torch, dtype))
    rng = np.random.default_rng(0)
    x, h = rng.standard_normal((4, 3)).astype(dtype), rng.standard_normal((4, 5)).astype(dtype)
    expected = cell(torch.tensor(x), torch.tensor(h)).detach().numpy()
    for source in (cell, cell.state_dict(), {f"cell.{name}": a for name, a in cell.state_dict().items()}):
        gru = from_torch(source)
        assert np.abs(gru.step(x, h[None])[0] - expected).max() <= ALLOWED[dtype]
        assert (gru.bias, gru.num_layers, gru.dtype.name) == (bias, 1, dtype)


@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_half_floats_are_widened(tmp_path: Path, half: str) -> None:
    module, report = torch_gru().to(getattr(torch, half)), Report()
    safetensors_torch.save_file(module.state_dict(), tmp_path / "half.safetensors")
    torch.save(module.state_dict(), tmp_path / "half.pt")
    widened = module.state_dict()
    sources = [module, widened, tmp_path / "half.pt", tmp_path / "half.safetensors"]
    for source in sources:
        gru = from_torch(source, report=report)
        for name, tensor in widened.items():
            np.testing.assert_array_equal(gru.parameters[name], tensor.float().numpy(), err_msg=name)
    assert report.notes == ["half floats are widened to float32, which is exact"]


def test_dropout_is_carried_and_the_rest_is_said() -> None:
    module = to_torch(grus.GRU(3, 5, 2, dropout=0.25, seed=0))
    assert module.dropout == 0.25
    assert from_torch(module).dropout == 0.25
    assert to_torch(grus.GRU(3, 5, dropout=0.25)).dropout == 0  # one layer: none acts, and PyTorch would warn
    report = Report()
    to_torch(grus.GRU(3, 5, 2, dropout=0.25, recurrent_dropout=0.5, seed=0), report=report)
    assert report.notes == ["recurrent_dropout=0.5: acts only in training and does not go to PyTorch nn.GRU"]
    with refused("GRU has dropout=1, which leaves nothing"):
        from_torch(torch_gru(dropout=1.0))


def test_a_file_s_report_says_which_gru_takes_it(tmp_path: Path) -> None:
    report = Report()
    gru = random_gru(3, 5, 2, bias=False, bidirectional=True, dropout=0.5)
    to_torch_file(gru, tmp_path / "gru.pt", report=report)
    arguments = "3, 5, 2, bias=False, batch_first=True, dropout=0.5, bidirectional=True, dtype=torch.float64"
    assert report.notes == [f"load the state_dict into torch.nn.GRU({arguments})"]
    module = eval(report.notes[0].removeprefix("load the state_dict into "), {"torch": torch})
    module.load_state_dict(torch.load(tmp_path / "gru.pt", weights_only=True))
    assert_same(gru, module, "float64")


def test_nothing_of_pytorch_s_is_changed() -> None:
    module, state = torch_gru(dropout=0.5).train(), torch.get_rng_state()
    kept = {name: a.clone() for name, a in module.state_dict().items()}
    to_torch(from_torch(module))
    from_torch(module.state_dict())
    assert torch.equal(torch.get_rng_state(), state)
    assert module.training
    assert all(torch.equal(kept[name], a) for name, a in module.state_dict().items())


# --------------------------------------------------------------------------------------------------- refusals


def changed(**options: Any) -> Any:
    """A whole state_dict of 2 layers, arrays replaced by name, or left out where they are None."""
    state = {**torch_gru().state_dict(), **options}
    return {name: a for name, a in state.items() if a is not None}


ones = torch.ones
FIRST = [f"{what}_{of}_l0" for what in ("weight", "bias") for of in ("ih", "hh")]
MISSING = {
    "a bias": (["bias_hh_l1"], "missing 'bias_hh_l1'"),
    "a matrix": (["weight_hh_l0"], "missing 'weight_hh_l0'"),
    "the first layer": (FIRST, "layer 1 and none of layer 0"),
}


@pytest.mark.parametrize("case", MISSING)
def test_what_is_missing(case: str) -> None:
    names, text = MISSING[case]
    with refused(text):
        from_torch(changed(**dict.fromkeys(names)))


def of(name: str) -> str:
    return rf"source\['{name}'\] "


STATES = {
    "a layer in between": (
        {f"{name[:-1]}2": a for name, a in torch_gru().state_dict().items() if name.endswith("l1")},
        r"source has arrays of layer 2 and none of layer 1: it is missing",
    ),
    "half of a direction": ({"weight_ih_l0_reverse": ones(15, 3)}, "missing 'weight_hh_l0_reverse'"),
    "an unknown name": ({"weight_ih_l0_g": ones(15, 3)}, r"unknown 'weight_ih_l0_g'"),
    "a cell's name too": ({"weight_ih": ones(15, 3)}, "unknown 'weight_ih'"),
    "a projection": (
        {"weight_hr_l0": ones(4, 5)},
        r"'weight_hr_l0', a projection \(proj_size\), which only an LS",
    ),
    "of no matrix": (
        {"weight_hh_l0": ones(15).double()},
        of("weight_hh_l0") + r"must have shape \(any, any\); got",
    ),
    "rows of no block": ({"weight_hh_l0": ones(14, 5).double()}, r"must have shape \(15, 5\); got \(14, 5\)"),
    "another size": (
        {"weight_hh_l1": ones(12, 4).double()},
        of("weight_ih_l1") + r"must have shape \(12, any\); got",
    ),
    "a short bias": ({"bias_ih_l0": ones(14).double()}, of("bias_ih_l0") + r"must have shape \(15\); got \(14,\)"),
    "no chain": (
        {"weight_ih_l1": ones(15, 10).double()},
        "layer 1 reads 10 numbers, but the layer before it gives 5",
    ),
    "two dtypes": ({"bias_ih_l0": ones(15)}, "source must be of one dtype; got float32 and float64"),
    "whole numbers": ({"bias_ih_l0": ones(15).int()}, of("bias_ih_l0") + "must be float32 or float64; got int32"),
    "NaN": ({"bias_ih_l0": torch.full((15,), torch.nan).double()}, of("bias_ih_l0") + "holds NaN or infinity"),
    "sparse": ({"bias_ih_l0": ones(15).double().to_sparse()}, of("bias_ih_l0") + "is sparse"),
    "meta": ({"bias_ih_l0": ones(15, device="meta")}, of("bias_ih_l0") + "is on the meta device"),
    "more": ({"head.weight": ones(2, 5)}, r"must hold a GRU alone; got 'head\.weight' too\. Pass prefix='gru\.'"),
}


@pytest.mark.parametrize("case", STATES)
def test_state_dicts_that_are_not_a_gru(case: str) -> None:
    more, text = STATES[case]
    state = changed(**more)
    if case == "a layer in between":
        state = {name: a for name, a in state.items() if not name.endswith("l1")}
    if case == "more":
        state = {f"gru.{name}" if name != "head.weight" else name: a for name, a in state.items()}
    with refused(text):
        from_torch(state)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("LSTM", r"source is of an LSTM \(four blocks of rows\), not of a GRU \(three\): weight_hh_l0 has shape"),
        ("RNN", r"source is of a plain RNN \(one block of rows\).*weight_hh_l0 has shape \(5, 5\)"),
        ("LSTMCell", r"source is of an LSTM \(four blocks of rows\).*weight_hh has shape \(20, 5\)"),
        ("RNNCell", r"source is of a plain RNN"),
    ],
)  # fmt: skip
def test_other_cells(kind: str, text: str) -> None:
    module = getattr(torch.nn, kind)(3, 5)
    with refused(text):
        from_torch(module.state_dict())
    with refused(f"source is a torch.nn.{kind}: it is another function than a GRU"):
        from_torch(module)


def test_an_lstm_with_a_projection() -> None:
    with refused("a projection"):
        from_torch(torch.nn.LSTM(3, 5, proj_size=2).state_dict())


def test_what_holds_no_gru() -> None:
    with refused(r"source must hold weight_ih_l0, weight_hh_l0 \.\.\. as PyTorch's nn.GRU has them; got 'wei"):
        from_torch(torch.nn.Linear(3, 5).state_dict())
    with refused(r"got '0', '1', '2', '3', '4', '5', '6', '7' and 2 more"):
        from_torch({str(i): ones(2) for i in range(10)})
    with refused("got Linear, which holds no GRU"):
        from_torch(torch.nn.Linear(3, 5))
    with refused("source holds GRUs under 'a', 'b'"):
        from_torch(dict.fromkeys("ab", torch_gru().state_dict()))
    with refused(r"source must be a torch\.nn\.GRU or GRUCell, a state_dict, or the path.*got list", TypeError):
        from_torch([torch_gru()])
    with refused("gru must be a grus.GRU; got GRU", TypeError):
        to_torch(torch_gru())


def test_a_module_whose_weights_are_computed() -> None:
    module = torch_gru(1)
    torch.nn.utils.parametrizations.spectral_norm(module, "weight_hh_l0")
    with refused(r"missing 'weight_hh_l0'; unknown 'parametrizations\.weight_hh_l0\.original'"):
        from_torch(module)


class Flipped(torch.nn.GRU):  # type: ignore[misc, name-defined]
    """Says that it is a GRU, and computes another function."""

    def forward(self, x: Any, h: Any) -> Any:
        output, h_n = super().forward(x, h)
        return 1.001 * output, h_n


def test_the_self_check_notices_another_function() -> None:
    with refused(r"not the same function: torch\.nn\.Flipped and grus differ by [\d.e-]+ on random input"):
        from_torch(Flipped(3, 5, batch_first=True))


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_self_check_reads_the_file_s_content(
    tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two gate blocks swapped on their way into the file; the file that was there stays."""
    name = "encode_safetensors" if ending == "safetensors" else "encode_pt"
    encode = getattr(grus.torch, name)  # type: ignore[attr-defined]

    def swapped(*given: Any) -> bytes:
        state = dict(given[-1])
        r, z, n = np.split(state["weight_hh_l0"], 3)
        return bytes(encode(*given[:-1], state | {"weight_hh_l0": np.concatenate([z, r, n])}))

    monkeypatch.setattr(f"grus.torch.{name}", swapped)
    (tmp_path / f"gru.{ending}").write_bytes(b"before")
    with refused("the converted GRU is not the same function: PyTorch.* and grus differ by"):
        to_torch_file(random_gru(3, 5), tmp_path / f"gru.{ending}")
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [b"before"]


# ------------------------------------------------------------------------------------------------------ files


@pytest.mark.parametrize("ending", ENDINGS)
def test_truncated_files(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"gru.{ending}"
    to_torch_file(random_gru(3, 5, 2), path)
    content = path.read_bytes()
    for size in (0, 1, 8, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        with refused("is no safetensors file, or damaged|read with weights_only=True .*damaged or cut short"):
            from_torch(path)
    path.write_bytes(b"hello world" * 50)
    with refused("damaged or cut short"):
        from_torch(path)


class Code:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("how", ["torch.save", "pickle"])
def test_code_in_a_pickle_never_runs(tmp_path: Path, how: str) -> None:
    path, trace = tmp_path / "gru.pt", tmp_path / "ran"
    state = {**torch_gru().state_dict(), "code": Code(trace)}
    if how == "torch.save":
        torch.save(state, path)
    else:
        path.write_bytes(pickle.dumps(Code(trace), protocol=2))
    with refused("holds more than tensors, such as a whole module or code, which grus never unpickles"):
        from_torch(path)
    assert not trace.exists()
    if how == "torch.save":  # the file is such that a careless reader does run it
        torch.load(path, weights_only=False)
        assert trace.exists()


def test_a_whole_module_or_no_state_dict_in_a_file(tmp_path: Path) -> None:
    torch.save(torch_gru(), tmp_path / "module.pt")
    with refused("holds more than tensors, such as a whole module"):
        from_torch(tmp_path / "module.pt")
    torch.save([ones(2)], tmp_path / "list.pt")
    with refused("must hold a state_dict; got list"):
        from_torch(tmp_path / "list.pt")


def test_an_old_torch_does_not_read_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(torch_gru().state_dict(), tmp_path / "gru.pt")
    monkeypatch.setattr(torch, "__version__", "2.5.1+cpu")
    with refused(r"needs torch 2\.6 or newer; got 2\.5\.1\+cpu, in which a file can run code", ImportError):
        from_torch(tmp_path / "gru.pt")


@pytest.mark.parametrize("formulation", ["after", "before"])
def test_a_model_file_of_grus_is_not_taken_for_pytorch_s(tmp_path: Path, formulation: str) -> None:
    """It has PyTorch's names, whatever the formulation that its header says."""
    path = tmp_path / "gru.safetensors"
    grus.save(grus.GRU(3, 5, formulation=formulation), path)
    with refused(r"is a model file that grus\.save wrote: read it with grus\.load"):
        from_torch(path)


def test_paths(tmp_path: Path) -> None:
    with refused(r"source must end in \.pt, \.pth or \.safetensors; got 'gru.onnx'", ValueError):
        from_torch(tmp_path / "gru.onnx")
    with refused(r"path must end in \.pt, \.pth or \.safetensors; got 'gru'", ValueError):
        to_torch_file(grus.GRU(3, 5), tmp_path / "gru")
    with refused("there is no file of weights at .*none.pt", FileNotFoundError):
        from_torch(tmp_path / "none.pt")
    with refused("the folder .* does not exist", FileNotFoundError):
        to_torch_file(grus.GRU(3, 5), tmp_path / "none" / "gru.pt")
    (tmp_path / "gru.pt").write_bytes(b"old")
    to_torch_file(grus.GRU(3, 5, seed=0), tmp_path / "gru.pt")
    np.testing.assert_array_equal(from_torch(tmp_path / "gru.pt").flat, grus.GRU(3, 5, seed=0).flat)


def test_a_dtype_that_numpy_lacks(tmp_path: Path) -> None:
    state = {**torch_gru(dtype="float32").state_dict(), "scale": ones(2).to(torch.float8_e4m3fn)}
    safetensors_torch.save_file(state, tmp_path / "gru.safetensors")
    with refused("holds 'scale' of dtype F8_E4M3, which NumPy does not have"):
        from_torch(tmp_path / "gru.safetensors")


WITHOUT = """
import sys
sys.modules["torch"] = None
import grus, numpy as np
from grus.conversion import Report
from grus.torch import from_torch, to_torch, to_torch_file
gru, report = grus.GRU(3, 5, 2, bidirectional=True, dtype="float64", seed=0), Report()
to_torch_file(gru, "gru.safetensors", report=report)
assert (from_torch("gru.safetensors", report=report).flat == gru.flat).all()
assert (from_torch(gru.state_dict()).flat == gru.flat).all() and report.difference < 1e-12
for attempt in (lambda: to_torch(gru), lambda: to_torch_file(gru, "gru.pt"), lambda: from_torch("gru.pt")):
    try:
        attempt()
    except ImportError as error:
        assert 'needs torch: pip install "grus[torch]"' in str(error), error
    else:
        raise AssertionError
print("done")
"""


def test_without_pytorch(tmp_path: Path) -> None:
    (tmp_path / "gru.pt").write_bytes(b"anything")
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.stdout == "done\n", run.stderr
