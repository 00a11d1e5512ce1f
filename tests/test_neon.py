"""NEON computes what AVX2 computes, bit for bit: cross-compiled, and run under user-mode emulation.

It needs Debian's ``g++-aarch64-linux-gnu`` and ``qemu-user``. Where they are missing it skips, unless
``GRUS_REQUIRE_CROSS=1`` says that they must be there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import grus

KERNELS = Path(__file__).parents[1] / "kernels"
CROSS, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"
FLAGS = ("-std=c++20", "-O3", "-fno-math-errno", "-ffp-contract=off", "-fno-exceptions", "-Wall", "-Wextra")


def digests(folder: Path, real: str, compiler: list[str], emulator: list[str]) -> list[str]:
    """What the kernels compute when they are compiled like this: a line for each size."""
    program = folder / f"digests_{len(emulator)}"
    sources = [str(KERNELS / "kernels.cpp"), str(KERNELS / "tests" / "digests.cpp")]
    defines = [f"-DGRUS_REAL={real}", "-DGRUS_TABLE=table", f"-I{KERNELS}"]
    subprocess.run([*compiler, *FLAGS, *defines, *sources, "-o", str(program)], check=True)
    done = subprocess.run([*emulator, str(program)], check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


@pytest.mark.parametrize("real", ["float", "double"])
def test_neon_gives_the_bits_of_avx2(real: str, tmp_path: Path) -> None:
    native = os.environ.get("CXX", "g++")
    missing = [program for program in (CROSS, EMULATOR, native) if shutil.which(program) is None]
    if missing or "x86-64-v3" not in grus.cpu_info()["instruction_sets"]:
        if os.environ.get("GRUS_REQUIRE_CROSS") == "1":
            pytest.fail(f"GRUS_REQUIRE_CROSS=1, but {', '.join(missing) or 'x86-64-v3'} is missing")
        pytest.skip("needs a processor with x86-64-v3, a compiler for aarch64 and an emulator")
    avx2 = digests(tmp_path, real, [native, "-march=x86-64-v3"], [])
    neon = digests(tmp_path, real, [CROSS, "-static"], [EMULATOR])
    assert len(avx2) == len(set(avx2)) == 144
    assert neon == avx2
