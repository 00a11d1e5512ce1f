"""Reads what objdump prints: functions, their innermost loops, and the vectors that a loop keeps on the stack."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_FUNCTION = re.compile(r"^[0-9a-f]+ <(.*)>:$")
_INSTRUCTION = re.compile(r"^\s*([0-9a-f]+):\t(\S+)\s*(.*?)\s*$")
_JUMP = re.compile(r"^(j\w+|b|b\.\w+|cbn?z|tbn?z)$")
_TARGET = re.compile(r"(?:^|[\s,])([0-9a-f]+) <")
_MULTIPLY_ADD = re.compile(r"^(vfn?m(add|sub)\d+p[sd]|fml[as])$")
_DIVISION = re.compile(r"^(v?div[ps][sd]|fdiv)$")
_VECTOR = re.compile(r"%[xyz]mm\d|\b[vqd]\d")
# A slot of the frame has a fixed place. With an index beside the stack pointer it is an array, which is no spill.
_SLOT = {
    "rsp": re.compile(r"\(%rsp\)"),
    "rbp": re.compile(r"\(%rbp\)"),
    "sp": re.compile(r"\[(sp|x29)(, #-?\w+)?\]"),
}


class Instruction(NamedTuple):
    address: int
    name: str
    operands: str

    def __str__(self) -> str:
        return f"{self.address:x}: {self.name} {self.operands}"

    @property
    def target(self) -> int | None:
        """Where a jump goes."""
        found = _TARGET.search(self.operands) if _JUMP.match(self.name) else None
        return int(found[1], 16) if found else None


class Loop(NamedTuple):
    function: str
    body: list[Instruction]
    has_frame_pointer: bool

    def count(self, pattern: re.Pattern[str]) -> int:
        return sum(bool(pattern.match(each.name)) for each in self.body)

    @property
    def is_product(self) -> bool:
        """Sums of products. An activation's polynomials multiply and add as well, but end in a division."""
        return self.count(_MULTIPLY_ADD) >= 8 and not self.count(_DIVISION)

    def spills(self) -> list[Instruction]:
        """Instructions that move a vector from or to the stack's frame."""
        slots = [slot for name, slot in _SLOT.items() if name != "rbp" or self.has_frame_pointer]
        return [
            each
            for each in self.body
            if _VECTOR.search(each.operands) and any(slot.search(each.operands) for slot in slots)
        ]


def functions(text: str) -> Iterator[tuple[str, list[Instruction]]]:
    """The functions of ``objdump -d --no-show-raw-insn``."""
    name, body = "", []
    for line in text.splitlines():
        if heading := _FUNCTION.match(line):
            yield name, body
            name, body = heading[1], []
        elif found := _INSTRUCTION.match(line):
            body.append(Instruction(int(found[1], 16), found[2], found[3]))
    yield name, body


def innermost_loops(name: str, body: list[Instruction]) -> list[Loop]:
    """What lies between a backward jump and its target, without another such jump between them."""
    last: dict[int, int] = {}  # of the jumps to a target, the last one
    for each in body:
        if each.target is not None and body[0].address <= each.target <= each.address:
            last[each.target] = max(last.get(each.target, 0), each.address)
    has_frame_pointer = any(each.operands in ("%rsp,%rbp", "x29, sp") and each.name == "mov" for each in body)
    return [
        Loop(name, [each for each in body if first <= each.address <= end], has_frame_pointer)
        for first, end in last.items()
        if not any(first <= other and last[other] <= end for other in last if other != first)
    ]


def product_loops(text: str) -> list[Loop]:
    """The loops that nearly all time goes into."""
    return [loop for name, body in functions(text) for loop in innermost_loops(name, body) if loop.is_product]


def report(loops: list[Loop]) -> str:
    """Every spill with the function around it; empty where there is none."""
    lines = []
    for loop in loops:
        if spills := loop.spills():
            lines.append(
                f"{loop.function}: {len(spills)} vectors on the stack in the loop at {loop.body[0].address:x}"
            )
            lines += [f"    {each}" for each in spills]
    return "\n".join(lines)
