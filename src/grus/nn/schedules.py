"""Learning-rate schedules: the rate at a moment of training, in epochs. All are immutable."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

from grus import _check


@dataclass(frozen=True)
class Schedule(ABC):
    """The learning rate as a function of progress.

    Attributes
    ----------
    name : str
        What :func:`get_schedule` and the configuration call it.
    lr : float
        The base learning rate, > 0; dimensionless.
    """

    name: ClassVar[str]
    lr: float

    def __post_init__(self) -> None:
        self._freeze(lr=_check.positive("lr", self.lr))

    def __call__(self, progress: float, epochs: int) -> float:
        """Learning rate at a moment of training.

        Parameters
        ----------
        progress : float
            Epochs done, >= 0; 2.5 is the middle of the third epoch.
        epochs : int
            Epochs planned, >= 1.

        Returns
        -------
        float
            Learning rate, dimensionless.

        Raises
        ------
        TypeError, ValueError
            ``progress`` or ``epochs`` is not such a number.

        Examples
        --------
        >>> LinDecay(0.1, k=0.01)(progress=2.5, epochs=10)
        0.03333333333333333
        """
        return self._rate(_check.non_negative("progress", progress), _check.size("epochs", epochs))

    def config(self) -> dict[str, Any]:
        """Name and settings as a dictionary that JSON can hold; :meth:`from_config` reads it."""
        return {"name": self.name, **asdict(self)}

    @staticmethod
    def from_config(config: Mapping[str, Any]) -> Schedule:
        """The schedule that :meth:`config` described; a setting that is left out has its default.

        Parameters
        ----------
        config : mapping
            ``name``, ``lr``, and the settings of that schedule. Never changed.

        Returns
        -------
        Schedule

        Raises
        ------
        ValueError
            An unknown name or setting, or no ``lr``.

        Examples
        --------
        >>> Schedule.from_config({"name": "constant", "lr": 0.1})
        Constant(lr=0.1)
        """
        name = _check.choice("schedule", config.get("name"), _SCHEDULES)
        settings = {key: value for key, value in config.items() if key != "name"}
        _check.known_keys(f"schedule {name!r}", settings, (field.name for field in fields(_SCHEDULES[name])))
        if "lr" not in settings:
            raise ValueError(f"schedule {name!r} needs lr; got {sorted(settings)}.")
        return _SCHEDULES[name](**settings)

    def _freeze(self, **checked: Any) -> None:
        """Store checked values in a frozen dataclass, from ``__post_init__`` only."""
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @abstractmethod
    def _rate(self, progress: float, epochs: int) -> float: ...


@dataclass(frozen=True)
class Constant(Schedule):
    """The same rate throughout.

    Parameters
    ----------
    lr : float
        Learning rate, > 0.

    Examples
    --------
    >>> Constant(0.1)(progress=3.0, epochs=10)
    0.1
    """

    name: ClassVar[str] = "constant"

    def _rate(self, progress: float, epochs: int) -> float:
        return self.lr


@dataclass(frozen=True)
class _Decay(Schedule):
    """What EpyNN's two decays share: a rate ``k`` per epoch, 5 / cycle length when it is not given."""

    k: float | None = None
    cycle_epochs: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        k = None if self.k is None else _check.non_negative("k", self.k)
        self._freeze(k=k, cycle_epochs=_check.size("cycle_epochs", self.cycle_epochs, minimum=0))

    def _k(self, epochs: int) -> float:
        # worked out anew for each length of training and never stored: the next run has its own default
        return 5 / self._cycle(epochs) if self.k is None else self.k

    def _cycle(self, epochs: int) -> int:
        return self.cycle_epochs or epochs


@dataclass(frozen=True)
class LinDecay(_Decay):
    r"""Hyperbolic decay, :math:`lr / (1 + 100 k x)` with x whole epochs done.

    Parameters
    ----------
    lr : float
        Learning rate of the first epoch, > 0.
    k : float, optional
        Decay per epoch, >= 0. Default 5 / ``cycle_epochs``, or 5 / epochs when that is 0.
    cycle_epochs : int, default 0
        Only sets the default of ``k``.

    References
    ----------
    .. [1] EpyNN, ``epynn/commons/schedule.py``, ``lin_decay``.

    Examples
    --------
    >>> [LinDecay(0.1, k=0.01)(x, epochs=3) for x in range(3)]
    [0.1, 0.05, 0.03333333333333333]
    """

    name: ClassVar[str] = "lin_decay"

    def _rate(self, progress: float, epochs: int) -> float:
        return self.lr / (1 + 100 * self._k(epochs) * math.floor(progress))


@dataclass(frozen=True)
class ExpDecay(_Decay):
    r"""Exponential decay in cycles, :math:`lr (1 - d)^{\lfloor x / c \rfloor} e^{-k (x \bmod c)}`.

    x is whole epochs done, c the length of a cycle, d what each new cycle starts lower by.

    Parameters
    ----------
    lr : float
        Learning rate of the first epoch, > 0.
    k : float, optional
        Decay per epoch within a cycle, >= 0. Default 5 / c.
    cycle_epochs : int, default 0
        Epochs in a cycle, c; 0 makes all of training one cycle.
    cycle_descent : float, default 0.0
        d, at least 0 and below 1.

    References
    ----------
    .. [1] EpyNN, ``epynn/commons/schedule.py``, ``exp_decay``.

    Examples
    --------
    >>> decay = ExpDecay(0.1, cycle_epochs=2, cycle_descent=0.5)
    >>> [round(decay(x, epochs=4), 6) for x in range(4)]
    [0.1, 0.008208, 0.05, 0.004104]
    """

    name: ClassVar[str] = "exp_decay"
    cycle_descent: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._freeze(cycle_descent=_check.probability("cycle_descent", self.cycle_descent))

    def _rate(self, progress: float, epochs: int) -> float:
        cycles, within = divmod(math.floor(progress), self._cycle(epochs))
        return self.lr * float((1 - self.cycle_descent) ** cycles) * math.exp(-self._k(epochs) * within)


@dataclass(frozen=True)
class Cosine(Schedule):
    """Linear warm-up from lr / 100, then half a cosine down to ``final``; continuous in progress.

    Parameters
    ----------
    lr : float
        Highest learning rate, reached after the warm-up, > 0.
    warmup : float, default 0.0
        Length of the warm-up in epochs, fractions allowed; must end before training does.
    final : float, default 0.0
        Learning rate at the end of training and after it, 0 <= final <= lr.

    Raises
    ------
    ValueError
        A value is out of range, or, when called, ``warmup`` is not below ``epochs``.

    References
    ----------
    .. [1] Loshchilov & Hutter 2017, *SGDR: Stochastic Gradient Descent with Warm Restarts*, arXiv:1608.03983.

    Examples
    --------
    >>> [round(Cosine(0.1, warmup=1)(x, epochs=5), 4) for x in (0, 0.5, 1, 3, 5)]
    [0.001, 0.0505, 0.1, 0.05, 0.0]
    """

    name: ClassVar[str] = "cosine"
    warmup: float = 0.0
    final: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        final = _check.non_negative("final", self.final)
        if final > self.lr:
            raise ValueError(f"final must be at most lr, {self.lr:g}; got {final:g}.")
        self._freeze(warmup=_check.non_negative("warmup", self.warmup), final=final)

    def _rate(self, progress: float, epochs: int) -> float:
        if self.warmup >= epochs:
            raise ValueError(f"warmup must be below the {epochs} epochs of training; got {self.warmup:g}.")
        if progress < self.warmup:
            return self.lr * (0.01 + 0.99 * progress / self.warmup)
        done = min((progress - self.warmup) / (epochs - self.warmup), 1.0)
        return self.final + (self.lr - self.final) * (1 + math.cos(math.pi * done)) / 2


_SCHEDULES: dict[str, type[Schedule]] = {
    schedule.name: schedule for schedule in (Constant, LinDecay, ExpDecay, Cosine)
}


def get_schedule(spec: float | str | Schedule, lr: float | None = None) -> Schedule:
    """A schedule from a number (constant), a name with its ``lr``, or a schedule (handed back as it is).

    Parameters
    ----------
    spec : float, str or Schedule
        Names: "constant", "lin_decay", "exp_decay", "cosine".
    lr : float, optional
        Base learning rate; needed with a name, refused without one.

    Returns
    -------
    Schedule

    Raises
    ------
    TypeError
        ``spec`` is none of the three, or ``lr`` is missing or superfluous.
    ValueError
        No schedule has that name, or the rate is not > 0.

    Examples
    --------
    >>> get_schedule(0.1), get_schedule("cosine", lr=0.1)
    (Constant(lr=0.1), Cosine(lr=0.1, warmup=0.0, final=0.0))
    """
    if isinstance(spec, str):
        _check.choice("schedule", spec, _SCHEDULES)
        if lr is None:
            raise TypeError(f"schedule {spec!r} needs lr; pass lr=0.01 or a Schedule.")
        return _SCHEDULES[spec](lr)
    if lr is not None:
        raise TypeError(f"lr goes with the name of a schedule only; got schedule={spec!r} and lr={lr!r}.")
    return spec if isinstance(spec, Schedule) else Constant(_check.positive("learning_rate", spec))
