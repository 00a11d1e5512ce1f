"""How others stack, orient and name a GRU's arrays: the one table, and what carries a cell across."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from grus.conversion.errors import ConversionError
from grus.conversion.report import Report
from grus.functional import GRUParams

Array = np.ndarray[Any, np.dtype[Any]]
TWO, MERGED, SPLIT_N, INPUT_ONLY = "two", "one", "one and b_hn", "one, without b_hn"


class Blocks(NamedTuple):
    """One cell's arrays as a convention stacks and orients them."""

    weight_ih: Array
    weight_hh: Array
    bias_ih: Array | None  # (3H,)
    bias_hh: Array | None  # (3H,) where there are two, (H,) where there is one and b_hn, else None


@dataclass(frozen=True)
class Convention:
    """One row of the table.

    Attributes
    ----------
    library : str
        Whose it is, and which of its layers.
    gates : str
        The order of the stacked blocks in our letters, r reset, z update, n new.
    theirs : str
        The same in theirs.
    formulation : str
        "after" or "before", see :class:`grus.GRU`.
    keeps : {"z", "1 - z"}
        What multiplies the previous state; with "1 - z" the update gate's weights and biases change their sign.
    columns : bool
        Weights are (I, 3H) and (H, 3H): transposed.
    biases : str
        "two" (input and recurrent), "one" (merged), "one and b_hn" (merged but for the new gate's recurrent one),
        or "one, without b_hn".
    weights : str
        The arrays' names and shapes.
    source : str
        Where it is documented.
    """

    library: str
    gates: str
    theirs: str
    formulation: str
    keeps: str
    columns: bool
    biases: str
    weights: str
    source: str

    def pack(self, cell: GRUParams, report: Report | None = None) -> Blocks:
        """The cell as this convention has it; what merges two biases says so in the report."""
        bias_ih, bias_hh = self._join(cell, report)
        weights = (self._out(w) for w in (cell.weight_ih, cell.weight_hh))
        w_ih, w_hh = (w.T.copy() if self.columns else w for w in weights)
        return Blocks(w_ih, w_hh, bias_ih, bias_hh)

    def unpack(self, blocks: Blocks) -> GRUParams:
        """The other way."""
        w_ih, w_hh = (np.asarray(w).T if self.columns else np.asarray(w) for w in blocks[:2])
        bias_ih, bias_hh = blocks.bias_ih, blocks.bias_hh
        if bias_ih is None:
            return GRUParams(self._in(w_ih), self._in(w_hh))
        own, size = self._in(np.asarray(bias_ih)), len(w_hh) // 3
        other = np.zeros_like(own)
        if self.biases == TWO and bias_hh is not None:
            other = self._in(np.asarray(bias_hh))
        elif self.biases == SPLIT_N and bias_hh is not None:
            other[2 * size :] = bias_hh
        return GRUParams(self._in(w_ih), self._in(w_hh), own, other)

    def _out(self, a: Array) -> Array:
        """Rows r | z | n in this order, with this sign of the update gate."""
        of = self._signed(dict(zip("rzn", np.split(a, 3), strict=True)))
        return np.concatenate([of[gate] for gate in self.gates])

    def _in(self, a: Array) -> Array:
        of = self._signed(dict(zip(self.gates, np.split(a, 3), strict=True)))
        return np.concatenate([of[gate] for gate in "rzn"])

    def _signed(self, of: dict[str, Array]) -> dict[str, Array]:
        return of if self.keeps == "z" else of | {"z": -of["z"]}  # 1 - sigmoid(a) = sigmoid(-a)

    def _join(self, cell: GRUParams, report: Report | None) -> tuple[Array | None, Array | None]:
        if cell.bias_ih is None or cell.bias_hh is None:
            return None, None
        if self.biases == TWO:
            return self._out(cell.bias_ih), self._out(cell.bias_hh)
        size = len(cell.bias_hh) // 3
        recurrent_n, total = cell.bias_hh[2 * size :], cell.bias_ih + cell.bias_hh
        if self.biases == INPUT_ONLY and recurrent_n.any():
            raise ConversionError(
                f"{self.library} has no recurrent bias in the new gate, and this GRU's is not zero (bias_hh[2H:], "
                f"up to {np.abs(recurrent_n).max():.3g}): r multiplies it, so no other bias can stand in for it."
            )
        if report is not None:
            report.note(
                f"{self.library} has one bias where grus has two: their sum is kept, the results are the same"
            )
        if self.biases == SPLIT_N:
            total[2 * size :] = cell.bias_ih[2 * size :]
            return self._out(total), recurrent_n.copy()
        return self._out(total), None

    def found(
        self, layers: int, directions: int, biases: bool, activations: str = "tanh, sigmoid"
    ) -> dict[str, str]:
        """What a converter says it found."""
        return {
            "layout": self.library,
            "formulation": f"reset {self.formulation} the recurrent product",
            "gate order": self.theirs,
            "update gate": f"{self.keeps} multiplies the previous state",
            "biases": self.biases if biases else "none",
            "activations": activations,
            "layers": f"{layers}" + (", both directions" if directions == 2 else ""),
        }


CONVENTIONS = {
    "torch": Convention(
        "PyTorch nn.GRU", "rzn", "r, z, n", "after", "z", False, TWO,
        "weight_ih_l{k} (3H, I), weight_hh_l{k} (3H, H), bias_ih_l{k} and bias_hh_l{k} (3H,)",
        "https://docs.pytorch.org/docs/stable/generated/torch.nn.GRU.html",
    ),
    "keras": Convention(
        "Keras GRU(reset_after=True)", "zrn", "z, r, h", "after", "z", True, TWO,
        "kernel (I, 3H), recurrent_kernel (H, 3H), bias (2, 3H)",
        "https://github.com/keras-team/keras/blob/master/keras/src/layers/rnn/gru.py",
    ),
    "keras-before": Convention(
        "Keras GRU(reset_after=False)", "zrn", "z, r, h", "before", "z", True, MERGED,
        "kernel (I, 3H), recurrent_kernel (H, 3H), bias (3H,)",
        "https://github.com/keras-team/keras/blob/master/keras/src/layers/rnn/gru.py",
    ),
    "onnx": Convention(
        "ONNX GRU(linear_before_reset=1)", "zrn", "z, r, h", "after", "z", False, TWO,
        "W (D, 3H, I), R (D, 3H, H), B (D, 6H)",
        "https://onnx.ai/onnx/operators/onnx__GRU.html",
    ),
    "onnx-before": Convention(
        "ONNX GRU(linear_before_reset=0)", "zrn", "z, r, h", "before", "z", False, TWO,
        "W (D, 3H, I), R (D, 3H, H), B (D, 6H)",
        "https://onnx.ai/onnx/operators/onnx__GRU.html",
    ),
    "linen": Convention(
        "Flax linen GRUCell", "rzn", "r, z, n", "after", "z", True, SPLIT_N,
        "ir, iz, in: kernel (I, H), bias (H,); hr, hz, hn: kernel (H, H); hn: bias (H,)",
        "https://flax-linen.readthedocs.io/en/latest/api_reference/flax.linen/layers.html",
    ),
    "nnx": Convention(
        "Flax nnx GRUCell", "rzn", "r, z, n", "after", "z", True, INPUT_ONLY,
        "dense_i: kernel (I, 3H), bias (3H,); dense_h: kernel (H, 3H)",
        "https://flax.readthedocs.io/en/latest/api_reference/flax.nnx/nn/recurrent.html",
    ),
    "equinox": Convention(
        "Equinox nn.GRUCell", "rzn", "r, z, n", "after", "z", False, SPLIT_N,
        "weight_ih (3H, I), weight_hh (3H, H), bias (3H,), bias_n (H,)",
        "https://docs.kidger.site/equinox/api/nn/rnn/",
    ),
    "haiku": Convention(
        "Haiku GRU", "zrn", "z, r, a", "before", "1 - z", True, MERGED,
        "w_i (I, 3H), w_h (H, 3H), b (3H,)",
        "https://dm-haiku.readthedocs.io/en/latest/api.html",
    ),
    "mygrad": Convention(
        "MyGrad gru", "zrn", "z, r, h", "before", "z", True, MERGED,
        "Uz, Ur, Uh (I, H), Wz, Wr, Wh (H, H), bz, br, bh (H,)",
        "https://mygrad.readthedocs.io/en/latest/generated/mygrad.nnet.layers.gru.html",
    ),
    "epynn": Convention(
        "EpyNN GRU", "rzn", "r, z, hh", "before", "z", True, MERGED,
        "Ur, Uz, Uhh (I, H), Vr, Vz, Vhh (H, H), br, bz, bhh (1, H)",
        "https://epynn.net/GRU.html",
    ),
    "onednn": Convention(
        "oneDNN lbr_gru", "zrn", "u, r, o", "after", "z", True, SPLIT_N,
        "weights_layer (L, D, I, 3, H), weights_iter (L, D, H, 3, H), bias (L, D, 4, H)",
        "https://uxlfoundation.github.io/oneDNN/dev_guide_rnn.html",
    ),
    "onednn-before": Convention(
        "oneDNN vanilla_gru", "zrn", "u, r, o", "before", "z", True, MERGED,
        "weights_layer (L, D, I, 3, H), weights_iter (L, D, H, 3, H), bias (L, D, 3, H)",
        "https://uxlfoundation.github.io/oneDNN/dev_guide_rnn.html",
    ),
    "tensorflow": Convention(
        "TensorFlow GRUBlockCell", "rzn", "r, u, c", "before", "z", True, MERGED,
        "w_ru (I+H, 2H), w_c (I+H, H), b_ru (2H,), b_c (H,)",
        "https://www.tensorflow.org/api_docs/python/tf/raw_ops/GRUBlockCell",
    ),
    "coreml": Convention(
        "Core ML GRU, before iOS 18", "rnz", "r, o, z", "before", "z", False, MERGED,
        "weight_ih (3H, I), weight_hh (3H, H), bias (3H,)",
        "https://apple.github.io/coremltools/mlmodel/Format/NeuralNetwork.html#grulayerparams",
    ),
    "haste": Convention(
        "haste GRU", "zrn", "z, r, g", "after", "z", True, TWO,
        "kernel (I, 3H), recurrent_kernel (H, 3H), bias and recurrent_bias (3H,)",
        "https://github.com/lmnt-com/haste/blob/master/lib/haste/gru.h",
    ),
}  # fmt: skip
