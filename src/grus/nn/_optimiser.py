"""What every optimiser has: checks, step count, saved state (the optimisers are in ``optimisers.py``)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from grus import _check
from grus.nn.schedules import Schedule, get_schedule

Array = np.ndarray[Any, np.dtype[Any]]
Rate = float | Array
OPTIMISERS: dict[str, type[Optimiser]] = {}


@dataclass(eq=False)
class Optimiser(ABC):
    """What every optimiser has: checks, a step count, state arrays made on the first step, one scratch array.

    An optimiser of your own is a dataclass that defines ``name``, ``_state_names`` and ``_update``;
    :func:`get_optimiser` and :meth:`from_config` then know its name.

    Attributes
    ----------
    name : str
        What :func:`get_optimiser` and the configuration call it.
    learning_rate : float or Schedule
        As given; :attr:`schedule` is a schedule in both cases. Dimensionless.
    steps : int
        Steps done.
    """

    name: ClassVar[str]
    learning_rate: float | Schedule

    def __init_subclass__(cls) -> None:
        if "name" in vars(cls):
            OPTIMISERS[cls.name] = cls

    def __post_init__(self) -> None:
        if not isinstance(self.learning_rate, Schedule):
            self.learning_rate = _check.positive("learning_rate", self.learning_rate)
        self.steps = 0
        self._state: dict[str, Array] = {}
        self._scratch: Array = np.empty(0)

    @property
    def schedule(self) -> Schedule:
        """The learning rate over time."""
        return get_schedule(self.learning_rate)

    def step(self, flat: Array, gradient: Array, learning_rate: Rate) -> None:
        """Update ``flat`` in place; NaN and infinity in the gradient reach it without a warning.

        Parameters
        ----------
        flat : ndarray, shape (P,), float32 or float64
            All parameters, the same buffer at every step; dimensionless.
        gradient : ndarray, shape (P,), dtype of ``flat``
            Derivative of the loss. Not changed.
        learning_rate : float or ndarray, shape (P,)
            Rate of this step, >= 0, one for all parameters or one each; usually from :attr:`schedule`.

        Raises
        ------
        TypeError, ValueError
            An array is not as above, or not as it was in earlier steps.
        """
        _check_flat("flat", flat)
        if not flat.flags.writeable:
            raise ValueError("flat must be writeable because it is updated in place; it is read-only.")
        _check_like("gradient", gradient, flat, "flat is")
        for array in self._state.values():
            _check_like("flat", flat, array, "the state of this optimiser is")
        rate = _checked_rate(learning_rate, flat)
        if self._scratch.shape != flat.shape or self._scratch.dtype != flat.dtype:
            self._scratch = np.empty_like(flat)
        self._state = self._state or {name: np.zeros_like(flat) for name in self._state_names()}
        self.steps += 1
        with np.errstate(over="ignore", invalid="ignore"):  # IEEE rules decide; the caller looks at the loss
            self._update(flat, gradient, rate, self._scratch, **self._state)

    def state_dict(self) -> dict[str, Array]:
        """Copies of what a resumed run needs: ``step`` (0-d int64) and, after the first step, (P,) arrays."""
        step: Array = np.array(self.steps, dtype=np.int64)
        return {"step": step, **{name: array.copy() for name, array in self._state.items()}}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Take over a copy of what :meth:`state_dict` gave, to continue bit for bit.

        Parameters
        ----------
        state : mapping of str to ndarray
            Exactly the keys of :meth:`state_dict`.

        Raises
        ------
        TypeError, ValueError
            A key is missing or unknown, ``step`` is not a count, or the arrays do not fit each other.
        """
        steps = _check.size("state_dict['step']", np.asarray(state.get("step", 0))[()], minimum=0)
        names = self._state_names() if steps else ()
        if set(state) != {"step", *names}:
            expected, got = ", ".join(("step", *names)), ", ".join(state) or "none"
            raise ValueError(f"{self.name} state at step {steps} must have the keys {expected}; got {got}.")
        arrays = {name: np.array(state[name]) for name in names}
        for name, array in arrays.items():
            _check_flat(f"state_dict[{name!r}]", array)
            _check_like(f"state_dict[{name!r}]", array, arrays[names[0]], f"state_dict[{names[0]!r}] is")
        self.steps, self._state = steps, arrays

    def config(self) -> dict[str, Any]:
        """Name and settings as a dictionary that JSON can hold; :meth:`from_config` reads it."""
        settings = {field.name: getattr(self, field.name) for field in fields(self)}
        if isinstance(self.learning_rate, Schedule):
            settings["learning_rate"] = self.learning_rate.config()
        return {"name": self.name, **settings}

    @staticmethod
    def from_config(config: Mapping[str, Any]) -> Optimiser:
        """A fresh optimiser from what :meth:`config` gave; a setting that is left out has its default.

        Parameters
        ----------
        config : mapping
            ``name`` and settings. Not changed.

        Returns
        -------
        Optimiser

        Raises
        ------
        ValueError
            A name or setting is unknown, or a value is out of range.

        Examples
        --------
        >>> from grus.nn.optimisers import Optimiser
        >>> Optimiser.from_config({"name": "sgd", "momentum": 0.9})
        SGD(learning_rate=0.01, momentum=0.9, nesterov=False, weight_decay=0.0)
        """
        name = _check.choice("optimiser", config.get("name"), OPTIMISERS)
        settings = {key: value for key, value in config.items() if key != "name"}
        _check.known_keys(f"optimiser {name!r}", settings, (field.name for field in fields(OPTIMISERS[name])))
        if isinstance(settings.get("learning_rate"), Mapping):
            settings["learning_rate"] = Schedule.from_config(settings["learning_rate"])
        return OPTIMISERS[name](**settings)

    @abstractmethod
    def _state_names(self) -> tuple[str, ...]:
        """Names of the (P,) arrays that are kept between steps."""

    @abstractmethod
    def _update(self, flat: Array, gradient: Array, rate: Rate, scratch: Array, **state: Array) -> None:
        """One step, already counted; it may overwrite ``scratch`` and makes no (P,) array of its own."""


def descend(flat: Array, direction: Array, rate: Rate, scratch: Array) -> None:
    """flat -= rate * direction; ``direction`` may be ``scratch`` itself."""
    flat -= np.multiply(direction, rate, out=scratch)


def _checked_rate(learning_rate: Rate, flat: Array) -> Rate:
    if np.ndim(learning_rate):
        return _check.shaped("learning_rate", np.asarray(learning_rate), flat.shape, "flat has this shape")
    return _check.non_negative("learning_rate", learning_rate)


def check_array(name: str, value: Array) -> None:
    """A real floating-point ndarray: of anything else, a copy would be updated in vain."""
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{name} must be an ndarray, to be updated in place; got {type(value).__name__}.")
    if value.dtype not in (np.float32, np.float64):
        raise TypeError(f"{name} must be float32 or float64; got {value.dtype}.")


def _check_flat(name: str, value: Array) -> None:
    check_array(name, value)
    if value.ndim != 1:
        raise ValueError(f"{name} must have shape (P,), one axis; got {value.shape}.")


def _check_like(name: str, value: Array, other: Array, why: str) -> None:
    if type(value) is np.ndarray and (value.shape, value.dtype) == (other.shape, other.dtype):  # the usual case
        return
    _check.floating(name, value, other.dtype, why)
    _check.shaped(name, value, other.shape, why)
