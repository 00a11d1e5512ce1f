"""Between a :class:`grus.GRU` and the cells that converters read and write: one for each layer and direction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from grus._formulation import ActivationLike
from grus.conversion.errors import ConversionError
from grus.conversion.report import Report
from grus.functional import GRUParams
from grus.layer import GRU
from grus.parameters import suffix

Array = np.ndarray[Any, np.dtype[Any]]
_FIELDS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


@dataclass(frozen=True)
class Cells:
    """What a converter read: the cells, rows r | z | n, and which GRU they are of.

    ``of[layer][direction]`` holds arrays of one dtype; either all cells have biases or none has.
    """

    of: Sequence[Sequence[GRUParams]]
    formulation: str = "after"
    activation: ActivationLike = "tanh"
    gate_activation: ActivationLike | tuple[ActivationLike, ActivationLike] = "sigmoid"
    clip: float | None = None
    reverse: bool = False

    def gru(self, **options: Any) -> GRU:
        """A GRU that holds copies of these cells; ``options`` are further keywords of :class:`grus.GRU`."""
        self._check_chain()
        first = self.of[0][0]
        gru = GRU(
            first.weight_ih.shape[1], first.weight_hh.shape[1], len(self.of), bias=first.bias_ih is not None,
            bidirectional=len(self.of[0]) == 2, reverse=self.reverse, reset_after=self.formulation != "before",
            formulation=self.formulation, activation=self.activation, gate_activation=self.gate_activation,
            clip=self.clip, dtype=first.weight_ih.dtype, seed=0, **options,
        )  # fmt: skip
        gru.load_state_dict(
            {
                f"{name}{suffix(layer, direction)}": getattr(cell, name)
                for layer, directions in enumerate(self.of)
                for direction, cell in enumerate(directions)
                for name in _FIELDS
                if getattr(cell, name) is not None
            }
        )
        return gru

    def _check_chain(self) -> None:
        """Each layer must read what the one before gives, and all must be of one width."""
        size, directions = self.of[0][0].weight_hh.shape[1], len(self.of[0])
        for k, layer in enumerate(self.of):
            widths = {cell.weight_hh.shape[1] for cell in layer}
            if len(layer) != directions or widths != {size}:
                raise ConversionError(
                    f"layer {k} has {len(layer)} direction(s) of {widths} units where layer 0 has {directions} of "
                    f"{size}: grus.GRU has one size for all its layers. Convert them one by one."
                )
            for cell in layer:
                if k and cell.weight_ih.shape[1] != directions * size:
                    raise ConversionError(
                        f"layer {k} reads {cell.weight_ih.shape[1]} numbers, but the layer before it gives "
                        f"{directions * size}: a layer is missing, or they are in the wrong order."
                    )


def cells_of(gru: GRU) -> list[list[GRUParams]]:
    """``[layer][direction]``: views of the parameters; biases None where the GRU has none."""
    find = gru.parameters.find
    return [
        [
            GRUParams(*(find(f"{name}{suffix(layer, direction)}") for name in _FIELDS))
            for direction in range(gru.directions)
        ]
        for layer in range(gru.num_layers)
    ]


def check_convertible(
    gru: GRU,
    target: str,
    *,
    formulations: Sequence[str],
    activations: bool = False,
    clip: bool = False,
    bidirectional: bool = True,
    reverse: bool = False,
    blocks: bool = False,
    learn_h0: bool = False,
    float64: bool = True,
    allow_cast: bool = False,
    dropout: bool = False,
    report: Report | None = None,
) -> None:
    """Refuse, with the reason, a GRU that ``target`` can't express; say what it drops without changing results.

    ``activations``: the target has others than tanh and sigmoid (the caller checks which); ``clip``,
    ``bidirectional``, ``reverse``: it has those; ``blocks``, ``learn_h0``: the caller writes them in another form;
    ``float64``: it holds float64; ``dropout``: it has that between layers.
    """
    if not isinstance(gru, GRU):
        raise TypeError(f"gru must be a grus.GRU; got {type(gru).__name__}.")
    _check_formulation(gru.formulation.reset, target, formulations)
    _check_options(
        gru, target, clip=clip, bidirectional=bidirectional, reverse=reverse, blocks=blocks, learn_h0=learn_h0
    )
    _check_clips(gru, target)
    form = gru.formulation
    plain = (form.activation.name, form.reset_activation.name, form.update_activation.name)
    if not activations and plain != ("tanh", "sigmoid", "sigmoid"):
        raise ConversionError(
            f"{target} knows only tanh and sigmoid; this GRU's new, reset and update gates have "
            f"{', '.join(plain)}."
        )
    for name, array in gru.parameters.items():
        if not np.isfinite(array).all():
            raise ConversionError(f"{name} holds NaN or infinity: a conversion of it can't be checked.")
    if gru.dtype.name == "complex128":
        raise ConversionError(f"{target} holds real numbers and this GRU is complex128, for complex steps alone.")
    if gru.dtype.name == "float64" and not float64 and not allow_cast:
        raise ConversionError(
            f"{target} holds float32 and this GRU is float64: digits would be lost. Pass allow_cast=True to round "
            "them."
        )
    if report is not None:
        _note_training(gru, target, report, ("dropout",) if dropout else ())


def _check_formulation(formulation: str, target: str, formulations: Sequence[str]) -> None:
    if formulation not in formulations:
        raise ConversionError(
            f"{target} is the formulation {' or '.join(map(repr, formulations))} and this GRU is {formulation!r}. "
            "They are different functions: no weights turn one into the other. Train one with "
            f"formulation={formulations[0]!r}."
        )


def _check_options(gru: GRU, target: str, **has: bool) -> None:
    used = {
        "layer_norm": ("layer_norm", gru.layer_norm),
        "blocks": (f"blocks={gru.formulation.blocks}", gru.formulation.blocks > 1),
        "learn_h0": ("learn_h0", gru.learn_h0),
        "zoneout": (f"zoneout={gru.zoneout:g}", bool(gru.zoneout)),
        "clip": (f"clip={gru.clip}", gru.clip is not None),
        "bidirectional": ("bidirectional", gru.bidirectional),
        "reverse": ("reverse", gru.reverse),
    }
    for name, (option, uses) in used.items():
        if uses and not has.get(name):
            raise ConversionError(f"{target} has no {option}, which this GRU has and which changes its results.")


def _check_clips(gru: GRU, target: str) -> None:
    """An activation may have a clip of its own, which its name doesn't tell."""
    form = gru.formulation
    for gate in ("activation", "reset_activation", "update_activation"):
        clip = getattr(form, gate).clip
        if clip != gru.clip:
            raise ConversionError(
                f"{target} has no clip of one gate alone, which this GRU has and which changes its results: its "
                f"{gate}'s is {clip}. Pass it as the GRU's clip."
            )


def _note_training(gru: GRU, target: str, report: Report, kept: Sequence[str]) -> None:
    """What only acts in training is left behind."""
    rates = ("dropout", "input_dropout", "recurrent_dropout", "weight_dropout")
    lost = [f"{name}={getattr(gru, name):g}" for name in rates if getattr(gru, name) and name not in kept]
    if lost:
        report.note(f"{', '.join(lost)}: acts only in training and does not go to {target}")
