"""One GRU layer in one direction as a pair of pure functions: check, allocate, run the engine, return.

Longer than 300 lines because its docstrings are the reference; the code is about half.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from grus import _check, reference
from grus._engine import Engine, engine
from grus._formulation import ActivationLike, formulated
from grus._memory import empty
from grus.equations import NO_MASKS, Formulation, Masks, Weights
from grus.reference import Entered, Problem, Steps

Array = np.ndarray[Any, np.dtype[Any]]
SAVES = ("gates", "outputs")
_BOOL = np.dtype(bool)
PLAIN_STEPS = Steps(None), Steps(None, True)  # of no options, forwards and in reverse


class GRUParams(NamedTuple):
    """The parameters of one layer in one direction, rows r | z | n: (3H, I), (3H, H), and (3H,) each.

    With block-diagonal recurrence ``weight_hh`` is (3H, H/blocks). The gains are those of layer normalisation;
    without them there is none.

    Examples
    --------
    >>> params = GRUParams.random(input_size=2, hidden_size=3, rng=0)
    >>> params.weight_ih.shape, params.weight_hh.shape, params.bias_ih.shape
    ((9, 2), (9, 3), (9,))
    """

    weight_ih: Array
    weight_hh: Array
    bias_ih: Array | None = None
    bias_hh: Array | None = None
    gain_ih: Array | None = None
    gain_hh: Array | None = None

    @classmethod
    def random(
        cls,
        input_size: int,
        hidden_size: int,
        rng: int | np.random.Generator,
        dtype: npt.DTypeLike = "float32",
    ) -> GRUParams:
        """Standard normal weights and biases over sqrt(hidden_size): for tests and first steps."""
        rng, dtype = _check.generator("rng", rng), _check.dtype(dtype)
        input_size, hidden_size = _check.size("input_size", input_size), _check.size("hidden_size", hidden_size)
        rows = 3 * hidden_size
        shapes = ((rows, input_size), (rows, hidden_size), (rows,), (rows,))
        return cls(*((rng.standard_normal(s) / np.sqrt(hidden_size)).astype(dtype) for s in shapes))


class GRUGradients(NamedTuple):
    """What :func:`gru_backward` returns; each has the shape of what it is the gradient of, or is None."""

    x: Array | None
    h0: Array
    params: GRUParams
    reset_state: Array | None
    decay: Array | None


class Once:
    """What can be used once."""

    __slots__ = ("used",)

    def __init__(self) -> None:
        self.used = False

    def use(self) -> None:
        """Mark as used; a second time is an error."""
        if self.used:
            raise RuntimeError("this tape was used before: run forward again, one backward needs one tape.")
        self.used = True


class Tape(Once):
    """What :func:`gru_forward` keeps for one :func:`gru_backward`: 5*T*B*H numbers, or with ``save="outputs"``
    T*B*H, and references."""

    __slots__ = ("engine", "given", "lengths", "problem", "saved", "states")
    given: GRUParams  # of gru_forward

    def __init__(self, engine: Engine, states: Array, saved: Any, problem: Problem, lengths: Array | None) -> None:
        self.used = False
        self.engine, self.states, self.problem, self.lengths = engine, states, problem, lengths
        self.saved = saved  # the engine's own


def gru_forward(
    x: Array,
    h0: Array | None,
    params: GRUParams,
    *,
    formulation: str | None = None,
    reset_after: bool = True,
    activation: ActivationLike = "tanh",
    gate_activation: ActivationLike | tuple[ActivationLike, ActivationLike] = "sigmoid",
    clip: float | None = None,
    blocks: int = 1,
    lengths: npt.ArrayLike | None = None,
    mask: npt.ArrayLike | None = None,
    reset: npt.ArrayLike | None = None,
    reset_state: Array | None = None,
    decay: Array | None = None,
    recurrent_mask: Array | None = None,
    input_mask: Array | None = None,
    zoneout: Array | None = None,
    truncate: int | None = None,
    gradient_clip: float | None = None,
    reverse: bool = False,
    training: bool = True,
    save: str = "gates",
) -> tuple[Array, Array, Tape | None]:
    """Run one GRU layer in one direction over a batch of sequences.

    Equations (F0)-(F6) of ``grus/equations.py``, time-major. :class:`grus.GRU` adds layers, directions and
    batch-first arrays.

    Parameters
    ----------
    x : ndarray, shape (T, B, I), float32, float64 or complex128
        The input. Everything else must be of the same dtype.
    h0 : ndarray, shape (B, H), optional
        The state before the first step; zeros when omitted.
    params : GRUParams
        ``weight_ih`` (3H, I), ``weight_hh`` (3H, H/blocks), ``bias_ih`` and ``bias_hh`` (3H,) or both None, and
        for layer normalisation ``gain_ih`` and ``gain_hh`` (3H,): each gate's product is brought to mean 0 and
        variance 1 over its H units, times the gain, before its bias (F6).
    formulation : {"after", "before", "candidate"}, optional
        Where the reset gate acts: on the recurrent product (F3), on the state before it (F3'), or on the whole
        candidate (F3''). They are different functions.
    reset_after : bool, default True
        The same choice where ``formulation`` is omitted: True is "after", False is "before".
    activation : str or Activation, default "tanh"
        Of the new gate.
    gate_activation : str, Activation or a pair, default "sigmoid"
        Of the reset and the update gate; a pair gives each its own.
    clip : float, optional
        Every pre-activation is cut to -clip ... clip first, as ONNX has it.
    blocks : int, default 1
        Each recurrent matrix is block-diagonal with so many blocks of H/blocks units.
    lengths : array of int, shape (B,), optional
        Row b holds ``lengths[b]`` steps, 0 ... T; the output past them is 0 and what x holds there is not used.
    mask : array of bool, shape (T, B), optional
        False: the step carries the state, and outputs it; what x holds there is not used.
    reset : array of bool, shape (T, B), optional
        True: ``x[t, b]`` begins a new sequence, so nothing flows between t-1 and t.
    reset_state : ndarray, shape (B, H), optional
        The state from which a sequence begun by ``reset`` starts; zeros when omitted.
    decay : ndarray, shape (T, B, H), optional
        Multiplies the state before each step (F0).
    recurrent_mask, input_mask : ndarray, shape (B, 3H), optional
        For each gate, multiply h_prev on its way into the product, and the projected input before its bias; the
        same at every step.
    zoneout : ndarray, shape (T, B, H), (T, B, 1) or (1, 1, 1), optional
        The share of the state that each step leaves as it was (F5): 0 and 1 drawn at random in training, their
        expectation outside.
    truncate : int, optional
        Each step's loss gradient passes through at most so many steps; all when omitted. Steps that are not valid
        do not count.
    gradient_clip : float, optional
        A state's gradient, as it leaves a step for the one before, is cut to -gradient_clip ... gradient_clip.
    reverse : bool, default False
        Run from each row's last step to its first.
    training : bool, default True
        Keep the tape that :func:`gru_backward` needs.
    save : {"gates", "outputs"}, default "gates"
        What the tape keeps: 5*T*B*H numbers, or T*B*H, the output alone; backward then computes the gates again,
        a third more arithmetic. The gradients have the same bits.

    Returns
    -------
    output : ndarray, shape (T, B, H)
        All states; read-only in training, because the tape refers to them.
    h_n : ndarray, shape (B, H)
        The state after the last valid step (in reverse, after the first).
    tape : Tape or None
        For one :func:`gru_backward`. It refers to the arrays given: leave them as they are until then.

    Raises
    ------
    ValueError
        A shape or a value does not fit; the message tells which, what was expected and what came.
    TypeError
        dtypes are mixed, or not floating.

    Notes
    -----
    All quantities are dimensionless. Cost: 6*T*B*H*(I+H) floating-point operations.

    References
    ----------
    .. [1] Cho et al. 2014, arXiv:1406.1078, v1 (reset after) and v3 (reset before).

    Examples
    --------
    >>> import numpy as np
    >>> import grus
    >>> params = grus.GRUParams.random(input_size=2, hidden_size=3, rng=0)
    >>> x = np.ones((4, 1, 2), np.float32)
    >>> output, h_n, tape = grus.gru_forward(x, None, params)
    >>> output.shape, bool((h_n == output[-1]).all())
    ((4, 1, 3), True)
    """
    reverse, training = _check.boolean("reverse", reverse), _check.boolean("training", training)
    keep = _check.choice("save", save, SAVES) == "gates" and training
    form = formulated(
        formulation, reset_after, activation, gate_activation, clip, blocks, truncate, gradient_clip
    )  # fmt: skip
    result, masks = None, (recurrent_mask, input_mask, zoneout)
    if lengths is mask is reset is reset_state is decay is recurrent_mask is input_mask is zoneout is None:
        result = _forward_as_given(x, h0, params, form, reverse, training, keep)
    if result is None:
        steps = lengths, mask, reset, reset_state, decay
        problem, checked = _checked_problem(x, h0, params, form, reverse, steps, masks)
        result = forward_runs([problem], checked, training, keep)
    output, (h_n,), tapes = result
    if not training:
        return output, np.array(h_n), None
    tapes[0].given = params
    return output, np.array(h_n), tapes[0]


def gru_backward(tape: Tape, d_output: Array | None = None, d_h_n: Array | None = None) -> GRUGradients:
    """The gradients of everything that entered :func:`gru_forward`.

    Equations (B0)-(B6) of ``grus/equations.py``.

    Parameters
    ----------
    tape : Tape
        From :func:`gru_forward`; it can be used once.
    d_output : ndarray, shape (T, B, H), optional
        The loss gradient with respect to ``output``; zeros when omitted.
    d_h_n : ndarray, shape (B, H), optional
        The loss gradient with respect to ``h_n``; zeros when omitted.

    Returns
    -------
    GRUGradients
        ``x`` (T, B, I), ``h0`` (B, H), ``params`` as given, ``reset_state`` (B, H) or None without ``reset``, and
        ``decay`` (T, B, H) or None without ``decay``.

    Raises
    ------
    ValueError, TypeError
        A gradient has another shape or dtype than what it belongs to.
    RuntimeError
        The tape was used before.

    Notes
    -----
    Cost: 12*T*B*H*(I+H) floating-point operations.

    Examples
    --------
    >>> import numpy as np
    >>> import grus
    >>> params = grus.GRUParams.random(input_size=2, hidden_size=3, rng=0)
    >>> output, h_n, tape = grus.gru_forward(np.ones((4, 1, 2), np.float32), None, params)
    >>> gradients = grus.gru_backward(tape, d_h_n=np.ones_like(h_n))
    >>> gradients.x.shape, gradients.params.weight_hh.shape
    ((4, 1, 2), (9, 3))
    """
    if not isinstance(tape, Tape):
        raise TypeError(f"tape must be what gru_forward(..., training=True) returned; got {type(tape).__name__}.")
    states, problem = tape.states, tape.problem
    dtype, h0 = states.dtype, problem.h0
    d_output = _check.matching("d_output", d_output, states.shape, dtype, "output has that shape")
    d_h_n = _check.matching("d_h_n", d_h_n, h0.shape, dtype, "h_n has that shape")
    weights = problem.weights
    if tape.given.bias_ih is None:
        weights = weights._replace(bias_ih=None, bias_hh=None)  # type: ignore[arg-type]
    d_weights = empty((sum([w.size for w in weights if w is not None]),), dtype)
    d_h0 = np.empty(h0.shape, dtype)
    ((d_x, d_reset_state, d_decay),) = backward_runs([tape], d_output, [d_h_n], [d_h0], [d_weights])
    if problem.steps.reset is None:
        d_reset_state = None
    return GRUGradients(d_x, d_h0, _taken_apart(d_weights, weights), d_reset_state, d_decay)


def _taken_apart(d_weights: Array, weights: Weights) -> GRUParams:
    """Views of the vector, each of the shape of what it is the gradient of."""
    views: list[Any] = []
    start = 0
    for w in weights:
        if w is None:
            views.append(None)
        else:
            stop = start + w.size
            views.append(d_weights[start:stop].reshape(w.shape))
            start = stop
    return GRUParams(*views)


# ------------------------------------------------------------------------------- the directions of one layer


def forward_runs(
    problems: Sequence[Problem], lengths: Array | None, training: bool, keep: bool
) -> tuple[Array, list[Array], list[Tape]]:
    """The output (T, B, directions*H), each h_n (B, H) and, in training, a tape of each."""
    x, D, H = problems[0].x, len(problems), problems[0].h0.shape[1]
    T, B, _ = x.shape
    states = empty((T, B, D * H), x.dtype)
    runs_on = engine(x.dtype)
    calls = [(states, problems[0], keep)]
    if D == 2:
        calls = [(states[..., i * H : (i + 1) * H], problem, keep) for i, problem in enumerate(problems)]
    ends, saved = runs_on.sequences_forward(calls)
    output = states if lengths is None else _visible(states, lengths)
    if not training:
        return output, ends, []
    output = output.view()
    output.setflags(write=False)
    tapes = []
    for i, (own, problem, _) in enumerate(calls):
        tapes.append(Tape(runs_on, own, saved[i], problem, lengths))
    return output, ends, tapes


def backward_runs(
    tapes: Sequence[Tape],
    d_output: Array,
    d_h_n: Sequence[Array] | Array,
    d_h0: Sequence[Array] | Array,
    d_weights: Sequence[Array],
    with_x: bool = True,
    first: int = 0,
) -> list[Entered]:
    """The gradients of each run: h0's go into ``d_h0``, the weights' into ``d_weights``; x's if ``with_x``.

    ``first`` is the place of the first run in ``d_h_n`` and ``d_h0``.
    """
    lengths = tapes[0].lengths
    d_states = d_output if lengths is None else _visible(d_output, lengths)
    calls = []
    for i, tape in enumerate(tapes):
        tape.use()
        problem = tape.problem
        H = problem.h0.shape[1]
        d_own = d_states if len(tapes) == 1 else d_states[..., i * H : (i + 1) * H]
        own = tape.states, tape.saved, problem
        calls.append((d_own, d_h_n[first + i], *own, d_h0[first + i], d_weights[i], with_x))
    return tapes[0].engine.sequences_backward(calls)


# --------------------------------------------------------------------------------------------------- checks


def _forward_as_given(
    x: Array, h0: Array | None, params: GRUParams, form: Formulation, reverse: bool, training: bool, keep: bool
) -> tuple[Array, list[Array], list[Tape]] | None:
    """What the compiled core makes of arrays that it takes as they are; None where it refuses one.

    The core checks every array itself, in a tenth of the time that it takes here; here is said what does not fit.
    """
    usual = type(x) is np.ndarray and x.ndim == 3 and type(params) is GRUParams and params.bias_ih is not None
    if not usual or engine(x.dtype) is reference:  # which checks nothing, and computes in any dtype
        return None
    try:
        if h0 is None:
            h0 = np.zeros((x.shape[1], params.weight_hh.shape[1] * form.blocks), x.dtype)
        problem = Problem(x, h0, Weights(*params), form, PLAIN_STEPS[reverse], NO_MASKS)  # type: ignore[arg-type]
        return forward_runs([problem], None, training, keep)
    except (TypeError, AttributeError, KeyError, IndexError):
        return None


def _checked_problem(
    x: Array,
    h0: Array | None,
    params: GRUParams,
    form: Formulation,
    reverse: bool,
    given: tuple[Any, ...],
    masks: tuple[Any, ...],
) -> tuple[Problem, Array | None]:
    """All that :func:`gru_forward` is given, checked; ``given`` is lengths, mask, reset, reset_state and decay."""
    x = _check.floating("x", x)
    weights = _checked_params(params, x, form.blocks)
    T, B, H = len(x), x.shape[1], len(weights.weight_hh) // 3
    lengths, mask, reset, reset_state, decay = given
    why = f"x holds {B} sequences and weight_hh has hidden_size {H}"
    h0 = _check.matching("h0", h0, (B, H), x.dtype, why)
    _check.reset_state_with_reset(reset_state, reset)
    if reset is not None:
        reset_state = _check.matching("reset_state", reset_state, (B, H), x.dtype, why)
    valid, starts = checked_flags("mask", mask, T, B), checked_flags("reset", reset, T, B)
    checked = None if lengths is None else _check.padded_lengths(lengths, B, T)
    steps = steps_of(T, checked, valid, starts, reset_state, reverse)
    why = f"x holds {T} steps of {B} sequences and weight_hh has hidden_size {H}"
    if decay is not None:
        steps = with_decay(steps, _check.matching("decay", decay, (T, B, H), x.dtype, why))
    shapes = {"recurrent_mask": (B, 3 * H), "input_mask": (B, 3 * H), "zoneout": (T, B, H)}
    of_units = (
        _check.broadcast(name, mask, shape, x.dtype, why)
        for (name, shape), mask in zip(shapes.items(), masks, strict=True)
    )
    return Problem(x, h0, weights, form, steps, Masks(*of_units)), checked


def checked_flags(name: str, value: Any, T: int, B: int) -> Array | None:
    """A mask or resets (T, B), checked."""
    if value is None or _check.ready(value, (T, B), _BOOL):
        return value
    return _check.flags(name, value, (T, B), f"x holds {T} steps of {B} sequences")


def steps_of(
    T: int,
    lengths: Array | None,
    valid: Array | None,
    starts: Array | None,
    reset_state: Array | None,
    reverse: bool,
) -> Steps:
    """Checked lengths (B,), the mask (T, B) and the resets (T, B) as what the engines take."""
    if lengths is valid is starts is None:
        return PLAIN_STEPS[reverse]
    if lengths is not None:
        inside = np.arange(T)[:, None] < lengths
        valid = inside if valid is None else valid & inside
        starts = None if starts is None else starts & inside  # what padding holds is never used
    return Steps(reset_state, reverse, valid, starts)


def with_decay(steps: Steps, decay: Array) -> Steps:
    """The same steps, each after a decay of the state."""
    return Steps(steps.reset_state, steps.reverse, steps.valid, steps.reset, decay)


def _checked_params(params: GRUParams, x: Array, blocks: int) -> Weights:
    """The arrays of ``params`` as the engines take them, each of x's dtype and of a shape that fits x."""
    if not isinstance(params, GRUParams):
        raise TypeError(f"params must be a GRUParams; got {type(params).__name__}.")
    of_x = _check.named_dtype("x", x.dtype)
    arrays = {
        name: _check.floating(name, a, x.dtype, of_x)
        for name, a in params._asdict().items()
        if a is not None or name.startswith("weight")
    }
    for pair in ("bias_ih", "bias_hh"), ("gain_ih", "gain_hh"):
        if (pair[0] in arrays) != (pair[1] in arrays):
            raise ValueError(f"{pair[0]} and {pair[1]} must both be given or both be None; got one of them.")
    columns = "H" if blocks == 1 else f"H/{blocks}"
    _check.shaped("weight_hh", arrays["weight_hh"], ("3H", columns), "it maps H units to three gates")
    H = arrays["weight_hh"].shape[1] * blocks
    of = "" if blocks == 1 else f" in {blocks} blocks"
    why = f"weight_hh {arrays['weight_hh'].shape} has hidden_size {H}{of}"
    _check.shaped("weight_hh", arrays["weight_hh"], (3 * H, H // blocks), why)
    _check.shaped("weight_ih", arrays["weight_ih"], (3 * H, "I"), why)
    _check.size("hidden_size (the columns of weight_hh)", H)
    _check.size("input_size (the columns of weight_ih)", arrays["weight_ih"].shape[1])
    _check.shaped("x", x, ("T", "B", arrays["weight_ih"].shape[1]), f"weight_ih is {arrays['weight_ih'].shape}")
    for name in ("bias_ih", "bias_hh"):
        _check.shaped(name, arrays.setdefault(name, np.zeros(3 * H, x.dtype)), (3 * H,), why)
    for name in ("gain_ih", "gain_hh"):
        if name in arrays:
            _check.shaped(name, arrays[name], (3 * H,), why)
    return Weights(**arrays)


def _visible(states: Array, lengths: Array) -> Array:
    """The states with zeros past each row's length (the output), or the same of the output's gradient."""
    result = states.copy(order="K")
    result[np.arange(len(states))[:, None] >= lengths] = 0
    return result
