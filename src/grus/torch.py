"""Between :class:`grus.GRU` and PyTorch's ``nn.GRU`` [1]_, its cell, its state_dict, and files of one.

PyTorch is needed for modules and ``.pt`` files; arrays and ``.safetensors`` files are read and written without.

References
----------
.. [1] https://docs.pytorch.org/docs/stable/generated/torch.nn.GRU.html
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grus._files import PathLike, write_atomically
from grus.conversion.cells import Cells, check_convertible
from grus.conversion.check import check_same
from grus.conversion.conventions import CONVENTIONS, Blocks
from grus.conversion.errors import ConversionError
from grus.conversion.report import Report
from grus.conversion.state_dicts import FIELDS, holds_tensors, read_state_dict
from grus.conversion.torch_runs import Stacked, built, check_state, library, module_runs
from grus.conversion.weight_files import decode_pt, decode_safetensors, encode_pt, encode_safetensors
from grus.layer import GRU

_OURS = CONVENTIONS["torch"]
_PICKLED, _PLAIN = (".pt", ".pth"), ".safetensors"


def to_torch(gru: GRU, *, report: Report | None = None) -> Any:
    """A PyTorch ``nn.GRU`` that computes what this one does.

    Parameters
    ----------
    gru : GRU
        Formulation "after", tanh and sigmoid.
    report : Report, optional
        Filled with what training loses (every dropout but the one between layers) and the self-check's difference.

    Returns
    -------
    torch.nn.GRU
        On the CPU, of the GRU's dtype, ``batch_first`` and ``dropout``, with copies of its parameters; in
        evaluation mode: call ``.train()`` before training it.

    Raises
    ------
    ConversionError
        PyTorch has no such GRU, or the self-check found a difference.
    ImportError
        PyTorch is not installed.

    Examples
    --------
    >>> import grus
    >>> from grus.torch import to_torch
    >>> to_torch(grus.GRU(3, 5, num_layers=2, seed=0))
    GRU(3, 5, num_layers=2, batch_first=True)
    """
    torch = library()
    check_convertible(gru, _OURS.library, formulations=("after",), dropout=True, report=report)
    module = built(torch, gru, gru.state_dict())
    check_same(gru, module_runs(torch, module), _OURS.library, report=report)
    return module


def from_torch(source: Any, *, prefix: str | None = None, report: Report | None = None) -> GRU:
    """A GRU from one of PyTorch.

    Parameters
    ----------
    source : torch.nn.Module, mapping or path
        An ``nn.GRU`` or ``nn.GRUCell``, or a module that holds one; a state_dict of tensors or arrays, its names
        with any prefix, or a mapping that holds one, as a checkpoint does; a ``.pt`` or ``.pth`` file of such a
        mapping, read with ``weights_only=True``, or a ``.safetensors`` file.
    prefix : str, optional
        Where the GRU stands in a model, as ``"encoder.gru"``; needed where ``source`` holds more than it.
    report : Report, optional
        Filled with what was found, notes, and the self-check's difference.

    Returns
    -------
    GRU
        Of the source's dtype; float16 and bfloat16 become float32, which is exact. ``batch_first`` and ``dropout``
        are the module's; a state_dict does not say them: then they are True and 0.

    Raises
    ------
    ConversionError
        The source is no GRU, not whole, or holds more; a file is damaged or holds code; or the self-check found a
        difference.
    FileNotFoundError
        There is no file.
    ImportError
        PyTorch is needed and not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from grus.torch import from_torch
    >>> rng = np.random.default_rng(0)
    >>> shapes = {"gru.weight_ih_l0": (15, 3), "gru.weight_hh_l0": (15, 5)}
    >>> from_torch({name: rng.standard_normal(shape) for name, shape in shapes.items()})
    GRU(3, 5, bias=False) float64, 120 parameters
    """
    torch = sys.modules.get("torch")  # where it was not imported, nothing is a module
    if torch is not None and isinstance(source, torch.nn.Module):
        return _from_module(torch, source, prefix, report)
    if isinstance(source, (str, os.PathLike)):
        source = _read(Path(source))
    if not isinstance(source, Mapping):
        raise TypeError(
            "source must be a torch.nn.GRU or GRUCell, a state_dict, or the path of a .pt, .pth or .safetensors "
            f"file; got {type(source).__name__}."
        )
    stacked = read_state_dict(source, prefix, report)
    gru = _gru(stacked, report)
    check_state(gru, stacked, torch if holds_tensors(source) else None, report)
    return gru


def to_torch_file(gru: GRU, path: PathLike, *, report: Report | None = None) -> None:
    """Write the state_dict of a PyTorch ``nn.GRU`` that computes what this GRU does: whole, or not at all.

    Parameters
    ----------
    gru : GRU
        As in :func:`to_torch`.
    path : path
        ``.pt`` or ``.pth``, as ``torch.save`` writes it, or ``.safetensors``, for which PyTorch is not needed. An
        existing file is replaced in one step.
    report : Report, optional
        As in :func:`to_torch`; the notes say which ``nn.GRU`` takes the state_dict.

    Raises
    ------
    ValueError
        The path has another ending.
    ConversionError, ImportError
        As :func:`to_torch`. What is checked is read back from the file's content.
    FileNotFoundError
        The folder does not exist.

    Examples
    --------
    >>> import os, tempfile
    >>> import grus
    >>> from grus.torch import from_torch, to_torch_file
    >>> path = os.path.join(tempfile.mkdtemp(), "gru.safetensors")
    >>> to_torch_file(grus.GRU(3, 5, seed=0), path)
    >>> from_torch(path)
    GRU(3, 5) float32, 150 parameters
    """
    path = Path(path)
    plain = _ending("path", path) == _PLAIN
    torch = None if plain else library()
    check_convertible(gru, _OURS.library, formulations=("after",), dropout=True, report=report)
    content = encode_safetensors(gru.state_dict()) if plain else encode_pt(torch, gru.state_dict())
    back = decode_safetensors(path.name, content) if plain else decode_pt(torch, path.name, content)
    check_state(gru, read_state_dict(back, None), torch, report)
    if report is not None:
        report.note(f"load the state_dict into torch.nn.GRU({_arguments(gru)})")
    write_atomically(path, content)


def _arguments(gru: GRU) -> str:
    """Those of PyTorch's ``nn.GRU``, which its state_dict does not say."""
    options = {
        "bias": (gru.bias, True), "batch_first": (gru.batch_first, False), "dropout": (gru.dropout, 0.0),
        "bidirectional": (gru.bidirectional, False), "dtype": (f"torch.{gru.dtype}", "torch.float32"),
    }  # fmt: skip
    said = [f"{name}={value}" for name, (value, default) in options.items() if value != default]
    return ", ".join([str(gru.input_size), str(gru.hidden_size), str(gru.num_layers), *said])


# ------------------------------------------------------------------------------------------------------ reading


def _from_module(torch: Any, module: Any, prefix: str | None, report: Report | None) -> GRU:
    if prefix is not None or not isinstance(module, (torch.nn.GRU, torch.nn.GRUCell)):
        module = _inside(torch, module, prefix)
    name = type(module).__name__
    is_cell = isinstance(module, torch.nn.GRUCell)
    dropout = 0.0 if is_cell else float(module.dropout)
    if dropout >= 1:
        raise ConversionError(f"{name} has dropout={dropout:g}, which leaves nothing; grus has rates below 1.")
    options = {} if is_cell else {"batch_first": module.batch_first, "dropout": dropout}
    gru = _gru(read_state_dict(module.state_dict(), None, report), report, **options)
    check_same(gru, module_runs(torch, module), f"torch.nn.{name}", report=report)
    return gru


def _inside(torch: Any, module: Any, prefix: str | None) -> Any:
    """The GRU at that place in a model."""
    kinds, name = (torch.nn.GRU, torch.nn.GRUCell), type(module).__name__
    if isinstance(module, (torch.nn.RNNBase, torch.nn.RNNCellBase)) and not isinstance(module, kinds):
        raise ConversionError(f"source is a torch.nn.{name}: it is another function than a GRU.")
    found = {path: each for path, each in module.named_modules() if isinstance(each, kinds)}
    if prefix is None or prefix.rstrip(".") not in found:
        where = f"holds GRUs at {', '.join(map(repr, found))}: pass one as prefix" if found else "holds no GRU"
        raise ConversionError(f"source must be a torch.nn.GRU or GRUCell; got {name}, which {where}.")
    return found[prefix.rstrip(".")]


def _read(path: Path) -> Mapping[str, Any]:
    ending = _ending("source", path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file of weights at {str(path)!r}.")
    if ending == _PLAIN:
        return decode_safetensors(repr(str(path)), path.read_bytes())
    return decode_pt(library(), repr(str(path)), path.read_bytes())


def _ending(name: str, path: Path) -> str:
    if path.suffix not in (*_PICKLED, _PLAIN):
        raise ValueError(f"{name} must end in {', '.join(_PICKLED)} or {_PLAIN}; got {path.name!r}.")
    return path.suffix


def _gru(stacked: Stacked, report: Report | None, **options: Any) -> GRU:
    ordered = [[[cell.get(field) for field in FIELDS] for cell in layer] for layer in stacked]
    cells = [[_OURS.unpack(Blocks(*cell)) for cell in layer] for layer in ordered]  # type: ignore[arg-type]
    gru = Cells(cells).gru(**options)
    if report is not None:
        report.found = _OURS.found(gru.num_layers, gru.directions, gru.bias)
    return gru
