"""NEON computes what AVX2 computes, bit for bit: cross-compiled, and run under user-mode emulation.

It needs Debian's ``g++-aarch64-linux-gnu`` and ``qemu-user``.
"""

from __future__ import annotations

import pytest

import grus
import toolchain
from toolchain import CROSS, CXX, EMULATOR, Build, Unit, kernel_unit


def digests(real: str, isa: str, compiler: str, *link: str, emulator: tuple[str, ...] = ()) -> list[str]:
    """What the kernels compute when they are compiled like this: a line for each problem."""
    kernels = kernel_unit(isa, real)
    defines = tuple(flag for flag in kernels.flags if flag.startswith("-D"))
    units = [kernels, Unit("tests/digests.cpp", (*defines, "-Wall", "-Wextra"))]
    program = Build(compiler).program("digests", units, *link)
    return toolchain.run([*emulator, str(program)]).splitlines()


@pytest.mark.parametrize("real", ["float", "double"])
def test_neon_gives_the_bits_of_avx2(real: str) -> None:
    toolchain.require(CXX, CROSS, EMULATOR)
    if "x86-64-v3" not in grus.cpu_info()["instruction_sets"]:
        toolchain.skip_or_fail("needs a processor with x86-64-v3")
    avx2 = digests(real, "x86_64_v3", CXX)
    neon = digests(real, "neon", CROSS, "-static", emulator=(EMULATOR,))
    assert len(avx2) == 244
    assert len(set(avx2[:144])) == 144
    assert neon == avx2
