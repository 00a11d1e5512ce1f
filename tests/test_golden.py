"""PyTorch's and ONNX Runtime's numbers, stored: what a plain pytest checks against without either.

``make_golden.py`` writes the files.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import grus
from helpers import assert_close

Array = np.ndarray[Any, np.dtype[Any]]
FOLDER = Path(__file__).with_name("golden")
GRADIENT = "gradient."
PARAMETER = "parameter."


def files_of(library: str) -> list[str]:
    """The names of the golden files that one library wrote."""
    return sorted(path.stem for path in FOLDER.glob(f"{library}_*.npz"))


def load(name: str) -> tuple[grus.GRU, dict[str, Array], dict[str, Array]]:
    """A GRU, what to call it with, and what another library got: output, h_n and ``gradient.<name>``."""
    with np.load(FOLDER / f"{name}.npz") as file:
        arrays = dict(file)
    gru = grus.GRU.from_config(json.loads(str(arrays.pop("config"))))
    gru.load_state_dict({key: arrays.pop(f"{PARAMETER}{key}") for key in gru.parameters})
    results = [key for key in arrays if key in ("output", "h_n") or key.startswith(GRADIENT)]
    return gru, arrays, {key: arrays.pop(key) for key in results}


def compare(gru: grus.GRU, call: dict[str, Any], expected: dict[str, Array]) -> None:
    """A call, a training pass and (where there are any) all gradients equal what is expected."""
    call = dict(call)
    d_output, d_h_n = call.pop("d_output", None), call.pop("d_h_n", None)
    output, h_n, tape = gru.forward(**call)
    found = {"output": output, "h_n": h_n}
    if any(name.startswith(GRADIENT) for name in expected):
        gradients = gru.backward(tape, d_output, d_h_n)
        by_name = {"x": gradients.x, "h0": gradients.h0, **gradients.parameters}
        found |= {f"{GRADIENT}{name}": gradient for name, gradient in by_name.items()}
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert value.dtype == gru.dtype, name
        assert_close(value, expected[name], "other library", gru.dtype.name, name)
    for value, name in zip(gru(**call), ("output", "h_n"), strict=True):
        assert_close(value, expected[name], "other library", gru.dtype.name, f"{name} of a call")


def test_no_file_is_missing() -> None:
    cases = itertools.product(("lengths", "no_bias", "plain"), ("float32", "float64"))
    assert files_of("torch") == [f"torch_{case}_{dtype}" for case, dtype in cases]
    assert files_of("onnxruntime") == ["onnxruntime_after_float32", "onnxruntime_before_float32"]
    assert files_of("onnx") == ["onnx_after_float64", "onnx_before_float64"]


@pytest.mark.parametrize("name", files_of("torch") + files_of("onnx*"))  # test_mygrad.py reads the others
def test_equals_the_other_library(name: str) -> None:
    compare(*load(name))


@pytest.mark.parametrize("name", files_of("torch"))
def test_the_files_hold_every_gradient(name: str) -> None:
    gru, _, expected = load(name)
    names = {f"{GRADIENT}{each}" for each in ("x", "h0", *gru.parameters)}
    assert expected.keys() == names | {"output", "h_n"}
    assert all(np.count_nonzero(expected[each]) for each in names)


def test_the_files_are_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 120_000
