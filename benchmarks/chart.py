"""The chart of the results: ``python -m benchmarks.chart RESULTS --output docs/_static/benchmarks.svg``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib

from benchmarks.cases import PASSES
from benchmarks.figures import Results, Row, rows
from benchmarks.table import NAMES

MARKERS = {"onednn": "o", "onnxruntime": "s", "torch": "D", "jax": "^", "keras": "v"}
COLOURS = {"onednn": "#0072b2", "onnxruntime": "#009e73", "torch": "#d55e00", "jax": "#cc79a7", "keras": "#7a5c00"}
GRUS = "#222222"
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "font.family": "DejaVu Sans",
    "svg.hashsalt": "grus",  # the same results give the same file
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
}


def chart(results: Results) -> Any:
    """A panel for each pass, a line for each case, a mark for each library: its time over grus's."""
    from matplotlib.figure import Figure

    found = rows(results)
    peers = [peer for peer in NAMES if any(peer in row.peers for row in found)]
    figure = Figure(
        figsize=(9, 0.9 + 0.42 * len(found) / len(PASSES) + 0.9), facecolor="white", layout="constrained"
    )
    axes = figure.subplots(1, len(PASSES), sharey=True)
    for axis, name in zip(axes, PASSES, strict=True):
        _panel(axis, [row for row in found if row.name == name], peers)
        axis.set_title(f"{name}", loc="left", fontweight="bold")
    axes[0].set_ylabel("T, B, I, H")
    figure.supxlabel("time relative to grus (log scale): to the right of 1 is slower", fontsize=10)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
    return figure


def _panel(axis: Any, found: list[Row], peers: list[str]) -> None:
    places = range(len(found))
    axis.axvline(1, color=GRUS, linewidth=2, label="grus")
    for peer in peers:
        points = [
            (row.ratios[peer], place) for place, row in zip(places, found, strict=True) if peer in row.ratios
        ]
        if points:
            style = {"marker": MARKERS[peer], "color": COLOURS[peer], "linestyle": "none", "markersize": 7}
            axis.plot(*zip(*points, strict=True), **style, alpha=0.9, label=NAMES[peer])
        else:
            axis.plot([], [], MARKERS[peer], color=COLOURS[peer], label=NAMES[peer])
    axis.set_xscale("log", base=2)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}×")
    axis.set_yticks(places, [", ".join(map(str, row.case)) for row in found])
    axis.tick_params(axis="y", length=0)
    axis.set_ylim(len(found) - 0.5, -0.5)
    axis.grid(axis="both", color="#dddddd", linewidth=0.8)
    axis.set_axisbelow(True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chart", description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--output", type=Path, default=Path("docs/_static/benchmarks.svg"))
    options = parser.parse_args()
    with matplotlib.rc_context(STYLE):
        figure = chart(json.loads(options.results.read_text(encoding="utf-8")))
        metadata = {"Date": None} if options.output.suffix == ".svg" else None
        figure.savefig(options.output, metadata=metadata, dpi=150)


if __name__ == "__main__":
    main()
