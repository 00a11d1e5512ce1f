"""MyGrad's ``gru``: the same outputs and gradients, given the masks that it drew, for every ``bp_lim``.

What it wrote is stored, so that a plain pytest needs no MyGrad; where there is one, it is run again on more sizes.
Its names: U and W map the input and the state, (C, D) and (D, D), with one bias a gate; s is (T+1, N, D), and s[0]
is the initial state, which gets no gradient. Its dropout multiplies W with a mask, the same for all rows, and the
projected input, before its bias, with another, the same at all steps.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import grus
import mygrad_runs
from helpers import assert_close
from mygrad_runs import MASKS
from test_golden import FOLDER, GRADIENT, files_of

Array = np.ndarray[Any, np.dtype[Any]]
GATES = "rzh"  # in our order
ENGINES = pytest.mark.parametrize("engine", ["reference", "native"])


def read(path: Path) -> dict[str, Array]:
    with np.load(path) as file:
        return dict(file)


def our_params(theirs: dict[str, Array]) -> grus.GRUParams:
    """Its weights, masked, and its biases: once, on the input's side."""
    dtype = theirs["X"].dtype
    masked = [theirs[f"W{gate}"] * theirs.get(f"dropW{gate}", 1) for gate in GATES]
    weight_ih = np.concatenate([theirs[f"U{gate}"].T for gate in GATES])
    weight_hh = np.concatenate([W.T for W in masked]).astype(dtype)
    bias = np.concatenate([theirs[f"b{gate}"] for gate in GATES])
    return grus.GRUParams(weight_ih, weight_hh, bias, np.zeros_like(bias))


def run(theirs: dict[str, Array], truncate: int | None) -> dict[str, Array]:
    """Our output, and our gradients under its names."""
    dtype = theirs["X"].dtype
    mask = None
    if "dropUz" in theirs:
        mask = np.concatenate([theirs[f"dropU{gate}"][0] for gate in GATES], axis=-1).astype(dtype)
    output, _, tape = grus.gru_forward(
        theirs["X"], theirs["s0"], our_params(theirs), formulation="before", input_mask=mask, truncate=truncate
    )
    d = grus.gru_backward(tape, theirs["d_s"][1:])
    np.testing.assert_array_equal(d.params.bias_ih, d.params.bias_hh)  # where the reset acts before
    found = {"s": np.concatenate([theirs["s0"][None], output]), "X": d.x}
    for gate, d_ih, d_hh, db in zip(GATES, *(np.split(each, 3) for each in d.params[:3]), strict=True):
        found |= {f"U{gate}": d_ih.T, f"W{gate}": d_hh.T * theirs.get(f"dropW{gate}", 1), f"b{gate}": db}
    return found


def assert_equal(theirs: dict[str, Array]) -> None:
    """The same output, and the same gradients for every limit: None, then 0, 1 ... T-1."""
    dtype, T = theirs["X"].dtype.name, len(theirs["X"])
    for i, truncate in enumerate([None, *range(T)]):
        found = run(theirs, truncate)
        assert_close(found.pop("s"), theirs["s"], "other library", dtype, "s")
        assert {f"{GRADIENT}{name}" for name in found} == {name for name in theirs if name.startswith(GRADIENT)}
        for name, value in found.items():
            expected = theirs[f"{GRADIENT}{name}"]
            assert len(expected) == T + 1
            assert_close(value, expected[i], "other library", dtype, f"{name} with bp_lim={truncate}")


def test_no_file_is_missing() -> None:
    cases = [f"mygrad_{case}_{dtype}" for case in ("dropout", "plain") for dtype in ("float32", "float64")]
    assert files_of("mygrad") == cases


@pytest.mark.parametrize("file", files_of("mygrad"))
def test_the_files_hold_what_they_are_to_show(file: str) -> None:
    theirs = read(FOLDER / f"{file}.npz")
    gradients = [array for name, array in theirs.items() if name.startswith(GRADIENT)]
    assert len(gradients) == 10
    for array in gradients:
        assert np.count_nonzero(array[0])
        np.testing.assert_array_equal(array[0], array[-1])  # T-1 is all
        for less, more in itertools.pairwise(array[1:]):
            assert not np.allclose(less, more, rtol=1e-4)
    assert theirs.keys() >= set(MASKS) if "dropout" in file else not theirs.keys() & set(MASKS)
    for name in MASKS if "dropout" in file else ():
        assert set(np.unique(theirs[name]).round(6)) <= {0, round(1 / 0.6, 6)}, name


@ENGINES
@pytest.mark.parametrize("file", files_of("mygrad"))
def test_equals_mygrad(file: str, engine: str) -> None:
    with grus.use_engine(engine):
        assert_equal(read(FOLDER / f"{file}.npz"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """What this machine's MyGrad writes."""
    pytest.importorskip("numba", reason="numba is not installed, which MyGrad's gru needs: pip install grus[test]")
    pytest.importorskip("mygrad", reason="mygrad is not installed: pip install grus[test]")
    folder = tmp_path_factory.mktemp("mygrad")
    seeds = [str(seed) for seed in mygrad_runs.SIZES]
    command = [sys.executable, mygrad_runs.__file__, str(folder), *seeds]
    done = subprocess.run(command, env=os.environ | {"NUMBA_DISABLE_JIT": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return sorted(folder.iterdir())


@ENGINES
def test_equals_the_mygrad_of_this_machine(runs: list[Path], engine: str) -> None:
    assert len(runs) == 4 * len(mygrad_runs.SIZES)
    with grus.use_engine(engine):
        for path in runs:
            assert_equal(read(path))


def test_the_golden_files_are_what_this_mygrad_gives(runs: list[Path]) -> None:
    for path in runs:
        if path.stem in files_of("mygrad"):
            golden, now = read(FOLDER / path.name), read(path)
            assert golden.keys() == now.keys()
            for name, value in now.items():
                assert_close(value, golden[name], "other library", golden["X"].dtype.name, f"{path.stem}: {name}")
