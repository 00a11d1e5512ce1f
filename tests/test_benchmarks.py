"""The benchmarks run, refuse wrong answers, and the pages show the committed results. No time is judged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import answers, chart, figures, memory, passes, table
from benchmarks.cases import Case, Data
from benchmarks.peers import LIBRARIES, Library
from benchmarks.processes import ROOT, Participant, ProcessError, run_module
from benchmarks.report import report
from benchmarks.timing import Burst

SMALL = Case(100, 1, 32, 32)
PAGES = ("README.md", "docs/benchmarks.md")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Those of the smallest case, beside a library that does not need torch."""
    output = tmp_path_factory.mktemp("benchmarks") / "results.json"
    options = ["--only", "cases", "--cases", SMALL.name, "--peers", "onnxruntime", "--output", str(output)]
    subprocess.run([sys.executable, "-m", "benchmarks", "--quick", *options], cwd=ROOT, check=True)
    return json.loads(output.read_text(encoding="utf-8"))


@pytest.fixture
def expected(tmp_path):
    """The file of the smallest case's answers, and its arrays."""
    arrays = answers.reference(Data.random(SMALL))
    answers.save(arrays, tmp_path / "expected.npz")
    return tmp_path / "expected.npz", arrays


@pytest.fixture
def participant():
    one = Participant(LIBRARIES["grus"], 1)
    yield one
    one.close()


def made_up(grus, peer):
    """Results with these seconds at 1 and 2 threads, the same in both passes."""

    def by_threads(seconds):
        return {str(n): {"median": each, "min": each, "samples": 1} for n, each in enumerate(seconds, 1)}

    times = {"grus": by_threads(grus), "torch": by_threads(peer)}
    case = {"operations": SMALL.operations, "errors": {}, "forward": times, "training": times}
    return {"peak": {"1": 1e9, "2": 2e9}, "cases": {SMALL.name: case}}


def test_the_results_say_what_was_measured_and_on_what(results):
    assert {"date", "command", "machine", "versions", "missing", "threads", "peak", "cases"} <= results.keys()
    assert {"processor", "cores", "instruction_set", "system", "python"} <= results["machine"].keys()
    assert {"grus", "numpy"} <= results["versions"].keys()
    case = results["cases"][SMALL.name]
    for name in ("forward", "training"):
        for threads in results["threads"]:
            times = case[name]["grus"][str(threads)]
            assert times["samples"] >= 1
            assert 0 < times["min"] <= times["median"]
    assert set(case["errors"]["grus"]) == {"output", *passes.GRADIENTS}
    assert ("onnxruntime" in case["forward"]) != ("onnxruntime" in results["missing"])


def test_what_is_shown_comes_from_the_results(results, tmp_path):
    assert "100,1,32,32  training" in report(results)
    assert "| 100, 1, 32, 32 |" in table.table(results)
    chart.chart(results).savefig(tmp_path / "chart.svg")
    assert "<svg" in (tmp_path / "chart.svg").read_text(encoding="utf-8")


def test_right_answers_pass_and_a_wrong_one_does_not(participant, expected):
    path, arrays = expected
    right = participant.ask(prepare=SMALL, expected=str(path))["errors"]
    answers.check("grus", right)
    answers.save(arrays | {"dh0": -arrays["dh0"]}, path)
    wrong = participant.ask(prepare=SMALL, expected=str(path))["errors"]
    with pytest.raises(
        answers.WrongAnswerError, match=r"grus: dh0 differs from the reference by 2\.0e\+00 .* Nothing"
    ):
        answers.check("grus", wrong)


def test_nan_is_a_wrong_answer():
    array = np.ones(3)
    with pytest.raises(answers.WrongAnswerError, match="output differs from the reference by nan"):
        answers.check("it", answers.errors({"output": array * np.nan}, {"output": array}))
    with pytest.raises(
        answers.WrongAnswerError, match=r"output has shape \(1, 3\) where the reference has \(3,\)"
    ):
        answers.errors({"output": array[None]}, {"output": array})


def test_a_process_that_fails_says_why(participant):
    with pytest.raises(ProcessError, match="grus, 1 thread: FileNotFoundError"):
        participant.ask(prepare=SMALL, expected="nowhere.npz")


def test_a_missing_library_says_how_to_install_it():
    assert Library("it", ("numpy", "no-such-library")).missing() == "pip install numpy no-such-library"
    assert Library("it", ("numpy",)).missing() is None


def test_ratios_are_to_the_better_number_of_threads():
    forward, training = figures.rows(made_up(grus=(0.003, 0.002), peer=(0.008, 0.009)))
    assert forward.seconds == 0.002
    assert forward.speedup == pytest.approx(1.5)
    assert forward.ratios == {"torch": pytest.approx(4)}
    assert training.rate == pytest.approx(3 * SMALL.operations / 0.002)
    assert training.share_of_peak == pytest.approx(training.rate / 2e9)


def test_a_target_is_met_or_missed():
    verdicts = figures.verdicts(made_up(grus=(0.003, 0.002), peer=(0.008, 0.009)))
    assert [(each.what, each.met) for each in verdicts] == [
        ("100,1,32,32 forward: torch over grus", True),
        ("100,1,32,32 training: torch over grus", False),
    ]


def test_short_calls_are_repeated_and_long_ones_are_not():
    calls = []

    def run(seconds_of_one):
        return lambda n: calls.append(n) or n * seconds_of_one

    assert Burst(run(0.001)).sample() == pytest.approx(0.001)
    assert calls == [1, 1, 20]
    calls.clear()
    assert Burst(run(1.0)).sample() == 1.0
    assert calls == [1, 1]


def test_the_other_measurements_run():
    trained = run_module("japanese_vowels", "grus", 1, 1)
    assert trained["seconds"] > 0
    assert 0 < trained["accuracy"] <= 1
    if memory.CLEAR.exists():
        assert run_module("memory", "grus", 1, "") > 0


def test_the_tool_for_the_kernels_runs():
    command = [sys.executable, "-m", "benchmarks.quick", "--cases", "0", "--seconds", "0", "--threads", "1"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert [line.split()[:2] for line in done.stdout.splitlines()[2:]] == [
        ["100,1,32,32", "forward"],
        ["100,1,32,32", "training"],
    ]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("name", table.TABLES)
def test_the_pages_show_the_committed_results(page, name):
    shown = table.block((ROOT / page).read_text(encoding="utf-8"), name)
    committed = [
        json.loads(path.read_text(encoding="utf-8")) for path in Path(ROOT / "benchmarks/results").glob("*.json")
    ]
    assert shown in [*(table.TABLES[name](each) for each in committed), None]
    assert name != "benchmarks" or shown


def test_what_stands_between_the_markers_is_replaced():
    def page(one, other):
        parts = [("benchmarks", one), ("options", other)]
        return "".join(f"before\n{table.begin(name)}\n{of}{table.end(name)}\nafter\n" for name, of in parts)

    made = {"benchmarks": "new\n", "stream": "nowhere\n"}
    assert table.put(page("old\n", "stays\n"), made) == page("new\n", "stays\n")
    with pytest.raises(ValueError, match="must hold the line <!-- benchmarks:begin -->"):
        table.put("nothing", {"benchmarks": "new\n"})
