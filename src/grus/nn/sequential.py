"""A model: layers one after the other on one flat parameter buffer.

Longer than 300 lines because its docstrings are the reference of the main class; the code is about half.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from grus import _check
from grus.nn._data import Array, Dataset, Inputs, as_inputs, pad, without_padding
from grus.nn._layer import Context, Layer
from grus.nn._registry import layer_from_config
from grus.nn._summary import summary
from grus.nn.dense import Dense
from grus.nn.embedding import Embedding, OneHot
from grus.nn.fit import evaluate, fit
from grus.nn.gru import GRU
from grus.nn.history import History
from grus.parameters import Parameters


@dataclass
class Tape:
    """What :meth:`Sequential.forward` keeps for one :meth:`Sequential.backward`."""

    layers: list[Any]
    logits: bool


class Run(NamedTuple):
    """The last layer's output and every layer's tape."""

    output: Array
    tapes: list[Any]


class Gradients(NamedTuple):
    """What :meth:`Sequential.backward` returns."""

    x: Array | None  # None where x holds symbols
    parameters: Parameters


class Sequential:
    """Layers one after the other.

    Parameters
    ----------
    layers : sequence of layers
        ``OneHot``, ``Embedding``, ``GRU``, ``GRUD``, ``Pool``, ``Flatten``, ``Dense``, ``Dropout`` of ``grus.nn``.
    dtype : {"float32", "float64"}, default "float32"
        Of the parameters and of everything computed; inputs are converted to it.
    seed : int or numpy.random.Generator, optional
        Of the initial parameters.

    Raises
    ------
    ValueError
        There is no layer, or two have one name.
    TypeError
        Something in ``layers`` is not a layer.

    Examples
    --------
    >>> import numpy as np
    >>> from grus import nn
    >>> model = nn.Sequential([nn.GRU(8), nn.Dense(2, "softmax")], seed=0)
    >>> x, y = np.random.default_rng(0).standard_normal((20, 7, 3)), np.arange(20) % 2
    >>> history = model.fit(x, y, loss="categorical_crossentropy", epochs=3, seed=0)
    >>> model.predict(x).shape, history.epochs
    ((20, 2), 3)
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        *,
        dtype: npt.DTypeLike = "float32",
        seed: int | np.random.Generator | None = None,
    ) -> None:
        self.layers = list(layers)
        self.dtype = _check.dtype(dtype)
        self.parameters = Parameters({}, self.dtype)
        self.history = History()
        self.input_shape: tuple[int, ...] | None = None
        self._rng = _check.generator("seed", seed)
        if not self.layers:
            raise ValueError("layers must hold at least one layer; got none.")
        self._name_layers()

    def _name_layers(self) -> None:
        for i, layer in enumerate(self.layers):
            if not isinstance(layer, Layer):
                raise TypeError(f"layers[{i}] must be a layer of grus.nn; got {type(layer).__name__}.")
            count = sum(type(before) is type(layer) for before in self.layers[: i + 1])
            layer.name = layer.name or f"{layer.kind.lower()}_{count}"
        names = [layer.name for layer in self.layers]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"each layer needs a name of its own; {name!r} stands {names.count(name)} times.")

    # ------------------------------------------------------------------------------------------------- building

    def build(self, x: Inputs) -> Sequential:
        """Infer every layer's sizes from data and make the parameters; a model is built once.

        Parameters
        ----------
        x : array or list of arrays
            As for :meth:`fit`. The first layer sees all of it (a vocabulary and the means of GRUD need that), the
            others a sample.
        """
        if self.built:
            return self
        inputs = self.inputs(x)
        sample = inputs[0][None]
        for layer in self.layers:
            if layer.joined:
                raise ValueError(
                    f"the layer {layer.name!r} belongs to another model; make a new one for this model."
                )
            with self.naming(layer), np.errstate(all="ignore"):  # the sample's shapes matter, not its values
                sizes = layer.infer_from_all(inputs) if layer is self.layers[0] else layer.infer(sample)
                layer.allocate(sizes, self.dtype, self._rng)
                sample, _ = layer.forward(sample, Context())
        self._join_parameters(inputs[0].shape)
        return self

    @property
    def built(self) -> bool:
        """True once sizes are known and parameters exist."""
        return self.input_shape is not None

    def _join_parameters(self, input_shape: tuple[int, ...]) -> None:
        """Move all layers' parameters onto one buffer; ``input_shape`` is that of the first sequence."""
        shapes = {f"{a.name}.{name}": shape for a in self.layers for name, shape in a.parameters.shapes.items()}
        self.parameters = Parameters(shapes, self.dtype)
        for layer, part in zip(self.layers, self.slices(), strict=True):
            layer.parameters.place_on(self.flat[part])
            layer.joined = True
        self.input_shape = input_shape

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A copy, or what comes out of a pickle, has views of its own buffer again."""
        self.__dict__.update(state)
        for layer, part in zip(self.layers, self.slices(), strict=True):
            layer.parameters.place_on(self.flat[part])

    def slices(self) -> list[slice]:
        """Where each layer's parameters lie in the flat buffer."""
        ends = np.cumsum([layer.parameters.size for layer in self.layers]).tolist()
        return [slice(end - layer.parameters.size, end) for end, layer in zip(ends, self.layers, strict=True)]

    @property
    def flat(self) -> Array:
        """All parameters as one buffer, shape (number of parameters,)."""
        return self.parameters.flat

    # -------------------------------------------------------------------------------------------------- running

    def __call__(self, x: Inputs, lengths: npt.ArrayLike | None = None) -> Array:
        """The model's output for one batch, outside training.

        Parameters
        ----------
        x : ndarray, shape (B, T, I), or list of B arrays (T_i, I)
            Symbols where the first layer is OneHot or Embedding: (B, T) or (T_i,).
        lengths : array of int, shape (B,), optional
            Valid steps of each row of a padded array.
        """
        inputs = self.build(x).inputs(x)
        padded, own = pad(inputs) if isinstance(inputs, list) else (inputs, None)
        if lengths is not None:
            own = _check.lengths(lengths, len(padded), padded.shape[1])
            padded = without_padding(padded, own)
        return self._output(padded, own)

    def _output(self, x: Array, lengths: Array | None) -> Array:
        """The output outside training; one at every step is 0 past each row's length."""
        output = self.run(x, Context(lengths=lengths)).output
        return output if output.ndim < 3 or lengths is None else without_padding(output, lengths)

    def forward(
        self,
        x: Array,
        lengths: Array | None = None,
        rng: int | np.random.Generator | None = None,
        *,
        logits: bool = False,
    ) -> tuple[Array, Tape]:
        """The output of one batch in training, and a tape for one :meth:`backward`.

        Parameters
        ----------
        x : ndarray, shape (B, T, I), of the model's dtype, or (B, T) symbols
            A padded batch.
        lengths : ndarray of int, shape (B,), optional
            Valid steps of each row.
        rng : int or numpy.random.Generator, optional
            Where dropout masks come from.
        logits : bool, default False
            Give the last layer's pre-activations (it must be Dense), for a loss fused with its activation.
        """
        if logits and not isinstance(self.layers[-1], Dense):
            raise ValueError(f"logits needs a Dense layer at the end; got {self.layers[-1].kind}.")
        if lengths is not None:
            lengths = _check.lengths(lengths, *x.shape[:2])
            x = without_padding(x, lengths)
        context = Context(True, None if rng is None else _check.generator("rng", rng), lengths)
        return self.build(x).record(x, context, logits)

    def record(self, x: Array, context: Context, logits: bool = False) -> tuple[Array, Tape]:
        """:meth:`forward` of a batch that needs no checks."""
        output, tapes = self.run(x, context, logits)
        return output, Tape(tapes, logits)

    def run(self, x: Array, context: Context, logits: bool = False) -> Run:
        """Every layer in turn on one padded batch; ``logits`` leaves out the last layer's activation."""
        tapes: list[Any] = []
        for layer in self.layers:
            with self.naming(layer):
                if logits and layer is self.layers[-1] and isinstance(layer, Dense):
                    x, tape = layer.logits(x), x
                else:
                    x, tape = layer.forward(x, context)
            tapes.append(tape)
        return Run(x, tapes)

    def backward(self, tape: Tape, dy: Array, out: Array | None = None) -> Gradients:
        """The gradients of x and of every parameter, from that of the output (or of the logits).

        Parameters
        ----------
        tape : Tape
            From :meth:`forward`.
        dy : ndarray, of the output's shape
            The loss gradient.
        out : ndarray, shape (number of parameters,), optional
            Where to put the parameters' gradients.
        """
        gradients = self.parameters.like(out)
        return Gradients(self.fill(self.split(gradients.flat), tape, dy), gradients)

    def split(self, flat: Array) -> list[Parameters]:
        """What :attr:`flat` is to the layers' parameters, for another buffer: each layer's part by name."""
        return [a.parameters.like(flat[part]) for a, part in zip(self.layers, self.slices(), strict=True)]

    def fill(self, gradients: list[Parameters], tape: Tape, dy: Array, with_x: bool = True) -> Array | None:
        """:meth:`backward` into buffers that :meth:`split` made; returns the gradient of x, if it is asked for."""
        d: Array | None = dy
        lowest = 0 if with_x else self._lowest_with_parameters()
        for layer, kept, own in reversed(list(zip(self.layers, tape.layers, gradients, strict=True))[lowest:]):
            if d is None:
                raise ValueError(
                    f"{layer.name} stands below a layer that reads symbols, so no gradient reaches it."
                )
            if tape.logits and layer is self.layers[-1] and isinstance(layer, Dense):
                d = layer.backward_from_logits(kept, d, own)
            elif isinstance(layer, GRU) and not with_x and layer is self.layers[lowest]:
                layer.backward_parameters(kept, d, own)
            else:
                d = layer.backward(kept, d, own)
        return d if with_x else None

    def _lowest_with_parameters(self) -> int:
        return next((i for i, layer in enumerate(self.layers) if layer.parameters.size), 0)

    def predict(self, x: Inputs, batch_size: int = 256) -> Array:
        """The output for any number of sequences, batch by batch.

        Parameters
        ----------
        x : ndarray, shape (N, T, I), or list of N arrays (T_i, I)
            As for a call.
        batch_size : int, default 256
            Sequences that are run together.

        Returns
        -------
        ndarray, shape (N, K); or (N, T, K) where the model outputs sequences, then zeros past each length
        """
        data = Dataset(self.build(x).inputs(x))
        batches = data.batches(_check.size("batch_size", batch_size), group_by_length=True)
        outputs = [(index, self._predict_batch(data, index)) for index in batches]
        longest = max((output for _, output in outputs), key=lambda output: output.shape[1])
        result = np.zeros((len(data), *longest.shape[1:]), longest.dtype)
        for index, output in outputs:
            result[index, : output.shape[1]] = output
        return result

    def _predict_batch(self, data: Dataset, index: npt.NDArray[np.intp]) -> Array:
        batch = data.batch(index)
        return self._output(batch.x, batch.lengths)

    def fit(self, x: Inputs, y: Any, **settings: Any) -> History:
        """Train; see :func:`grus.nn.fit` for the settings."""
        return fit(self, x, y, **settings)

    def evaluate(self, x: Inputs, y: Any, **settings: Any) -> dict[str, float]:
        """Loss and metrics on data; see :func:`grus.nn.evaluate`."""
        return evaluate(self, x, y, **settings)

    # --------------------------------------------------------------------------------------------- describing it

    def summary(self, x: Inputs | None = None) -> str:
        """A table of every layer's shapes, forward and backward, and of its parameters.

        Parameters
        ----------
        x : array or list of arrays, optional
            Run forward and backward on this batch to find the shapes; not needed for a model that is built,
            whose table then says B for the batch and T for time.
        """
        return summary(self, x)

    def state_dict(self) -> dict[str, Array]:
        """Copies of all parameters by name, ``layer.parameter``."""
        return self.parameters.state_dict()

    def load_state_dict(self, state: Mapping[str, npt.ArrayLike], strict: bool = True) -> None:
        """Copy parameters in by name; see :meth:`grus.GRU.load_state_dict`."""
        self.parameters.load_state_dict(state, strict)

    def config(self) -> dict[str, Any]:
        """All that is needed to build this model again, but the parameters' values."""
        layers = [layer.config() for layer in self.layers]
        return {"dtype": self.dtype.name, "input_shape": self.input_shape, "layers": layers}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Sequential:
        """A model from what :meth:`config` gave; built, with new parameters, if that one was."""
        model = cls([layer_from_config(each) for each in config["layers"]], dtype=config["dtype"])
        if config["input_shape"] is not None:
            for layer, each in zip(model.layers, config["layers"], strict=True):
                layer.allocate(each["sizes"], model.dtype, model._rng)
            model._join_parameters(tuple(config["input_shape"]))
        return model

    def __repr__(self) -> str:
        inside = ", ".join(map(repr, self.layers))
        size = f", {self.parameters.size:,} parameters" if self.built else ", not built yet"
        return f"Sequential([{inside}]) {self.dtype}{size}"

    @property
    def reads_symbols(self) -> bool:
        return isinstance(self.layers[0], (OneHot, Embedding))

    def inputs(self, x: Inputs) -> Array | list[Array]:
        """x as the first layer takes it: one array or a list of arrays, numbers in the model's dtype."""
        return as_inputs(x, self.dtype, self.reads_symbols, self.layers[0].time_feature)

    @contextmanager
    def naming(self, layer: Layer) -> Iterator[None]:
        """Errors inside say which layer they come from."""
        try:
            yield
        except (ValueError, TypeError) as error:
            kind = ValueError if isinstance(error, ValueError) else TypeError  # a subclass may not take a text
            position = self.layers.index(layer) + 1
            raise kind(f"layer {position} ({layer.name}): {error}") from error
