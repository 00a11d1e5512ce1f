"""Which GRU the keywords ask for: checked, and as the engines take it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from grus import _check
from grus.activations import ELEMENTWISE, Activation
from grus.equations import Formulation

ActivationLike = str | Activation | Mapping[str, Any]
FORMULATIONS = ("after", "before", "candidate")


def formulated(
    formulation: str | None,
    reset_after: bool,
    activation: ActivationLike,
    gate_activation: ActivationLike | tuple[ActivationLike, ActivationLike],
    clip: float | None = None,
    blocks: int = 1,
    truncate: int | None = None,
    gradient_clip: float | None = None,
) -> Formulation:
    """The formulation that the keywords of :func:`grus.gru_forward` name."""
    given = formulation, reset_after, activation, gate_activation, clip, blocks, truncate, gradient_clip
    if type(activation) is str and type(gate_activation) is str:
        try:
            return _formulated(*given)  # made once for each choice of names
        except TypeError:  # something that has no hash, or that a check refuses: the check says what
            pass
    return _formulated.__wrapped__(*given)


@lru_cache(maxsize=64, typed=True)  # 1 is not True here
def _formulated(
    formulation: str | None,
    reset_after: bool,
    activation: Any,
    gate_activation: Any,
    clip: float | None,
    blocks: int,
    truncate: int | None,
    gradient_clip: float | None,
) -> Formulation:
    gradient_clip = None if gradient_clip is None else _check.positive("gradient_clip", gradient_clip)
    truncate = None if truncate is None else _check.size("truncate", truncate, minimum=0)
    if truncate is not None and gradient_clip is not None:
        raise ValueError(
            f"gradient_clip must be None where truncate is {truncate}; got {gradient_clip:g}. Truncated gradients "
            "go back one by one, and there is no sum of them to cut."
        )
    reset, of = _reset(formulation, reset_after), _activations(activation, gate_activation, clip)
    return Formulation(
        reset, *of, blocks=_check.size("blocks", blocks), truncate=truncate, gradient_clip=gradient_clip
    )


def _reset(formulation: str | None, reset_after: bool) -> str:
    reset_after = _check.boolean("reset_after", reset_after)
    if formulation is None:
        return "after" if reset_after else "before"
    _check.choice("formulation", formulation, FORMULATIONS)
    if not reset_after and formulation != "before":
        raise ValueError(f"formulation must be 'before' where reset_after is False; got {formulation!r}.")
    return formulation


def _activations(
    activation: Any, gate_activation: Any, clip: float | None
) -> tuple[Activation, Activation, Activation]:
    """Of the new gate, the reset gate and the update gate."""
    pair = gate_activation if isinstance(gate_activation, (tuple, list)) else (gate_activation, gate_activation)
    if len(pair) != 2:
        raise ValueError(f"gate_activation must be one activation or a pair (reset, update); got {len(pair)}.")
    of = [Activation.of(activation), *(Activation.of(spec, "gate_activation") for spec in pair)]
    for each in of:
        if not each.elementwise:
            raise ValueError(
                f"a gate's activation must be one of {', '.join(ELEMENTWISE)}; got {each.name!r}, which mixes "
                "the units: put it in a Dense layer after the GRU."
            )
    new, reset, update = of if clip is None else (each.clipped(clip) for each in of)
    return new, reset, update
