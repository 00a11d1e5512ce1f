"""``grus.GRU``: layers and directions over :func:`grus.gru_forward` and :func:`grus.gru_backward`.

Longer than 300 lines because its docstrings are the reference of the main class; the code is less than half.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from grus import _check, derivatives, functional
from grus._checkpoint import checkpointed_forward, tape_backward
from grus._formulation import FORMULATIONS, ActivationLike, formulated
from grus._initialise import checked_init, initialise_gru
from grus._layout import Layout
from grus._masks import Fixed, Rates, fixed_masks
from grus._per_sample import SampleParameters
from grus._stack import Given, Stack, Tape, decay_of_units, learned_states, stack_forward
from grus._stack import Gradients as Gradients
from grus._trace import Trace, traced
from grus.functional import PLAIN_STEPS, steps_of, with_decay
from grus.parameters import Parameters, gru_shapes
from grus.reference import Steps

if TYPE_CHECKING:
    from grus.stream import Stream

Array = np.ndarray[Any, np.dtype[Any]]
_NO_RATES = Rates()


class GRUOutput(NamedTuple):
    """What calling a :class:`GRU` returns."""

    output: Array  # (B, T, directions*H), the last layer's states
    h_n: Array  # (layers*directions, B, H), each layer's and direction's last state


class GRUTraining(NamedTuple):
    """What :meth:`GRU.forward` returns."""

    output: Array
    h_n: Array
    tape: Tape


class GRU:
    """A Gated Recurrent Unit: layers, directions, and every option at full speed.

    .. code-block:: text

        r = sigmoid(W_ir x + b_ir + W_hr h' + b_hr)           (F1)
        z = sigmoid(W_iz x + b_iz + W_hz h' + b_hz)           (F2)
        n = tanh(W_in x + b_in + r * (W_hn h' + b_hn))        (F3), or with reset_after=False
        n = tanh(W_in x + b_in + W_hn (r * h') + b_hn)        (F3')
        h = (1 - z) * n + z * h'                              (F4)

    Parameters
    ----------
    input_size : int
        I, the number of features of a step.
    hidden_size : int
        H, the number of units.
    num_layers : int, default 1
        Each further layer reads the one below it.
    bias : bool, default True
        Without it no layer has ``bias_ih`` and ``bias_hh``.
    batch_first : bool, default True
        x and output are (B, T, ...), mask and reset (B, T); if False, (T, B, ...) and (T, B).
        States are (layers*directions, B, H) either way.
    bidirectional : bool, default False
        A second direction reads each row from its end; its states follow the first's on the last axis.
    reverse : bool, default False
        The one direction, of every layer, reads each row from its own end: ONNX's ``direction="reverse"``, Keras'
        ``go_backwards`` with its output turned round. The output stays in the order of time, ``h_n`` is the state
        at the row's first step, and :meth:`step` goes from a step to the one before it.
    reset_after : bool, default True
        (F3), as PyTorch, cuDNN and Keras' default have it; False: (F3'), as in EpyNN, MyGrad and ONNX's default.
    formulation : {"after", "before", "candidate"}, optional
        The same choice by name, and a third one: "candidate" lets the reset gate act on the whole candidate,
        ``n = tanh(r * (W_in x + b_in + W_hn h' + b_hn))`` (F3''), as in DreamerV3 [2]_. There the update gate
        multiplies n, is ``sigmoid(u - 1)``, and all gates share one bias: its weights and biases are these, the
        update gate's negated, with 1 added to the update gate's bias (``update_bias=1`` at the start).
    activation : str or Activation, default "tanh"
        Of the new gate; see :class:`grus.Activation`.
    gate_activation : str, Activation or a pair, default "sigmoid"
        Of the reset and the update gate; a pair gives each its own.
    clip : float, optional
        Every pre-activation is cut to -clip ... clip first, as ONNX has it.
    blocks : int, default 1
        Each recurrent matrix is block-diagonal: so many blocks of H/blocks units, which do not see those of
        another; ``weight_hh`` is then (3H, H/blocks). It must divide H.
    layer_norm : bool, default False
        Each gate's product, of the input and of the state, is brought to mean 0 and variance 1 over its H units
        (F6), times ``gain_ih`` and ``gain_hh`` (3H,), which are parameters too, before its bias.
    dropout : float, default 0
        In training, the rate at which the output of every layer but the last is zeroed (and the rest scaled up).
    input_dropout : float, default 0
        In training, the rate of dropout on the projected input of each layer and direction: for each sequence and
        each gate one mask over the units, the same at every step.
    recurrent_dropout : float, default 0
        The same on the state, on its way into each gate [3]_.
    weight_dropout : float, default 0
        In training, the rate of dropout on the entries of the recurrent matrices, drawn once a pass [4]_.
    zoneout : float, default 0
        In training, the rate at which a unit keeps its state at a step (F5) [5]_; outside training that share
        of the state is kept.
    learn_h0 : bool, default False
        The states where ``h0`` or, after a reset, ``reset_state`` is omitted are parameters too: ``h0_l{k}``
        (H,), the same for each sequence, zeros at the start.
    truncate : int, optional
        In backward, each step's loss gradient passes through at most so many steps; all when omitted.
    gradient_clip : float, optional
        In backward, a state's gradient is cut to -gradient_clip ... gradient_clip as it leaves a step for the one
        before.
    init : {"orthogonal", "torch"} or mapping, default "orthogonal"
        Per-gate orthogonal ``weight_hh``, Glorot-uniform ``weight_ih``, zero biases; or U(-1/sqrt(H), 1/sqrt(H)).
        A mapping from any of "weight_ih", "weight_hh", "bias_ih", "bias_hh" to an initialiser, or to three (r, z,
        n) of them: "uniform" (the latter), "zeros", "ones" or a number; of weights "orthogonal",
        "glorot_uniform" and "identity" too. What it leaves out is as in "orthogonal".
    update_bias : float, default 0
        Added to the update gate's ``bias_ih`` at the start: above 0, the state is kept longer at first.
    save : {"gates", "outputs"}, default "gates"
        What training keeps for backward, a layer and direction: 5*T*B*H numbers, or T*B*H, from which backward
        computes the gates again: a third more arithmetic for a fifth of the memory, and the same bits.
    checkpoint_every : int, optional
        k: training keeps the states of every k-th step alone, T/k*B*H numbers a layer, and backward runs each
        chunk of k steps forward a second time; k near sqrt(T/5) needs the least memory. For very long sequences,
        together with ``return_output=False`` of :meth:`forward`. One direction only, forwards.
    dtype : {"float32", "float64", "complex128"}, default "float32"
        Of parameters, inputs and outputs; complex128 is there for complex-step differentiation.
    seed : int or numpy.random.Generator, optional
        Of the initial parameters; a fresh one when omitted. The global state of NumPy is never used.

    Raises
    ------
    ValueError, TypeError
        A value is out of range or of another type; the message tells which and what is expected.

    Notes
    -----
    Cost of a pass: 6*T*B*H*(I+H) floating-point operations a layer and direction forward, twice that backward.

    References
    ----------
    .. [1] Cho et al. 2014, "Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine
       Translation", arXiv:1406.1078, v1 (reset after) and v3 (reset before).
    .. [2] Hafner et al. 2023, "Mastering Diverse Domains through World Models", arXiv:2301.04104.
    .. [3] Gal & Ghahramani 2016, "A Theoretically Grounded Application of Dropout in Recurrent Neural Networks",
       arXiv:1512.05287.
    .. [4] Merity et al. 2017, "Regularizing and Optimizing LSTM Language Models", arXiv:1708.02182.
    .. [5] Krueger et al. 2016, "Zoneout: Regularizing RNNs by Randomly Preserving Hidden Activations",
       arXiv:1606.01305.

    Examples
    --------
    >>> import numpy as np
    >>> import grus
    >>> gru = grus.GRU(input_size=3, hidden_size=5, num_layers=2, seed=0)
    >>> output, h_n = gru(np.ones((2, 7, 3), np.float32))
    >>> output.shape, h_n.shape
    ((2, 7, 5), (2, 2, 5))
    >>> gru
    GRU(3, 5, num_layers=2) float32, 330 parameters
    """

    # Longer than 30 lines because every option has one here.
    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        bias: bool = True,
        batch_first: bool = True,
        bidirectional: bool = False,
        reverse: bool = False,
        reset_after: bool = True,
        formulation: str | None = None,
        activation: ActivationLike = "tanh",
        gate_activation: ActivationLike | tuple[ActivationLike, ActivationLike] = "sigmoid",
        clip: float | None = None,
        blocks: int = 1,
        layer_norm: bool = False,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        weight_dropout: float = 0.0,
        zoneout: float = 0.0,
        learn_h0: bool = False,
        truncate: int | None = None,
        gradient_clip: float | None = None,
        init: str | Mapping[str, Any] = "orthogonal",
        update_bias: float = 0.0,
        save: str = "gates",
        checkpoint_every: int | None = None,
        dtype: npt.DTypeLike = "float32",
        seed: int | np.random.Generator | None = None,
    ) -> None:
        self.input_size = _check.size("input_size", input_size)
        self.hidden_size = _check.size("hidden_size", hidden_size)
        self.num_layers = _check.size("num_layers", num_layers)
        self.bias = _check.boolean("bias", bias)
        self.batch_first = _check.boolean("batch_first", batch_first)
        self.bidirectional = _check.boolean("bidirectional", bidirectional)
        self.reverse = _check.reverse(reverse, self.bidirectional)
        self.layer_norm = _check.boolean("layer_norm", layer_norm)
        self.learn_h0 = _check.boolean("learn_h0", learn_h0)
        self.clip = None if clip is None else _check.positive("clip", clip)
        self.formulation = formulated(
            None if formulation is None else _check.choice("formulation", formulation, FORMULATIONS),
            _check.boolean("reset_after", reset_after),
            activation,
            gate_activation,
            self.clip,
            _check.divisor("blocks", blocks, "hidden_size", self.hidden_size),
            None if truncate is None else _check.size("truncate", truncate, minimum=0),
            None if gradient_clip is None else _check.positive("gradient_clip", gradient_clip),
        )
        self._rates = self._checked_rates(dropout, input_dropout, recurrent_dropout, weight_dropout, zoneout)
        self.init = checked_init(init, self.bias)
        self.update_bias = _check.number("update_bias", update_bias)
        self.save = _check.choice("save", save, functional.SAVES)
        self.checkpoint_every = _check.checkpoint_every(
            checkpoint_every, self.bidirectional, self.reverse, self.formulation.truncate
        )
        self.dtype = _check.dtype(dtype)
        if self.update_bias and not self.bias:
            raise ValueError(f"update_bias must be 0 because bias is False; got {self.update_bias:g}.")
        shapes = gru_shapes(
            self.input_size, self.hidden_size, self.num_layers, bias=self.bias, bidirectional=self.bidirectional,
            blocks=self.formulation.blocks, layer_norm=self.layer_norm, learn_h0=self.learn_h0,
        )  # fmt: skip
        self.parameters = Parameters(shapes, self.dtype)
        generator = _check.generator("seed", seed)
        initialise_gru(self.parameters, generator, self.init, self.update_bias, self.formulation.blocks)

    def _checked_rates(self, *rates: float) -> Rates | None:
        """What training drops; None where nothing ever is, so that a call need not ask for each of them."""
        checked = Rates(*map(_check.probability, Rates._fields, rates))
        drawn = checked._replace(dropout=checked.dropout if self.num_layers > 1 else 0.0)
        self.needs_rng = " and ".join(f"{name} is {rate:g}" for name, rate in drawn._asdict().items() if rate)
        return checked if any(checked) else None

    # ------------------------------------------------------------------------------------------------ running

    def __call__(
        self,
        x: Array,
        h0: Array | None = None,
        *,
        lengths: npt.ArrayLike | None = None,
        mask: npt.ArrayLike | None = None,
        reset: npt.ArrayLike | None = None,
        reset_state: Array | None = None,
        decay: Array | None = None,
    ) -> GRUOutput:
        """Run over a batch of sequences, or over one (x without its batch axis), keeping nothing for backward.

        Parameters
        ----------
        x : ndarray, shape (B, T, I), of the GRU's dtype
            (T, B, I) with ``batch_first=False``; (T, I) for one sequence, then no array below has a batch axis.
        h0 : ndarray, shape (layers*directions, B, H), optional
            The states before the first step; zeros when omitted, or what ``learn_h0`` learned.
        lengths : array of int, shape (B,), optional
            Row b holds ``lengths[b]`` steps, 0 ... T. The output past them is 0, h_n is the state at the last
            one (h0 where there is none), and the reverse direction starts there.
        mask : array of bool, shape (B, T), optional
            False: the step carries the state, and outputs it.
        reset : array of bool, shape (B, T), optional
            True: ``x[b, t]`` begins a new sequence: in neither direction does anything flow between t-1 and t.
        reset_state : ndarray, shape (layers*directions, B, H), optional
            The states from which a sequence begun by ``reset`` starts; as h0 when omitted.
        decay : ndarray, shape (B, T, H), or (B, T, 1) for all units alike, optional
            Multiplies the state before each step (F0), in every layer and direction: the same one in all of them.
            For what came at irregular times, such as exp(-elapsed/tau) [1]_.

        Returns
        -------
        GRUOutput
            ``output`` (B, T, directions*H) and ``h_n`` (layers*directions, B, H).

        Raises
        ------
        ValueError
            A shape or value does not fit; the message tells which, what was expected and what came.
        TypeError
            x, a state or the decay is not of the GRU's dtype.

        References
        ----------
        .. [1] Che et al. 2018, "Recurrent Neural Networks for Multivariate Time Series with Missing Values",
           doi:10.1038/s41598-018-24271-9.
        """
        layout, x, given = self._enter(x, h0, lengths, mask, reset, reset_state, decay)
        output, h_n = stack_forward(self._stack(), x, given)
        return GRUOutput(layout.leave(output), layout.leave_states(h_n))

    def forward(
        self,
        x: Array,
        h0: Array | None = None,
        *,
        lengths: npt.ArrayLike | None = None,
        mask: npt.ArrayLike | None = None,
        reset: npt.ArrayLike | None = None,
        reset_state: Array | None = None,
        decay: Array | None = None,
        rng: int | np.random.Generator | None = None,
        return_output: bool = True,
    ) -> GRUTraining:
        """Run as a call does, in training: what is random is drawn, and a tape is kept for one :meth:`backward`.

        Parameters
        ----------
        x, h0, lengths, mask, reset, reset_state, decay
            As in a call.
        rng : int or numpy.random.Generator, optional
            Where the masks of dropout and zoneout come from; needed when a rate is above 0. First those that hold
            for all steps are drawn, for each layer and direction ``input_dropout``, ``recurrent_dropout`` and
            ``weight_dropout``; then layer by layer ``dropout`` and for each direction ``zoneout`` (with
            ``checkpoint_every`` chunk by chunk). The same seed gives the same masks on every engine.
        return_output : bool, default True
            False, for a GRU with ``checkpoint_every`` whose loss is a function of ``h_n``: ``output`` is an array
            of no steps, (B, 0, H), so that no T*B*H numbers are kept anywhere.

        Returns
        -------
        GRUTraining
            ``output`` (read-only where the tape refers to it), ``h_n`` and ``tape``. The tape refers to x, to
            the decay and to the parameters: leave them as they are until backward.

        Raises
        ------
        ValueError, TypeError
            As a call; and where a rate is above 0 and ``rng`` is missing.
        """
        if self.needs_rng and rng is None:
            raise ValueError(f"rng must be given because {self.needs_rng}. Pass rng=0 or a Generator.")
        every, stack = self.checkpoint_every, self._stack()
        if return_output is not True:
            return_output = _check.return_output(return_output, every)
        generator = _check.generator("rng", rng) if self.needs_rng else None
        layout, x, given = self._enter(x, h0, lengths, mask, reset, reset_state, decay, generator)
        tape = Tape(layout, self.parameters, [], [], None, given)
        if every is None:
            output, h_n = stack_forward(stack, x, given, generator, tape)
        else:
            output, h_n, tape = checkpointed_forward(stack, tape, x, given, every, generator, return_output)
        return GRUTraining(layout.leave(output), layout.leave_states(h_n), tape)

    def backward(
        self,
        tape: Tape,
        d_output: Array | None = None,
        d_h_n: Array | None = None,
        *,
        per_sample: bool = False,
        out: Array | None = None,
    ) -> Gradients:
        """The exact gradients of x, h0, every parameter, reset_state and decay.

        Parameters
        ----------
        tape : Tape
            From :meth:`forward`; it can be used once.
        d_output : ndarray, of output's shape, optional
            The loss gradient with respect to ``output``; zeros when omitted.
        d_h_n : ndarray, of h_n's shape, optional
            The loss gradient with respect to ``h_n``; zeros when omitted.
        per_sample : bool, default False
            The parameters' gradients of each sequence apart, ``(B, *shape)``: Opacus' ``grad_sample``.
            Their sum over the batch is what comes otherwise.
        out : ndarray, shape (number of parameters,), optional
            The buffer on which to place the parameters' gradients; with ``per_sample`` (B, number of parameters).

        Returns
        -------
        Gradients
            ``x``, ``h0``, ``parameters`` (by name, on one buffer ``parameters.flat``), ``reset_state`` (None
            without reset) and ``decay`` (None without decay), the sum over all layers and directions.

        Raises
        ------
        ValueError, TypeError
            A gradient has another shape or dtype than what it belongs to.
        RuntimeError
            The tape was used before.

        Notes
        -----
        With ``per_sample`` each sequence goes back as a batch of one, on the engine in use, and its gates are
        computed again: a third more arithmetic than together, without what a batch gains, and B times the memory
        of the parameters.

        Examples
        --------
        >>> import numpy as np
        >>> import grus
        >>> gru = grus.GRU(3, 5, seed=0)
        >>> output, h_n, tape = gru.forward(np.ones((2, 7, 3), np.float32))
        >>> gradients = gru.backward(tape, d_output=np.ones_like(output))
        >>> gradients.x.shape, gradients.parameters["weight_ih_l0"].shape
        ((2, 7, 3), (15, 3))
        """
        d = self.stack_gradients(tape, d_output, d_h_n, per_sample, out)
        return d if tape.layout.is_time_major else _left(d, tape.layout)

    def stack_gradients(
        self,
        tape: Tape,
        d_output: Array | None,
        d_h_n: Array | None,
        per_sample: bool = False,
        out: Array | None = None,
        with_x: bool = True,
    ) -> Gradients:
        """:meth:`backward` in time-major arrays, without x's gradient where nobody needs it."""
        if not isinstance(tape, Tape):
            raise TypeError(f"tape must be what forward returned; got {type(tape).__name__}.")
        if tape.parameters is not self.parameters:
            raise ValueError("tape must be what this GRU's forward returned; got that of another GRU.")
        stack, layout, dtype = self._stack(), tape.layout, self.dtype
        if out is None and per_sample is False:
            gradients = self.parameters.unfilled()
        else:
            rows = layout.batch if _check.boolean("per_sample", per_sample) else None
            gradients = self._gradients(out, rows)
        D, H = stack.directions, stack.hidden_size
        d_output = layout.output("d_output", d_output, D * H, dtype)
        d_h_n = layout.states("d_h_n", d_h_n, stack.num_layers * D, H, dtype)
        return tape_backward(stack, tape, d_output, d_h_n, gradients, with_x)

    def step(self, x_t: Array, h: Array | None = None, *, decay: Array | None = None) -> Array:
        """One time step; of a reverse GRU, from the state after it in time to the one before.

        Parameters
        ----------
        x_t : ndarray, shape (B, I), or (I,) for one sequence
            The input of this step.
        h : ndarray, shape (layers, B, H), or (layers, H) for one sequence, optional
            The states before it; as in a call when omitted.
        decay : ndarray, shape (B, H) or (B, 1), or without B for one sequence, optional
            Multiplies the state before the step.

        Returns
        -------
        ndarray, of h's shape
            The states after it; ``[-1]`` is the last layer's, which is the output.

        Raises
        ------
        ValueError
            The GRU is bidirectional: its reverse direction needs the end of the sequence first.

        Examples
        --------
        >>> import numpy as np
        >>> import grus
        >>> gru, x = grus.GRU(3, 5, seed=0), np.ones((2, 7, 3), np.float32)
        >>> h = None
        >>> for t in range(7):
        ...     h = gru.step(x[:, t], h)
        >>> np.allclose(h, gru(x).h_n)
        True
        """
        _check.one_direction("step", self.bidirectional)
        x_t = _check.floating("x_t", x_t, self.dtype, "that is this GRU's dtype")
        if x_t.ndim not in (1, 2) or x_t.shape[-1] != self.input_size:
            _check.shaped("x_t", x_t, ("B", self.input_size), f"input_size is {self.input_size}")
        if decay is not None:
            decay = _check.floating("decay", decay, self.dtype, "x and the parameters are")
            last = 1 if decay.shape[-1:] == (1,) else self.hidden_size
            why = f"that is the shape of x_t but for the last axis, which is hidden_size {self.hidden_size} or 1"
            _check.shaped("decay", decay, (*x_t.shape[:-1], last), why)
        if self.batch_first and x_t.ndim == 2:
            return self(x_t[:, None], h, decay=None if decay is None else decay[:, None]).h_n
        return self(x_t[None], h, decay=None if decay is None else decay[None]).h_n

    def stream(self, batch_size: int = 1) -> Stream:
        """Make a :class:`Stream`, which takes one step at a time in the shortest time and keeps the state.

        Parameters
        ----------
        batch_size : int, default 1
            B, the number of sequences that run side by side.

        Returns
        -------
        Stream
            ``stream.step(x_t)`` is the output of a step. The parameters are bound now; after they have changed,
            call ``stream.refresh()``.

        Raises
        ------
        ValueError, TypeError
            The GRU is bidirectional or reverse, or ``batch_size`` is not a whole number above 0.
        """
        from grus.stream import Stream  # here and below: imported when it is first asked for

        return Stream(self, batch_size)

    def rest_state(self, x0: Array) -> Array:
        """The state that a constant input leaves as it is: h = f(x0, h), in every layer.

        As ``h0``, or where a stream is reset, it takes the place of the many steps of silence that bring a state
        there from zeros.

        Parameters
        ----------
        x0 : ndarray, shape (B, I), or (I,) for one sequence
            The input that stays.

        Returns
        -------
        ndarray, shape (layers, B, H), or (layers, H)
            The fixed points. They are found in float64, to rounding, and rounded to the GRU's dtype.

        Raises
        ------
        ValueError, TypeError
            x0 does not fit, or the GRU is bidirectional: its reverse direction starts at the end of a sequence.
        RuntimeError
            No state was found that stays and that those near it come to: it may oscillate or grow.

        Notes
        -----
        Some steps of the GRU, then Newton's method with the exact Jacobian, each step of it halved until it brings
        the state nearer. Cost: some 30*H**3 floating-point operations a layer, a row and a Newton step, of which a
        few are enough.

        Examples
        --------
        >>> import numpy as np
        >>> import grus
        >>> gru, silence = grus.GRU(3, 5, num_layers=2, update_bias=1, seed=0), np.full(3, 0.5, np.float32)
        >>> h = gru.rest_state(silence)
        >>> h.shape, bool(np.allclose(gru.step(silence, h), h, atol=1e-6))
        ((2, 5), True)
        """
        _check.one_direction("rest_state", self.bidirectional)
        x0 = _check.floating("x0", x0, self.dtype, "that is this GRU's dtype")
        if x0.ndim not in (1, 2) or x0.shape[-1] != self.input_size:
            _check.shaped("x0", x0, ("B", self.input_size), f"input_size is {self.input_size}")
        _check.finite("x0", x0, "A state can only rest under an input that is a number.")
        from grus._rest import rest_states

        states = rest_states(self._stack(), np.atleast_2d(x0))
        return states if x0.ndim == 2 else states[:, 0]

    def trace(
        self,
        x: Array,
        h0: Array | None = None,
        *,
        lengths: npt.ArrayLike | None = None,
        mask: npt.ArrayLike | None = None,
        reset: npt.ArrayLike | None = None,
        reset_state: Array | None = None,
        decay: Array | None = None,
    ) -> Trace:
        """Run as a call does, and return what every gate of every layer was at every step.

        Parameters
        ----------
        x, h0, lengths, mask, reset, reset_state, decay
            As in a call.

        Returns
        -------
        Trace
            ``r``, ``z``, ``n`` and ``h``, each (layers*directions, B, T, H): (.., T, B, H) with
            ``batch_first=False``, (.., T, H) for one sequence. At steps that are not valid, where no gate is
            computed, r, z and n are 0 and h is the carried state.

        Raises
        ------
        ValueError, TypeError
            As a call.

        Notes
        -----
        The time of :meth:`forward`, and 5*T*B*H numbers a layer and direction.

        Examples
        --------
        >>> import numpy as np
        >>> import grus
        >>> gru, x = grus.GRU(3, 5, num_layers=2, seed=0), np.ones((2, 7, 3), np.float32)
        >>> trace = gru.trace(x)
        >>> trace.z.shape, bool((trace.h[-1] == gru(x).output).all())
        ((2, 2, 7, 5), True)
        """
        layout, x, given = self._enter(x, h0, lengths, mask, reset, reset_state, decay)

        return traced(self._stack(), layout, x, given)

    def _enter(
        self,
        x: Array,
        h0: Array | None,
        lengths: Any,
        mask: Any,
        reset: Any,
        reset_state: Array | None,
        decay: Any,
        rng: np.random.Generator | None = None,
    ) -> tuple[Layout, Array, Given]:
        """What a call is given, checked and time-major, and what training draws from ``rng`` for all steps."""
        x = _check.floating("x", x, self.dtype, "that is this GRU's dtype")
        layout = Layout.of(x, self.input_size, self.batch_first)
        checked, steps, shared = None, PLAIN_STEPS[self.reverse], False
        if reset_state is not None:
            _check.reset_state_with_reset(reset_state, reset)
        own_h0, own_reset_state = h0 is None, reset is not None and reset_state is None
        h0 = self._states("h0", h0, layout)
        if lengths is not None or mask is not None or reset is not None:
            checked, steps = self._steps(layout, lengths, mask, reset, reset_state)
        if decay is not None:
            decay = layout.decay(decay, self.hidden_size, self.dtype)
            shared = decay.shape[2] != self.hidden_size
            steps = with_decay(steps, decay_of_units(decay, self.hidden_size))
        fixed = None if rng is None else self._fixed_masks(layout.batch, rng)
        return layout, layout.enter(x), Given(h0, steps, checked, own_h0, own_reset_state, shared, fixed)

    def _states(self, name: str, given: Array | None, layout: Layout) -> Array:
        """States as (layers*directions, B, H); where they are not given, zeros or the learned ones."""
        if given is None and self.learn_h0:
            return learned_states(self.parameters, self.num_layers, self.directions, layout.batch)
        return layout.states(name, given, self.num_layers * self.directions, self.hidden_size, self.dtype)

    def _steps(
        self, layout: Layout, lengths: Any, mask: Any, reset: Any, reset_state: Array | None
    ) -> tuple[Array | None, Steps]:
        """Checked lengths (B,), and how the steps follow each other."""
        if reset is not None:
            reset_state = self._states("reset_state", reset_state, layout)
        mask, reset, lengths = layout.flags("mask", mask), layout.flags("reset", reset), layout.lengths(lengths)
        checked = None if lengths is None else _check.padded_lengths(lengths, layout.batch, layout.steps)
        return checked, steps_of(layout.steps, checked, mask, reset, reset_state, self.reverse)

    def _fixed_masks(self, batch: int, rng: np.random.Generator) -> list[Fixed] | None:
        if self._rates is None:
            return None
        H, runs = self.hidden_size, self.num_layers * self.directions
        return fixed_masks(self._rates, runs, (3 * H, H // self.formulation.blocks), self.dtype, batch, rng)

    _kept: Stack | None = None

    def _stack(self) -> Stack:
        """Of the attributes, made once for as long as they stay."""
        stack = self._kept
        if stack is None:
            stack = Stack(
                self.parameters, self.formulation, self.num_layers, self.directions, self.hidden_size,
                self.learn_h0, self._rates, self.save,
            )  # fmt: skip
            self.__dict__["_kept"] = stack
        return stack

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        self.__dict__.pop("_kept", None)

    def __getstate__(self) -> dict[str, Any]:
        """What a copy or a pickle needs."""
        return {name: value for name, value in self.__dict__.items() if name != "_kept"}

    # Rates, read-only: they stand in one place.
    dropout = property(lambda self: (self._rates or _NO_RATES).dropout, doc="Rate between the layers.")
    input_dropout = property(lambda self: (self._rates or _NO_RATES).input_dropout, doc="Rate on the input.")
    recurrent_dropout = property(lambda self: (self._rates or _NO_RATES).recurrent_dropout, doc="On the state.")
    weight_dropout = property(lambda self: (self._rates or _NO_RATES).weight_dropout, doc="On weight_hh.")
    zoneout = property(lambda self: (self._rates or _NO_RATES).zoneout, doc="Rate of states kept.")

    def _gradients(self, out: Array | None, rows: int | None) -> Parameters:
        """Where the parameters' gradients go: on ``out``, for each of so many rows apart if they are told."""
        out = out if out is None else _check.buffer("out", out, self.flat.size, self.dtype, rows)
        if rows is None:
            return self.parameters.like(out)
        flat = np.empty((rows, self.flat.size), self.dtype) if out is None else out
        return SampleParameters(self.parameters.shapes, self.dtype, flat)

    jvp, hvp = derivatives.jvp, derivatives.hvp

    @property
    def directions(self) -> int:
        """2 if bidirectional, else 1."""
        return 2 if self.bidirectional else 1

    # ---------------------------------------------------------------------------------------------- parameters

    @property
    def flat(self) -> Array:
        """All parameters as one contiguous buffer, shape (number of parameters,)."""
        return self.parameters.flat

    def state_dict(self) -> dict[str, Array]:
        """Copies of the parameters under PyTorch's names."""
        return self.parameters.state_dict()

    def load_state_dict(self, state: Mapping[str, npt.ArrayLike], strict: bool = True) -> None:
        """Copy parameters in by name.

        Parameters
        ----------
        state : mapping of str to array
            As :meth:`state_dict` or PyTorch's ``nn.GRU.state_dict()`` gives it.
        strict : bool, default True
            Refuse missing and unknown names; if False, load what matches.

        Raises
        ------
        ValueError
            Names (if strict) or a shape do not fit; nothing is changed then.
        TypeError
            An array is of a wider dtype than this GRU's: the cast would lose digits.
        """
        self.parameters.load_state_dict(state, strict)

    def config(self) -> dict[str, Any]:
        """The constructor's arguments, but the seed, as a dictionary that JSON can hold."""
        form = self.formulation
        new, reset, update = (
            each.config() if self.clip is None else {k: v for k, v in each.config().items() if k != "clip"}
            for each in (form.activation, form.reset_activation, form.update_activation)
        )
        return {
            "input_size": self.input_size, "hidden_size": self.hidden_size, "num_layers": self.num_layers,
            "bias": self.bias, "batch_first": self.batch_first, "bidirectional": self.bidirectional,
            "reverse": self.reverse, "reset_after": form.reset != "before", "formulation": form.reset,
            "activation": new, "gate_activation": [reset, update], "clip": self.clip, "blocks": form.blocks,
            "layer_norm": self.layer_norm, **(self._rates or _NO_RATES)._asdict(), "learn_h0": self.learn_h0,
            "truncate": form.truncate, "gradient_clip": form.gradient_clip, "init": deepcopy(self.init),
            "update_bias": self.update_bias, "save": self.save,
            "checkpoint_every": self.checkpoint_every, "dtype": self.dtype.name,
        }  # fmt: skip

    @classmethod
    def from_config(cls, config: Mapping[str, Any], seed: int | np.random.Generator | None = None) -> GRU:
        """A GRU from what :meth:`config` gave, with new parameters."""
        return cls(**config, seed=seed)

    def __repr__(self) -> str:
        form = self.formulation
        options = {
            "num_layers": (self.num_layers, 1), "bias": (self.bias, True),
            "batch_first": (self.batch_first, True), "bidirectional": (self.bidirectional, False),
            "reverse": (self.reverse, False),
            "reset_after": (form.reset != "before", True), "dropout": (self.dropout, 0.0),
            "activation": (form.activation.name, "tanh"), "update_bias": (self.update_bias, 0.0),
            "formulation": (form.reset if form.reset == "candidate" else None, None), "clip": (self.clip, None),
            "blocks": (form.blocks, 1), "layer_norm": (self.layer_norm, False),
            "input_dropout": (self.input_dropout, 0.0), "recurrent_dropout": (self.recurrent_dropout, 0.0),
            "weight_dropout": (self.weight_dropout, 0.0), "zoneout": (self.zoneout, 0.0),
            "learn_h0": (self.learn_h0, False), "truncate": (form.truncate, None),
            "gradient_clip": (form.gradient_clip, None), "save": (self.save, "gates"),
            "checkpoint_every": (self.checkpoint_every, None),
        }  # fmt: skip
        parts = [str(self.input_size), str(self.hidden_size)]
        parts += [f"{name}={value!r}" for name, (value, default) in options.items() if value != default]
        return f"GRU({', '.join(parts)}) {self.dtype}, {self.parameters.size:,} parameters"


def _left(d: Gradients, layout: Layout) -> Gradients:
    """The gradients as the user's arrays are laid out."""
    reset_state = None if d.reset_state is None else layout.leave_states(d.reset_state)
    decay = None if d.decay is None else layout.leave(d.decay)
    return Gradients(layout.leave(d.x), layout.leave_states(d.h0), d.parameters, reset_state, decay)
