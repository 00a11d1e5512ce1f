"""The activations in C++, where all 2^32 floats take a minute or two instead of an hour.

Every 61st float in the normal run, all of them with ``GRUS_STRESS=1``. ``test_native.py`` looks at fewer, but
wherever grus runs.
"""

from __future__ import annotations

import re

import pytest

import toolchain
from native_cases import ISAS, STRESS
from toolchain import CXX, REALS, Build, Unit, isa_flags, kernel_unit

STRIDE, COUNT = ("1", "4000000") if STRESS else ("61", "500000")
FUNCTIONS = {"sigmoid", "tanh", "elu", "softsign", "softplus", "scaled_tanh"}


def worst_errors(isa: str, *arguments: str) -> dict[str, float]:
    """The largest error of each function in ulp."""
    toolchain.require(CXX)
    name = isa.replace("-", "_")
    units = [kernel_unit(name, real) for real in REALS]
    tables = tuple(f"-DGRUS_{short.upper()}={name}_{short}" for short in REALS.values())
    main = Unit("tests/accuracy.cpp", (*isa_flags(name), *tables))
    said = toolchain.run([str(Build().program("accuracy", [main, *units])), *arguments])
    print(f"{isa} {' '.join(arguments)}\n{said}")
    return {function: float(ulp) for function, ulp in re.findall(r"^(\w+) (\S+) at ", said, re.MULTILINE)}


@pytest.mark.parametrize("arguments", [("float", STRIDE), ("double", COUNT)], ids=["float", "double"])
@pytest.mark.parametrize("isa", ISAS)
def test_four_ulp(isa: str, arguments: tuple[str, str]) -> None:
    errors = worst_errors(isa, *arguments)
    assert errors.keys() == FUNCTIONS
    for name, ulp in errors.items():
        assert 0.5 < ulp <= 4, f"{name}: {ulp} ulp"  # no function of these is without any error
