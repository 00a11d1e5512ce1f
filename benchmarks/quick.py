"""Times one layer of the native engine at the sizes that the project watches: ``python benchmarks/quick.py``.

Each case first checks output and gradients against the reference, then takes the best of many calls, the thread
counts in turn so that what else the machine does falls on all of them. Operations counted: 6*T*B*H*(I+H) forward,
three times that in training.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

import grus

CASES = [  # T, B, I, H
    (100, 1, 32, 32),
    (100, 1, 128, 128),
    (100, 32, 16, 32),
    (100, 32, 64, 128),
    (100, 64, 128, 256),
    (50, 64, 256, 512),
    (30, 128, 512, 1024),
]


class Case:
    """Random data of one size, and the two calls that are timed."""

    def __init__(self, T: int, B: int, I: int, H: int, dtype: str, reset_after: bool) -> None:
        rng = np.random.default_rng(0)
        self.operations = 6 * T * B * H * (I + H)
        self.x = rng.standard_normal((T, B, I)).astype(dtype)
        self.params = grus.GRUParams.random(I, H, rng, dtype)
        self.d_output = rng.standard_normal((T, B, H)).astype(dtype)
        self.reset_after = reset_after

    def forward(self) -> np.ndarray:
        return grus.gru_forward(self.x, None, self.params, reset_after=self.reset_after, training=False)[0]

    def training(self) -> grus.GRUGradients:
        *_, tape = grus.gru_forward(self.x, None, self.params, reset_after=self.reset_after)
        return grus.gru_backward(tape, self.d_output)

    def check(self) -> None:
        """Output and every gradient, to what rounding allows."""
        found = (self.forward(), *_flat(self.training()))
        with grus.use_engine("reference"):
            exact = (self.forward(), *_flat(self.training()))
        for value, right in zip(found, exact, strict=True):
            error = np.linalg.norm(value - right) / np.linalg.norm(right)
            assert error < (1e-4 if value.dtype == np.float32 else 1e-12), error


def _flat(gradients: grus.GRUGradients) -> tuple[np.ndarray, ...]:
    return (gradients.x, gradients.h0, *gradients.params)


def best(calls: dict[int, Callable[[], object]], seconds: float) -> dict[int, float]:
    """The shortest time of each call, in turn until the seconds are over."""
    shortest = dict.fromkeys(calls, float("inf"))
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for threads, call in calls.items():
            grus.set_num_threads(threads)
            for _ in range(3):
                start = time.perf_counter()
                call()
                shortest[threads] = min(shortest[threads], time.perf_counter() - start)
    grus.set_num_threads(None)
    return shortest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dtype", default="float32", choices=["float32", "float64"])
    parser.add_argument("--reset-before", action="store_true", help="(F3') instead of (F3)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=1.0, help="for each case and pass")
    parser.add_argument("--cases", type=int, nargs="+", default=range(len(CASES)), help="their numbers, from 0")
    options = parser.parse_args()
    print(f"{grus.cpu_info()['brand']}, {grus.instruction_set()}, {options.dtype}")
    print(
        f"{'T,B,I,H':>18}  pass      "
        + "".join(f"{n} thread{'s' * (n > 1)}: ms  GFLOP/s   " for n in options.threads)
    )
    for number in options.cases:
        case = Case(*CASES[number], options.dtype, not options.reset_before)
        case.check()
        for name, call, passes in (("forward", case.forward, 1), ("training", case.training, 3)):
            shortest = best(dict.fromkeys(options.threads, call), options.seconds)
            figures = "".join(
                f"{1e3 * t:13.3f} {passes * case.operations / t / 1e9:8.1f}    " for t in shortest.values()
            )
            print(f"{','.join(map(str, CASES[number])):>18}  {name:8}{figures}")


if __name__ == "__main__":
    main()
