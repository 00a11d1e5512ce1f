"""Compiles the native core for tests of its own: with sanitizers, for another architecture, to read its assembly.

The flags are those of the build (``kernels/flags.cmake``). Every object is compiled once in a session, on all the
cores. Where a program is missing such tests skip, unless ``GRUS_REQUIRE_TOOLCHAIN=1`` says that it must be there.
"""

from __future__ import annotations

import atexit
import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

KERNELS = Path(__file__).parents[1] / "kernels"
CXX = os.environ.get("CXX", "g++")
CROSS, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"
X86_64 = ("x86_64_v2", "x86_64_v3", "x86_64_v4")
REALS = {"float": "f32", "double": "f64"}


def skip_or_fail(reason: str) -> None:
    """End the test: as a failure where the machine was said to have everything."""
    if os.environ.get("GRUS_REQUIRE_TOOLCHAIN") == "1":
        pytest.fail(f"GRUS_REQUIRE_TOOLCHAIN=1, but {reason}")
    pytest.skip(reason)


def require(*programs: str) -> None:
    """Go on only on Linux (elsewhere objects, sanitizers and emulators differ) and with these programs."""
    missing = [program for program in programs if shutil.which(program) is None]
    if not sys.platform.startswith("linux") or missing:
        skip_or_fail(f"needs Linux and {', '.join(missing or programs)}")


def flags_in(text: str) -> dict[str, tuple[str, ...]]:
    """What a file of lines ``set(NAME FLAG...)`` sets."""
    return {name: tuple(flags.split()) for name, flags in re.findall(r"^set\((\w+) ?(.*)\)$", text, re.MULTILINE)}


FLAGS = flags_in((KERNELS / "flags.cmake").read_text(encoding="utf-8"))


def isa_flags(isa: str) -> tuple[str, ...]:
    """What kernels.cpp is compiled with for an instruction set, as GCC takes it."""
    return (*FLAGS["kernel_flags"], *FLAGS[f"kernel_flags_{isa}"], *FLAGS.get(f"kernel_flags_gnu_{isa}", ()))


class Unit(NamedTuple):
    """A source of ``kernels/`` and what it is compiled with, beyond what its build adds."""

    source: str
    flags: tuple[str, ...] = ()


def kernel_unit(isa: str, real: str) -> Unit:
    """kernels.cpp for one instruction set (as in flags.cmake) and scalar type, as the build compiles it."""
    defines = (f"-DGRUS_REAL={real}", f"-DGRUS_TABLE={isa}_{REALS[real]}")
    return Unit("kernels.cpp", (*isa_flags(isa), *defines))


def core_units(isas: Sequence[str]) -> list[Unit]:
    """The core without Python and with kernels for these instruction sets; the tables of the others are empty."""
    has, known = ("GRUS_HAS_NEON", ("neon",)) if "neon" in isas else ("GRUS_HAS_X86_64", X86_64)
    units = [kernel_unit(isa, real) for isa in isas for real in REALS]
    units += [Unit("tests/absent.cpp", (f"-DGRUS_ABSENT={isa}",)) for isa in known if isa not in isas]
    units += [Unit("dispatch.cpp", (f"-D{has}",))]
    return [*units, *(Unit(f"{name}.cpp") for name in ("session", "threads", "memory", "cpu_info", "cgroup"))]


@dataclass(frozen=True)
class Build:
    """A way of compiling; ``flags`` come last, so they override a unit's."""

    compiler: str = CXX
    flags: tuple[str, ...] = ()

    def objects(self, units: Sequence[Unit]) -> list[Path]:
        """Compile what isn't yet compiled, as many at once as there are cores."""
        cores = len(os.sched_getaffinity(0))
        with ThreadPoolExecutor(cores) as executor:
            return list(executor.map(functools.partial(_compiled, self), units))

    def program(self, name: str, units: Sequence[Unit], *link: str) -> Path:
        """Link these units; ``link`` are flags for that alone."""
        path = Path(tempfile.mkdtemp(dir=workshop())) / name
        objects = map(str, self.objects(units))
        run([self.compiler, *self.flags, *link, *objects, "-pthread", "-o", str(path)])
        return path


def run(command: Sequence[str], **options: str) -> str:
    """The output of a command that has to succeed; what it says otherwise is the test's message."""
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | options)
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-60:])
        pytest.fail(f"{' '.join(command)} ended with {done.returncode}:\n{said}", pytrace=False)
    return done.stdout


@functools.cache
def workshop() -> str:
    """A folder of this session."""
    folder = tempfile.mkdtemp(prefix="grus-tests-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@functools.cache
def _compiled(build: Build, unit: Unit) -> Path:
    path = Path(tempfile.mkdtemp(dir=workshop())) / f"{Path(unit.source).stem}.o"
    always = ("-std=c++20", "-fPIC", "-fvisibility=hidden", "-pthread", f"-I{KERNELS}")
    run([build.compiler, *always, *unit.flags, *build.flags, "-c", str(KERNELS / unit.source), "-o", str(path)])
    return path
