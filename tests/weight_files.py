"""What the tests of converting and inspecting files share: each kind of file, of a random GRU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import grus
from grus.conversion import convert

AFTER = ("grus", "torch", "keras", "onnx", "linen", "nnx", "equinox", "onednn", "haste")
BEFORE = ("grus", "keras", "onnx", "haiku", "mygrad", "epynn", "onednn", "tensorflow", "coreml")
SINGLE = ("onednn", "tensorflow", "coreml")  # float32 alone
ONE_WAY = ("mygrad", "epynn", "tensorflow", "coreml", "haste")
FILES = [
    ("grus", ".safetensors"), ("torch", ".pt"), ("torch", ".safetensors"), ("keras", ".keras"),
    ("keras", ".weights.h5"), ("onnx", ".onnx"), ("linen", ".npz"), ("nnx", ".safetensors"), ("equinox", ".npz"),
    ("haiku", ".safetensors"), ("mygrad", ".npz"), ("epynn", ".safetensors"), ("onednn", ".npz"),
    ("tensorflow", ".safetensors"), ("coreml", ".npz"), ("haste", ".safetensors"),
]  # fmt: skip


def need(*layouts: str) -> None:
    """Skip where a library is missing that reads or writes such a file."""
    reason = "could not import '{}', which these tests convert with"
    if "torch" in layouts:
        pytest.importorskip("torch", reason=reason.format("torch"))
    if "keras" in layouts:
        pytest.importorskip("keras", reason=reason.format("keras"))
    if {"linen", "nnx"} & set(layouts):
        pytest.importorskip("flax", reason=reason.format("flax"))
    if "equinox" in layouts:
        pytest.importorskip("equinox", reason=reason.format("equinox"))
    if "haiku" in layouts:
        pytest.importorskip("haiku", reason=reason.format("haiku"))


def random_gru(formulation: str = "after", num_layers: int = 2, **options: Any) -> grus.GRU:
    """With random numbers in every array but b_hn, which nnx has not."""
    gru = grus.GRU(3, 5, num_layers, reset_after=formulation == "after", seed=0, **options)
    gru.flat[...] = np.random.default_rng(num_layers).normal(0, 0.5, gru.flat.shape)
    for name, array in gru.parameters.items():
        if name.startswith("bias_hh"):
            array[10:] = 0
    return gru


def write(gru: grus.GRU, folder: Path, layout: str, ending: str) -> Path:
    """A file of that layout."""
    own, path = folder / "own.safetensors", folder / f"{layout}{ending}"
    grus.save(gru, own)
    convert(own, path, to=layout, force=True)
    return path


def difference(one: grus.GRU, other: grus.GRU) -> float:
    """The largest on random input, from random states."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((4, 7, one.input_size)).astype(one.dtype)
    h0 = rng.uniform(-1, 1, (one.num_layers * one.directions, 4, one.hidden_size)).astype(one.dtype)
    pairs = zip(one(x, h0), other(x.astype(other.dtype), h0.astype(other.dtype)), strict=True)
    return max(float(np.abs(a - b).max()) for a, b in pairs)
