"""Calls oneDNN's own GRU through ``onednn_gru.cpp``, where this Python has oneDNN's packages."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolchain import CXX, require, run, workshop

Array = np.ndarray[Any, np.dtype[Any]]
SOURCE = Path(__file__).parent / "onednn_gru.cpp"
PACKAGES = {"onednn-cpu-gomp": "libdnnl.so", "onednn-devel-cpu-gomp": "oneapi/dnnl/dnnl.hpp"}


def onednn_output(primitive: Mapping[str, Array], after: bool, x: Array, h0: Array) -> tuple[Array, Array]:
    """One primitive on x (B, T, I) and h0 (layers*directions, B, H), float32."""
    L, D, H = primitive["weights_iter"].shape[:3]
    B, T, I = x.shape
    output, h_n = np.zeros((T, B, D * H), "float32"), np.zeros((L, D, B, H), "float32")
    given = [x.swapaxes(0, 1), h0, *(primitive.get(name) for name in ("weights_layer", "weights_iter", "bias"))]
    owned = [None if each is None else np.ascontiguousarray(each, "float32") for each in given]
    said = library().gru(int(after), T, B, I, H, L, D, *map(pointer, [*owned, output, h_n]))
    assert said is None, said
    return output.swapaxes(0, 1), h_n.reshape(h0.shape)


def pointer(array: Array | None) -> ctypes.c_void_p | None:
    return None if array is None else array.ctypes.data_as(ctypes.c_void_p)


@functools.cache
def library() -> ctypes.CDLL:
    """Compiled once in a session; the test skips where there is no oneDNN or no compiler."""
    require(CXX)
    shared, header = (installed(package, name) for package, name in PACKAGES.items())
    made = Path(workshop()) / "onednn_gru.so"
    flags = ["-std=c++17", "-O1", "-shared", "-fPIC", f"-I{header.parents[2]}"]
    run([CXX, *flags, str(SOURCE), "-o", str(made), str(shared), f"-Wl,-rpath,{shared.parent}"])
    loaded = ctypes.CDLL(str(made))
    loaded.gru.restype = ctypes.c_char_p
    return loaded


def installed(package: str, name: str) -> Path:
    """A file of an installed package."""
    try:
        files = metadata.files(package) or []
    except metadata.PackageNotFoundError:
        pytest.skip(f"{package} is not installed, whose GRU these tests compare with: pip install {package}")
    return next(Path(str(each.locate())).resolve() for each in files if each.as_posix().endswith(f"/{name}"))
