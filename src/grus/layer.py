"""``grus.GRU``: layers and directions over :func:`grus.gru_forward` and :func:`grus.gru_backward`.

Longer than 300 lines because its docstrings are the reference of the main class; the code is about half.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from grus import _check, derivatives, functional
from grus._checkpoint import checkpointed_forward, tape_backward
from grus._formulation import ActivationLike, formulated
from grus._layout import Layout
from grus._per_sample import SampleParameters
from grus._rest import rest_states
from grus._stack import Given, Stack, Tape, stack_forward
from grus._trace import Trace, traced
from grus.parameters import INITS, Parameters, gru_shapes, initialise_gru
from grus.stream import Stream

Array = np.ndarray[Any, np.dtype[Any]]


class GRUOutput(NamedTuple):
    """What calling a :class:`GRU` returns."""

    output: Array  # (B, T, directions*H), the last layer's states
    h_n: Array  # (layers*directions, B, H), each layer's and direction's last state


class GRUTraining(NamedTuple):
    """What :meth:`GRU.forward` returns."""

    output: Array
    h_n: Array
    tape: Tape


class Gradients(NamedTuple):
    """What :meth:`GRU.backward` returns; each has the shape of what it is the gradient of."""

    x: Array
    h0: Array
    parameters: Parameters
    reset_state: Array | None


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
    reset_after : bool, default True
        (F3), as PyTorch, cuDNN and Keras' default have it; False: (F3'), as in EpyNN, MyGrad and ONNX's default.
    activation : str or Activation, default "tanh"
        Of the new gate; see :class:`grus.Activation`.
    gate_activation : str, Activation or a pair, default "sigmoid"
        Of the reset and the update gate; a pair gives each its own.
    dropout : float, default 0
        In training, the rate at which the output of every layer but the last is zeroed (and the rest scaled up).
    init : {"orthogonal", "torch"}, default "orthogonal"
        Per-gate orthogonal ``weight_hh``, Glorot-uniform ``weight_ih``, zero biases; or U(-1/sqrt(H), 1/sqrt(H)).
    update_bias : float, default 0
        Added to the update gate's ``bias_ih`` at the start: above 0, the state is kept longer at first.
    save : {"gates", "outputs"}, default "gates"
        What training keeps for backward, a layer and direction: 5*T*B*H numbers, or T*B*H, from which backward
        computes the gates again: a third more arithmetic for a fifth of the memory, and the same bits.
    checkpoint_every : int, optional
        k: training keeps the states of every k-th step alone, T/k*B*H numbers a layer, and backward runs each
        chunk of k steps forward a second time; k near sqrt(T/5) needs the least memory. For very long sequences,
        together with ``return_output=False`` of :meth:`forward`. One direction only.
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

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        bias: bool = True,
        batch_first: bool = True,
        bidirectional: bool = False,
        reset_after: bool = True,
        activation: ActivationLike = "tanh",
        gate_activation: ActivationLike | tuple[ActivationLike, ActivationLike] = "sigmoid",
        dropout: float = 0.0,
        init: str = "orthogonal",
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
        self.formulation = formulated(None, reset_after, activation, gate_activation)
        self.dropout = _check.probability("dropout", dropout)
        self.init = _check.choice("init", init, INITS)
        self.update_bias = _check.number("update_bias", update_bias)
        self.save = _check.choice("save", save, functional.SAVES)
        self.checkpoint_every = _check.checkpoint_every(
            checkpoint_every, self.bidirectional, self.formulation.truncate
        )
        self.dtype = _check.dtype(dtype)
        if self.update_bias and not self.bias:
            raise ValueError(f"update_bias must be 0 because bias is False; got {self.update_bias:g}.")
        shapes = gru_shapes(
            self.input_size, self.hidden_size, self.num_layers, bias=bias, bidirectional=bidirectional
        )
        self.parameters = Parameters(shapes, self.dtype)
        initialise_gru(self.parameters, _check.generator("seed", seed), self.init, self.update_bias)

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
    ) -> GRUOutput:
        """Run over a batch of sequences, or over one (x without its batch axis), keeping nothing for backward.

        Parameters
        ----------
        x : ndarray, shape (B, T, I), of the GRU's dtype
            (T, B, I) with ``batch_first=False``; (T, I) for one sequence, then no array below has a batch axis.
        h0 : ndarray, shape (layers*directions, B, H), optional
            The states before the first step; zeros when omitted.
        lengths : array of int, shape (B,), optional
            Row b holds ``lengths[b]`` steps, 0 ... T. The output past them is 0, h_n is the state at the last
            one (h0 where there is none), and the reverse direction starts there.
        mask : array of bool, shape (B, T), optional
            False: the step carries the state, and outputs it.
        reset : array of bool, shape (B, T), optional
            True: ``x[b, t]`` begins a new sequence: in neither direction does anything flow between t-1 and t.
        reset_state : ndarray, shape (layers*directions, B, H), optional
            The states from which a sequence begun by ``reset`` starts; zeros when omitted.

        Returns
        -------
        GRUOutput
            ``output`` (B, T, directions*H) and ``h_n`` (layers*directions, B, H).

        Raises
        ------
        ValueError
            A shape or value does not fit; the message tells which, what was expected and what came.
        TypeError
            x or a state is not of the GRU's dtype.
        """
        output, h_n, _ = self._run(x, h0, lengths, mask, reset, reset_state, training=False, rng=None)
        return GRUOutput(output, h_n)

    def forward(
        self,
        x: Array,
        h0: Array | None = None,
        *,
        lengths: npt.ArrayLike | None = None,
        mask: npt.ArrayLike | None = None,
        reset: npt.ArrayLike | None = None,
        reset_state: Array | None = None,
        rng: int | np.random.Generator | None = None,
        return_output: bool = True,
    ) -> GRUTraining:
        """Run as a call does, in training: dropout is on, and a tape is kept for one :meth:`backward`.

        Parameters
        ----------
        x, h0, lengths, mask, reset, reset_state
            As in a call.
        rng : int or numpy.random.Generator, optional
            Where dropout masks come from; needed when ``dropout`` is above 0.
        return_output : bool, default True
            False, for a GRU with ``checkpoint_every`` whose loss is a function of ``h_n``: ``output`` is an array
            of no steps, (B, 0, H), so that no T*B*H numbers are kept anywhere.

        Returns
        -------
        GRUTraining
            ``output`` (read-only where the tape refers to it), ``h_n`` and ``tape``. The tape refers to x and to
            the parameters: leave both as they are until backward.

        Raises
        ------
        ValueError, TypeError
            As a call; and where dropout is above 0 and ``rng`` is missing.
        """
        if self.dropout and self.num_layers > 1 and rng is None:
            raise ValueError(f"rng must be given because dropout is {self.dropout:g}. Pass rng=0 or a Generator.")
        return_output = _check.return_output(return_output, self.checkpoint_every)
        generator = _check.generator("rng", rng) if self.dropout else None
        given = x, h0, lengths, mask, reset, reset_state
        output, h_n, tape = self._run(*given, training=True, rng=generator, return_output=return_output)
        return GRUTraining(output, h_n, tape)

    def backward(
        self,
        tape: Tape,
        d_output: Array | None = None,
        d_h_n: Array | None = None,
        *,
        per_sample: bool = False,
        out: Array | None = None,
    ) -> Gradients:
        """The exact gradients of x, h0, every parameter and reset_state.

        Parameters
        ----------
        tape : Tape
            From :meth:`forward`; it can be used once.
        d_output : ndarray, of output's shape, optional
            The loss gradient with respect to ``output``; zeros when omitted.
        d_h_n : ndarray, of h_n's shape, optional
            The loss gradient with respect to ``h_n``; zeros when omitted.
        per_sample : bool, default False
            The parameters' gradients of each sequence of the batch apart, (B, *shape): Opacus' ``grad_sample``.
            Their sum over the batch is what comes otherwise.
        out : ndarray, shape (number of parameters,), optional
            The buffer on which to place the parameters' gradients; with ``per_sample`` (B, number of parameters).

        Returns
        -------
        Gradients
            ``x``, ``h0``, ``parameters`` (by name, on one buffer ``parameters.flat``) and ``reset_state`` (None
            without reset).

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
        if not isinstance(tape, Tape):
            raise TypeError(f"tape must be what forward returned; got {type(tape).__name__}.")
        if tape.parameters is not self.parameters:
            raise ValueError("tape must be what this GRU's forward returned; got that of another GRU.")
        gradients = self._gradients(out, tape.layout.batch if _check.boolean("per_sample", per_sample) else None)
        D, H, layout = self.directions, self.hidden_size, tape.layout
        d_output = layout.output("d_output", d_output, D * H, self.dtype)
        d_h_n = layout.states("d_h_n", d_h_n, self.num_layers * D, H, self.dtype)
        d = tape_backward(self._stack(), tape, d_output, d_h_n, gradients)
        reset_state = None if d.reset_state is None else layout.leave_states(d.reset_state)
        return Gradients(layout.leave(d.x), layout.leave_states(d.h0), d.parameters, reset_state)

    def step(self, x_t: Array, h: Array | None = None) -> Array:
        """One time step.

        Parameters
        ----------
        x_t : ndarray, shape (B, I), or (I,) for one sequence
            The input of this step.
        h : ndarray, shape (layers, B, H), or (layers, H) for one sequence, optional
            The states before it; zeros when omitted.

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
        time = 1 if self.batch_first and x_t.ndim == 2 else 0
        return self(x_t[:, None] if time else x_t[None], h).h_n

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
            The GRU is bidirectional, or ``batch_size`` is not a whole number above 0.
        """
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
    ) -> Trace:
        """Run as a call does, and return what every gate of every layer was at every step.

        Parameters
        ----------
        x, h0, lengths, mask, reset, reset_state
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
        layout, x, given = self._enter(x, h0, lengths, mask, reset, reset_state)
        return traced(self._stack(), layout, x, given)

    def _run(
        self,
        x: Array,
        h0: Array | None,
        lengths: Any,
        mask: Any,
        reset: Any,
        reset_state: Array | None,
        *,
        training: bool,
        rng: np.random.Generator | None,
        return_output: bool = True,
    ) -> tuple[Array, Array, Tape]:
        layout, x, given = self._enter(x, h0, lengths, mask, reset, reset_state)
        tape: Any = Tape(layout, self.parameters, [], [])
        if training and (every := self.checkpoint_every) is not None:
            made = checkpointed_forward(self._stack(), tape, x, given, every, rng, return_output)
            output, h_n, tape = made
        else:
            output, h_n = stack_forward(self._stack(), tape, x, given, training, rng)
        return layout.leave(output), layout.leave_states(h_n), tape

    def _enter(
        self, x: Array, h0: Array | None, lengths: Any, mask: Any, reset: Any, reset_state: Array | None
    ) -> tuple[Layout, Array, Given]:
        """What a call is given, checked and time-major."""
        x = _check.floating("x", x, self.dtype, "that is this GRU's dtype")
        layout = Layout.of(x, self.input_size, self.batch_first)
        _check.reset_state_with_reset(reset_state, reset)
        sizes = (self.num_layers * self.directions, self.hidden_size, self.dtype)
        h0 = layout.states("h0", h0, *sizes)
        reset_state = h0 if reset is None else layout.states("reset_state", reset_state, *sizes)
        mask, reset, lengths = (
            layout.flags("mask", mask),
            layout.flags("reset", reset),
            layout.lengths(lengths),
        )
        shape = layout.steps, layout.batch
        checked, steps = functional.checked_steps(shape, lengths, mask, reset, reset_state, False)
        return layout, layout.enter(x), Given(h0, reset_state, checked, steps.valid, steps.reset)

    def _stack(self) -> Stack:
        depth = (self.num_layers, self.directions)
        return Stack(self.parameters, self.formulation, *depth, self.bias, self.dropout, self.save)

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
        return {
            "input_size": self.input_size, "hidden_size": self.hidden_size, "num_layers": self.num_layers,
            "bias": self.bias, "batch_first": self.batch_first, "bidirectional": self.bidirectional,
            "reset_after": form.reset == "after", "activation": form.activation.config(),
            "gate_activation": [form.reset_activation.config(), form.update_activation.config()],
            "dropout": self.dropout, "init": self.init, "update_bias": self.update_bias, "save": self.save,
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
            "reset_after": (form.reset == "after", True), "dropout": (self.dropout, 0.0),
            "activation": (form.activation.name, "tanh"), "update_bias": (self.update_bias, 0.0),
            "save": (self.save, "gates"), "checkpoint_every": (self.checkpoint_every, None),
        }  # fmt: skip
        parts = [str(self.input_size), str(self.hidden_size)]
        parts += [f"{name}={value!r}" for name, (value, default) in options.items() if value != default]
        return f"GRU({', '.join(parts)}) {self.dtype}, {self.parameters.size:,} parameters"
