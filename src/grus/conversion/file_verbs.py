"""How each kind of file is read and written; a file is whole or absent, and what is in it is checked."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from grus import _check
from grus._files import write_atomically
from grus.conversion.array_files import below
from grus.conversion.array_layouts import ArrayLayout
from grus.conversion.check import check_same, in_dtype
from grus.conversion.errors import ConversionError
from grus.conversion.files import encode_npz, open_file
from grus.conversion.recognise import flattened
from grus.conversion.recognise_files import found_in
from grus.conversion.report import Report
from grus.conversion.weight_files import encode_safetensors
from grus.layer import GRU

Arrays = Mapping[str, Any]

# ------------------------------------------------------------------------------------------------ grus and ONNX


def read_grus(path: Path, arrays: Arrays, said: dict[str, Any], report: Report) -> Any:
    from grus.conversion.recognise_files import grus
    from grus.io import load

    model = load(path)
    report.found = found_in(model) if isinstance(model, GRU) else grus(path).parts[0].found
    return model


def write_grus(gru: GRU, path: Path, allow_cast: bool, report: Report) -> None:
    from grus.io import save

    save(gru, path)


def read_onnx(path: Path, arrays: Arrays, said: dict[str, Any], report: Report) -> GRU:
    from grus.onnx import from_onnx

    return from_onnx(path, **said, report=report)


def write_onnx(model: Any, path: Path, allow_cast: bool, report: Report, **options: Any) -> None:
    from grus.onnx import to_onnx

    dtype = "float32" if allow_cast else None
    to_onnx(model, path, dtype=dtype, allow_cast=allow_cast, report=report, **options)


# ------------------------------------------------------------------------------------------------------ PyTorch


def read_torch(path: Path, arrays: Arrays, said: dict[str, Any], report: Report) -> GRU:
    from grus.torch import from_torch

    flat = flattened(arrays)  # what stands in a checkpoint may be named from outside, or from within
    outside = "prefix" in said and any(name.startswith(f"{said['prefix'].rstrip('.')}.") for name in flat)
    return from_torch(flat if outside else arrays, **said, report=report)


def write_torch(gru: GRU, path: Path, allow_cast: bool, report: Report) -> None:
    from grus.torch import to_torch_file

    to_torch_file(gru, path, report=report)


# -------------------------------------------------------------------------------------------------------- Keras


def read_keras(path: Path, arrays: Arrays, said: dict[str, Any], report: Report) -> GRU:
    from grus.keras import from_keras

    theirs = {"gate_activation": "recurrent_activation", "reverse": "go_backwards"}
    options = {theirs.get(name, name): value for name, value in said.items() if name != "formulation"}
    if "formulation" in said:
        formulation = _check.choice("formulation", said["formulation"], ("after", "before"))
        options["reset_after"] = formulation == "after"
    try:
        return from_keras(path, **options, report=report)
    except ConversionError as error:
        if "pass reset_after=" in str(error):
            raise ConversionError(f"{error} Here that is --formulation after or before (formulation=).") from None
        raise


def write_keras(gru: GRU, path: Path, allow_cast: bool, report: Report) -> None:
    """Keras writes to a folder of its own; what is read back from there goes to the target."""
    from grus.conversion.keras_check import import_keras
    from grus.keras import from_keras, to_keras

    weights = path.name.endswith(".weights.h5")
    with _wide(import_keras()), tempfile.TemporaryDirectory() as folder:
        model = to_keras(gru, allow_cast=allow_cast, report=report)
        own = Path(folder, "model.weights.h5" if weights else "model.keras")
        model.save_weights(own) if weights else model.save(own)
        said = _unsaid_by_weights(gru, report) if weights else {}
        _check_back(gru, from_keras(own, **said), "the file", report)
        write_atomically(path, own.read_bytes())


def _unsaid_by_weights(gru: GRU, report: Report) -> dict[str, Any]:
    """What a file of weights does not hold, and must be handed to its reader."""
    from grus.conversion.keras_activations import written

    form = gru.formulation
    both = {"activation": form.activation, "recurrent_activation": form.reset_activation}
    names = {key: written(each, key) for key, each in both.items()}
    if layers := [name for name, values in names.values() if values]:
        raise ConversionError(
            f"a file of weights does not hold the activation {layers[0]}, a layer of its own: write a .keras file."
        )
    said = {
        **{key: name for key, (name, _) in names.items()},
        "reset_after": form.reset == "after",
        "go_backwards": gru.reverse,
    }
    report.note(f"load the weights into GRU({', '.join(f'{key}={value!r}' for key, value in said.items())})")
    return said


def _wide(keras: Any) -> AbstractContextManager[Any]:
    """JAX holds float64 while a file is made, whatever the user has set."""
    if keras.config.backend() != "jax":
        return nullcontext()
    from grus.conversion.jax_side import double

    return double()


# ------------------------------------------------------------------------------------------------- arrays alone


def read_arrays(layout: ArrayLayout, path: Path, arrays: Arrays, said: dict[str, Any], report: Report) -> GRU:
    theirs = {"activation": ("activate",), "gate_activation": ("activate_update", "activate_reset")}
    options = {}
    for name, value in said.items():
        for each in theirs[name] if layout.module == "epynn" and name in theirs else (name,):
            options[each] = value
    prefix = options.pop("prefix", None)
    return layout.read(below(arrays, prefix), options, report)


def write_arrays(layout: ArrayLayout, gru: GRU, path: Path, allow_cast: bool, report: Report) -> None:
    arrays = layout.write(gru, allow_cast, report)
    content = encode_npz(arrays) if path.suffix == ".npz" else encode_safetensors(arrays)
    with tempfile.TemporaryDirectory() as folder:  # what is compared went through a file's reader
        own = Path(folder, path.name)
        own.write_bytes(content)
        back = layout.read(open_file(own).arrays, _unsaid(layout, gru), Report())
    _check_back(gru, back, "the file", report)
    write_atomically(path, content)


def _unsaid(layout: ArrayLayout, gru: GRU) -> dict[str, Any]:
    """What the arrays do not hold, and must be handed to their reader."""
    if not layout.activations:
        return {}
    form = gru.formulation
    if layout.module == "epynn":
        names = (form.activation.name, form.update_activation.name, form.reset_activation.name)
        return dict(zip(("activate", "activate_update", "activate_reset"), names, strict=True))
    return {"activation": form.activation, "gate_activation": form.update_activation}


def _check_back(gru: GRU, back: GRU, name: str, report: Report) -> None:
    """What was written, read back, against what was to be."""
    check_same(in_dtype(gru, back.dtype.name), in_dtype(back, "float64"), name, report=report)
