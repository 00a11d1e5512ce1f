"""From what was read of Keras, a configuration and arrays, to cells of grus and to Keras' own formula."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from grus.conversion import arrays as given
from grus.conversion import formulas
from grus.conversion.cells import Cells
from grus.conversion.conventions import CONVENTIONS, Blocks, Convention
from grus.conversion.errors import ConversionError
from grus.conversion.keras_activations import Known, known
from grus.conversion.keras_config import KerasLayer
from grus.conversion.report import Report
from grus.functional import GRUParams

Array = np.ndarray[Any, np.dtype[Any]]
Arrays = Mapping[str, Array]  # kernel, recurrent_kernel and, where there is one, bias


@dataclass(frozen=True)
class Source:
    """What was read: the layers, their arrays for each direction, and what wrote them.

    ``keras`` is the major version, None where it can't be told.
    """

    layers: Sequence[KerasLayer]
    arrays: Sequence[Sequence[Arrays]]
    keras: int | None = 3
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Said:
    """What the caller says of a source that may not say it itself."""

    reset_after: bool | None = None
    activation: str | None = None
    recurrent_activation: str | None = None
    go_backwards: bool | None = None


@dataclass(frozen=True)
class KerasCell:
    """One direction of one layer, in Keras' layout."""

    arrays: Arrays
    reset_after: bool
    activation: Known
    recurrent_activation: Known

    @property
    def convention(self) -> Convention:
        return CONVENTIONS["keras" if self.reset_after else "keras-before"]

    def ours(self, biases: bool) -> GRUParams:
        """The cell as grus has it; ``biases``: with zeros where there are none."""
        bias, size = self.arrays.get("bias"), len(self.arrays["recurrent_kernel"])
        if bias is None and biases:
            shape = (2, 3 * size) if self.reset_after else (3 * size,)
            bias = np.zeros(shape, self.arrays["kernel"].dtype)
        split = (None, None) if bias is None else tuple(bias) if self.reset_after else (bias, None)
        return self.convention.unpack(Blocks(self.arrays["kernel"], self.arrays["recurrent_kernel"], *split))

    def step(self) -> formulas.Step:
        """Keras' formula over Keras' arrays, in float64."""
        return formulas.keras(
            {name: np.asarray(array, "float64") for name, array in self.arrays.items()},
            reset_after=self.reset_after,
            activation=self.activation.formula,
            recurrent_activation=self.recurrent_activation.formula,
        )


def assemble(source: Source, said: Said, report: Report | None) -> tuple[Cells, list[list[KerasCell]]]:
    """The cells of grus, and the same of Keras; all that a single GRU of grus can't be is refused."""
    layers = [
        [_cell(layer, direction, each, source.keras, said) for direction, each in enumerate(arrays)]
        for layer, arrays in zip(source.layers, _one_dtype(source), strict=True)
    ]
    backwards = _backwards(source.layers, said)
    first, every = layers[0][0], [cell for layer in layers for cell in layer]
    _check_alike(every)
    biases = any("bias" in cell.arrays for cell in every)
    _note(source, backwards, biases and not all("bias" in cell.arrays for cell in every), report)
    if report is not None:
        names = f"{first.activation.name}, {first.recurrent_activation.name}"
        report.found = first.convention.found(len(layers), len(layers[0]), biases, names)
        if backwards:
            report.found["direction"] = "go_backwards"
    cells = Cells(
        [[cell.ours(biases) for cell in layer] for layer in layers],
        formulation=first.convention.formulation, activation=first.activation.ours,
        gate_activation=first.recurrent_activation.ours, reverse=backwards,
    )  # fmt: skip
    return cells, layers


def _one_dtype(source: Source) -> list[list[dict[str, Array]]]:
    """The arrays, checked to be of one dtype over all layers."""
    flat = {
        (layer, direction, name): array
        for layer, directions in enumerate(source.arrays)
        for direction, arrays in enumerate(directions)
        for name, array in arrays.items()
    }
    names = {key: f"{source.layers[key[0]].name}/{key[2]}" + ("", " (backward)")[key[1]] for key in flat}
    read = given.one_dtype("weights", {f"{k} {names[key]}": a for k, (key, a) in enumerate(flat.items())})
    out: list[list[dict[str, Array]]] = [[{} for _ in directions] for directions in source.arrays]
    for (layer, direction, name), array in zip(flat, read.values(), strict=True):
        out[layer][direction][name] = array
    return out


def _cell(layer: KerasLayer, direction: int, arrays: Arrays, keras: int | None, said: Said) -> KerasCell:
    """One cell, its arrays held against its configuration and against what the caller says."""
    where, config = f"layer {layer.name!r}", layer.directions[direction]
    size = given.hidden_size(f"{where}: recurrent_kernel", arrays["recurrent_kernel"], columns=True)
    given.shaped(f"{where}: kernel", arrays["kernel"], (None, 3 * size))
    if config.get("units", size) != size:
        raise ConversionError(f"{where} has units={config['units']} but a recurrent_kernel of {size} units.")
    if bool(config.get("use_bias", "bias" in arrays)) != ("bias" in arrays):
        raise ConversionError(f"{where} has use_bias={config['use_bias']}, against its {len(arrays)} arrays.")
    after = _reset_after(where, config.get("reset_after"), arrays.get("bias"), size, said.reset_after)
    names = ("activation", "recurrent_activation")
    both = (_activation(where, name, config, getattr(said, name), keras) for name in names)
    return KerasCell(arrays, after, *both)


def _reset_after(where: str, own: Any, bias: Array | None, size: int, said: bool | None) -> bool:
    """Which formulation: the configuration's, the bias' shape's and the caller's word must agree."""
    words = {"its configuration": own, "the argument": said}
    if bias is not None:
        if bias.shape not in ((2, 3 * size), (3 * size,)):
            raise ConversionError(
                f"{where}: bias must have shape (2, {3 * size}) or ({3 * size},); got {bias.shape}."
            )
        words[f"its bias of shape {bias.shape}"] = bias.ndim == 2
    spoken = {who: bool(word) for who, word in words.items() if word is not None}
    if not spoken:
        raise ConversionError(
            f"{where} has no bias, whose shape would tell the formulation, and no configuration that says it: "
            "pass reset_after=True (Keras' default since TensorFlow 2) or reset_after=False."
        )
    if len(set(spoken.values())) > 1:
        what = ", ".join(f"{who} means reset_after={word}" for who, word in spoken.items())
        raise ConversionError(f"{where} contradicts itself: {what}. These are different functions.")
    return next(iter(spoken.values()))


def _activation(where: str, name: str, config: Mapping[str, Any], said: str | None, keras: int | None) -> Known:
    argument = None if said is None else known(said, f"the argument {name}", keras)
    if name not in config:
        return argument or known("tanh" if name == "activation" else "sigmoid", where)
    if argument is not None and config[name] == "hard_sigmoid" and keras is None:
        return argument
    own = known(config[name], f"{where}: {name}", keras)
    if argument is not None and argument.ours != own.ours:
        raise ConversionError(f"{where} has {name} {own.name!r} and the argument says {said!r}.")
    return own


def _backwards(layers: Sequence[KerasLayer], said: Said) -> bool:
    """Whether the whole stack runs against the time: the first layer turns it, Keras never turns it back."""
    own = [layer.backwards for layer in layers]
    if said.go_backwards is not None and own[0] not in (None, said.go_backwards):
        raise ConversionError(
            f"layer {layers[0].name!r} has go_backwards={own[0]} and the argument says {said.go_backwards}."
        )
    turned = [layer.name for layer in layers[1:] if layer.backwards]
    if turned:
        raise ConversionError(
            f"{' and '.join(turned)} has go_backwards=True and is not the first layer: directions are mixed from "
            "layer to layer, which grus.GRU does not have. Convert the layers one by one."
        )
    early = [layer.name for layer in layers[:-1] if not layer.sequences]
    if early:
        raise ConversionError(
            f"{' and '.join(early)} gives its last state alone (return_sequences=False), which no GRU can read: "
            "these layers do not follow one another."
        )
    return bool(own[0] or (own[0] is None and said.go_backwards))


def _check_alike(cells: Sequence[KerasCell]) -> None:
    first = cells[0]
    for cell in cells[1:]:
        one = (first.reset_after, first.activation.ours, first.recurrent_activation.ours)
        other = (cell.reset_after, cell.activation.ours, cell.recurrent_activation.ours)
        for name, a, b in zip(("reset_after", "activation", "recurrent_activation"), one, other, strict=True):
            if a != b:
                raise ConversionError(
                    f"the layers' cells must agree in {name}; got {a} and {b}: grus.GRU has one for all its "
                    "layers. Convert them one by one."
                )


def _note(source: Source, backwards: bool, filled: bool, report: Report | None) -> None:
    """What is exact but not obvious."""
    if report is None:
        return
    notes = list(source.notes)
    if filled:
        notes.append("cells without a bias got zeros, as others have one: the results are the same")
    if backwards:
        notes.append(
            "go_backwards=True is grus.GRU(reverse=True): Keras returns the sequence from its end, grus in the "
            "order of the input: flip one of them along time to compare"
        )
    last = source.layers[-1]
    if not last.sequences:
        notes.append(f"{last.name} returns its last state alone, which in grus is h_n, not output")
    rates = ("dropout", "recurrent_dropout")
    for layer in source.layers:
        lost = [f"{rate}={layer.directions[0][rate]}" for rate in rates if layer.directions[0].get(rate)]
        if lost:
            notes.append(f"{layer.name}: {', '.join(lost)} acts only in training and is left behind")
        if "float16" in str(layer.directions[0].get("dtype")):
            notes.append(f"{layer.name} computes in 16 bits in Keras, in grus with its weights' digits")
    for text in notes:
        report.note(text)
