"""oneDNN's GRU with the reset after the product, called without any framework between: ``onednn_gru.cpp``."""

from __future__ import annotations

import ctypes
import sys
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.build import build
from benchmarks.cases import Array, Data
from benchmarks.peers.base import Peer, zrn


class GRU(Peer):
    def __init__(self, data: Data, threads: int) -> None:
        T, B, I = data.x.shape
        H = data.h0.shape[1]
        p = data.params
        self.library = _library()
        bias = np.concatenate([(zrn(p.bias_ih) + zrn(p.bias_hh))[: 2 * H], p.bias_ih[2 * H :], p.bias_hh[2 * H :]])
        given = (data.x, data.h0, _gates_inside(p.weight_ih), _gates_inside(p.weight_hh), bias, data.d_output)
        self.made = {
            "output": (T, B, H), "dx": (T, B, I), "dh0": (B, H),
            "dweight_ih": (I, 3, H), "dweight_hh": (H, 3, H), "dbias": (4, H),
        }  # fmt: skip
        self.handle = ctypes.c_void_p(self.library.gru_new(T, B, I, H, *map(_pointer, given)))
        weakref.finalize(self, self.library.gru_delete, self.handle)

    def forward(self) -> object:
        return self.library.gru_forward(self.handle, 1)

    def training(self) -> object:
        return self.library.gru_training(self.handle, 1)

    def clock(self, name: str) -> Callable[[int], float]:
        """Timed in C++: no call from Python is in it."""
        run = getattr(self.library, f"gru_{name}")
        return lambda n: float(run(self.handle, n))

    def answers(self) -> dict[str, Array]:
        self.forward()
        self.training()
        d = self._results()
        u, r, n, recurrent_n = d["dbias"]
        return {
            "output": d["output"],
            "dx": d["dx"],
            "dh0": d["dh0"],
            "dweight_ih": _gates_outside(d["dweight_ih"]),
            "dweight_hh": _gates_outside(d["dweight_hh"]),
            "dbias_ih": np.concatenate([r, u, n]),
            "dbias_hh": np.concatenate([r, u, recurrent_n]),
        }

    def _results(self) -> dict[str, Array]:
        arrays = {name: np.empty(shape, np.float32) for name, shape in self.made.items()}
        self.library.gru_results(self.handle, *map(_pointer, arrays.values()))
        return arrays


def _library() -> ctypes.CDLL:
    prefix = Path(sys.prefix)
    flags = ["-std=c++17", "-O2", "-shared", "-fPIC", f"-I{prefix / 'include'}"]
    links = [f"-L{prefix / 'lib'}", "-ldnnl", f"-Wl,-rpath,{prefix / 'lib'}"]
    library = ctypes.CDLL(str(build("onednn_gru.cpp", ".so", flags, links)))
    library.gru_new.restype = ctypes.c_void_p
    library.gru_forward.restype = library.gru_training.restype = ctypes.c_double
    return library


def _pointer(array: Array) -> ctypes.c_void_p:
    return array.ctypes.data_as(ctypes.c_void_p)


def _gates_inside(weight: Array) -> Array:
    """(3H, K) rows r | z | n -> (K, 3, H), gates u (our z), r, o (our n)."""
    return np.ascontiguousarray(zrn(weight).reshape(3, -1, weight.shape[1]).transpose(2, 0, 1))


def _gates_outside(weight: Array) -> Array:
    """The inverse of :func:`_gates_inside`."""
    return zrn(weight.transpose(1, 2, 0).reshape(-1, len(weight)))
