"""One :class:`grus.GRU` with an option: the calls that are timed, and their results by name."""

from __future__ import annotations

from typing import Any

import numpy as np

import grus
from benchmarks.cases import Array, Case, Data, rounded
from benchmarks.option_table import Option, arrays
from benchmarks.passes import named

SEED = 0


class Layer:
    """Time-major, with all that a call of it is given."""

    def __init__(self, case: Case, option: Option, dtype: str = "float32") -> None:
        data, rng = Data.random(case).astype(dtype), np.random.default_rng(3)
        self.case, self.option = case, option
        self.gru = grus.GRU(case.I, case.H, batch_first=False, dtype=dtype, seed=SEED, **option.model)
        self.gru.flat[...] += 0.1 * rng.standard_normal(self.gru.flat.shape)  # no bias 0, no gain 1
        runs = self.gru.num_layers * self.gru.directions
        self.x, self.d_output = data.x, np.concatenate([data.d_output] * self.gru.directions, axis=-1)
        self.given = {name: rounded(arrays(case)[name], dtype) for name in option.call}
        if not option.model.get("learn_h0"):
            self.given["h0"] = np.stack([data.h0] * runs)
        self.rng = np.random.default_rng(SEED)

    def inference(self) -> object:
        return self.gru(self.x, **self.given)

    def forward(self, rng: Any = None) -> Any:
        """That of training: draws what is random, and keeps the tape."""
        return self.gru.forward(self.x, **self.given, rng=self.rng if rng is None else rng)

    def training(self) -> object:
        return self.gru.backward(self.forward().tape, self.d_output)

    def trace(self) -> Any:
        return self.gru.trace(self.x, **self.given)

    def answers(self) -> dict[str, Array]:
        """What every pass computes, with the random numbers of one seed."""
        output, h_n, tape = self.forward(SEED)
        found = {"output": self.gru(self.x, **self.given).output, "training_output": output, "h_n": h_n}
        found |= named(self.gru.backward(tape, self.d_output)._asdict())
        if any("trace" in methods for methods in self.option.passes.values()):
            found |= self.trace()._asdict()
        return found

    def reference(self) -> dict[str, Array]:
        """What :meth:`answers` must be: of the same parameters in float64 on the reference engine."""
        wide = Layer(self.case, self.option, "float64")
        wide.gru.load_state_dict(self.gru.state_dict())
        with grus.use_engine("reference"):
            return wide.answers()
