"""What the compiler made of the kernels: no symbol that another instruction set could pick up, no vector spilled
in the loops that nearly all time goes into. Compiling for a processor does not need one.
"""

from __future__ import annotations

import platform
import re
import shutil
import sys
from pathlib import Path

import pytest

import toolchain
from assembly import product_loops, report
from toolchain import CROSS, CXX, REALS, Build, Unit, isa_flags, kernel_unit

ARM = platform.machine() == "aarch64"
ISAS = ["neon"] if ARM else ["x86_64_v2", "x86_64_v3", "x86_64_v4", "neon"]
FUSED = ISAS[-3:]  # x86-64-v2 has 16 short registers and no fused multiply-add: its loops are not worth the care
# What a unit may take from elsewhere: the barrier, and what compilers call on their own.
ALLOWED = {
    "grus::wait(grus::Barrier*)",
    "memcpy",
    "memmove",
    "memset",
    "_GLOBAL_OFFSET_TABLE_",
    "__stack_chk_fail",
}

# 24 sums and their factors don't fit in 16 registers
SPILLING = """
#include <immintrin.h>
typedef float V __attribute__((vector_size(32)));
static V all(float value) { return value - V{}; }
void too_many(V* sums, const float* a, const V* b, long K) {
    V sum[24];
#pragma GCC unroll 24
    for (int m = 0; m < 24; ++m) sum[m] = sums[m];
    for (long k = 0; k < K; ++k)
#pragma GCC unroll 24
        for (int m = 0; m < 24; ++m) sum[m] = _mm256_fmadd_ps(b[k], all(a[24 * k + m]), sum[m]);
#pragma GCC unroll 24
    for (int m = 0; m < 24; ++m) sums[m] = sum[m];
}
"""


@pytest.fixture(scope="module", autouse=True)
def _all_cores() -> None:
    """Compile everything at once, where a test by itself would use one core."""
    for compiler, isas in ((CXX, ["neon"] if ARM else ISAS[:-1]), (CROSS, [] if ARM else ["neon"])):
        if sys.platform.startswith("linux") and shutil.which(compiler):
            Build(compiler).objects([kernel_unit(isa, real) for isa in isas for real in REALS])


def examined(isa: str, unit: Unit, tool: str, *options: str) -> str:
    """What nm or objdump says about a unit."""
    prefix = "aarch64-linux-gnu-" if isa == "neon" and not ARM else ""
    compiler = CROSS if prefix else CXX
    toolchain.require(compiler, prefix + tool)
    (path,) = Build(compiler).objects([unit])
    return toolchain.run([prefix + tool, *options, str(path)])


def disassembly(isa: str, unit: Unit) -> str:
    return examined(isa, unit, "objdump", "-dC", "--no-show-raw-insn")


def symbol_faults(listing: str, table: str) -> list[str]:
    """Lines of ``nm -C`` that name a weak symbol, a global beside the table, or something foreign."""
    faults = []
    for line in listing.splitlines():
        kind, name = re.match(r"^[0-9a-f]* *(\w) (.*)$", line).groups()
        allowed = name in ALLOWED if kind == "U" else (kind.islower() and kind not in "uvw") or name == table
        if not allowed:
            faults.append(line.strip())
    return faults


@pytest.mark.parametrize("real", REALS)
@pytest.mark.parametrize("isa", ISAS)
def test_a_unit_shares_nothing_but_its_table(isa: str, real: str) -> None:
    table = f"grus::{isa}_{REALS[real]}"
    symbols = examined(isa, kernel_unit(isa, real), "nm", "-C")
    assert f" {table}\n" in symbols
    assert symbol_faults(symbols, table) == []


@pytest.mark.parametrize("real", REALS)
@pytest.mark.parametrize("isa", FUSED)
def test_products_keep_their_sums_in_registers(isa: str, real: str) -> None:
    found = product_loops(disassembly(isa, kernel_unit(isa, real)))
    loops = [loop for loop in found if "add_product" in loop.function]
    assert len(loops) >= 4  # the blocks of rows and of panels; else nothing was looked at
    if spills := report(loops):
        pytest.fail(f"{isa} {real}\n{spills}", pytrace=False)


# ---------------------------------------------------------------------------- the checks see what they are for


@pytest.mark.skipif(ARM, reason="needs a compiler for x86-64")
def test_a_spill_is_seen(tmp_path: Path) -> None:
    source = tmp_path / "spilling.cpp"
    source.write_text(SPILLING)
    unit = Unit(str(source), isa_flags("x86_64_v3"))
    spills = report(product_loops(disassembly("x86_64_v3", unit)))
    assert spills.startswith("too_many(float __vector(8)*, ")
    assert re.search(r"vectors on the stack in the loop at \w+\n    \w+: v\w+ .*\(%r[sb]p\)", spills)


def listing(*instructions: str) -> str:
    lines = [f"  {4 * i:x}:\t{instruction}" for i, instruction in enumerate(instructions)]
    return "\n".join(["0000000000000000 <product()>:", *lines])


@pytest.mark.parametrize(
    ("instruction", "seen"),
    [
        ("ldr\tq1, [sp, #32]", True),
        ("stp\td8, d9, [x29, #-16]", True),
        ("ldr\tx1, [sp, #32]", False),  # no vector
        ("ldr\tq1, [sp, x2]", False),  # an array
        ("ldr\tq1, [x1, #32]", False),
    ],
)
def test_a_spill_on_arm_is_seen(instruction: str, seen: bool) -> None:
    loop = [instruction, *["fmla\tv0.4s, v1.4s, v2.s[0]"] * 8, "b.ne\t4 <product()+0x4>"]
    assert bool(report(product_loops(listing("mov\tx0, x1", *loop, "ret")))) == seen


@pytest.mark.parametrize(
    ("first", "instruction", "seen"),
    [
        ("nop", "vmovups 0x20(%rsp),%ymm1", True),
        ("nop", "vfmadd231ps 0x20(%rsp),%ymm1,%ymm0", True),
        ("nop", "vbroadcastss (%rsp,%rax,4),%ymm1", False),  # an array
        ("mov    %rsp,%rbp", "vmovups %zmm1,-0x40(%rbp)", True),
        ("nop", "vmovups (%rbp),%ymm1", False),  # without a frame pointer rbp is a register like any other
    ],
)
def test_what_counts_as_a_spill(first: str, instruction: str, seen: bool) -> None:
    loop = [instruction, *["vfmadd231ps %ymm1,%ymm2,%ymm0"] * 8, "jne    4 <product()+0x4>"]
    assert bool(report(product_loops(listing(first, *loop, "ret")))) == seen


def test_which_loops_are_products() -> None:
    add, jump = "vfmadd231ps %ymm1,%ymm2,%ymm0", "jne    4 <product()+0x4>"
    assert len(product_loops(listing("nop", *[add] * 8, jump))) == 1
    assert not product_loops(listing("nop", *[add] * 7, jump))
    assert not product_loops(listing("nop", *[add] * 8, "vdivps %ymm1,%ymm2,%ymm0", jump))  # an activation
    assert not product_loops(listing("nop", *[add] * 8, "jne    80 <product()+0x80>"))  # forwards
    (inner,) = product_loops(listing("nop", *[add] * 9, jump, *[add] * 9, "jne    0 <product()>"))
    assert len(inner.body) == 10


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("0000000000000000 W grus::shared(int)", True),
        ("0000000000000000 V grus::shared_number", True),
        ("0000000000000000 u grus::unique", True),
        ("0000000000000000 T grus::forward()", True),
        ("                 U std::terminate()", True),
        ("                 U memcpy", False),
        ("0000000000000000 t grus::(anonymous namespace)::forward()", False),
        ("0000000000000000 D grus::table", False),
    ],
)
def test_which_symbols_are_faults(line: str, fault: bool) -> None:
    assert symbol_faults(line, "grus::table") == ([line.strip()] if fault else [])
