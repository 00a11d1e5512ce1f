"""GRU-D: a GRU for sequences with missing values and irregular times."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import grus.layer as layers
from grus import _check, functional
from grus.functional import GRUParams
from grus.nn._data import without_padding
from grus.nn._decay import Array, Before, Filled, Seen, fill, fill_backward, known_after, observe
from grus.nn._layer import Context, Layer, Shapes, sequence_axes
from grus.parameters import Parameters, gru_shapes

_OPTIONS = ("bias", "reset_after", "activation", "gate_activation", "init", "update_bias", "save")
_ARRAYS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
_AT_FIRST = 0.5  # the decays' first weights are drawn between 0 and this: more than 0, or they would not learn


class Tape(NamedTuple):
    """What forward keeps."""

    run: functional.Tape
    seen: Seen
    filled: Filled
    begun: bool  # False where the sequences go on from an earlier chunk


class GRUD(Layer):
    """A GRU for sequences in which values are missing: NaN in x is "not observed".

    A missing value is replaced by its feature's last observation, which fades to the feature's mean over the
    training data the longer ago it was; the state fades with the time since the last observations too. How fast
    is learnt. Which values were observed is a second input of the gates. The recurrence is one call of
    :func:`grus.gru_forward` with ``decay``.

    .. code-block:: text

        delta = time since the feature was last observed before, or since the first step      (D1)
        gamma_x = exp(-max(0, weight_gamma_x * delta + bias_gamma_x))                         (D2)
        gamma_h = exp(-max(0, weight_gamma_h delta + bias_gamma_h))                           (D3)
        x^ = x where observed, else gamma_x * (last observation) + (1 - gamma_x) * mean       (D4)
        h = GRU of the input (x^, m) from the state gamma_h * h', m = 1 where observed, else 0

    Parameters
    ----------
    units : int
        H, the hidden size.
    sequences : bool, default False
        True: all states, (B, T, H). False: the last, (B, H).
    time_feature : int, optional
        Which feature of x is the time of each step (-1: the last one), in any unit; along a sequence it must not
        decrease. It is read as a time alone, not as a value. When omitted, each step is 1 later than the last.
    name, learning_rate, clip_norm
        As for every layer.
    **options
        Of :class:`grus.GRU`: ``bias``, ``reset_after`` (default False, as in the paper), ``activation``,
        ``gate_activation``, ``init``, ``update_bias``, ``save``. For more layers put a GRU above.

    Raises
    ------
    ValueError
        In a model: the layer is not the first, a feature was never observed, or times are not finite or decrease.
    TypeError
        An option is not one of these.

    Notes
    -----
    The means, and the mean interval between two steps, which is the unit of delta (so that it is all one whether
    times are in seconds or in days), are taken from the data that builds the model: in ``fit`` the training data,
    without what is held out. They are no parameters; configuration and model file hold them. Before a feature's
    first observation its mean stands for it. Times may be large, as seconds since 1970 are: a model takes each
    sequence's first off before it converts to float32.

    Standardise features as for any GRU, with what is observed: ``(x - np.nanmean(...)) / np.nanstd(...)``.

    The parameters are ``weight_ih_l0`` (3H, 2F), whose first F columns are for x^ and the others for m,
    ``weight_hh_l0``, ``bias_ih_l0``, ``bias_hh_l0`` as in :class:`grus.GRU`; ``weight_gamma_x`` and
    ``bias_gamma_x`` (F,), ``weight_gamma_h`` (H, F), ``bias_gamma_h`` (H,). The paper's update gate is 1 - z.

    References
    ----------
    .. [1] Che, Purushotham, Cho, Sontag & Liu 2018, "Recurrent Neural Networks for Multivariate Time Series with
       Missing Values", Scientific Reports 8, 6085, doi:10.1038/s41598-018-24271-9.

    Examples
    --------
    >>> import numpy as np
    >>> from grus import nn
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((20, 7, 3))
    >>> x[..., 0] = rng.random((20, 7)).cumsum(axis=1)                  # the time of each step
    >>> x[..., 1:][rng.random((20, 7, 2)) < 0.4] = np.nan               # two features, 40 % missing
    >>> model = nn.Sequential([nn.GRUD(8, time_feature=0), nn.Dense(1)], seed=0)
    >>> history = model.fit(x, np.arange(20.0), loss="mse", epochs=2, seed=0)
    >>> model.predict(x).shape
    (20, 1)
    """

    def __init__(
        self, units: int, sequences: bool = False, time_feature: int | None = None, **options: Any
    ) -> None:
        common = {key: options.pop(key) for key in ("name", "learning_rate", "clip_norm") if key in options}
        super().__init__(**common)
        for name in options:
            if name not in _OPTIONS:
                raise TypeError(f"GRUD takes no {name}: of GRU's options it has {', '.join(_OPTIONS)}.")
        units = _check.size("units", units)
        self.core = layers.GRU(1, units, **{"reset_after": False, **options})  # checks the options and holds them
        self.sequences = _check.boolean("sequences", sequences)
        self.time_feature = None if time_feature is None else _check.size("time_feature", time_feature, -(2**31))

    # ------------------------------------------------------------------------------------------------ building

    def infer(self, x: Array) -> dict[str, Any]:
        raise ValueError("GRUD must be a model's first layer: only there can values be missing. Use GRU here.")

    def infer_from_all(self, inputs: Array | list[Array]) -> dict[str, Any]:
        """The number of features, their means and the mean interval, from all sequences."""
        sequence_axes("GRUD", inputs[0][None])
        for i, sequence in enumerate(inputs):
            self.check(f"x[{i}]", sequence)
        times, values = zip(*(self._split(sequence) for sequence in inputs), strict=True)
        return {
            "input_size": int(inputs[0].shape[1]),
            "means": _means(np.concatenate(values)).tolist(),
            "interval": _interval(times),
        }

    def adapt(self, inputs: Array | list[Array]) -> None:
        self.sizes = self.infer_from_all(inputs)

    def check(self, name: str, x: Array) -> None:
        """Values are finite or NaN; times are finite and do not decrease."""
        times, values = self._split(x)
        _check.finite(name, np.where(np.isnan(values), 0, values), "Missing values are NaN.")
        self._check_times(name, times, np.ones(times.shape, bool))

    def _check_times(self, name: str, times: Array, valid: Array) -> None:
        """``valid`` is where there is a step, of times (..., T)."""
        if self.time_feature is None:
            return
        with np.errstate(invalid="ignore"):  # an infinite time less another
            wrong = valid & ~np.isfinite(times)
            wrong[..., 1:] |= valid[..., 1:] & (np.diff(times.real, axis=-1) < 0)
        if wrong.any():
            where = tuple(np.argwhere(wrong)[0].tolist())
            raise ValueError(
                f"{name} must hold finite times that do not decrease, in feature {self.time_feature} "
                f"(time_feature); got {times[where].real:g}, counted from the sequence's first, at "
                f"{where if len(where) > 1 else f'step {where[0]}'}. Sort its steps by time."
            )

    def shapes(self, sizes: dict[str, Any]) -> Shapes:
        H, F = self.core.hidden_size, len(sizes["means"])
        decays: Shapes = {
            "weight_gamma_x": (F,), "bias_gamma_x": (F,), "weight_gamma_h": (H, F), "bias_gamma_h": (H,),
        }  # fmt: skip
        return gru_shapes(2 * F, H, 1, bias=self.core.bias, bidirectional=False) | decays

    def initialise(self, rng: np.random.Generator) -> None:
        F = len(self.parameters["bias_gamma_x"])
        config = self.core.config() | {"input_size": 2 * F, "dtype": self.parameters.dtype.name}
        self.parameters.load_state_dict(layers.GRU.from_config(config, seed=rng).state_dict(), strict=False)
        for name, most in (("weight_gamma_x", _AT_FIRST), ("weight_gamma_h", _AT_FIRST / F)):
            self.parameters[name][...] = rng.uniform(0, most, self.parameters[name].shape)

    # ------------------------------------------------------------------------------------------------- running

    def forward(self, x: Array, context: Context) -> tuple[Array, Any]:
        sequence_axes("GRUD", x)
        _check.shaped("x", x, ("B", "T", self._sizes["input_size"]), f"{self.name} is built so")
        lengths = context.lengths
        if lengths is not None:
            x = without_padding(x, lengths)
        times, values = self._split(x)
        inside = (
            np.broadcast_to(True, x.shape[:2]) if lengths is None else np.arange(x.shape[1]) < lengths[:, None]
        )
        self._check_times("x", times, inside)
        h0, before = self._carried(context)
        seen = observe(values.swapaxes(0, 1), times.T, self._sizes["interval"], before)
        filled = fill(seen, np.array(self._sizes["means"], x.dtype), self.parameters)
        output, h_n, run = functional.gru_forward(
            np.concatenate([filled.x, seen.mask.astype(x.dtype)], axis=-1),
            h0,
            GRUParams(*(self.parameters.get(f"{name}_l0") for name in _ARRAYS)),  # type: ignore[arg-type]
            decay=filled.gamma_h,
            lengths=lengths,
            training=context.training,
            **self._formulation(),
        )
        self._carry(context, h_n, known_after(seen), x.shape[1])
        y = output.swapaxes(0, 1) if self.sequences else h_n
        return y, None if run is None else Tape(run, seen, filled, before is None)

    def _carried(self, context: Context) -> tuple[Array | None, Before | None]:
        """The state and what is known from the chunk before."""
        if context.states is None or self.name not in context.states:
            return None, None
        h, x, times = (each[0] for each in context.states[self.name])
        return h, Before(x, times)

    def _carry(self, context: Context, h: Array, known: Before, steps: int) -> None:
        """Leave them to the next chunk, whose steps are counted from 0 where x holds no times."""
        if context.states is not None:
            elapsed = steps if self.time_feature is None else 0
            context.states[self.name] = (h[None], known.x[None], known.times[None] - elapsed)

    def obstacle_to_chunks(self) -> str:
        return ""

    def backward(self, tape: Tape, dy: Array, gradients: Parameters) -> Array:
        d_output, d_h_n = (dy.swapaxes(0, 1), None) if self.sequences else (None, dy)
        d = functional.gru_backward(tape.run, d_output, d_h_n)
        assert d.x is not None  # they were given
        assert d.decay is not None
        F = tape.seen.mask.shape[2]
        kept = (tape.seen, tape.filled, self._sizes["interval"], self.parameters)
        below = fill_backward(d.x[..., :F], d.decay, *kept)
        found = {f"{name}_l0": getattr(d.params, name) for name in _ARRAYS} | below.parameters
        for name, view in gradients.items():
            view[...] = found[name]
        dx, d_times = below.x[1:].swapaxes(0, 1), below.times[1:].T
        if tape.begun:
            d_times[:, :1] += below.times[
                :1
            ].T  # from the first step (D1) counts where nothing was observed before
        return dx if self.time_feature is None else np.insert(dx, self._column(F + 1), d_times, axis=2)

    def _split(self, x: Array) -> tuple[Array, Array]:
        """x (..., T, I) as its times (..., T) and its values (..., T, F)."""
        if self.time_feature is None:
            return np.broadcast_to(np.arange(x.shape[-2], dtype=x.dtype), x.shape[:-1]), x
        column = self._column(x.shape[-1])
        return x[..., column], np.delete(x, column, axis=-1)

    def _column(self, width: int) -> int:
        """Where the times stand among so many features."""
        assert self.time_feature is not None  # asked for nowhere else
        if width < 2 or not -width <= self.time_feature < width:
            raise ValueError(
                f"time_feature must be a feature of x beside at least one other; got {self.time_feature} for x "
                f"with {width} features."
            )
        return self.time_feature % width

    @property
    def _sizes(self) -> dict[str, Any]:
        assert self.sizes is not None  # the model allocates before it runs
        return self.sizes

    def _formulation(self) -> dict[str, Any]:
        """What the functions are to compute."""
        form = self.core.formulation
        gates = form.reset_activation, form.update_activation
        options = {"activation": form.activation, "gate_activation": gates, "save": self.core.save}
        return {"reset_after": form.reset == "after", **options}

    def options(self) -> dict[str, Any]:
        given = {name: self.core.config()[name] for name in _OPTIONS}
        given["gate_activation"] = tuple(given["gate_activation"])
        own = {"units": self.core.hidden_size, "sequences": self.sequences, "time_feature": self.time_feature}
        return own | given

    def __repr__(self) -> str:
        own = (("sequences", self.sequences, False), ("time_feature", self.time_feature, None))
        options = (("reset_after", self.core.formulation.reset == "after", False), ("bias", self.core.bias, True))
        changed = [f", {name}={value!r}" for name, value, usual in (*own, *options) if value != usual]
        return f"GRUD({self.core.hidden_size}{''.join(changed)})"


def _means(values: Array) -> Array:
    """(F,) float64, of what is observed in values (steps, F)."""
    count = (~np.isnan(values)).sum(axis=0)
    if not count.all():
        raise ValueError(
            "x must hold at least one observation of each feature; got only NaN for feature "
            f"{int(np.argmin(count))} (the time not counted). Leave it out."
        )
    return np.asarray(np.nansum(values, axis=0, dtype=np.result_type(values, np.float64)).real / count)


def _interval(times: tuple[Array, ...]) -> float:
    """The mean time from one step of a sequence to the next; 1 where there is none."""
    total = sum(float((each[-1] - each[0]).real) for each in times if len(each))
    count = sum(max(len(each) - 1, 0) for each in times)
    return total / count if total > 0 else 1.0
