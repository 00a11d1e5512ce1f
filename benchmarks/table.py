"""The Markdown tables of README and the pages, from a results file.

``python -m benchmarks.table RESULTS`` prints them; ``--into FILE ...`` puts each between its markers in each file
that has them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.cases import PASSES
from benchmarks.figures import Results, Row, option_costs, option_rows, rows

NAMES = {"onednn": "oneDNN", "onnxruntime": "ONNX Runtime", "torch": "PyTorch", "jax": "JAX", "keras": "Keras"}


def table(results: Results) -> str:
    """A row for each case: grus's milliseconds, and how many times as long the others take, forward / training."""
    found = rows(results)
    if not found:
        return ""
    peers = [peer for peer in NAMES if any(peer in row.peers for row in found)]
    heads = ["T, B, I, H", "grus, ms", *(NAMES[peer] for peer in peers)]
    lines = [heads, ["---"] + ["--:"] * (len(heads) - 1)]
    for forward, training in zip(found[::2], found[1::2], strict=True):
        cells = [", ".join(map(str, forward.case)), f"{_ms(forward)} / {_ms(training)}"]
        lines.append(cells + [_ratios(forward, training, peer) for peer in peers])
    machine, versions = results["machine"], results["versions"]
    of = ", ".join(
        f"{name} {version}" for name, version in versions.items() if not name.startswith("onednn-devel")
    )
    threads = max(found[0].grus)
    note = (
        f"{machine['processor']}, {machine['instruction_set']}, {threads} thread{'s' * (threads > 1)}, float32, "
        f"{results['date'][:10]}; {of}."
    )
    return f"{_markdown(lines)}\n{note}\n"


def _ms(row: Row) -> str:
    return f"{1e3 * row.seconds:.3g}"


def _ratios(forward: Row, training: Row, peer: str) -> str:
    return f"{_ratio(forward, peer)} / {_ratio(training, peer)}" if peer in forward.ratios else ""


def _ratio(row: Row, peer: str) -> str:
    return f"{row.ratios[peer]:.1f}×" if peer in row.ratios else "–"


def options_table(results: Results) -> str:
    """A row for each option: its passes over those without it, and what others take for it beside grus."""
    costs, elsewhere = option_costs(results), option_rows(results)
    if not costs:
        return ""
    peers = [peer for peer in NAMES if any(peer in row.peers for of in elsewhere.values() for row in of)]
    heads = ["option", *(case.replace(",", ", ") for case in costs), *(NAMES[peer] for peer in peers)]
    lines = [heads, ["---"] + ["--:"] * (len(heads) - 1)]
    for option in dict.fromkeys(option for options in costs.values() for option in options):
        cells = [f"`{option}`", *(_cost(options.get(option, {})) for options in costs.values())]
        of = elsewhere.get(option)
        lines.append(cells + [_ratios(of[0], of[1], peer) if of else "" for peer in peers])
    return _markdown(lines)


def _cost(ratios: dict[str, float]) -> str:
    return " / ".join(f"{ratios[name]:.2f}×" if name in ratios else "–" for name in PASSES) if ratios else ""


def stream_table(results: Results) -> str:
    """A row for each case of a stream: the microseconds of a step."""
    cases = results.get("stream", {}).get("cases", {})
    if not cases:
        return ""
    peers = [peer for peer in NAMES if any(peer in of["seconds"] for of in cases.values())]
    heads = ["I, H", "grus, µs", *(f"{NAMES[peer]}, µs" for peer in peers)]
    lines = [heads, ["---"] + ["--:"] * (len(heads) - 1)]
    for case, of in cases.items():
        steps = [f"{1e6 * of['seconds'][name]:.2f}" for name in ("grus", *peers)]
        lines.append([", ".join(case.split(",")[2:]), *steps])
    return _markdown(lines)


def _markdown(lines: list[list[str]]) -> str:
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


TABLES: dict[str, Callable[[Results], str]] = {
    "benchmarks": table,
    "options": options_table,
    "stream": stream_table,
}


def begin(name: str) -> str:
    return f"<!-- {name}:begin -->"


def end(name: str) -> str:
    return f"<!-- {name}:end -->"


def block(text: str, name: str) -> str | None:
    """What stands between the markers of this table, if they are there."""
    _, found, after = text.partition(f"{begin(name)}\n")
    return after[: after.index(end(name))] if found else None


def put(text: str, made: Mapping[str, str]) -> str:
    """The text with each table between its markers; those that it has no markers for are left out."""
    if all(block(text, name) is None for name in made):
        raise ValueError(f"the file must hold the line {begin('benchmarks')} and its end, or another table's.")
    for name, content in made.items():
        before, found, after = text.partition(f"{begin(name)}\n")
        text = f"{before}{found}{content}{after[after.index(end(name)) :]}" if found else text
    return text


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.table", description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--into", type=Path, nargs="+", default=[], metavar="FILE")
    options = parser.parse_args()
    results = json.loads(options.results.read_text(encoding="utf-8"))
    made = {name: content for name, of in TABLES.items() if (content := of(results))}
    for path in options.into:
        path.write_text(put(path.read_text(encoding="utf-8"), made), encoding="utf-8")
    if not options.into:
        print("\n".join(made.values()), end="")


if __name__ == "__main__":
    main()
