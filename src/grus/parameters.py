"""Named parameters as views of one flat buffer, and how a GRU's are named, shaped and initialised."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from grus import _check
from grus._memory import empty
from grus.equations import Weights

Array = np.ndarray[Any, np.dtype[Any]]
Shape = tuple[int, ...]


class Parameters(Mapping[str, Array]):
    """Named arrays that are views of one contiguous buffer.

    ``parameters[name]`` is a view: writing into it changes the model. ``parameters[name] = value`` copies the
    value into that view after checking its shape, so a name can never come loose from the buffer.

    Parameters
    ----------
    shapes : mapping of str to tuple of int
        The names in order, and the shape of each.
    dtype : dtype
        float32, float64 or complex128.
    flat : ndarray, shape (N,), optional
        The buffer to place them on; a new one, filled with zeros, when omitted.

    Examples
    --------
    >>> p = Parameters({"weight": (2, 3), "bias": (2,)}, "float32")
    >>> p["bias"] = [1.0, 2.0]
    >>> p.flat
    array([0., 0., 0., 0., 0., 0., 1., 2.], dtype=float32)
    """

    def __init__(self, shapes: Mapping[str, Shape], dtype: npt.DTypeLike, flat: Array | None = None) -> None:
        self.shapes = dict(shapes)
        self.dtype = np.dtype(dtype)
        stops = list(accumulate(map(self._width, self.shapes.values()), initial=0))
        self.size = stops[-1]
        places = [slice(start, stop) for start, stop in pairwise(stops)]
        self._places = dict(zip(self.shapes, places, strict=True))
        self._parts: dict[int, list[slice]] = {}  # of a GRU's layers, see gru_parts
        self._lie_on(np.zeros(self.size, self.dtype) if flat is None else self._buffer(flat))

    def _lie_on(self, flat: Array) -> None:
        self.flat = flat
        self._views: dict[str, Array] = {}  # each is made when it is first asked for
        self._weights: dict[tuple[int, int], OwnWeights] = {}  # of a GRU's layers and directions, see gru_weights

    @staticmethod
    def _width(shape: Shape) -> int:
        return math.prod(shape)

    def _buffer(self, flat: Array) -> Array:
        return _check.buffer("flat", flat, self.size, self.dtype)

    def place_on(self, flat: Array) -> None:
        """Move onto another buffer of the same size and dtype, keeping the values."""
        self._buffer(flat)[...] = self.flat
        self._lie_on(flat)

    def __getstate__(self) -> dict[str, Any]:
        """What a copy or a pickle needs: the views are made again."""
        return {name: value for name, value in self.__dict__.items() if name not in ("_views", "_weights")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A copy, or what comes out of a pickle, has views of its own buffer again."""
        self.__dict__.update(state)
        self._lie_on(self.flat.copy())  # it may lie in memory that can't be written

    def like(self, flat: Array | None = None) -> Parameters:
        """Arrays of the same names and shapes on another buffer (zeros when none is given)."""
        return self._on(np.zeros(self.size, self.dtype) if flat is None else self._buffer(flat))

    def unfilled(self) -> Parameters:
        """The same on a new buffer that holds anything, to be filled."""
        return self._on(empty((self.size,), self.dtype))

    def _on(self, flat: Array) -> Parameters:
        other = Parameters.__new__(Parameters)  # nothing of the names and shapes is worked out again
        other.shapes, other.dtype, other.size = self.shapes, self.dtype, self.size
        other._places, other._parts, other.flat = self._places, self._parts, flat
        other._views, other._weights = {}, {}
        return other

    def state_dict(self) -> dict[str, Array]:
        """Copies of all arrays by name."""
        return {name: self[name].copy() for name in self.shapes}

    def load_state_dict(self, state: Mapping[str, npt.ArrayLike], strict: bool = True) -> None:
        """Copy arrays in by name; nothing changes unless all of them fit."""
        _check.mapping("state_dict", state)
        if strict:
            _check.same_names("state_dict", state, self.shapes)
        fitting = {
            name: _check.state_array(f"state_dict[{name!r}]", state[name], shape, self.dtype)
            for name, shape in self.shapes.items()
            if name in state
        }
        for name, array in fitting.items():
            self[name][...] = array

    def __getitem__(self, name: str) -> Array:
        view = self._views.get(name)
        if view is None:
            view = self._views[name] = self.flat[..., self._places[name]].reshape(self.shapes[name])
        return view

    def find(self, name: str) -> Any:
        """The array of that name, or None: faster than a mapping's ``get`` where there is none."""
        return self[name] if name in self._places else None

    def __setitem__(self, name: str, value: npt.ArrayLike) -> None:
        _check.known_keys("parameters", [name], self.shapes)
        own = f"parameters[{name!r}]", value, self.shapes[name], self.dtype
        self[name][...] = _check.state_array(*own, rounded=True)

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)

    def __repr__(self) -> str:
        inside = ", ".join(f"{name} {shape}" for name, shape in self.shapes.items())
        return f"Parameters({self.size:,} {self.dtype}: {inside})"


# ---------------------------------------------------------------------------------------------- those of a GRU


def gru_shapes(
    input_size: int,
    hidden_size: int,
    num_layers: int,
    *,
    bias: bool,
    bidirectional: bool,
    blocks: int = 1,
    layer_norm: bool = False,
    learn_h0: bool = False,
) -> dict[str, Shape]:
    """PyTorch's names in PyTorch's order, with their shapes; after them those of what PyTorch does not have."""
    directions, H = 2 if bidirectional else 1, hidden_size
    shapes: dict[str, Shape] = {}
    for layer in range(num_layers):
        width = input_size if layer == 0 else directions * H
        for direction in range(directions):
            end = suffix(layer, direction)
            shapes[f"weight_ih{end}"] = (3 * H, width)
            shapes[f"weight_hh{end}"] = (3 * H, H // blocks)
            if bias:
                shapes[f"bias_ih{end}"] = shapes[f"bias_hh{end}"] = (3 * H,)
            if layer_norm:
                shapes[f"gain_ih{end}"] = shapes[f"gain_hh{end}"] = (3 * H,)
            if learn_h0:
                shapes[f"h0{end}"] = (H,)
    return shapes


def suffix(layer: int, direction: int) -> str:
    """``_l0``, ``_l0_reverse``, ``_l1`` ..."""
    return f"_l{layer}{'_reverse' if direction else ''}"


class OwnWeights(Weights):
    """Those that a model keeps: with them an engine keeps what it made of them, for as long as they stay."""

    made: Any = None


def gru_weights(parameters: Parameters, layer: int, direction: int) -> Weights:
    """Those of one layer in one direction; zeros where it has no biases."""
    kept = parameters._weights.get((layer, direction))
    if kept is None:
        end = suffix(layer, direction)
        weights = {field: parameters.find(f"{field}{end}") for field in Weights._fields}
        if weights["bias_ih"] is None:
            weights["bias_ih"] = weights["bias_hh"] = np.zeros(len(weights["weight_hh"]), parameters.dtype)
        kept = parameters._weights[layer, direction] = OwnWeights(**weights)
    return kept


def gru_parts(parameters: Parameters, layer: int, directions: int) -> list[Array]:
    """The same of each direction as one vector: the part of the buffer on which they lie, one after the other."""
    parts = parameters._parts.get(layer)
    if parts is None:  # put there whole: other threads may look for it
        parts = parameters._parts[layer] = [_part(parameters, layer, direction) for direction in range(directions)]
    flat = parameters.flat
    return [flat[part] for part in parts]


def _part(parameters: Parameters, layer: int, direction: int) -> slice:
    places, end = parameters._places, suffix(layer, direction)
    own = [places[name] for field in Weights._fields if (name := f"{field}{end}") in places]
    return slice(own[0].start, own[-1].stop)


def orthogonal(rng: np.random.Generator, rows: int, columns: int) -> Array:
    """A random matrix with orthonormal rows or columns, uniform over all of them (Saxe et al. 2014)."""
    q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
    q = q * np.where(np.diagonal(r) < 0, -1, 1)  # without the sign fix, QR favours some rotations
    return np.asarray(q if rows >= columns else q.T)


def glorot_uniform(rng: np.random.Generator, fan_out: int, fan_in: int) -> Array:
    """(fan_out, fan_in) from U(-a, a) with a = sqrt(6 / (fan_in + fan_out)) (Glorot & Bengio 2010)."""
    limit = math.sqrt(6 / (fan_in + fan_out))
    return rng.uniform(-limit, limit, (fan_out, fan_in))
