"""The results as a person reads them on a terminal: ``python -m benchmarks.report RESULTS``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.figures import Results, Row, option_costs, option_rows, rows, verdicts


def report(results: Results) -> str:
    """Machine, the table of cases, those of the options, the other measurements, and every target."""
    parts = [
        heading(results), case_table(results), option_table(results), elsewhere_table(results), others(results),
        targets_table(results),
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part)


def heading(results: Results) -> str:
    machine = results["machine"]
    cores = f"{machine['cores_used']} of {machine['cores']} cores"
    lines = [
        f"{machine['processor']}, {cores}, {machine['instruction_set']}",
        f"{machine['system']}, Python {machine['python']}; "
        + ", ".join(f"{name} {version}" for name, version in results["versions"].items()),
    ]
    if "missing" not in results["peak"]:
        limits = (f"{1e-9 * each:.0f} GFLOP/s with {n}" for n, each in results["peak"].items())
        lines.append(f"arithmetic limit by threads: {', '.join(limits)}")
    lines += [f"{name} is missing: {command}" for name, command in results["missing"].items()]
    return "\n".join(lines)


def case_table(results: Results) -> str:
    """A line for each pass of each case; libraries as milliseconds and as multiples of grus's time."""
    found = rows(results)
    if not found:
        return ""
    peers = list(dict.fromkeys(peer for row in found for peer in row.peers))
    threads = sorted(found[0].grus)
    heads = ["T,B,I,H", "pass", *(f"grus({n}) ms" for n in threads), "speed-up", "GFLOP/s", "of limit"]
    heads += [*peers, "fastest", "ratio", "target"]
    return aligned([heads, *(_cells(row, peers) for row in found)])


def _cells(row: Row, peers: list[str]) -> list[str]:
    share = row.share_of_peak
    cells = [row.case.name, row.name, *(f"{1e3 * row.grus[n]:.3f}" for n in sorted(row.grus))]
    cells += [
        f"{row.speedup:.2f}" if len(row.grus) > 1 else "",
        f"{1e-9 * row.rate:.1f}",
        "" if share is None else f"{share:.0%}",
    ]
    for peer in peers:
        known = peer in row.peers
        cells.append(f"{1e3 * row.peers[peer]:.3f} {row.ratios[peer]:5.2f}x" if known else "")
    ratio = None if row.fastest is None else row.ratios[row.fastest]
    cells += [row.fastest or "", "" if ratio is None else f"{ratio:.2f}x"]
    if row.target is None or ratio is None:
        return [*cells, ""]
    return [*cells, f"{row.target}x {'met' if ratio >= row.target else 'missed'}"]


def option_table(results: Results) -> str:
    """A line for each option; each pass relative to that without it."""
    costs = option_costs(results)
    if not costs:
        return ""
    names = dict.fromkeys(option for options in costs.values() for option in options)
    passes = dict.fromkeys(name for options in costs.values() for of in options.values() for name in of)
    cells = [["option", *(f"{case} {name}" for case in costs for name in passes)]]
    for option in names:
        ratios = [costs[case].get(option, {}).get(name) for case in costs for name in passes]
        cells.append([option, *("" if ratio is None else f"{ratio:.2f}x" for ratio in ratios)])
    return aligned(cells)


def elsewhere_table(results: Results) -> str:
    """A line for each pass of each option that others have too; they as multiples of grus's time."""
    found = option_rows(results)
    peers = list(dict.fromkeys(peer for of in found.values() for row in of for peer in row.peers))
    cells = [["option beside others", "pass", "grus ms", *peers]]
    for option, of in found.items():
        for row in of:
            ratios = [f"{row.ratios[peer]:.1f}x" if peer in row.ratios else "" for peer in peers]
            cells.append([option, row.name, f"{1e3 * row.seconds:.3f}", *ratios])
    return aligned(cells) if found else ""


def others(results: Results) -> str:
    """What the targets' lines do not say."""
    lines = []
    for case, of in results.get("stream", {}).get("cases", {}).items():
        steps = ", ".join(f"{name} {1e6 * seconds:.2f} us" for name, seconds in of["seconds"].items())
        lines.append(f"a step of a stream, {case}: {steps}")
    if "missing" in results.get("stream", {}).get("allocations", {}):
        lines.append(f"allocations of a stream were not counted: {results['stream']['allocations']['missing']}")
    if "startup" in results:
        startup = {name: f"{1e3 * seconds:.0f} ms" for name, seconds in results["startup"].items()}
        lines.append(
            f"import: grus {startup['grus']} ({startup['grus_by_importtime']} by -X importtime), "
            f"numpy alone {startup['numpy']}, beyond the bare interpreter's {startup['interpreter']}"
        )
    if "peak" in results.get("memory", {}):
        memory = results["memory"]
        peaks = ", ".join(f"{name} {each / 1e6:.1f} MB" for name, each in memory["peak"].items())
        lines.append(
            f"memory of a training step at {memory['case']}: {peaks}; needed {memory['needed'] / 1e6:.1f} MB"
        )
    for name in ("grus", "torch"):
        if name in results.get("japanese-vowels", {}):
            of = results["japanese-vowels"][name]
            times = ", ".join(f"{seconds:.2f} s with {n}" for n, seconds in of["seconds"].items())
            lines.append(f"japanese-vowels, {name} by threads: {times}; test accuracy {of['accuracy']:.3f}")
    return "\n".join(lines)


def targets_table(results: Results) -> str:
    cells = [["target", "measured", "aim", ""]]
    for each in verdicts(results):
        aim = f"{'>=' if each.at_least else '<='} {each.target:g} {each.unit}"
        cells.append([each.what, f"{each.value:.2f} {each.unit}", aim, "met" if each.met else "missed"])
    return aligned(cells) if len(cells) > 1 else ""


def aligned(lines: list[list[str]]) -> str:
    """Columns side by side, all but the first two ranged right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


if __name__ == "__main__":
    print(report(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
