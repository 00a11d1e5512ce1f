"""One step at a time, as fast as the machine can: a GRU's state kept between calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from grus import _check
from grus._engine import engine
from grus._session import session
from grus._stack import inference_problems, learned_states

if TYPE_CHECKING:
    from grus._files import PathLike
    from grus.layer import GRU

Array = np.ndarray[Any, np.dtype[Any]]


class Stream:
    """A GRU that runs step by step, for data that comes one step at a time; :meth:`GRU.stream` makes one.

    Its outputs have the bits of the whole sequence. A step allocates nothing and runs on the calling thread; one
    stream is for one thread at a time, and any number of streams of a GRU can run at once.

    The parameters are bound, and packed for the processor, when the stream is made: :meth:`refresh` takes them
    anew after they have changed. The engine is the one in use at that time.

    Parameters
    ----------
    gru : GRU
        Of one direction, forwards.
    batch_size : int, default 1
        B, the number of sequences that run side by side.

    Raises
    ------
    ValueError
        The GRU is bidirectional or reverse: it starts at the end of a sequence.
    TypeError
        ``batch_size`` is no whole number.

    Examples
    --------
    >>> import numpy as np
    >>> import grus
    >>> gru, x = grus.GRU(3, 5, num_layers=2, seed=0), np.ones((7, 3), np.float32)
    >>> stream = gru.stream()
    >>> outputs = [stream.step(x_t).copy() for x_t in x]
    >>> bool((np.stack(outputs) == gru(x).output).all())
    True
    >>> stream.state.shape
    (2, 1, 5)
    """

    __slots__ = ("_decay", "_gru", "_parameters", "_session", "_states", "_x", "batch_size")

    def __init__(self, gru: GRU, batch_size: int = 1) -> None:
        _check.forwards("stream", gru.bidirectional, gru.reverse)
        self._gru, self.batch_size = gru, _check.size("batch_size", batch_size)
        self._parameters = gru.parameters.like()
        self._states = np.zeros((2, gru.num_layers, self.batch_size, gru.hidden_size), gru.dtype)
        self._x = np.empty((self.batch_size, gru.input_size), gru.dtype)
        self._decay = np.empty_like(self._states[0])
        self._bind(gru.flat)
        self.reset()

    def _bind(self, flat: Array) -> None:
        """Make the session, on these parameters and the states of half 0."""
        self._parameters.flat[...] = flat
        stack = self._gru._stack()._replace(parameters=self._parameters)
        problems = inference_problems(stack, self._gru.input_size, self.batch_size)
        self._session = session(engine(self._gru.dtype), problems, self._states)

    # ----------------------------------------------------------------------------------------------- running

    def step(self, x_t: Array, decay: Array | None = None) -> Array:
        """Take one step of every sequence.

        Parameters
        ----------
        x_t : ndarray, shape (B, I), of the GRU's dtype
            The input; for a batch of one also (I,). Contiguous in its last axis it is read as it is, else copied.
        decay : ndarray, shape (layers, B, H), optional
            Multiplies the state first (F0).

        Returns
        -------
        ndarray, shape (B, H), or (H,)
            The last layer's state. It is the stream's own, read-only, and a later step, ``reset`` or ``load``
            overwrites it: copy what is to be kept.

        Raises
        ------
        ValueError, TypeError
            A shape or dtype does not fit; the state is as it was then.
        """
        output = self._session.step(x_t, decay)
        return self._step_of_copies(x_t, decay) if output is None else output

    def _step_of_copies(self, x_t: Any, decay: Any) -> Array:
        """Say what is wrong with arrays that the session did not take, or else take copies of them."""
        dtype, (B, I) = self._gru.dtype, self._x.shape
        x = _check.floating("x_t", x_t, dtype, "that is this GRU's dtype")
        if x.shape != (I,) or B != 1:
            _check.shaped("x_t", x, (B, I), f"batch_size is {B} and input_size is {I}")
        if decay is not None:
            decay = _check.floating("decay", decay, dtype, "that is this GRU's dtype")
            self._decay[...] = _check.shaped("decay", decay, self._decay.shape, "that is (layers, B, hidden_size)")
            decay = self._decay
        self._x[...] = x
        output = self._session.step(self._x if x.ndim == 2 else self._x[0], decay)
        assert output is not None  # what the session takes is what was just made
        return output

    def refresh(self) -> None:
        """Take the GRU's parameters as they are now; the state stays."""
        self._states[0] = self._now
        self._bind(self._gru.flat)

    # ------------------------------------------------------------------------------------------------- state

    @property
    def _now(self) -> Array:
        """The states (layers, B, H) themselves."""
        return np.asarray(self._states[self._session.half])

    @property
    def state(self) -> Array:
        """A copy of the states (layers, B, H). Set it to go on from others; (layers, H) is for every row."""
        return self._now.copy()

    @state.setter
    def state(self, value: Array) -> None:
        self.reset(state=value)

    def reset(self, rows: npt.ArrayLike | None = None, state: Array | None = None) -> None:
        """Begin new sequences.

        Parameters
        ----------
        rows : int, array of int, or array of bool, shape (B,), optional
            Which; all when omitted.
        state : ndarray, shape (layers, rows, H), or (layers, H) for the same in each, optional
            What to start from, such as :meth:`GRU.rest_state`; zeros when omitted, or the states that
            ``learn_h0`` learned.

        Raises
        ------
        ValueError, TypeError
            A row is not there, or the state does not fit; nothing is changed then.

        Examples
        --------
        >>> import numpy as np
        >>> import grus
        >>> gru, silence = grus.GRU(3, 5, seed=0), np.full(3, 0.5, np.float32)
        >>> stream = gru.stream(batch_size=4)
        >>> stream.reset(rows=[0, 2], state=gru.rest_state(silence))
        >>> [bool(row.any()) for row in stream.state[0]]
        [True, False, True, False]
        """
        chosen = slice(None) if rows is None else _check.row_numbers("rows", rows, self.batch_size)
        now = self._now
        if state is None:
            now[:, chosen] = learned_states(self._parameters, len(now), 1, 1) if self._gru.learn_h0 else 0
            return
        state = _check.floating("state", state, self._gru.dtype, "that is this GRU's dtype")
        layers, count, H = now[:, chosen].shape
        if state.ndim == 2:
            state = _check.shaped("state", state, (layers, H), "that is (layers, hidden_size)")[:, None]
        else:
            _check.shaped("state", state, (layers, count, H), "that is (layers, rows, hidden_size)")
        now[:, chosen] = state

    def save(self, path: PathLike) -> None:
        """Write the state to a safetensors file: whole, or not at all.

        Parameters
        ----------
        path : path
            ``.safetensors`` is the usual ending. An existing file is replaced in one step.

        Raises
        ------
        ValueError
            The GRU is complex128.
        FileNotFoundError
            The folder does not exist.
        """
        from grus import _stream_file

        _stream_file.write(path, self._now, self._gru)

    def load(self, path: PathLike) -> None:
        """Go on from a state that :meth:`save` wrote: the outputs have the bits that they would have had.

        Parameters
        ----------
        path : path
            The file.

        Raises
        ------
        FileNotFoundError
            There is no file.
        ValueError
            The file is damaged, or holds the state of another GRU or another number of sequences. Whether its
            parameters were the same is not known.
        """
        from grus import _stream_file

        self._now[...] = _stream_file.read(path, self._states.shape[1:], self._gru)

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy, or what comes out of a pickle, goes on from the same state with the parameters bound here."""
        return _made_again, (self._gru, self.batch_size, self._parameters.flat.copy(), self.state)

    def __repr__(self) -> str:
        return f"Stream({self._gru!r}, batch_size={self.batch_size})"


def _made_again(gru: GRU, batch_size: int, flat: Array, state: Array) -> Stream:
    stream = Stream(gru, batch_size)
    stream._bind(flat)
    stream.state = state
    return stream
