"""Several callers at once: Python threads on one model, forked processes, and forks while others are in a call."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import grus
from native_cases import ISAS, Run, assert_same_bits
from test_same_bits import BY_ROWS, BY_UNITS, DTYPES

pytestmark = pytest.mark.skipif(not ISAS, reason="no compiled kernels for this processor")

CALLERS = 8


@pytest.fixture(autouse=True)
def _native() -> Iterator[None]:
    with grus.use_engine("native"):
        yield
    grus.set_num_threads(None)


def results(gru: grus.GRU, seed: int) -> dict[str, np.ndarray]:
    """Everything that training and inference give on a caller's own data, its sizes too."""
    rng = np.random.default_rng(seed)
    B, T, H = 5 + 4 * seed, 4 + seed, gru.hidden_size
    x, d_output = (rng.standard_normal((B, T, width)).astype(gru.dtype) for width in (gru.input_size, 2 * H))
    h0, d_h_n = rng.standard_normal((2, 4, B, H)).astype(gru.dtype)
    lengths = rng.integers(0, T + 1, B)
    output, h_n, tape = gru.forward(x, h0, lengths=lengths)
    d = gru.backward(tape, d_output, d_h_n)
    inference = gru(x, h0, lengths=lengths).output
    return {"output": output, "h_n": h_n, "inference": inference, "dx": d.x, "dh0": d.h0, **d.parameters}


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reset_after", [True, False])
def test_python_threads_share_a_model(reset_after: bool, dtype: str, threads: int) -> None:
    gru = grus.GRU(9, 40, 2, bidirectional=True, reset_after=reset_after, dtype=dtype, seed=0)
    before = gru.flat.copy()
    grus.set_num_threads(1)
    expected = [results(gru, seed) for seed in range(CALLERS)]
    grus.set_num_threads(threads)
    with ThreadPoolExecutor(CALLERS) as executor:
        for _ in range(3):
            found = executor.map(lambda seed: results(gru, seed), range(CALLERS))
            for one, right in zip(found, expected, strict=True):
                assert_same_bits(one, right)
    np.testing.assert_array_equal(gru.flat, before)


def test_python_threads_with_layers_of_their_own() -> None:
    grus.set_num_threads(2)
    runs = [Run(sizes, "float32", seed=seed) for seed, sizes in enumerate([BY_ROWS, BY_UNITS] * 4)]
    expected = [run() for run in runs]
    with ThreadPoolExecutor(CALLERS) as executor:
        for _ in range(5):
            for found, right in zip(executor.map(lambda run: run(), runs), expected, strict=True):
                assert_same_bits(found, right)


# ------------------------------------------------------------------------------------------------------ forks

# Every script ends with the number of runs that gave the right bits; a process that hangs is ended by its alarm.
START = f"""
import multiprocessing, os, signal, sys, threading
sys.path.insert(0, {os.path.dirname(__file__)!r})
import grus
from native_cases import Run
grus.set_num_threads(3)
runs = [Run(sizes, "float32") for sizes in {[BY_ROWS, BY_UNITS]}]
expected = [run() for run in runs]
def right(_=None):
    return all((run()[name] == value).all() for run, b in zip(runs, expected) for name, value in b.items())
def fork(work):  # the exit status of a child that does the work
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        status = 1
        try:
            status = 0 if work() else 1
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1]
"""


def forked(script: str) -> str:
    """What a script says in a process of its own, which other tests' threads can't disturb."""
    environment = {name: v for name, v in os.environ.items() if not name.startswith(("GRUS_", "OMP_"))}
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", START + script]  # Python warns of forks
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


@forks
def test_a_child_and_its_child_have_threads_of_their_own() -> None:
    script = "print(fork(lambda: right() and fork(right) == 0 and right()), right())"
    assert forked(script) == "0 True"


@forks
def test_a_child_whose_threads_call() -> None:
    script = """
from concurrent.futures import ThreadPoolExecutor
def work():
    with ThreadPoolExecutor(4) as executor:
        return all(executor.map(right, range(8)))
print(fork(work), right())
"""
    assert forked(script) == "0 True"


@forks
def test_forks_while_other_threads_are_in_a_call() -> None:
    script = """
done = threading.Event()
def call():
    while not done.is_set():
        right()
threads = [threading.Thread(target=call) for _ in range(2)]
for thread in threads: thread.start()
statuses = [fork(right) for _ in range(10)]
done.set()
for thread in threads: thread.join()
print(sum(statuses), right())
"""
    assert forked(script) == "0 True"


@forks
def test_multiprocessing_forks() -> None:
    script = """
signal.alarm(100)
with multiprocessing.get_context("fork").Pool(2) as pool:
    print(sum(pool.map(right, range(6))), right())
"""
    assert forked(script) == "6 True"
