"""The benchmarks of options and of single steps: they run, refuse wrong answers, and show what they found."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import answers, figures, option_peers, options, report, stream, table
from benchmarks.build import build, compiler
from benchmarks.cases import OPTIONS_CASES, PASSES, SMALL, STREAM_CASES, Case, Data
from benchmarks.layer import Layer
from benchmarks.option_table import OPTIONS, WITHOUT, as_function
from benchmarks.peers import load
from benchmarks.processes import run_module

TINY = Case(6, 3, 4, 5)
COUNTED = sys.platform.startswith("linux") and compiler() is not None


def summary(seconds):
    return {"median": seconds, "min": seconds, "samples": 1}


@pytest.fixture
def results():
    """Made up: two options, one of which others have; a step of a stream, and its allocations."""

    def cost(ratio):
        return {"ratio": ratio, "seconds": ratio, "without": 1.0, "samples": 1}

    of = {"errors": {}, "forward": cost(1.1), "training": cost(1.2)}
    trace = {"errors": {}, "forward": cost(1.1), "inference": cost(3.0)}
    times = {"grus": {"1": summary(0.001)}, "torch": {"1": summary(0.04)}, "keras": {"1": summary(0.004)}}
    steps = {case.name: {"errors": {}, "seconds": {"grus": 2e-6, "torch": 3e-5}} for case in STREAM_CASES}
    return {
        "options": {
            "threads": 2,
            "cases": {case.name: {"zoneout": of, "trace": trace} for case in OPTIONS_CASES},
            "peers": {"zoneout": {"errors": {}, "forward": times, "training": times}},
        },
        "stream": {"cases": steps, "allocations": {"steps": 1_000_000, "count": 3}},
    }


def test_every_option_gives_the_answer_and_has_its_costs():
    found = run_module("options", TINY.name, 1, 0, 1)
    assert found.keys() == OPTIONS.keys()
    for name, of in found.items():
        assert {"errors", *OPTIONS[name].passes} == of.keys()
        assert all(of[each]["ratio"] > 0 and of[each]["samples"] == 1 for each in OPTIONS[name].passes)
        assert {"output", "training_output", "dx", "dweight_hh_l0"} <= of["errors"].keys()
    assert {"r", "z", "n", "h"} <= found["trace"]["errors"].keys()
    assert "ddecay" in found["all together"]["errors"]


def test_a_wrong_option_is_not_timed(monkeypatch):
    right = Layer(TINY, OPTIONS["reset"]).reference()
    monkeypatch.setattr(Layer, "reference", lambda _: right | {"dreset_state": -right["dreset_state"]})
    with pytest.raises(answers.WrongAnswerError, match=r"grus with reset, case 6,3,4,5: dreset_state differs"):
        options.costs(TINY, 0, 1, {"reset": OPTIONS["reset"]})


def test_what_training_draws_comes_from_the_seed():
    layer, plain = Layer(TINY, OPTIONS["dropout"]), Layer(TINY, WITHOUT["two layers"])
    assert np.array_equal(layer.forward(0).output, layer.forward(0).output)
    assert not np.array_equal(layer.forward(0).output, layer.forward(1).output)
    assert not np.array_equal(layer.answers()["training_output"], plain.answers()["training_output"])
    assert np.array_equal(layer.answers()["output"], plain.answers()["output"])


def test_a_ratio_is_the_median_of_pairs():
    found = options.relative([(2.0, 1.0), (30.0, 10.0), (4.0, 4.0)])
    assert found == {"ratio": 2.0, "seconds": 4.0, "without": 4.0, "samples": 3}


def test_a_pair_is_one_after_the_other():
    calls = []
    sample = options.pair(lambda: calls.append("with"), options.times(lambda: calls.append("without"), 2))
    assert all(seconds > 0 for seconds in sample())
    order = "".join("w" if call == "with" else "o" for call in calls)
    assert order == "w" * order.count("w") + "o" * order.count("o")
    assert order.count("o") % 2 == 0


@pytest.mark.parametrize("option", option_peers.HAVE)
def test_grus_gives_the_answers_that_others_are_held_to(option, tmp_path):
    expected = answers.load(option_peers.expected(option, str(tmp_path)))
    peer = load("grus", "options")(Data.random(SMALL), 1, option)
    answers.check("grus", answers.errors(peer.answers(), expected))
    assert peer.forward() is not None
    assert peer.training() is not None


def test_a_layer_and_a_function_have_the_same_option():
    data, given = as_function(OPTIONS["layer_norm"], Data.random(TINY))
    assert given == {}
    assert data.params.gain_ih.shape == data.params.gain_hh.shape == (3 * TINY.H,)
    assert as_function(OPTIONS["recurrent_dropout"], data)[1]["recurrent_mask"].shape == (TINY.B, 3 * TINY.H)
    assert as_function(OPTIONS["reset_after=False"], data)[1] == {"reset_after": False}


def test_a_stream_gives_the_answer(tmp_path):
    expected = answers.load(stream.expected(SMALL, str(tmp_path)))
    peer = load("grus", "stream")(Data.random(SMALL), 1)
    answers.check("grus", answers.errors(peer.answers(), expected))
    assert peer.clock("forward")(2) > 0


def test_allocations_of_steps_are_counted():
    found = stream.allocations(1000)
    assert ("missing" in found) != COUNTED
    assert found.get("steps", 1000) == 1000
    assert found.get("count", 0) >= 0


@pytest.mark.skipif(not COUNTED, reason="glibc's allocator and a C++ compiler are needed")
def test_the_counter_counts():
    counter = str(build("count_allocations.cpp", ".so", stream.COUNTER_FLAGS))
    code = f"""if True:
        import ctypes, itertools
        count = ctypes.CDLL({counter!r}).allocations
        before = count()
        kept = [bytearray(100) for _ in itertools.repeat(None, 1000)]
        print(count() - before)
    """
    environment = os.environ | {"LD_PRELOAD": counter, "PYTHONMALLOC": "malloc"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    )
    assert 2000 <= int(done.stdout) < 2100  # an object and its bytes, and a list that grows


def test_targets_of_options_and_streams_are_met_or_missed(results):
    found = {each.what: each.met for each in figures.verdicts(results)}
    for case in OPTIONS_CASES:
        assert found.pop(f"{case.name} forward: zoneout over without it")
        assert not found.pop(f"{case.name} training: zoneout over without it")
        assert found.pop(f"{case.name} forward: trace over without it")
    for name in PASSES:
        assert found.pop(f"{SMALL.name} {name}: zoneout, torch over grus")
        assert not found.pop(f"{SMALL.name} {name}: zoneout, keras over grus")
    assert found == {
        "100,1,32,32 a step of a stream": False,
        "100,1,128,128 a step of a stream": True,
        "allocations of 1,000,000 steps of a stream": False,
    }


def test_results_without_options_have_no_verdicts_of_them():
    assert figures.verdicts({"options": {"lengths": {"forward": 2.0}}}) == []


def test_the_tables_show_options_and_streams(results):
    assert table.options_table(results) == (
        "| option | 100, 32, 64, 128 | 100, 1, 32, 32 | PyTorch | Keras |\n"
        "| --- | --: | --: | --: | --: |\n"
        "| `zoneout` | 1.10× / 1.20× | 1.10× / 1.20× | 40.0× / 40.0× | 4.0× / 4.0× |\n"
        "| `trace` | 1.10× / – | 1.10× / – |  |  |\n"
    )
    assert table.stream_table(results) == (
        "| I, H | grus, µs | PyTorch, µs |\n| --- | --: | --: |\n| 32, 32 | 2.00 | 30.00 |\n"
        "| 128, 128 | 2.00 | 30.00 |\n"
    )
    assert [of({}) for of in table.TABLES.values()] == ["", "", ""]


def test_the_report_shows_options_and_streams(results):
    lines = [line.split() for line in report.option_table(results).splitlines()]
    assert lines[1:] == [["zoneout", *["1.10x", "1.20x"] * 2], ["trace", *["1.10x", "3.00x"] * 2]]
    assert report.elsewhere_table(results).splitlines()[1].split() == [
        "zoneout",
        "forward",
        "1.000",
        "40.0x",
        "4.0x",
    ]
    assert "a step of a stream, 100,1,32,32: grus 2.00 us, torch 30.00 us" in report.others(results)
    results["stream"]["allocations"] = {"missing": "no compiler"}
    assert "were not counted: no compiler" in report.others(results)
