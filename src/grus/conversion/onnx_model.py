"""A :class:`grus.nn.Sequential`, or a fitted estimator, as an ONNX model."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from grus import _check, nn
from grus._files import PathLike, check_folder, write_atomically
from grus.conversion.errors import ConversionError
from grus.conversion.onnx_ends import Ends, checked_dtype, checked_input_dtype, ends_of
from grus.conversion.onnx_graph import OLDEST, Graph, checked_opset
from grus.conversion.onnx_layers import Body, write_layer
from grus.conversion.onnx_model_check import check_exported
from grus.conversion.report import Report
from grus.nn.sequential import Sequential

if TYPE_CHECKING:
    from grus.estimators import GRUClassifier, GRURegressor


def model_to_onnx(
    model: Sequential | GRUClassifier | GRURegressor,
    path: PathLike | None = None,
    *,
    opset: int = OLDEST,
    streaming: bool = False,
    lengths: bool = True,
    dtype: str | None = None,
    input_dtype: str | None = None,
    allow_cast: bool = False,
    report: Report | None = None,
) -> Any:
    """The whole model as one ONNX graph: what a call, or ``predict``, computes.

    Parameters
    ----------
    model : nn.Sequential, GRUClassifier or GRURegressor
        A Sequential that is built, an estimator that is fitted.
    path : path, optional
        A file to write, whole or not at all.
    opset : int, default 14
        The version of ONNX's operators.
    streaming : bool, default False
        The graph of one step, with the states as inputs and outputs.
    lengths : bool, default True
        The graph takes each row's valid steps; what stands past them does not matter. False: all rows are as long
        as x. A model with Flatten has none.
    dtype : {"float32", "float64"}, optional
        Of what the graph computes in; the model's when omitted. ONNX Runtime has no GRU of float64.
    input_dtype : {"float32", "float64"}, optional
        Of x, and of a regressor's prediction; that of ``dtype`` when omitted. An estimator standardises in float64
        whatever comes in.
    allow_cast : bool, default False
        Weights of a float64 model may be rounded to float32.
    report : Report, optional
        Gets notes and the self-check's largest difference.

    Returns
    -------
    onnx.ModelProto
        Batch and time are symbolic. Inputs: ``x`` (batch, time, I), of an estimator ``X``, (batch, time) if it was
        fitted on a table; of symbols (batch, time), int64 or strings; ``lengths`` int32 (batch,). Outputs: of a
        Sequential ``output``, of a classifier ``label`` (batch,) and ``probabilities`` (batch, K), of a regressor
        ``prediction`` (batch,) or (batch, K). With ``streaming`` x has no axis of time, the outputs are those of
        the steps so far, and there are ``h0`` and ``h_n`` (layers, batch, H), a pair for each GRU layer, with its
        name at the end where there are several, and ``pool0`` and ``pool_n`` (batch, F+1) for a mean or a maximum.
        They are zeros before the first step.

    Raises
    ------
    ConversionError
        A layer, or an option of it, is not in ONNX, or the self-check found a difference.
    ImportError
        onnx or onnxruntime is missing.
    TypeError, ValueError
        An argument is of another kind; the model is not built.
    sklearn.exceptions.NotFittedError
        The estimator is not fitted.

    Notes
    -----
    The graph is checked by onnx's checker, then run in its reference evaluator and in ONNX Runtime on random
    sequences of several lengths, padded with NaN, and compared with grus: 1e-5 is allowed in float32 and 1e-12 in
    float64, relative to the largest number. A symbol that is not in the vocabulary is an error in those runtimes
    too, for its index is out of bounds. [1]_

    References
    ----------
    .. [1] ONNX, the operator GRU, https://onnx.ai/onnx/operators/onnx__GRU.html.

    Examples
    --------
    >>> import numpy as np
    >>> from grus import nn
    >>> from grus.conversion.onnx_model import model_to_onnx
    >>> model = nn.Sequential([nn.GRU(8), nn.Dense(2, "softmax")], seed=0).build(np.ones((1, 7, 3)))
    >>> exported = model_to_onnx(model)
    >>> [each.name for each in exported.graph.input], [each.name for each in exported.graph.output]
    (['x', 'lengths'], ['output'])
    """
    ends = ends_of(model)
    if path is not None:
        check_folder(path)
    kind = checked_dtype(ends, dtype, allow_cast)
    comes_in = checked_input_dtype(ends, input_dtype, kind)
    graph = Graph(kind, checked_opset(opset))
    body = _begun(ends, graph, _check.boolean("streaming", streaming), _check.boolean("lengths", lengths))
    body.allow_cast, body.report = allow_cast, report
    x = ends.enter(body, comes_in)
    if body.lengths is not None:
        body.graph.input(body.lengths, np.int32, ["batch"])
    _finish(body, ends, _write_layers(ends.network, body, x), comes_in)
    exported = body.graph.model(type(model).__name__, version("grus"), ends.about())
    check_exported(ends, exported, body, comes_in)
    if path is not None:
        write_atomically(path, exported.SerializeToString())
    return exported


def _begun(ends: Ends, graph: Graph, streaming: bool, lengths: bool) -> Body:
    """Nothing written yet."""
    layers = ends.network.layers
    recurrent = sum(isinstance(layer, nn.GRU) for layer in layers)
    if streaming and not recurrent:
        raise ConversionError("streaming=True needs a GRU in the model, whose state goes from step to step.")
    flat = next((i for i, layer in enumerate(layers) if isinstance(layer, nn.Flatten)), len(layers))
    ragged = lengths and ends.over_time and not streaming and flat == len(layers)
    return Body(
        graph,
        ends.x,
        ends.features(),
        ends.over_time,
        # The weights of a Dense layer above Flatten are for so many steps and no others.
        ends.steps() if any(isinstance(layer, nn.Dense) for layer in layers[flat:]) else "time",
        lengths="lengths" if ragged else None,
        streaming=streaming,
        recurrent=recurrent,
    )


def _write_layers(network: Sequential, body: Body, x: str) -> str:
    for i, layer in enumerate(network.layers, start=1):
        try:
            x = write_layer(body, layer, x)
        except ConversionError as error:
            raise ConversionError(f"layer {i} ({layer.name}): {error}") from error
    return x


def _finish(body: Body, ends: Ends, output: str, dtype: Any) -> None:
    """The outputs: of a sequence zeros past each length, as grus has them."""
    body.graph.enter("")
    ends.leave(body, body.within(output) if body.time_axis else output, dtype)
    for state in body.states:
        body.graph.output(state.after, state.end, body.graph.dtype, state.axes)
        if state.first is not None and body.report is not None:
            body.report.note(f"{state.before} of a new sequence is what {state.layer} learned as h0, not zeros")
