"""ONNX Runtime on a model of one GRU node; inference only."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from benchmarks.cases import Array, Data
from benchmarks.peers.base import Peer, zrn


class GRU(Peer):
    def __init__(self, data: Data, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        model = _model(data).SerializeToString()
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.feed = {"X": data.x, "initial_h": data.h0[None]}

    def forward(self) -> Array:
        return self.session.run(["Y"], self.feed)[0]

    def answers(self) -> dict[str, Array]:
        return {"output": self.forward()[:, 0]}


def _model(data: Data) -> onnx.ModelProto:
    T, B, I = data.x.shape
    H = data.h0.shape[1]
    p = data.params
    weights = {
        "W": zrn(p.weight_ih)[None],
        "R": zrn(p.weight_hh)[None],
        "B": np.concatenate([zrn(p.bias_ih), zrn(p.bias_hh)])[None],
    }
    inputs = ["X", "W", "R", "B", "", "initial_h"]
    node = helper.make_node("GRU", inputs, ["Y"], hidden_size=H, linear_before_reset=1)
    shapes = {"X": (T, B, I), "initial_h": (1, B, H), "Y": (T, 1, B, H)}
    x, h0, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in shapes.items())
    initial = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph([node], "gru", [x, h0], [y], initial)
    opset = helper.make_opsetid("", 17)
    return helper.make_model(graph, opset_imports=[opset], ir_version=8)
