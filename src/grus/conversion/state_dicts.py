"""PyTorch's state_dict: which of its arrays are a GRU's, and whether all of them are there."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from grus.conversion import arrays as given
from grus.conversion.errors import ConversionError
from grus.conversion.report import Report
from grus.parameters import suffix

Array = np.ndarray[Any, np.dtype[Any]]
State = Mapping[str, Any]
FIELDS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
_NAME = re.compile(r"(.*\.)?((?:weight|bias)_(?:ih|hh))(?:_l(\d+)(_reverse)?)?")
_SHOWN = 8  # names of a list in a message


def read_state_dict(
    state: State, prefix: str | None, report: Report | None = None
) -> list[list[dict[str, Array]]]:
    """``[layer][direction]``: its arrays by :data:`FIELDS`, without the biases where there are none.

    Parameters
    ----------
    state : mapping of str to tensor or array
        An ``nn.GRU``'s, an ``nn.GRUCell``'s (whose names have no ``_l0``), or one that holds it under a prefix.
    prefix : str, optional
        Of the GRU; needed where ``state`` holds more than it.
    report : Report, optional
        Where it is said what was left out and what was widened.

    Raises
    ------
    ConversionError
        It is not one GRU, whole and alone.
    """
    own = _of_prefix(_inner(state), prefix)
    named = {name: match for name in own if (match := _NAME.fullmatch(name))}
    _refuse_others(own, named)
    is_cell = all(match[3] is None for match in named.values())
    layers = {int(match[3] or 0) for match in named.values()}
    if gaps := sorted(set(range(min(max(layers) + 1, len(own) + 1))) - layers):
        raise ConversionError(
            f"source has arrays of layer {max(layers)} and none of layer {gaps[0]}: it is missing."
        )
    directions = 2 if any(match[4] for match in named.values()) else 1
    fields = FIELDS if any(match[2].startswith("bias") for match in named.values()) else FIELDS[:2]
    ends = [[suffix(k, d) for d in range(directions)] for k in range(len(layers))]
    ends = [[""]] if is_cell else ends
    expected = [f"{field}{end}" for of_layer in ends for end in of_layer for field in fields]
    if report is not None:
        _note(report, _inner(state), own)
    read = given.named(
        "source", {name: _as_array(name, a) for name, a in own.items()}, expected, "PyTorch's nn.GRU"
    )
    return [[_cell(read, fields, end) for end in of_layer] for of_layer in ends]


def _as_array(name: str, value: Any) -> Array:
    """A tensor of any device, or what NumPy takes, as an array; half floats are widened, which is exact."""
    torch = sys.modules.get("torch")  # where it was not imported, nothing is a tensor
    if torch is None or not isinstance(value, torch.Tensor):
        return np.asarray(value)
    if value.is_meta or value.is_sparse or value.is_quantized:
        kind = "is on the meta device" if value.is_meta else "is sparse" if value.is_sparse else "is quantized"
        raise ConversionError(f"source[{name!r}] {kind}: it does not hold the numbers themselves.")
    value = value.detach().cpu()
    return np.asarray((value.float() if value.dtype in (torch.float16, torch.bfloat16) else value).numpy())


def holds_tensors(state: State) -> bool:
    """Whether they are PyTorch's, which then is there to be run."""
    torch = sys.modules.get("torch")
    return torch is not None and any(isinstance(a, torch.Tensor) for a in _inner(state).values())


def _note(report: Report, state: State, own: State) -> None:
    if len(state) > len(own):
        report.note(f"{len(state) - len(own)} arrays beside the GRU's are left out")
    if any("float16" in str(getattr(a, "dtype", "")) for a in own.values()):
        report.note("half floats are widened to float32, which is exact")


def _inner(state: State) -> State:
    """The mapping itself, or the only one in it that holds a GRU, as in a trainer's checkpoint."""
    inside = {key: value for key, value in state.items() if isinstance(value, Mapping) and _prefixes(value)}
    if _prefixes(state) or not inside:
        return state
    if len(inside) > 1:
        raise ConversionError(
            f"source holds GRUs under {_listed(inside)}. Pass one of those mappings instead of all."
        )
    (only,) = inside.values()
    return only


def _prefixes(state: State) -> list[str]:
    """Under which prefixes it has a GRU's names, in order."""
    matches = (_NAME.fullmatch(str(key)) for key in state)
    return list(dict.fromkeys(match[1] or "" for match in matches if match))


def _of_prefix(state: State, prefix: str | None) -> dict[str, Any]:
    """What stands under the prefix, without it."""
    found = _prefixes(state)
    if not found:
        raise ConversionError(
            f"source must hold weight_ih_l0, weight_hh_l0 ... as PyTorch's nn.GRU has them; got {_listed(state)}."
        )
    choice = " or ".join(f"prefix={each!r}" for each in found[:_SHOWN])
    if prefix is not None:
        prefix = prefix + "." if prefix and not prefix.endswith(".") else prefix
        if prefix not in found:
            raise ConversionError(f"source has no GRU under prefix={prefix!r}. Pass {choice}.")
        inside = {key[len(prefix) :]: a for key, a in state.items() if str(key).startswith(prefix)}
        return {key: a for key, a in inside.items() if prefix or "." not in key}
    if len(found) > 1:
        raise ConversionError(f"source holds more than one GRU, under {_listed(found)}. Pass {choice}.")
    if others := [key for key in state if not str(key).startswith(found[0])]:
        raise ConversionError(f"source must hold a GRU alone; got {_listed(others)} too. Pass {choice}.")
    return {key[len(found[0]) :]: a for key, a in state.items()}


def _refuse_others(own: State, named: Mapping[str, Any]) -> None:
    """An LSTM's or a plain RNN's arrays, which have the same names."""
    for name in own:
        if name.startswith("weight_hr"):
            raise ConversionError(f"source holds {name!r}, a projection (proj_size), which only an LSTM has.")
    for name in named:
        shape = np.shape(own[name])
        if "weight_hh" not in name or len(shape) != 2:
            continue
        for gates, what in ((4, "an LSTM (four blocks of rows)"), (1, "a plain RNN (one block of rows)")):
            if shape[0] == gates * shape[1]:
                raise ConversionError(
                    f"source is of {what}, not of a GRU (three): {name} has shape {tuple(shape)}. They are "
                    "different functions."
                )


def _cell(read: Mapping[str, Array], fields: tuple[str, ...], end: str) -> dict[str, Array]:
    """One layer's and direction's arrays, of shapes that fit each other."""
    name = f"source['weight_hh{end}']"
    size = given.hidden_size(name, given.shaped(name, read[f"weight_hh{end}"], (None, None)), columns=False)
    shapes = {"weight_ih": (3 * size, None), "weight_hh": (3 * size, size)}
    return {
        field: given.shaped(f"source['{field}{end}']", read[f"{field}{end}"], shapes.get(field, (3 * size,)))
        for field in fields
    }


def _listed(names: Any) -> str:
    every = list(map(repr, names))
    return ", ".join(every[:_SHOWN]) + (f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else "")
