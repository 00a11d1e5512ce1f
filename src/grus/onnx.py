"""Between :class:`grus.GRU` and ONNX [1]_ files; needs ``pip install grus[onnx]``.

References
----------
.. [1] ONNX, the operator GRU, https://onnx.ai/onnx/operators/onnx__GRU.html.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

try:
    import onnx
except ImportError as error:
    raise ImportError("grus.onnx needs onnx, which is not installed: pip install grus[onnx]") from error

from grus import _check
from grus._files import PathLike, check_folder, write_atomically
from grus.conversion.conventions import CONVENTIONS
from grus.conversion.onnx_model import model_to_onnx
from grus.conversion.onnx_nodes import check_writable
from grus.conversion.onnx_read import check_read, read_gru, read_model
from grus.conversion.onnx_select import select
from grus.conversion.onnx_write import Ports, build, check_model
from grus.conversion.report import Report
from grus.layer import GRU

if TYPE_CHECKING:
    from grus.estimators import GRUClassifier, GRURegressor
    from grus.nn import Sequential

OLDEST = 14  # the first opset whose GRU is as it is today


def to_onnx(
    model: GRU | Sequential | GRUClassifier | GRURegressor,
    path: PathLike | None = None,
    *,
    opset: int = OLDEST,
    streaming: bool = False,
    lengths: bool | None = None,
    h0: bool = False,
    h_n: bool = False,
    dtype: str | None = None,
    input_dtype: str | None = None,
    allow_cast: bool = False,
    report: Report | None = None,
) -> Any:
    """An ONNX model that computes what the model does, checked in ONNX Runtime and in the reference evaluator.

    Parameters
    ----------
    model : GRU, nn.Sequential, GRUClassifier or GRURegressor
        Its GRUs of formulation "after" or "before", without ``layer_norm`` and ``zoneout``, with one activation
        for both gates. ``blocks`` are written as full matrices, and what ``learn_h0`` learned as a constant. A
        Sequential must be built, an estimator fitted; its standardisation, head and class labels come along.
    path : str or path, optional
        Where to write the model; the file is whole or absent.
    opset : int, default 14
        The version of ONNX's operators.
    streaming : bool, default False
        The graph of one step: ``x`` (batch, I) and ``h0`` in, ``output`` (batch, H) and ``h_n`` out.
    lengths : bool, optional
        ``lengths``, int32 (batch,), 0 ... time, is an input: ONNX's sequence_lens. When omitted, a GRU has none
        and a whole model has.
    h0, h_n : bool, default False
        Of a GRU alone: the first states are an input, the last ones an output, (layers*directions, batch, H):
        ONNX's initial_h and Y_h. Without ``h0`` the states are zeros, or what ``learn_h0`` learned.
    dtype : {"float32", "float64"}, optional
        The GRU's when omitted. ONNX Runtime computes GRUs in float32 alone.
    input_dtype : {"float32", "float64"}, optional
        Of a whole model alone: of x, and of a regressor's prediction; that of ``dtype`` when omitted.
    allow_cast : bool, default False
        Weights of a float64 GRU may be rounded to ``dtype="float32"``, and, of a graph in float64, the numbers
        that ONNX holds as float32: ``alpha``, ``beta`` and ``clip``.
    report : Report, optional
        Filled with notes and the self-check's largest difference.

    Returns
    -------
    onnx.ModelProto
        Inputs ``x`` (batch, time, I), or (time, batch, I) of a GRU with ``batch_first=False``, and those asked
        for; outputs ``output`` and those asked for. Batch and time are symbolic. One GRU node for each layer,
        ``layout=0``, every attribute written. Of a Sequential ``output``; of a classifier, whose input is ``X``,
        ``label`` (batch,) and ``probabilities`` (batch, K); of a regressor ``prediction``. With ``streaming`` a
        whole model has ``h0`` and ``h_n`` for each of its GRUs, with their names at the end where there are
        several, and ``pool0`` and ``pool_n`` for a mean or a maximum; they are zeros before the first step.

    Raises
    ------
    ConversionError
        ONNX has no such GRU, digits would be lost, or the self-check found a difference.
    ValueError, TypeError
        An argument is out of range; ``streaming`` with ``lengths`` or with a GRU that reads from the end.
    ImportError
        onnxruntime is not installed.

    Examples
    --------
    >>> import grus
    >>> from grus.onnx import to_onnx
    >>> model = to_onnx(grus.GRU(3, 5, num_layers=2, seed=0), h_n=True)
    >>> [node.op_type for node in model.graph.node]
    ['Transpose', 'GRU', 'Squeeze', 'GRU', 'Squeeze', 'Concat', 'Transpose', 'Identity']
    """
    if not isinstance(model, GRU):
        return _whole(
            model, path, h0, h_n, opset=opset, streaming=streaming, lengths=lengths is None or lengths,
            dtype=dtype, input_dtype=input_dtype, allow_cast=allow_cast, report=report,
        )  # fmt: skip
    if input_dtype is not None:
        raise ValueError(f"input_dtype must be None of a GRU, whose x has its own dtype; got {input_dtype!r}.")
    gru = model
    kind = check_writable(gru, dtype=dtype, allow_cast=allow_cast, report=report)
    ports = _ports(gru, streaming, False if lengths is None else lengths, h0, h_n)
    newest = onnx.defs.onnx_opset_version()
    if _check.size("opset", opset, minimum=OLDEST) > newest:
        raise ValueError(f"opset must be {OLDEST} ... {newest}, which the installed onnx knows; got {opset}.")
    if path is not None:
        check_folder(path)
    written = build(gru, ports, opset, kind)
    if report is not None:
        _note(report, gru, ports)
    check_model(gru, written, ports, opset, kind, report)
    if path is not None:
        write_atomically(path, written.SerializeToString())
    return written


def _whole(model: Any, path: PathLike | None, h0: bool, h_n: bool, **options: Any) -> Any:
    if h0 or h_n:
        raise ValueError("h0 and h_n must be False of a whole model: streaming=True gives its states.")
    return model_to_onnx(model, path, **options)


def _note(report: Report, gru: GRU, ports: Ports) -> None:
    if gru.formulation.blocks > 1:
        blocks = gru.formulation.blocks
        report.note(f"ONNX has no blocks: the {blocks} of each recurrent matrix stand in a full one, among zeros")
    if gru.learn_h0 and ports.h0:
        report.note("the learned first states are left out, because h0 is an input: hand them in")


def _ports(gru: GRU, streaming: bool, lengths: bool, h0: bool, h_n: bool) -> Ports:
    given = {"streaming": streaming, "lengths": lengths, "h0": h0, "h_n": h_n}
    ports = Ports(**{name: _check.boolean(name, value) for name, value in given.items()})
    if not streaming:
        return ports
    if lengths:
        raise ValueError("lengths must be False where streaming is True: the graph is of one step.")
    if gru.bidirectional or gru.reverse:
        raise ValueError(
            f"streaming must be False where the GRU is {'bidirectional' if gru.bidirectional else 'reverse'}: it "
            "needs the end of the sequence first."
        )
    return Ports(streaming=True, h0=True, h_n=True)


def from_onnx(
    source: PathLike | bytes | Any,
    *,
    node: str | Sequence[str] | None = None,
    report: Report | None = None,
) -> GRU:
    """A GRU from the GRU node of an ONNX model, or from a stack of them, each of which reads the one before.

    Parameters
    ----------
    source : str, path, bytes or onnx.ModelProto
        The model; nodes that are no GRUs are passed over, but for what joins the layers of a stack.
    node : str or sequence of str, optional
        The name of the node, or of the nodes in their order, where the file holds several GRUs. That of its first
        output where it has none.
    report : Report, optional
        Filled with what was found, notes (which inputs of the graph are our h0 and lengths) and the self-check's
        largest difference.

    Returns
    -------
    GRU
        One layer for each node, of the weights' dtype, ``batch_first=True`` whatever the node's layout. A node
        with ``direction="reverse"`` gives ``GRU(reverse=True)``.

    Raises
    ------
    ConversionError
        The file is damaged, holds no GRU, or several that are not one stack; a GRU whose weights are computed
        while it runs; what grus does not have (activations that differ between the directions); or the self-check
        found a difference.
    FileNotFoundError
        There is no such file.

    Notes
    -----
    Activations without their alpha and beta get the defaults of ONNX's operators. ONNX Runtime takes 0 where
    ThresholdedRelu has no alpha.

    Examples
    --------
    >>> import grus
    >>> from grus.onnx import from_onnx, to_onnx
    >>> model = to_onnx(grus.GRU(3, 5, num_layers=2, bidirectional=True, seed=0))
    >>> from_onnx(model)
    GRU(3, 5, num_layers=2, bidirectional=True) float32, 810 parameters
    """
    model = read_model(source)
    layers = select(model, node)
    gru, read = read_gru(layers, report)
    if report is not None:
        _found(report, gru, read[0].attributes)
    check_read(gru, read, report)
    return gru


def _found(report: Report, gru: GRU, attributes: dict[str, Any]) -> None:
    form = gru.formulation
    convention = CONVENTIONS["onnx" if form.reset == "after" else "onnx-before"]
    activations = f"{form.activation.name}, {form.reset_activation.name}"
    report.found = convention.found(gru.num_layers, gru.directions, gru.bias, activations)
    report.found |= {"direction": attributes.get("direction", "forward"), "axes": _axes(attributes)}


def _axes(attributes: dict[str, Any]) -> str:
    return "batch, time (layout=1)" if attributes.get("layout") else "time, batch (layout=0)"
