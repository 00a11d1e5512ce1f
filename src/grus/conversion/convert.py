"""A GRU from one file to another: :func:`convert`, which the command line calls too."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grus._files import PathLike, check_folder
from grus.conversion.report import Report


@dataclass(frozen=True)
class Conversion:
    """What :func:`convert` did.

    Attributes
    ----------
    source, target : str
        The layouts, by the names that it takes.
    model : GRU, nn.Sequential, GRUClassifier or GRURegressor
        What was read, as grus has it.
    report : Report
        What was found in the source, notes, and the largest difference of the self-checks of both sides; None
        where both are of grus.
    """

    source: str
    target: str
    model: Any
    report: Report


def convert(
    source: PathLike,
    target: PathLike,
    *,
    to: str | None = None,
    from_: str | None = None,
    force: bool = False,
    allow_cast: bool = False,
    streaming: bool = False,
    **said: Any,
) -> Conversion:
    """Convert a file that holds a GRU into another library's: exactly, or not at all.

    =============  =====================================  =========================================================
    Layout         Files                                  What it is
    =============  =====================================  =========================================================
    grus           any; .safetensors is usual             what :func:`grus.save` writes; to ONNX also whole models
    torch          .pt, .pth, .safetensors; read: .npz    a state_dict of ``nn.GRU``
    keras          .keras, .weights.h5; read: .h5         a model, or the weights of one
    onnx           .onnx                                  a graph
    linen, nnx     .npz, .safetensors                     Flax; "flax" is linen
    equinox        .npz, .safetensors                     "jax" too
    haiku          .npz, .safetensors
    mygrad, epynn  .npz, .safetensors
    onednn         .npz, .safetensors
    tensorflow     .npz, .safetensors                     ``GRUBlockCell``
    coreml, haste  .npz, .safetensors
    =============  =====================================  =========================================================

    Parameters
    ----------
    source, target : path
        The files; the target is whole or absent. Arrays of the layouts from linen on are named
        ``layer/direction/name``, as ``0/forward/ir/kernel`` (oneDNN's ``0/weights_layer``: they hold both
        directions); read are also those of one cell without a layer, and pytrees of Flax and Haiku by their paths.
    to, from_ : str, optional
        Layouts. They may be omitted where the target's ending and the source's names and shapes tell.
    force : bool, default False
        Replace an existing target.
    allow_cast : bool, default False
        Round float64 to float32 where the target is better or only served by that: ONNX, which ONNX Runtime runs
        in float32 alone, oneDNN, TensorFlow, Core ML.
    streaming : bool, default False
        To ONNX: the graph of one step.
    **said
        What the source does not say, or which GRU of it is meant: ``prefix`` (PyTorch, and arrays), ``node``
        (ONNX), ``formulation`` (Keras' weights and oneDNN's, without biases), ``activation`` and
        ``gate_activation`` (Keras' weights, linen, nnx, EpyNN), ``bidirectional`` (linen, nnx, Haiku), ``reverse``
        (Keras' weights).

    Returns
    -------
    Conversion
        The two layouts, the model, and a report.

    Raises
    ------
    ConversionError
        The source is damaged, no GRU, or of a layout that must be named; the target has no such GRU; digits would
        be lost; or a self-check found a difference. Then nothing is written.
    ValueError, TypeError
        An ending, a layout or an option does not fit.
    FileNotFoundError, FileExistsError
        There is no source, or no folder for the target, or the target exists.
    ImportError
        A library is missing.

    Examples
    --------
    >>> import os, tempfile
    >>> import grus
    >>> from grus.conversion import convert
    >>> folder = tempfile.mkdtemp()
    >>> path = os.path.join(folder, "gru.safetensors")
    >>> grus.save(grus.GRU(3, 5, reset_after=False, seed=0), path)
    >>> done = convert(path, os.path.join(folder, "gru.npz"), to="mygrad")
    >>> done.source, done.report.notes
    ('grus', ['MyGrad gru has one bias where grus has two: their sum is kept, the results are the same'])
    """
    from grus.conversion.file_layouts import LAYOUTS, layout_of_source, layout_of_target
    from grus.conversion.files import open_file

    target = check_folder(target)
    to = layout_of_target(target, to)
    if target.exists() and not force:
        raise FileExistsError(
            f"{str(target)!r} exists. Name another file, or replace it with --force (force=True)."
        )
    report, path = Report(), Path(source)
    layout, arrays = layout_of_source(path, open_file(path), from_, said.get("prefix"))
    model = LAYOUTS[layout].read(path, arrays, {key: v for key, v in said.items() if v is not None}, report)
    if streaming and to != "onnx":
        raise ValueError(f"streaming is of ONNX alone; got it with the layout {to!r}.")
    options = {"streaming": True} if streaming else {}
    LAYOUTS[to].write(model, target, allow_cast, report, **options)
    return Conversion(layout, to, model, report)
