"""Random problems in C++, built with AddressSanitizer and UndefinedBehaviorSanitizer, with ThreadSanitizer, and as
users get it.

Undefined behaviour ends the process with an illegal instruction and no message: that compiles three times as fast.
To see where, compile without ``-fsanitize-undefined-trap-on-error``.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

import toolchain
from native_cases import ISAS, STRESS
from tolerances import relative
from toolchain import CXX, Build, Unit, core_units

# Outlined checks and fewer inlined functions: the kernels' templates compile in a fifth of the time.
QUICK = ("-O1", "-fno-inline-functions-called-once", "--param", "asan-instrumentation-with-call-threshold=0")
UNDEFINED = ("-fsanitize=undefined", "-fno-sanitize=null,vptr,object-size", "-fsanitize-undefined-trap-on-error")
ADDRESS = Build(flags=("-fsanitize=address", *UNDEFINED, *QUICK))
THREAD = Build(flags=("-fsanitize=thread", *QUICK))
TOLERANCES = [str(relative("same maths, any shape", dtype)) for dtype in ("float32", "float64")]
# What a sanitizer says where the machine doesn't let it work, which is no finding.
NO_LEAKS, NO_MAPPING = "LeakSanitizer has encountered a fatal error", "unexpected memory mapping"


def program(build: Build, isas: list[str]) -> Path:
    toolchain.require(CXX)
    main = Unit("tests/random_problems.cpp", ("-Wall", "-Wextra"))
    return build.program("random_problems", [main, *core_units([isa.replace("-", "_") for isa in isas])])


def random_problems(path: Path, count: int, isas: list[str]) -> None:
    command = [str(path), "1", str(count * (20 if STRESS else 1)), *TOLERANCES, *isas]
    try:
        said = toolchain.run(command)
    except pytest.fail.Exception as failure:
        if NO_LEAKS in str(failure):
            said = toolchain.run(command, ASAN_OPTIONS="detect_leaks=0")
        elif NO_MAPPING in str(failure) and shutil.which("setarch"):
            said = toolchain.run(["setarch", "-R", *command])
        else:
            raise
    assert said.endswith("problems passed\n")


def test_as_users_get_it() -> None:
    random_problems(program(Build(), ISAS), 200, ISAS)


def test_addresses_leaks_and_undefined_behaviour() -> None:
    random_problems(program(ADDRESS, ISAS), 40, ISAS)


def test_races() -> None:
    """On one instruction set: which threads touch what is the same on all."""
    random_problems(program(THREAD, ISAS[:1]), 40, ISAS[:1])


@pytest.mark.parametrize(
    ("build", "fault"),
    [
        (ADDRESS, "int* a = new int[n]; volatile int b = a[n]; delete[] a; return 0;"),
        (ADDRESS, "int* volatile a = new int[n]; a = nullptr; return 0;"),
        (ADDRESS, "volatile int a = n + 0x7fffffff; return 0;"),
        (THREAD, "int a = 0; std::thread b([&] { a = n; }); a = 2; b.join(); return 0;"),
    ],
    ids=["overrun", "leak", "overflow", "race"],
)
def test_the_sanitizers_see_what_they_are_for(build: Build, fault: str, tmp_path: Path) -> None:
    toolchain.require(CXX)
    source = tmp_path / "fault.cpp"
    source.write_text(f"#include <thread>\nint main(int n, char**) {{ {fault} }}\n")
    path = build.program("fault", [Unit(str(source))])
    done = subprocess.run([path], capture_output=True, text=True)
    if NO_LEAKS in done.stderr or NO_MAPPING in done.stderr:
        pytest.skip("this machine doesn't let the sanitizer work")
    assert done.returncode != 0
