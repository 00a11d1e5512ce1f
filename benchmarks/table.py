"""The Markdown table of README and the pages, from a results file.

``python -m benchmarks.table RESULTS`` prints it; ``--into FILE ...`` puts it between the markers of each file.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

from benchmarks.figures import Results, Row, rows

BEGIN, END = "<!-- benchmarks:begin -->", "<!-- benchmarks:end -->"
NAMES = {"onednn": "oneDNN", "onnxruntime": "ONNX Runtime", "torch": "PyTorch", "jax": "JAX", "keras": "Keras"}
_BLOCK = re.compile(f"{BEGIN}\n(.*?){END}", re.DOTALL)


def table(results: Results) -> str:
    """A row for each case: grus's milliseconds, and how many times as long the others take, forward / training."""
    found = rows(results)
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
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + f"\n\n{note}\n"


def _ms(row: Row) -> str:
    return f"{1e3 * row.seconds:.3g}"


def _ratios(forward: Row, training: Row, peer: str) -> str:
    return f"{_ratio(forward, peer)} / {_ratio(training, peer)}" if peer in forward.ratios else ""


def _ratio(row: Row, peer: str) -> str:
    return f"{row.ratios[peer]:.1f}×" if peer in row.ratios else "–"


def block(text: str) -> str | None:
    """What stands between the markers, if they are there."""
    found = _BLOCK.search(text)
    return None if found is None else found[1]


def put(text: str, content: str) -> str:
    """The text with this between its markers."""
    if block(text) is None:
        raise ValueError(f"the file must hold the lines {BEGIN} and {END}.")
    return _BLOCK.sub(lambda _: f"{BEGIN}\n{content}{END}", text)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.table", description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--into", type=Path, nargs="+", default=[], metavar="FILE")
    options = parser.parse_args()
    made = table(json.loads(options.results.read_text(encoding="utf-8")))
    for path in options.into:
        path.write_text(put(path.read_text(encoding="utf-8"), made), encoding="utf-8")
    if not options.into:
        print(made, end="")


if __name__ == "__main__":
    main()
