"""By which names and shapes the arrays of a recurrent cell give away whose they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from grus.conversion.conventions import CONVENTIONS

Shape = tuple[int, ...]
KINDS = {1: "plain RNN", 3: "GRU", 4: "LSTM"}  # by the blocks of gates


@dataclass(frozen=True)
class Signature:
    """The names of one cell's arrays, the input's weight and the state's first.

    ``style`` says where the blocks of gates stand; ``optional`` names come together or not at all; ``blocks`` is
    how many there are where the shapes don't tell.
    """

    library: str
    key: str  # of :data:`~grus.conversion.conventions.CONVENTIONS`
    style: str
    names: tuple[str, ...]
    optional: tuple[str, ...] = ()
    blocks: int | None = None

    def fits(self, names: set[str]) -> bool:
        return names in ({*self.names}, {*self.names, *self.optional})

    def sizes(self, shapes: Mapping[str, Shape]) -> tuple[int, int, int] | None:
        """Blocks of gates, input size and hidden size; None where the shapes fit no cell."""
        found = _SIZES[self.style](shapes[self.names[0]], shapes[self.names[1]])
        if found is None or 0 in found[1:]:
            return None
        blocks = found[0] or self.blocks
        return (blocks, *found[1:]) if blocks in KINDS and self.blocks in (None, blocks) else None

    def keys(self, shapes: Mapping[str, Shape]) -> tuple[str, ...]:
        """The conventions that it may be, where a bias tells the formulation or not."""
        if self.key not in ("keras", "onednn"):
            return (self.key,)
        after, before = self.key, f"{self.key}-before"
        bias = shapes.get(next(iter(self.optional)))
        if bias is None:
            return after, before
        if self.key == "keras":
            return (after,) if len(bias) == 2 else (before,)
        return (after,) if bias[-2:-1] == (4,) else (before,)


def _rows(w: Shape, u: Shape) -> tuple[int, int, int] | None:
    """(kH, I) and (kH, H)."""
    fits = len(w) == len(u) == 2 and u[1] and w[0] == u[0] and u[0] % u[1] == 0
    return (u[0] // u[1], w[1], u[1]) if fits else None


def _columns(w: Shape, u: Shape) -> tuple[int, int, int] | None:
    """(I, kH) and (H, kH)."""
    return _rows(w[::-1], u[::-1])


def _projected(w: Shape, u: Shape) -> tuple[int, int, int] | None:
    """(4H, I) and (4H, P), of an LSTM whose state is projected."""
    return (4, w[1], u[0] // 4) if len(w) == len(u) == 2 and w[0] == u[0] and u[0] % 4 == 0 else None


def _gates(w: Shape, u: Shape) -> tuple[int, int, int] | None:
    """One gate's (I, H) and (H, H), which don't tell how many there are."""
    return (0, w[0], u[0]) if len(w) == len(u) == 2 and u[0] == u[1] == w[1] else None


def _primitive(w: Shape, u: Shape) -> tuple[int, int, int] | None:
    """(L, D, I, 3, H) and (L, D, H, 3, H)."""
    fits = len(w) == len(u) == 5 and w[:2] == u[:2] and u[2] == u[4] == w[4] and w[3] == u[3]
    return (u[3], w[2], u[2]) if fits else None


def _joined(w: Shape, u: Shape) -> tuple[int, int, int] | None:
    """(I+H, H) of the new gate and (I+H, 2H) of the two others."""
    fits = len(w) == len(u) == 2 and w[0] == u[0] > w[1] and u[1] == 2 * w[1]
    return (3, w[0] - w[1], w[1]) if fits else None


_SIZES = {
    "rows": _rows,
    "columns": _columns,
    "projected": _projected,
    "gates": _gates,
    "primitive": _primitive,
    "joined": _joined,
}
_SIDES = ("weight_ih", "weight_hh")
_LINEN = ("ir/kernel", "hr/kernel", "iz/kernel", "hz/kernel", "in/kernel", "hn/kernel")
_LSTM = (*(f"{side}{gate}/kernel" for gate in "ifgo" for side in "ih"), *(f"h{gate}/bias" for gate in "ifgo"))
SIGNATURES = (
    Signature("PyTorch", "torch", "rows", _SIDES, ("bias_ih", "bias_hh")),
    Signature("PyTorch", "torch", "projected", (*_SIDES, "weight_hr"), ("bias_ih", "bias_hh"), 4),
    Signature("Keras", "keras", "columns", ("kernel", "recurrent_kernel"), ("bias",)),
    Signature("Keras", "keras", "columns", ("vars/0", "vars/1"), ("vars/2",)),
    Signature("Flax linen", "linen", "gates", (*_LINEN, "ir/bias", "iz/bias", "in/bias", "hn/bias"), (), 3),
    Signature("Flax", "linen", "gates", _LSTM, (), 4),
    Signature("Flax nnx", "nnx", "gates", tuple(name.replace("if/", "if_/") for name in _LSTM), (), 4),
    Signature("Flax nnx", "nnx", "columns", ("dense_i/kernel", "dense_h/kernel", "dense_h/bias"), (), 4),
    Signature("Flax linen", "linen", "gates", ("i/kernel", "h/kernel", "i/bias"), (), 1),
    Signature("Flax nnx", "nnx", "columns", ("dense_i/kernel", "dense_h/kernel", "dense_i/bias"), (), 3),
    Signature("Flax nnx", "nnx", "columns", ("dense_i/kernel", "dense_h/kernel", "dense_i/bias"), (), 1),
    Signature("Equinox", "equinox", "rows", _SIDES, ("bias", "bias_n"), 3),
    Signature("Equinox", "equinox", "rows", _SIDES, ("bias",), 4),
    Signature("Haiku", "haiku", "columns", ("w_i", "w_h", "b")),
    Signature("MyGrad", "mygrad", "gates", ("Uz", "Wz", "bz", "Ur", "Wr", "br", "Uh", "Wh", "bh"), (), 3),
    Signature("EpyNN", "epynn", "gates", ("Uz", "Vz", "bz", "Ur", "Vr", "br", "Uhh", "Vhh", "bhh"), (), 3),
    Signature("oneDNN", "onednn", "primitive", ("weights_layer", "weights_iter"), ("bias",)),
    Signature("TensorFlow", "tensorflow", "joined", ("w_c", "w_ru", "b_ru", "b_c")),
    Signature("Core ML", "coreml", "rows", _SIDES, ("bias",)),
    Signature("haste", "haste", "columns", ("kernel", "recurrent_kernel", "bias", "recurrent_bias")),
)
LEAVES = {name for each in SIGNATURES for name in (*each.names, *each.optional)}
FIXED = {"torch", "equinox", "haiku", "mygrad", "onednn", "tensorflow", "haste"}  # tanh and sigmoid, always
assert {each.key for each in SIGNATURES} < set(CONVENTIONS)
